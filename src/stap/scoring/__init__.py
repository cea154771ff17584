"""Captions and references -> numbers."""
