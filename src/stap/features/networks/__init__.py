"""The few networks that no library keeps, and readers and importers of their published weights."""
