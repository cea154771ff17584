"""A model folder and a video -> a caption."""
