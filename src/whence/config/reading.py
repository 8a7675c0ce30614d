"""Configuration files into dictionaries, and overrides into them."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from whence.config import illoominate
from whence.errors import ConfigError, brief

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PATHS = (
    ("data", "path"),
    ("data", "train"),
    ("data", "validation"),
    ("data", "test"),
    ("data", "memory_map"),
    ("data", "item_table"),
    ("data", "user_table"),
    ("data", "sustainable_items"),
    ("model", "start"),
    ("evaluation", "items"),
    ("output", "directory"),
    ("output", "runs"),
)
_OLDER_NAMES = {
    ("data", "split"): ("split", "method"),
    ("data", "fractions"): ("split", "fractions"),
}


class _Loader(yaml.SafeLoader):
    """YAML 1.2 where it differs: 1e-3 is a number, and no key is there twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is written twice, of which one would be lost."""
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        counts = Counter(key for key in keys if isinstance(key, str))
        twice = next((key for key, count in counts.items() if count > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice!r} is there twice", node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def parse_yaml(text: str) -> Any:
    """Parse YAML.

    Raises
    ------
    yaml.YAMLError
        If it is none.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (ValueError, TypeError, AttributeError, LookupError) as error:  # such as 2001-99-99
        raise yaml.YAMLError(f"a value is not of its form: {error}") from error
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error


def read_raw(path: Path) -> dict[str, Any]:
    """Read a file of ours or of Illoominate's as sections of keys, or one of RecBole's flat keys.

    Relative paths of ours are resolved against the folder of the file.

    Raises
    ------
    ConfigError
        If the file is missing, unreadable or no configuration.
    """
    raw = _parsed(path)
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{path.name} holds no sections; a configuration has data, split, model, training, "
            "evaluation, attribution, tune and output, each with its keys."
        )
    if illoominate.is_of_illoominate(raw):
        return illoominate.translated(raw, path.parent)
    return _with_paths(raw, path.parent)


def as_pairs(overrides: Mapping[str, Any] | Sequence[str]) -> list[tuple[str, Any]]:
    """Split overrides into dotted keys and values; texts ``key=value`` have YAML values."""
    if isinstance(overrides, Mapping):
        return list(overrides.items())
    pairs = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise ConfigError(
                f"--set takes section.key=value, such as training.epochs=5, not {text!r}."
            )
        try:
            pairs.append((key.strip(), parse_yaml(value)))
        except yaml.YAMLError as error:
            shown = text if len(text) < 80 else f"{text[:76]} ..."
            raise ConfigError(f"The value in --set {shown!r} is not valid YAML.") from error
    return pairs


def set_key(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set one dotted key in sections of keys, in place."""
    section, _, name = key.partition(".")
    keys = {} if raw.get(section) is None else raw[section]
    if not isinstance(keys, dict):
        raise ConfigError(f"{section} must be a section with keys, not {brief(keys)}.")
    raw[section] = {**keys, name: value}


def check_sizes(place: str, value: Any, where: str) -> None:
    """Raise ConfigError where an integer has more than 64 bits, or lists contain themselves."""
    waiting, seen = [(place, value)], set()
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConfigError(f"{place} in {where} must fit into 64 bits, not be {brief(value)}.")
        if isinstance(value, (dict, list, tuple)):
            if id(value) in seen:
                continue
            seen.add(id(value))
            inner = value.items() if isinstance(value, dict) else ((None, one) for one in value)
            waiting += [(place if key is None else f"{place}.{key}", one) for key, one in inner]


def with_newer_names(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the sections with ``data.split`` and ``data.fractions`` under their newer names."""
    renamed = dict(raw)
    for (section, key), (new_section, new_key) in _OLDER_NAMES.items():
        keys = renamed.get(section)
        if not isinstance(keys, dict) or key not in keys:
            continue
        value = keys[key]
        renamed[section] = {name: keys[name] for name in keys if name != key}
        known = renamed.get(new_section)
        if isinstance(known, dict) and new_key in known:
            raise ConfigError(
                f"{section}.{key} is the older name of {new_section}.{new_key}, which is given, "
                "too; keep one of them."
            )
        set_key(renamed, f"{new_section}.{new_key}", value)
    return renamed


def _parsed(path: Path) -> Any:
    if not is_there(path) or not path.is_file():
        raise ConfigError(f"There is no configuration file {path}; check the path.")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            return _parse_toml(text)
        if path.suffix in (".yaml", ".yml"):
            return parse_yaml(text) or {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        what = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read: {what}.") from error
    raise ConfigError(
        f"A configuration is a .yaml, .yml or .toml file, not {path.name!r}; to evaluate a data "
        "file, name it with --train."
    )


def _parse_toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # an integer of too many digits, a date that is none
        raise yaml.YAMLError(f"a value is not of its form: {error}") from error
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error


def _with_paths(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Resolve relative paths against the folder of the configuration."""
    for section, key in PATHS:
        keys = raw.get(section)
        if isinstance(keys, dict) and isinstance(keys.get(key), str):
            raw = {**raw, section: {**raw[section], key: _resolved(keys[key], folder, key)}}
    return raw


def _resolved(value: str, folder: Path, key: str) -> str:
    if key == "path" and not is_there(folder / value) and is_public(value):
        return value
    return str(folder / os.path.expanduser(value))


def is_there(path: Path) -> bool:
    """Whether there is a file or folder, also of a name that none can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_public(name: str) -> bool:
    """Whether this is the name of a public data set."""
    from whence.data.public import PUBLIC_DATA

    return name in PUBLIC_DATA
