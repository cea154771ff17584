"""The report page, figures and curves."""
