"""Frames to arrays: extractors and the store that keeps their results."""
