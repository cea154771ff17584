"""CIDEr as the field reports it, and the same CIDEr with fixed document frequencies, counted beforehand in another corpus.

Vedantam et al. (2015) define two metrics. CIDEr (section 4) is a mean of cosines between tf-idf weighted n-grams of stems.
CIDEr-D (section 5, equation 4) leaves words unstemmed, clips the candidate's weights to the reference's, penalises a difference
in length (sigma 6), and multiplies by 10. What the COCO caption scorer prints as "CIDEr", and with it pycocoevalcap's class
`Cider` and every paper that uses them, is CIDEr-D: its author says so (github.com/tylin/coco-caption, issue 18).

Uses of the formula differ in one thing: the document frequencies. The COCO scorer counts them in the references of the videos
that it scores. That is `CIDEr` here, unchanged. The score of a caption then depends on the other videos, and a single video
scores 0, since every n-gram is in every document. With frequencies counted in a fixed corpus the score of a caption depends on
nothing else: `CIDEr-fixed-df` here. (Vedantam's own code, github.com/vrama91/cider, calls the two modes "corpus" and
"coco-val-df".)
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stap.errors import ScoringError
from stap.files import parse_json, read_bytes, write_atomically
from stap.scoring.measures import PerCaption, Table, mean_score, pycocoevalcap
from stap.text.ptb import PTBTokenizer

__all__ = [
    "FIXED",
    "Cider",
    "DocumentFrequencies",
    "count_documents",
    "is_frequencies_file",
    "read_document_frequencies",
    "write_document_frequencies",
]

FIXED = "CIDEr-fixed-df"
ABSENT = "cannot be read (No such file or directory)"
MOST_EXPANDED = 100  # times the size of the compressed file; those of whole corpora expand to 4 times theirs
_FORMAT = "document frequencies of n-grams, 1 to 4 words, Penn Treebank tokens of Stanford CoreNLP 3.4.1 without punctuation"


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many videos of a corpus each n-gram of one to four words occurs. An n-gram that is not here counts as 1."""

    videos: int
    counts: Mapping[tuple[str, ...], int]
    corpus: str  # its name, for people

    def __post_init__(self) -> None:
        if self.videos < 2:
            raise ScoringError(
                f"document frequencies of {self.corpus} come from {self.videos} video, and then every n-gram is in every video and "
                "weighs nothing. Count them in at least two videos, better in a thousand."
            )


def count_documents(
    references: Mapping[str, Sequence[str]], corpus: str, tokenizer: PTBTokenizer | None = None
) -> DocumentFrequencies:
    """Count in the captions of a corpus, such as the training split: video id -> captions.

    corpus: its name, for people.   Raises ScoringError for fewer than two videos.
    """
    flat = [caption for group in references.values() for caption in group]
    tokenized = iter((tokenizer or PTBTokenizer()).tokenize(flat, keep=True))
    groups = [[next(tokenized) for _ in group] for group in references.values()]
    ngrams = pycocoevalcap("cider.cider_scorer").precook
    counts: Counter[tuple[str, ...]] = Counter()
    for group in groups:
        counts.update({ngram for caption in group for ngram in ngrams(caption, 4)})
    return DocumentFrequencies(len(groups), dict(counts), corpus)


def write_document_frequencies(path: Path | str, frequencies: DocumentFrequencies) -> None:
    """Write compressed JSON, whole or not at all. The same counts give the same bytes. Raises ScoringError if it cannot be written."""
    ngrams = {" ".join(ngram): count for ngram, count in sorted(frequencies.counts.items())}
    content = {"format": _FORMAT, "corpus": frequencies.corpus, "videos": frequencies.videos, "ngrams": ngrams}
    write_atomically(Path(path), gzip.compress(json.dumps(content, ensure_ascii=False).encode(), mtime=0), ScoringError)


def read_document_frequencies(path: Path | str) -> DocumentFrequencies:
    """Read a file of write_document_frequencies. Raises ScoringError for anything else, or a damaged file."""
    path = Path(path)
    try:
        content = parse_json(
            _decompressed(read_bytes(path, ScoringError, "Name a file with document frequencies.", ABSENT)).decode()
        )
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ScoringError(_not_frequencies(path)) from error
    if not _is_valid(content):
        raise ScoringError(_not_frequencies(path))
    counts = {tuple(ngram.split(" ")): count for ngram, count in content["ngrams"].items()}
    return DocumentFrequencies(content["videos"], counts, content["corpus"])


def _decompressed(content: bytes) -> bytes:
    """Raises ValueError where a few bytes would become more than any file of document frequencies."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        text = file.read(MOST_EXPANDED * len(content))
        if file.read(1):
            raise ValueError(f"it expands to more than {MOST_EXPANDED} times its size")
    return text


def is_frequencies_file(name: str) -> bool:
    """Whether a file of this name begins like those of write_document_frequencies, with the two bytes of gzip."""
    path = Path(name)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _is_valid(content: Any) -> bool:
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        return False
    videos, ngrams = content.get("videos"), content.get("ngrams")
    if type(videos) is not int or not isinstance(content.get("corpus"), str) or not isinstance(ngrams, dict):
        return False
    return all(type(count) is int and 1 <= count <= videos for count in ngrams.values())


def _not_frequencies(path: Path) -> str:
    return (
        f"{path}: not a whole file of document frequencies. Expected what `stap score --save-frequencies` writes; "
        "write it again from the corpus."
    )


class Cider:
    """The COCO scorer's formula with the document frequencies of the references (CIDEr) or of another corpus (CIDEr-fixed-df)."""

    def __init__(self, references: Sequence[list[str]], frequencies: DocumentFrequencies | None = None) -> None:
        """Count the n-grams of the references; and, without frequencies, for each in how many videos it occurs."""
        module = pycocoevalcap("cider.cider_scorer")
        self._name = "CIDEr" if frequencies is None else FIXED
        self._ngrams = module.cook_test
        self._scorer = module.CiderScorer(n=4, sigma=6.0)
        for group in references:
            self._scorer.cook_append(None, group)
        if frequencies is None:
            self._scorer.compute_doc_freq()
            self._documents = len(references)
        else:
            self._scorer.document_frequency.update(frequencies.counts)
            self._documents = frequencies.videos
        self._references = self._scorer.crefs
        self._scores = PerCaption(self._each)

    def score(self, captions: Sequence[str]) -> Table:
        """One score, CIDEr or CIDEr-fixed-df; that of the corpus is the mean of its videos."""
        return {self._name: mean_score(self._scores(captions))}

    def _each(self, videos: list[int], captions: list[str]) -> list[float]:
        """Scores of some videos, as many at a time as there are documents: see _at_once."""
        starts = range(0, len(videos), self._documents)
        parts = [(videos[k : k + self._documents], captions[k : k + self._documents]) for k in starts]
        return [score for part in parts for score in self._at_once(*part)]

    def _at_once(self, videos: Sequence[int], captions: Iterable[str]) -> list[float]:
        """The scorer pairs captions and groups of references from the front, and takes the number of groups for the number
        of documents: so empty groups follow those of these videos until the number is right.
        """
        wanted = [self._references[video] for video in videos]
        self._scorer.crefs = wanted + [[]] * (self._documents - len(wanted))
        self._scorer.ctest = [self._ngrams(caption) for caption in captions]
        return [float(score) for score in self._scorer.compute_cider()]
