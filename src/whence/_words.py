"""Numbers of things in words."""

from __future__ import annotations


def counted(number: int, plural: str) -> str:
    """Return a number with what it counts, in the singular for one."""
    if number != 1:
        return f"{number:,} {plural}"
    return f"1 {plural[:-3]}y" if plural.endswith("ies") else f"1 {plural.removesuffix('s')}"


def plural_of(noun: str) -> str:
    """Return the plural of a name of sources: of a category categories."""
    if len(noun) > 1 and noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return noun if noun.endswith("s") else f"{noun}s"
