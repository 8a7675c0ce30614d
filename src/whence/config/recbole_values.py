"""Values of RecBole's keys: negatives, intervals; and how keys are listed in a note."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from whence.errors import ConfigError


def number_of_negatives(value: Any) -> int | None:
    """Negatives per interaction, in any of the forms that RecBole has had; None if not said."""
    if isinstance(value, Mapping):
        if "sample_num" in value:
            return int(value["sample_num"])
        numbers = [one for key, one in value.items() if key in ("uniform", "popularity")]
        return int(numbers[0]) if numbers else None
    return int(value) if value else None


def interval(text: Any) -> tuple[float | None, float | None]:
    """Bounds of an interval such as ``[5,inf)``; None for infinity."""
    found = re.fullmatch(r"\s*([\[(])\s*([^,]+?)\s*,\s*([^,]+?)\s*([\])])\s*", str(text))
    try:
        if found is None:
            raise ValueError
        low, high = float(found[2]), float(found[3])
    except ValueError:
        raise ConfigError(f"An interval is written such as '[5,inf)', not {text!r}.") from None
    # An open bound is as good as a closed one at the next number.
    if found[1] == "(":
        low = math.nextafter(low, math.inf)
    if found[4] == ")":
        high = math.nextafter(high, -math.inf) if high != math.inf else high
    return (None if low == -math.inf else low), (None if high == math.inf else high)


def listed(keys: list[str], one: str, many: str) -> str:
    """Say of one or of several keys that they are left out."""
    if len(keys) == 1:
        return f"{keys[0]} {one} and is left out."
    return f"{', '.join(keys[:-1])} and {keys[-1]} {many} and are left out."
