"""The papers' tables: their rows with the published numbers, trained and scored here, and written beside each other."""
