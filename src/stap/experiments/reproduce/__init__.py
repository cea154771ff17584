"""Tables: the papers' rows with the published numbers, and rows on generated scenes, all trained and scored here."""
