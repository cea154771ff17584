"""From words to word ids and back: the vocabulary (L-STAP paper, section 4.1)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stap.errors import CheckpointError, CorpusError
from stap.files import parse_json
from stap.text.special_ids import BOS, EOS, PAD, UNK

__all__ = ["SPECIAL_WORDS", "Vocabulary"]

SPECIAL_WORDS = ("<pad>", "<bos>", "<eos>", "<unk>")  # at the ids PAD, BOS, EOS, UNK; no caption contains one, see `tokenize`


@dataclass(frozen=True)
class Vocabulary:
    """The words of a model; a word's id is its position. The first four are SPECIAL_WORDS.

    Raises CheckpointError if the words are not such a list.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL_WORDS)] != SPECIAL_WORDS:
            raise CheckpointError(
                f"a vocabulary must begin with {', '.join(SPECIAL_WORDS)}; this one begins with "
                f"{', '.join(map(str, self.words[: len(SPECIAL_WORDS)])) or 'nothing'}."
            )
        twice = [word for word, count in Counter(self.words).items() if count > 1]
        if twice:
            raise CheckpointError(f"a vocabulary must hold each word once; this one repeats {', '.join(sorted(twice)[:5])}.")
        object.__setattr__(self, "_ids", {word: number for number, word in enumerate(self.words)})

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], size: int | None = None, min_count: int = 1) -> Vocabulary:
        """The words, most frequent first, equally frequent ones in the order of the alphabet.

        counts: how often each word is seen.   size: keep at most this many words, special words not counted.
        min_count: leave out words seen less often. Raises CorpusError if no word is left.
        """
        frequent = sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))
        if not frequent:
            raise CorpusError(
                f"the captions hold no word that is seen {min_count} times or more ({len(counts)} words in all). "
                "Check the captions of the training split and text.min_count."
            )
        return cls(SPECIAL_WORDS + tuple(frequent[:size]))

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, tokens: Sequence[str], max_words: int) -> list[int]:
        """Ids of the first `max_words` tokens, then EOS; unknown words become UNK. No BOS."""
        ids: dict[str, int] = self._ids  # type: ignore[attr-defined]  # made once in __post_init__
        return [ids.get(token, UNK) for token in tokens[:max_words]] + [EOS]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words of these ids, up to the first EOS; PAD and BOS are left out."""
        words = []
        for number in ids:
            if number == EOS:
                break
            if number not in (PAD, BOS):
                words.append(self.words[number])
        return words

    def to_json(self) -> str:
        """The text of a vocabulary.json, one word per line."""
        return json.dumps({"words": self.words}, ensure_ascii=False, indent=0) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "vocabulary.json") -> Vocabulary:
        """What `to_json` wrote. Raises CheckpointError that names `source`."""
        try:
            content = parse_json(text)
        except json.JSONDecodeError as error:
            raise CheckpointError(
                f"{source}: not JSON ({error}). Copy the file again from where the model was trained."
            ) from error
        words = content.get("words") if isinstance(content, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
            raise CheckpointError(f'{source}: expected {{"words": [...]}} with one string per word. Copy the file again.')
        try:
            return cls(tuple(words))
        except CheckpointError as error:
            raise CheckpointError(f"{source}: {error}") from error
