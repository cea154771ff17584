"""Datasets: clips, their reference captions and their splits."""
