"""stap: spatio-temporal attention and pooling for video captioning."""
