"""Values of RecBole's keys: negatives, intervals; and how keys are listed in a note."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from whence.errors import ConfigError, did_you_mean

_NEGATIVES = ("distribution", "sample_num", "alpha", "dynamic", "candidate_num", "uniform")


def negatives(value: Any) -> int | None:
    """Negatives per interaction, in any of the forms that RecBole has had; None if not said.

    Raises
    ------
    ConfigError
        If they are not drawn uniformly.
    """
    if not isinstance(value, Mapping):
        return None if value in (None, "None") else int(value)
    if "popularity" in value or value.get("distribution", "uniform") not in (
        "uniform", None, "None", "none",
    ):  # fmt: skip
        raise ConfigError(
            f"train_neg_sample_args draws negatives by {value.get('distribution', 'popularity')}, "
            "which is not offered; say distribution: uniform."
        )
    if value.get("dynamic"):
        raise ConfigError(
            "train_neg_sample_args chooses negatives by the model's scores (dynamic), which is not "
            "offered; say dynamic: False."
        )
    for key in value:
        if key not in _NEGATIVES:
            raise ConfigError(
                f"train_neg_sample_args has no key {key!r}.{did_you_mean(key, _NEGATIVES)} Its "
                f"keys are {', '.join(_NEGATIVES[:-1])}."
            )
    if value.get("distribution", "uniform") in (None, "None", "none"):
        return None
    number = value.get("sample_num", value.get("uniform", 1))
    return None if number in (None, "none") else int(number)


def truth(key: str, value: Any) -> bool:
    """True or False, also as a text, as RecBole takes it."""
    plain = str(value).strip().lower()
    if plain not in ("true", "false"):
        raise ConfigError(f"{key} in this RecBole configuration is True or False, not {value!r}.")
    return plain == "true"


def is_one_of(value: Any, values: Sequence[Any]) -> bool:
    """Whether a value is among some, where True is not 1."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values)


def interval(text: Any) -> tuple[float | None, float | None]:
    """Bounds of an interval such as ``[5,inf)``; None for infinity."""
    found = re.fullmatch(r"\s*([\[(])\s*([^,]+?)\s*,\s*([^,]+?)\s*([\])])\s*", str(text))
    try:
        if found is None:
            raise ValueError
        low, high = float(found[2]), float(found[3])
        if math.isnan(low) or math.isnan(high):
            raise ValueError
    except ValueError:
        raise ConfigError(f"An interval is written such as '[5,inf)', not {text!r}.") from None
    # An open bound is as good as a closed one at the next number.
    if found[1] == "(":
        low = math.nextafter(low, math.inf)
    if found[4] == ")":
        high = math.nextafter(high, -math.inf) if high != math.inf else high
    return (None if low == -math.inf else low), (None if high == math.inf else high)


def minimum(text: Any) -> int:
    """Least number of interactions, of an interval such as ``[5,inf)``."""
    low, high = interval(text)
    if high is not None:
        raise ConfigError(
            f"The interval {text!r} has an upper bound, which is not offered; write for example "
            "'[5,inf)', and take users or items with more out of the file."
        )
    return math.ceil(max(low or 0.0, 0.0))


def listed(keys: list[str], one: str, many: str) -> str:
    """Say of one or of several keys that they are left out."""
    if len(keys) == 1:
        return f"{keys[0]} {one} and is left out."
    return f"{', '.join(keys[:-1])} and {keys[-1]} {many} and are left out."
