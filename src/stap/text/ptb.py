"""The caption scorers' words: the Penn Treebank tokenizer of Stanford CoreNLP 3.4.1, without punctuation.

The Java archive, its options and the list of punctuation are those of pycocoevalcap, so the words are the field's. Two
things differ from its own wrapper:

- The tokenizer works line by line, and characters that Java takes for a line end would shift every later caption to
  another video, without any error. They become spaces, and the number of lines that come back is checked.
- In one text, the start of a caption can decide how the tokenizer cuts the end of the caption before ("... no." before
  "3 men ..."). An empty line after each caption keeps them apart, so that the words of a caption depend on nothing else and
  can be cached. On the 280,839 captions of MSVD and MSR-VTT this changes no word.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from stap.errors import ScoringError
from stap.text import cache
from stap.text.java import archive, archive_digest, java_command

__all__ = ["PUNCTUATION", "PTBTokenizer", "sanitise"]

PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)

# Line ends for Java's tokenizer (found by trying every character of Unicode) or for other readers of lines, byte-order
# marks, and the halves of surrogate pairs, which UTF-8 cannot carry.
_NOT_IN_A_LINE = [*"\n\r\v\f\x00\x1c\x1d\x1e\x85\u2028\u2029\ufeff", *map(chr, range(0xD800, 0xE000))]
_PROGRAM = ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
_ARCHIVE = "tokenizer/stanford-corenlp-3.4.1.jar"
_TO_SPACE = str.maketrans(dict.fromkeys(_NOT_IN_A_LINE, " "))


def sanitise(caption: str) -> str:
    """The caption on one line: characters that end a line somewhere, byte-order marks and lone surrogates become spaces."""
    return caption.translate(_TO_SPACE)


class PTBTokenizer:
    """Tokenizes captions and remembers their words, so that Java runs only for new captions."""

    def __init__(self) -> None:
        """Java is not started here."""
        self._known: dict[str, str] = {}

    def tokenize(self, captions: Iterable[str], *, keep: bool = False) -> list[str]:
        """The words of each caption, lowercase, without punctuation, joined by single spaces; possibly empty.

        keep: read the words from the cache on disk, and write them there (see stap.text.cache): for references, which come again.
        Raises ScoringError if the tokenizer fails, MissingDependencyError if Java or its archive is not installed.
        """
        lines = [sanitise(caption) for caption in captions]
        new = [line for line in dict.fromkeys(lines) if line not in self._known]
        if new:
            self._known.update(zip(new, (_cached if keep else _run_tokenizer)(new), strict=True))
        return [self._known[line] for line in lines]


def _cached(lines: list[str]) -> list[str]:
    """The words of these captions, from disk if the same archive has tokenized exactly these before."""
    key = cache.digest([archive_digest(_ARCHIVE), _PROGRAM, lines])
    found = cache.read("tokens", key)
    if found is None:
        found = _run_tokenizer(lines)
        cache.write("tokens", key, found)
    return list(found)


def _run_tokenizer(lines: list[str]) -> list[str]:
    jar = archive(_ARCHIVE)
    # The cheap collector and compiler: the process lives for less than a second.
    options = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", str(jar)]
    finished = subprocess.run(
        [*java_command(), *options, *_PROGRAM],
        input="".join(f"{line}\n\n" for line in lines).encode(),
        capture_output=True,
        check=False,
    )
    if finished.returncode != 0:
        raise ScoringError(
            f"the PTB tokenizer ended with exit status {finished.returncode}: {finished.stderr.decode(errors='replace').strip()}"
        )
    output = finished.stdout.decode().split("\n")
    if len(output) != 2 * len(lines) + 1 or any(output[1::2]):
        raise ScoringError(
            f"the PTB tokenizer answered {len(lines)} captions with {len(output) - 1} lines, expected {2 * len(lines)} with every "
            "second one empty. Look for unusual characters in the captions."
        )
    return [_without_punctuation(line) for line in output[:-1:2]]


def _without_punctuation(line: str) -> str:
    return " ".join(word for word in line.rstrip().split(" ") if word not in PUNCTUATION)
