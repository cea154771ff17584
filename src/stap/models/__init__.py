"""Models from features to words, independent of files and the command line."""
