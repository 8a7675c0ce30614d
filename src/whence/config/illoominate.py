"""Illoominate's ``config.toml`` as a configuration of Whence."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whence.errors import ConfigError, DataWarning, did_you_mean

_METRIC_NAMES = {"responsiblemrr": "sustainablemrr", "responsiblendcg": "sustainablendcg"}
_SECTIONS: dict[str, tuple[str, ...]] = {
    "model": ("name",),
    "hpo": ("k", "m", "r_b", "r_g", "alpha"),
    "metric": ("name", "length"),
    "nbr": ("validation_ratio",),
    "logging": ("level",),
}


def is_of_illoominate(raw: Mapping[str, Any]) -> bool:
    """Tell whether a parsed TOML file is a ``config.toml`` of Illoominate's experiments."""
    metric = raw.get("metric")
    return "hpo" in raw or (isinstance(metric, Mapping) and "length" in metric)


def translated(raw: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Turn Illoominate's ``config.toml`` into sections of Whence.

    Illoominate keeps ``train.csv``, ``valid.csv``, ``test.csv``, ``sustainable.csv`` and
    ``baskets.csv`` beside it.

    Raises
    ------
    ConfigError
        If a section or key is unknown to Illoominate, or the metric is missing.
    """
    for section, keys in raw.items():
        if section not in _SECTIONS or not isinstance(keys, Mapping):
            raise ConfigError(
                f"Unknown section {section!r} in this Illoominate configuration."
                f"{did_you_mean(section, _SECTIONS)}"
            )
        for key in keys:
            if key not in _SECTIONS[section]:
                raise ConfigError(
                    f"Unknown key {section}.{key} in this Illoominate configuration."
                    f"{did_you_mean(key, _SECTIONS[section])}"
                )
    metric, name = raw.get("metric", {}), str(raw.get("model", {}).get("name", "vmis")).lower()
    if not {"name", "length"} <= metric.keys():
        raise ConfigError(
            "An Illoominate configuration needs metric.name and metric.length, such as "
            'name = "MRR" and length = 20.'
        )
    wanted = str(metric["name"]).strip().lower()
    hpo = raw.get("hpo", {})
    # As there, keys of the other model are no mistake.
    used = ("k", "m") if name == "vmis" else _SECTIONS["hpo"]
    sections = _files_beside(folder, name)
    share = raw.get("nbr", {}).get("validation_ratio", 0.5)
    if "split" in sections and share != 1:
        warnings.warn(
            f"Illoominate takes the last baskets of a share of {share} of the users for validation "
            "(nbr.validation_ratio) and those of the others for testing; here all are for "
            "validation.",
            DataWarning,
            stacklevel=2,
        )
    sections["model"] = {"name": name, **{key: hpo[key] for key in used if key in hpo}}
    metric_name = f"{_METRIC_NAMES.get(wanted, wanted)}@{metric['length']}"
    return {**sections, "evaluation": {"metrics": [metric_name]}}


def _files_beside(folder: Path, model: str) -> dict[str, Any]:
    data: dict[str, Any] = {"unknown": "keep" if model == "vmis" else "ignore"}
    if model == "tifu" and not (folder / "train.csv").exists():
        data["train"] = str(folder / "baskets.csv")
        return {"data": data, "split": {"method": "last"}}
    data.update(train=str(folder / "train.csv"), validation=str(folder / "valid.csv"))
    for key, name in (("test", "test.csv"), ("sustainable_items", "sustainable.csv")):
        if (folder / name).exists():
            data[key] = str(folder / name)
    return {"data": data}
