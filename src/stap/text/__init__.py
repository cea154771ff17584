"""Captions as words and word ids: special ids, rules, tokenizers, vocabulary."""
