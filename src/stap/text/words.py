"""From a caption to its words by fixed rules (L-STAP paper, section 4.1)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal

__all__ = ["SpecialCharacters", "split_characters", "tokenize"]

APOSTROPHES = "'’ʼ＇"

SpecialCharacters = Literal["part", "remove"]

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # CJK unified ideographs and those for compatibility
_HAN_OR_OTHERS = re.compile(f"[{_HAN}]|[^{_HAN}]+")


class _TranslationTable(dict[int, str]):
    """For str.translate. Letters, digits and marks stay; apostrophes become `apostrophe`, white space a space, the rest `gap`."""

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


_TABLES: Mapping[SpecialCharacters, _TranslationTable] = {
    "part": _TranslationTable(" ", "'"),
    "remove": _TranslationTable("", ""),
}


def tokenize(caption: str, *, lowercase: bool = True, special_characters: SpecialCharacters = "part") -> list[str]:
    """The words of a caption, by default in lower case, without special characters.

    special_characters: with "part" they separate words ("t-shirt" gives t and shirt), but an apostrophe inside a word stays
        ("man's"), because the scorers' tokenizer keeps such words. With "remove" they leave no gap (tshirt, mans).
        The paper does not say which of the two it means.
    Unicode is normalised to its composed form (NFC).
    """
    text = unicodedata.normalize("NFC", caption.lower() if lowercase else caption)
    words = text.translate(_TABLES[special_characters]).split()
    return [word for word in (word.strip("'") for word in words) if word]


def split_characters(words: Iterable[str]) -> list[str]:
    """The words, with each Chinese character a word of its own: written Chinese has no spaces between words."""
    return [part for word in words for part in _HAN_OR_OTHERS.findall(word)]
