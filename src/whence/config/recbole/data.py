"""RecBole's keys about files and rows: which columns are read, and which rows are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.config.recbole.values import interval, minimum, truth
from whence.errors import ConfigError

if TYPE_CHECKING:
    from whence.config.recbole.translation import Translation

Handler = Callable[["Translation", Any], None]


def dataset(found: Translation, value: Any) -> None:
    """Find the data: a folder of the name in ``data_path``, or a public data set."""
    from whence.config.reading import is_public, is_there

    name = value or found.raw.get("dataset")
    if found.raw.get("benchmark_filename") is None and not found.data:
        place = _folder(found, name)
        public = name is not None and is_public(name) and not is_there(place)
        found.set("data.path", name if public else str(place))


def benchmark(found: Translation, value: Any) -> None:
    """Take files that are split already: ``[train, valid, test]``."""
    parts = ("train", "validation", "test")
    if not isinstance(value, (list, tuple)) or len(value) != len(parts):
        raise ConfigError(
            "benchmark_filename must name three parts, such as [train, valid, test], not "
            f"{value!r}."
        )
    if found.is_sequential:
        raise ConfigError(
            f"benchmark_filename of RecBole has histories as lists for {found.name}, which are not "
            "read; give whole rows to be split, or train, validation and test data by their keys."
        )
    name = found.raw.get("dataset")
    folder = Path(found.data) if found.data else _folder(found, name)
    name = folder.name if name is None or found.data else name
    for part, suffix in zip(parts, value):
        found.set(f"data.{part}", str(folder / f"{name}.{suffix}.inter"))


def _folder(found: Translation, name: Any) -> Path:
    from whence.config.reading import is_there

    base = Path(found.raw.get("data_path") or "dataset")
    places = [base / name, Path(name)] if name else [base]
    for root in (found.folder, Path()):
        for place in places:
            if is_there(root / place):
                return root / place
    return found.folder / places[0]


def column(role: str) -> Handler:
    """Name a column, if it is loaded at all."""

    def name_it(found: Translation, value: Any) -> None:
        loaded, unloaded = (_inter(found, key) for key in ("load_col", "unload_col"))
        if (loaded is None or value in loaded) and value not in (unloaded or ()):
            found.set(f"data.{role}", value)

    return name_it


def _inter(found: Translation, key: str) -> Any:
    value = found.raw.get(key)
    return value.get("inter") if isinstance(value, Mapping) else None


def bounds(found: Translation, value: Any) -> None:
    """Take ``{rating: "[3,inf)"}``."""
    rating = found.raw.get("RATING_FIELD") or "rating"
    for name, written in value.items():
        if name != rating:
            raise ConfigError(
                f"val_interval of {name!r} is not offered, only that of the rating ({rating!r}); "
                "filter the file by the column."
            )
        if found.is_split:
            continue
        for place, bound in zip(("data.min_rating", "data.max_rating"), interval(written)):
            if bound is not None:
                found.set(place, bound)


def at_least(found: Translation, value: Any) -> None:
    """Take ``{rating: 3}``."""
    bounds(found, {name: f"[{float(low)},inf)" for name, low in value.items()})


def duplicates(found: Translation, value: Any) -> None:
    """Keep the first or the last of the rows of a user and an item."""
    bounded = next((key for key in ("val_interval", "lowest_val") if found.raw.get(key)), None)
    if bounded is not None and not found.is_split:
        raise ConfigError(
            f"rm_dup_inter with {bounded} is not offered: RecBole removes repeated rows first, and "
            "here those out of bounds are; take one of them out, and do it to the file."
        )
    if not found.is_split:
        found.set("data.duplicates", value)


def core(place: str) -> Handler:
    """Take the least number of interactions of an interval, for a key of Whence."""

    def bound(found: Translation, value: Any) -> None:
        least = minimum(value)
        if not found.is_split:
            found.set(place, least)

    return bound


def features(found: Translation, value: Any) -> None:
    """Take the columns of users and items that RecBole loads, for the model that looks at them."""
    if found.model != "widedeep" or not isinstance(value, Mapping):
        return
    for side, key in (("user", "USER_ID_FIELD"), ("item", "ITEM_ID_FIELD")):
        columns = value.get(side, [])
        if columns is not None and columns != "*":
            id_name = found.raw.get(key) or f"{side}_id"
            found.set(f"model.{side}_features", [name for name in columns if name != id_name])


def described(found: Translation, value: Any) -> None:
    """Drop rows whose user or item the files beside lack, if those are loaded."""
    loaded = found.raw.get("load_col") or {}
    beside = isinstance(loaded, Mapping) and bool({"user", "item"} & loaded.keys())
    if truth("filter_inter_by_user_or_item", value) and beside and not found.is_split:
        found.set("data.described", True)
