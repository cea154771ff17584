"""Whole programmes: shots of long videos, timed captions, and what is written of them. Needs the extra `programmes`."""
