"""Readers of third-party files: checkpoints, arrays and pickles. No code in them is ever executed."""
