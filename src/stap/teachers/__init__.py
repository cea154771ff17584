"""Captioners of the Hugging Face Hub behind the same protocol as our own models (needs the extra `stap[teacher]`)."""
