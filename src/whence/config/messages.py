"""What is wrong with a configuration, in one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from whence.errors import brief, did_you_mean


def sentence(error: ValidationError, schema: type[BaseModel], where: str) -> str:
    """Put the first problem into one sentence, with the nearest key where one is unknown."""
    first = error.errors()[0]
    own = first.get("ctx", {}).get("error")
    if first["type"] == "value_error" and "{where}" in str(own):
        return str(own).replace("{where}", where, 1)
    # Deeper places are branches of a union, or numbers in a list.
    key = ".".join(str(part) for part in first["loc"][:2])
    if first["type"] == "extra_forbidden":
        return f"Unknown key {key!r} in {where}.{_nearest(key, schema)}"
    if first["type"] == "literal_error":
        allowed = re.findall("'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
        return (
            f"{key} in {where} must be one of {', '.join(allowed)}, not {brief(first['input'])}."
            f"{did_you_mean(first['input'], allowed)}"
        )
    if first["type"] in ("invalid_key", "arguments_type"):
        return f"A key in {where} must be a text, not {brief(first['input'])}."
    if first["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"{key} in {where} must be a section with keys, not {brief(first['input'])}."
    if first["type"] == "too_short":
        return f"{key} in {where} must have at least one entry, not {brief(first['input'])}."
    why = first["msg"].removeprefix("Input ").removeprefix("should be ")
    return f"{key} in {where} must be {why[:1].lower()}{why[1:]}, not {brief(first['input'])}."


def _nearest(key: str, schema: type[BaseModel]) -> str:
    """Name the nearest key of the section, or of any, and what else there is."""
    fields = {name: field.annotation for name, field in schema.model_fields.items()}
    section, _, name = key.partition(".")
    known = {
        title: list(part.model_fields)
        for title, part in fields.items()
        if isinstance(part, type) and issubclass(part, BaseModel)
    }
    places = sorted(f"{title}.{own}" for title, keys in known.items() for own in keys)
    if section not in known:
        elsewhere = [place for place in places if place.endswith(f".{section}")]
        if elsewhere:
            return _one_of(elsewhere)
        return did_you_mean(section, known) + f" The sections are {', '.join(known)}."
    hint = did_you_mean(name, known[section])
    if not hint:
        hint = _one_of([place for place in places if place.endswith(f".{name}")])
    return f"{hint} The keys of {section} are {', '.join(known[section])}."


def _one_of(names: Sequence[str]) -> str:
    if not names:
        return ""
    listed = [repr(name) for name in names]
    last = f" or {listed[-1]}" if len(listed) > 1 else listed[-1]
    return f" Did you mean {', '.join(listed[:-1])}{last}?"
