"""STAT: `decoder` computes a word, `model` the loss and the memory, `streams` the inputs, `keys` the projections once per video."""
