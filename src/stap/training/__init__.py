"""Batches, the training loop, optimisers, resumption and pretraining."""
