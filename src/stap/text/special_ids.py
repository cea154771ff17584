"""The ids of the special words, the same in every vocabulary."""

__all__ = ["BOS", "EOS", "PAD", "UNK"]

PAD, BOS, EOS, UNK = 0, 1, 2, 3
