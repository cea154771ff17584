"""From sentences to word ids and back: the tokenizer and the vocabulary (L-STAP paper, section 4.1)."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stap.errors import CheckpointError, CorpusError
from stap.models.batch import BOS, EOS, PAD, UNK

__all__ = ["SPECIAL_WORDS", "SpecialCharacters", "Vocabulary", "part_characters", "tokenize"]

SPECIAL_WORDS = ("<pad>", "<bos>", "<eos>", "<unk>")  # at the ids PAD, BOS, EOS, UNK; no caption contains one, see `tokenize`
APOSTROPHES = "'’ʼ＇"

SpecialCharacters = Literal["part", "remove"]

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # CJK unified ideographs and those for compatibility
_HAN_OR_OTHERS = re.compile(f"[{_HAN}]|[^{_HAN}]+")


class _Kept(dict[int, str]):
    """A table for str.translate: letters, digits and marks stay, apostrophes too if they may, and other characters become `gap`.

    White space becomes a space, whatever the gap.
    """

    def __init__(self, gap: str, apostrophe: str) -> None:
        super().__init__()
        self.gap, self.apostrophe = gap, apostrophe

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character in APOSTROPHES:
            self[code] = self.apostrophe
        elif unicodedata.category(character)[0] in "LNM":  # marks (M): vowel signs of Hindi or Tamil belong to their word
            self[code] = character
        else:
            self[code] = " " if character.isspace() else self.gap
        return self[code]


_TABLES: Mapping[SpecialCharacters, _Kept] = {"part": _Kept(" ", "'"), "remove": _Kept("", "")}


def tokenize(caption: str, *, lowercase: bool = True, special_characters: SpecialCharacters = "part") -> list[str]:
    """The words of a caption, by default in lower case, without special characters.

    special_characters: "part": a special character parts words ("t-shirt" gives t and shirt). An apostrophe inside a word stays
        ("man's"), because the scorers' tokenizer knows such words. "remove": what is beside it grows together (tshirt, mans).
        The paper does not say which of the two it means.
    Unicode is brought to its composed form (NFC).
    """
    text = unicodedata.normalize("NFC", caption.lower() if lowercase else caption)
    words = text.translate(_TABLES[special_characters]).split()
    return [word for word in (word.strip("'") for word in words) if word]


def part_characters(words: Iterable[str]) -> list[str]:
    """The same words, but each Chinese character is a word of its own: written Chinese has no spaces between words."""
    return [part for word in words for part in _HAN_OR_OTHERS.findall(word)]


@dataclass(frozen=True)
class Vocabulary:
    """The words a model knows; a word's id is its place. The first four are SPECIAL_WORDS.

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
    def build(cls, captions: Iterable[str], size: int | None = None, min_count: int = 1) -> Vocabulary:
        """The words that `tokenize` makes of these captions; see `from_words`."""
        return cls.from_words(map(tokenize, captions), size, min_count)

    @classmethod
    def from_words(cls, captions: Iterable[Iterable[str]], size: int | None = None, min_count: int = 1) -> Vocabulary:
        """The words of these captions, most frequent first, equally frequent ones in the order of the alphabet.

        size: keep at most this many words, special words not counted.   min_count: leave out words seen less often.
        Raises CorpusError if no word is left.
        """
        return cls.from_counts(Counter(word for words in captions for word in words), size, min_count)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], size: int | None = None, min_count: int = 1) -> Vocabulary:
        """The same from the words with how often each is seen."""
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
        """The text of a vocabulary.json, one word a line."""
        return json.dumps({"words": self.words}, ensure_ascii=False, indent=0) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "vocabulary.json") -> Vocabulary:
        """What `to_json` wrote. Raises CheckpointError that names `source`."""
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise CheckpointError(
                f"{source}: not JSON ({error}). Copy the file again from where the model was trained."
            ) from error
        words = content.get("words") if isinstance(content, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
            raise CheckpointError(f'{source}: expected {{"words": [...]}} with one string a word. Copy the file again.')
        try:
            return cls(tuple(words))
        except CheckpointError as error:
            raise CheckpointError(f"{source}: {error}") from error
