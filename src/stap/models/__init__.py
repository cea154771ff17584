"""Features to words. Knows no file, no path and no command line."""
