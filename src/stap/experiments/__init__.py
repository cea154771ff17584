"""Whole runs built from the other rooms: evaluation, the papers' tables, the demo."""
