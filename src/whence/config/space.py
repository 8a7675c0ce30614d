"""The space of settings in which ``whence tune`` searches: is it well formed?

``{where}`` in a message stands for the file.
"""

from __future__ import annotations

from typing import Any

from whence.errors import did_you_mean


def check_place(key: str, training: list[str]) -> None:
    """Raise ValueError unless a key is one of ``model`` or ``training``."""
    section, _, name = key.partition(".")
    if section == "model" and name:
        return  # checked with the model at hand
    known = [f"training.{field}" for field in training]
    if key not in known:
        raise ValueError(
            f"tune.space in {{where}} has {key!r}, but only keys of model and training can be "
            f"tuned, such as training.learning_rate.{did_you_mean(key, known)}"
        )


def check_values(key: str, values: Any) -> None:
    """Raise ValueError unless values are a list, or a range with numbers."""
    if isinstance(values, (list, tuple)) and values:
        return
    if not isinstance(values, dict) or not {"low", "high"} <= values.keys():
        raise ValueError(
            f"tune.space.{key} in {{where}} must be a list of values, or low and high of a range, "
            f"not {values!r}."
        )
    for name, value in values.items():
        if name not in ("low", "high", "step", "log"):
            raise ValueError(
                f"Unknown key 'tune.space.{key}.{name}' in {{where}}."
                f"{did_you_mean(name, ('low', 'high', 'step', 'log'))} A range has low, high, log "
                "and step."
            )
        wanted = bool if name == "log" else (int, float)
        if not isinstance(value, wanted) or (name != "log" and isinstance(value, bool)):
            what = "true or false" if name == "log" else "a number"
            raise ValueError(f"tune.space.{key}.{name} in {{where}} must be {what}, not {value!r}.")
    if "step" in values and not 0 < values["step"] < float("inf"):
        raise ValueError(
            f"tune.space.{key}.step in {{where}} must be a number above 0, not {values['step']!r}."
        )
    if not values["low"] <= values["high"]:
        raise ValueError(f"tune.space.{key} in {{where}} has a low above its high.")
    if values.get("log") and (values["low"] <= 0 or "step" in values):
        raise ValueError(
            f"tune.space.{key} in {{where}} is logarithmic: low must be above 0, and it has no "
            "step."
        )
