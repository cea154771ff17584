"""Networks for features, and loaders of their published weights."""
