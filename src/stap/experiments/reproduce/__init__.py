"""The papers' tables next to the published numbers, and tables on generated scenes."""
