"""What was captioned, to be found and corrected: an archive of shots in LanceDB. Needs the extra `archive`."""
