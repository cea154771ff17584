"""Metrics of captions against references: scores, confidence intervals and comparisons."""
