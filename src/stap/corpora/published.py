"""Published sizes of the corpora, to compare a copy with."""

from __future__ import annotations

from collections.abc import Mapping

from stap.corpora.corpus import Split

__all__ = ["CLIPS_AND_CAPTIONS", "WORDS"]

# By the name of a corpus: clips and captions of each split.
CLIPS_AND_CAPTIONS: Mapping[str, Mapping[Split, tuple[int, int]]] = {
    # Clips: L-STAP paper, section 4.1. Captions: the released lists of STAT, which name every caption of the 1,970 clips.
    "MSVD": {"train": (1_200, 48_780), "validation": (100, 4_291), "test": (670, 27_768)},
    # Xu et al. 2016 and L-STAP paper, section 4.1: 20 captions per clip.
    "MSR-VTT": {"train": (6_513, 130_260), "validation": (497, 9_940), "test": (2_990, 59_800)},
    # Wang et al. 2019, section 3: 10 captions per clip in each language; the public test set.
    "VATEX": {"train": (25_991, 259_910), "validation": (3_000, 30_000), "test": (6_000, 60_000)},
}

# What papers say about the words they found.
WORDS: Mapping[str, str] = {
    "MSVD": "about 14,000 (L-STAP, section 4.1); 13,010 of all splits (STAT's word list)",
    "MSR-VTT": "15,000 kept of about 29,000 (L-STAP, section 4.1)",
}
