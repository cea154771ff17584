"""Pretraining of a backbone by frame-sentence matching."""
