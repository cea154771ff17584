"""Readers of other people's files: checkpoints, arrays and pickles. Nothing in them is ever executed."""
