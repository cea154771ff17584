"""Metrics, facts recalled and the report."""
