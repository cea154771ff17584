"""Word probabilities -> captions."""
