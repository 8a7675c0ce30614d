"""Configuration files into dictionaries, and what is wrong with them into sentences."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from whence.errors import ConfigError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_METRIC_NAMES = {"responsiblemrr": "sustainablemrr", "responsiblendcg": "sustainablendcg"}
_ILLOOMINATE: dict[str, tuple[str, ...]] = {
    "model": ("name",),
    "hpo": ("k", "m", "r_b", "r_g", "alpha"),
    "metric": ("name", "length"),
    "nbr": ("validation_ratio",),
    "logging": ("level",),
}
PATHS = (
    ("data", "train"),
    ("data", "validation"),
    ("data", "test"),
    ("data", "sustainable_items"),
    ("output", "directory"),
)


def read_raw(path: Path) -> dict[str, Any]:
    """Read a file of ours or of Illoominate's as sections of keys, paths resolved.

    Raises
    ------
    ConfigError
        If the file is missing, unreadable or no configuration.
    """
    raw = _parsed(path)
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{path.name} holds no sections; a configuration has data, model, evaluation, "
            "attribution and output, each with its keys."
        )
    if _is_illoominate(raw):
        return _translated(raw, path.parent)
    return _with_paths(raw, path.parent)


def _parsed(path: Path) -> Any:
    if not path.is_file():
        raise ConfigError(f"There is no configuration file {path}; check the path.")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            return tomllib.loads(text)
        if path.suffix in (".yaml", ".yml"):
            return yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        what = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read: {what}.") from error
    raise ConfigError(
        f"A configuration is a .yaml, .yml or .toml file, not {path.name!r}; to evaluate a data "
        "file, name it with --train."
    )


def _is_illoominate(raw: Mapping[str, Any]) -> bool:
    """Tell whether a parsed TOML file is a ``config.toml`` of Illoominate's experiments."""
    metric = raw.get("metric")
    return "hpo" in raw or (isinstance(metric, Mapping) and "length" in metric)


def _translated(raw: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Turn Illoominate's ``config.toml`` into a configuration of Whence.

    Illoominate keeps ``train.csv``, ``valid.csv``, ``test.csv``, ``sustainable.csv`` and
    ``baskets.csv`` beside it.
    """
    for section, keys in raw.items():
        if section not in _ILLOOMINATE or not isinstance(keys, Mapping):
            raise ConfigError(
                f"Unknown section {section!r} in this Illoominate configuration."
                f"{did_you_mean(section, _ILLOOMINATE)}"
            )
        for key in keys:
            if key not in _ILLOOMINATE[section]:
                raise ConfigError(
                    f"Unknown key {section}.{key} in this Illoominate configuration."
                    f"{did_you_mean(key, _ILLOOMINATE[section])}"
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
    used = ("k", "m") if name == "vmis" else _ILLOOMINATE["hpo"]
    return {
        "data": _files_beside(folder, name),
        "model": {"name": name, **{key: hpo[key] for key in used if key in hpo}},
        "evaluation": {"metrics": [f"{_METRIC_NAMES.get(wanted, wanted)}@{metric['length']}"]},
    }


def _files_beside(folder: Path, model: str) -> dict[str, Any]:
    data: dict[str, Any] = {"unknown": "drop"}
    if model == "tifu" and not (folder / "train.csv").exists():
        return {**data, "train": str(folder / "baskets.csv"), "split": "last"}
    data.update(train=str(folder / "train.csv"), validation=str(folder / "valid.csv"))
    for key, name in (("test", "test.csv"), ("sustainable_items", "sustainable.csv")):
        if (folder / name).exists():
            data[key] = str(folder / name)
    return data


def _with_paths(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Resolve relative paths against the folder of the configuration."""
    for section, key in PATHS:
        keys = raw.get(section)
        if isinstance(keys, dict) and isinstance(keys.get(key), str):
            raw = {**raw, section: {**raw[section], key: str(folder / keys[key])}}
    return raw


def as_pairs(overrides: Mapping[str, Any] | Sequence[str]) -> list[tuple[str, Any]]:
    """Split overrides into dotted keys and values; texts ``key=value`` have YAML values."""
    if isinstance(overrides, Mapping):
        return list(overrides.items())
    pairs = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise ConfigError(
                f"--set takes section.key=value, such as attribution.seed=5, not {text!r}."
            )
        try:
            pairs.append((key.strip(), yaml.safe_load(value)))
        except yaml.YAMLError as error:
            raise ConfigError(f"The value in --set {text!r} is not valid YAML.") from error
    return pairs


def set_key(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set one dotted key in sections of keys."""
    section, _, name = key.partition(".")
    keys = raw.setdefault(section, {})
    if not isinstance(keys, dict):
        raise ConfigError(f"{section} must be a section with keys, not {keys!r}.")
    keys[name] = value


def sentence(error: ValidationError, schema: type[BaseModel], where: str) -> str:
    """Put the first problem into one sentence, with the nearest key where one is unknown."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if not str(part).startswith("list["))
    if first["type"] == "extra_forbidden":
        return f"Unknown key {key!r} in {where}.{_nearest(key, schema)}"
    if first["type"] == "literal_error":
        allowed = re.findall("'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
        return (
            f"{key} in {where} must be one of {', '.join(allowed)}, not {first['input']!r}."
            f"{did_you_mean(first['input'], allowed)}"
        )
    why = first["msg"].removeprefix("Input ").removeprefix("should be ")
    return f"{key} in {where} must be {why[:1].lower()}{why[1:]}, not {first['input']!r}."


def _nearest(key: str, schema: type[BaseModel]) -> str:
    """Name the nearest key of the section, or of any, and what else there is."""
    fields = {name: field.annotation for name, field in schema.model_fields.items()}
    section, _, name = key.partition(".")
    known = {
        title: list(part.model_fields)
        for title, part in fields.items()
        if isinstance(part, type) and issubclass(part, BaseModel)
    }
    if section not in known:
        everywhere = {own: f"{title}.{own}" for title, keys in known.items() for own in keys}
        if section in everywhere:
            return f" Did you mean {everywhere[section]!r}?"
        return did_you_mean(section, known) + f" The sections are {', '.join(known)}."
    elsewhere = next((f"{t}.{name}" for t, keys in known.items() if name in keys), None)
    hint = did_you_mean(name, known[section])
    if not hint and elsewhere is not None:
        hint = f" Did you mean {elsewhere!r}?"
    return f"{hint} The keys of {section} are {', '.join(known[section])}."
