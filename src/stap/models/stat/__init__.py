"""STAT: `decoder` is a word's way, `model` what surrounds it, `streams` what it reads, `keys` what is computed once a video."""
