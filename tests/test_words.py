"""Numbers of things: one is in the singular."""

from __future__ import annotations

import pytest

import whence
from whence._words import counted, plural_of
from whence.valuation import LengthValue


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (1, "sessions", "1 session"), (1, "queries", "1 query"), (2, "queries", "2 queries"),
        (0, "items", "0 items"), (1234, "rows", "1,234 rows"), (1, "histories", "1 history"),
    ],
)  # fmt: skip
def test_counted(number, noun, said):
    assert counted(number, noun) == said


@pytest.mark.parametrize(
    ("noun", "plural"), [("session", "sessions"), ("category", "categories"), ("day", "days"),
                         ("genres", "genres"), ("y", "ys")]
)  # fmt: skip
def test_plural_of(noun, plural):
    assert plural_of(noun) == plural


def test_results_of_one():
    data = whence.Interactions.from_frame({"session_id": [1], "item_id": ["a"]})
    assert repr(data) == "<Interactions: 1 row, 1 session, 1 item>"
    values = LengthValue().attribute(data, None)
    assert repr(values) == "<Attribution: Length of 1 session>"
    assert values.plot().get_title(loc="left") == "Length of 1 session"
