"""Batches, the training loop, the run folder and pretraining."""
