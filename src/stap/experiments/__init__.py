"""Whole runs made of the other rooms: evaluation, the papers' tables, the demo."""
