"""What is captioned: clips, their captions and their splits."""
