"""What a model looked at and how it learned, as people see it: clips for the report page, and figures for papers."""
