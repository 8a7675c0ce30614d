"""Titles in pictures: on one line, short but still told apart, in fonts that have their letters."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from unicodedata import bidirectional

import polars as pl
from matplotlib import font_manager, rcParams
from matplotlib.ft2font import FT2Font

from whence.errors import DataWarning

_LONGEST = 40
_BEGINNING = 26
_BOX = "□"
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufe00-\ufe0f]")
# Fonts of one colour with many letters; matplotlib cannot draw those of several, as of emoji.
_FALLBACKS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Source Han Sans",
    "Hiragino Sans", "PingFang SC", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic",
    "Apple SD Gothic Neo", "Noto Sans KR", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "Noto Sans Thai", "Leelawadee UI", "Thonburi", "Noto Sans Arabic", "Noto Sans Hebrew",
    "Noto Sans Devanagari", "Nirmala UI", "Noto Sans", "Arial Unicode MS", "Tahoma", "FreeSans",
    "Noto Emoji", "Segoe UI Emoji", "Segoe UI Symbol", "Symbola", "Noto Sans Symbols",
    "Noto Sans Symbols 2", "Unifont",
)  # fmt: skip


def short(names: Iterable[object], places: Sequence[int | None] | None = None) -> list[str]:
    """Return titles for the ticks of an axis.

    Parameters
    ----------
    names : iterable
        Titles; line breaks become blanks, and characters that no font has become □.
    places : sequence of int or None, optional
        Number that is written before each title, as events have one in tables.

    Returns
    -------
    list of str
        Long ones end in "…"; those that would be alike keep their end, and lose their middle.
    """
    whole = [drawable(name) for name in names]
    cut = [text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…" for text in whole]
    alike, times = Counter(cut), Counter(whole)
    end = _LONGEST - _BEGINNING - 1
    cut = [
        f"{text[:_BEGINNING]}…{text[-end:]}"
        if len(text) > _LONGEST and alike[before] > times[text]
        else before
        for text, before in zip(whole, cut)
    ]
    if places is None:
        return cut
    width = max((len(str(place)) for place in places if place is not None), default=0)
    return [
        # Figure spaces are as wide as digits; the mark keeps the number on the left of titles that
        # are written from the right to the left.
        text if place is None else f"{_mark(text)}{str(place).rjust(width, chr(0x2007))}  {text}"
        for text, place in zip(cut, places)
    ]


def _mark(text: str) -> str:
    """A mark that writing goes to the right, before a title that has letters of the other way."""
    return "\u200e" if any(bidirectional(one) in ("R", "AL") for one in text) else ""


def drawable(name: object) -> str:
    """Return a text on one line, with □ for what no font of those in force has."""
    text = _INVISIBLE.sub("", _BREAKS.sub(" ", str(name))).strip()
    if text.isascii():
        return text.replace("$", r"\$")
    known = _letters(tuple(rcParams["font.family"]))
    text = "".join(one if ord(one) in known else _BOX for one in text)
    return text.replace("$", r"\$")


def families(texts: Iterable[object]) -> list[str]:
    """Return the families of fonts in force, and those that some letters of the texts need.

    Warns
    -----
    DataWarning
        Once, of letters that no font has.
    """
    usual = list(rcParams["font.family"])
    joined = _INVISIBLE.sub("", _BREAKS.sub("", "".join(map(str, texts))))
    if joined.isascii():
        return usual
    missing = set(map(ord, joined)) - _letters(tuple(usual))
    for name in _FALLBACKS:
        if missing and name in _installed():
            found = missing & _letters((name,))
            if found:
                usual.append(name)
                missing -= found
    if missing:
        few = ", ".join(chr(code) for code in sorted(missing)[:5])
        warnings.warn(
            f"No font that is installed has {len(missing):,} of the characters of the titles "
            f"({few}), which are drawn as {_BOX}; install one, such as Noto Sans CJK, Noto Sans "
            "Thai or Noto Emoji.",
            DataWarning,
            stacklevel=4,
        )
    return usual


def fonts() -> list[str]:
    """Return the families in force, for ticks, which may have been made before."""
    return list(rcParams["font.family"])


def all_texts(*columns: pl.Series | None) -> list[object]:
    """Return what is in columns, where they are there."""
    return [text for column in columns if column is not None for text in column.to_list()]


@cache
def _installed() -> frozenset[str]:
    return frozenset(entry.name for entry in font_manager.fontManager.ttflist)


@cache
def _letters(names: tuple[str, ...]) -> frozenset[int]:
    """Code points that fonts of these families have."""
    found: set[int] = set()
    for name in names:
        path = font_manager.findfont(font_manager.FontProperties(family=[name]))
        found |= _charmap(Path(path))
    return frozenset(found)


@cache
def _charmap(path: Path) -> frozenset[int]:
    return frozenset(FT2Font(str(path)).get_charmap())
