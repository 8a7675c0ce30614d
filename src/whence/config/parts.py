"""The interactions that a configuration names: read, filtered and split."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.data import Interactions
from whence.errors import ColumnError, ConfigError, DataError, DataWarning

if TYPE_CHECKING:
    from whence.config.loading import Config

_COLUMNS = ("session", "user", "item", "time", "basket", "rating", "negatives")
_HOW = ("columns", "time_format", "separator", "format", "ties")


@dataclass(frozen=True)
class Parts:
    """The interactions that a configuration names.

    Attributes
    ----------
    train : Interactions
    validation, test : Interactions or None
    sustainable_items : list, series or None
    split : str or None
        How the parts were split; None where they are files of their own.
    notes : tuple of str
        What the filters dropped, and what the split means.
    items : list, series or None
        The only items that may be recommended.
    """

    train: Interactions
    validation: Interactions | None
    test: Interactions | None
    sustainable_items: Any = None
    split: str | None = None
    notes: tuple[str, ...] = ()
    items: Any = None


def read_parts(config: Config) -> Parts:
    """Read the interactions that a configuration names.

    Raises
    ------
    ConfigError
        If no data is named, or too much of it.
    WhenceError
        If a file cannot be read, or does not hold what the model learns from.
    """
    from whence.data.tables import read_ids
    from whence.evaluation._names import external_ids

    data = config.data
    _check_files(config)
    validation = None if data.validation is None else _interactions(data.validation, config)
    test = None if data.test is None else _interactions(data.test, config)
    method: str | None = config.split.method
    given = _given(config)
    if given is not None:
        (whole, validation, test), method = given, "given"
        train, notes = _filtered(whole, config)
    elif data.path is not None or (validation is None and method is not None):
        train, notes = _filtered(_interactions(str(data.path or data.train), config), config)
        method = method or _usual_split(train)
        whole, chosen = train, config.split.method is not None
        train, *others = _split(train, method, config)
        # A part of no share has no rows.
        validation, found, *_ = [one if one.n_rows else None for one in others] + [None]
        test = test if test is not None else found
        notes += _about_split(whole, train, others, method, chosen)
    else:
        train, notes = _filtered(_interactions(str(data.train), config), config)
        method = None
    if data.unknown == "keep":
        train, note = _with_unknown_items(train, validation, test, config)
        notes += note
    sustainable, items = (
        external_ids(read_ids(listed, train.columns.item)) if isinstance(listed, str) else listed
        for listed in (data.sustainable_items, config.evaluation.items)
    )
    return Parts(train, validation, test, sustainable, method, notes, items)


def read_more(path: str, config: Config) -> Interactions:
    """Read one more file with the columns that a configuration names."""
    return _interactions(path, config)


def reading(config: Config) -> dict[str, Any]:
    """How files are read but for the names of columns, as arguments of `read_interactions`."""
    return {**config.data.model_dump(include=set(_HOW)), "seed": config.data.order_seed}


def _check_files(config: Config) -> None:
    data = config.data
    if data.path is None and data.train is None:
        raise ConfigError(
            "No data is given; name a file to be split with --data or data.path, or a training "
            "file with --train or data.train."
        )
    others = [name for name in ("train", "validation", "test") if getattr(data, name) is not None]
    if data.path is not None and others:
        raise ConfigError(
            f"data.path is split into all parts, but data.{others[0]} is given, too; give only "
            "one of them."
        )


def _interactions(file: str, config: Config) -> Interactions:
    data = config.data
    named = {**data.model_dump(include=set(_COLUMNS)), **reading(config)}
    if file in (data.path, data.train):
        named["memory_map"] = data.memory_map
    wanted = data.kind or config.model.kind
    _name_what_is_read(file, config)
    try:
        found = _read(file, data.kind, named)
    except ColumnError:
        if wanted is None or data.kind is not None:
            raise
        found = _read(file, wanted, named)  # where both kinds are possible
    return _fitting(found, file, config)


def _name_what_is_read(file: str, config: Config) -> None:
    """Say which file is read where a folder is given for a part of the data."""
    if file == config.data.path or not Path(file).is_dir():
        return
    from whence.data._folders import find_files

    names = [path.name for path in find_files(Path(file), config.data.format, folders=True).files]
    warnings.warn(
        f"{file} is a folder, of which {names[0]}"
        f"{f' and {len(names) - 1} more files are' if names[1:] else ' is'} read.",
        DataWarning,
        stacklevel=2,
    )


def _given(config: Config) -> tuple[Interactions, Interactions | None, Interactions | None] | None:
    """The parts that a folder has as files of their own, where they are to be taken."""
    from whence.data.given_splits import find_splits, read_splits

    data, split = config.data, config.split
    if split.files is not None and split.method not in (None, "given"):
        raise ConfigError(
            f"split.files names the files of given parts, but split.method is {split.method}; "
            "leave one of them out."
        )
    wanted = split.method == "given" or split.files is not None
    if data.path is None:
        if wanted:
            raise ConfigError("The given split is that of a folder; name it with data.path.")
        return None
    folder = Path(data.path).expanduser()
    if not wanted and (
        split.method is not None or not folder.is_dir() or find_splits(folder) is None
    ):
        return None
    if data.memory_map is not None:
        raise ConfigError(
            "data.memory_map maps one file, and data.path is a folder that is split already; name "
            "its files with data.train and data.validation, or leave it out."
        )
    named = {**data.model_dump(include=set(_COLUMNS)), **reading(config)}
    train, *others = read_splits(folder, split.files, kind=data.kind, **named)
    validation, test = (None if one is None else _fitting(one, data.path, config) for one in others)
    return _fitting(train, data.path, config), validation, test


def _fitting(found: Interactions, file: str, config: Config) -> Interactions:
    """Return interactions of the kind that the model learns from, with tables, by rating."""
    data = config.data
    wanted = data.kind or config.model.kind
    if wanted is not None and found.kind != wanted:
        other = "tifu" if found.kind == "baskets" else "vmis"
        raise DataError(
            f"{file} holds {found.kind}, but model {config.model.name!r} learns from {wanted}; "
            f"use --model {other}, or name the {wanted[:-1]} column."
        )
    if data.item_table is not None or data.user_table is not None:
        found = found.with_tables(items=data.item_table, users=data.user_table)
    if data.described:
        from whence.data.filters import filter_described

        found, _ = filter_described(found)
    if data.min_rating is not None or data.max_rating is not None:
        from whence.data.filters import filter_ratings

        found, _ = filter_ratings(found, at_least=data.min_rating, at_most=data.max_rating)
    return found


def _read(file: str, kind: str | None, named: dict[str, Any]) -> Interactions:
    from whence.config.reading import is_public
    from whence.data import read_interactions

    if Path(file).exists() or not is_public(file):
        return read_interactions(file, kind=kind, **named)
    from whence.data.public import load

    if named.get("memory_map") is not None:
        raise ConfigError(
            f"data.memory_map is for files, and {file} is a public data set, which fits in memory; "
            "leave it out."
        )
    order = {"ties": named["ties"], "seed": named["seed"]}
    found = load(file, **order)
    columns = {role: named[role] for role in (*_COLUMNS, "columns") if named[role] is not None}
    if not columns:
        return found
    again = Interactions.from_frame(found.frame, kind=kind, **columns, **order)
    return again.with_tables(items=found.item_table, users=found.user_table)


def _filtered(train: Interactions, config: Config) -> tuple[Interactions, tuple[str, ...]]:
    """Drop short and long sources, then rare users and items; say what was dropped."""
    from whence.data.filters import filter_core, filter_duplicates, filter_length

    data, notes = config.data, []
    if data.duplicates is not None:
        train, dropped = filter_duplicates(train, keep=data.duplicates)
        notes.append(f"The {data.duplicates} of repeated rows: {dropped}")
    if data.min_length is not None or data.max_length is not None:
        train, dropped = filter_length(train, at_least=data.min_length, at_most=data.max_length)
        notes.append(f"{_bounds(data.min_length, data.max_length)}: {dropped}")
    if data.min_per_user is not None or data.min_per_item is not None:
        users, items = data.min_per_user or 0, data.min_per_item or 0
        train, dropped = filter_core(train, users=users, items=items)
        notes.append(f"{users} rows per {train.columns.source}, {items} per item: {dropped}")
    return train, tuple(notes)


def _with_unknown_items(
    train: Interactions,
    validation: Interactions | None,
    test: Interactions | None,
    config: Config,
) -> tuple[Interactions, tuple[str, ...]]:
    """The training data, knowing the items of the others; and how many of those it has not."""
    from whence.data._further import numbered_by_id

    if config.model.name != "vmis":
        raise ConfigError(
            f"data.unknown: keep is for vmis, and the model is {config.model.name}; say ignore or "
            "drop."
        )
    others = [part for part in (validation, test) if part is not None]
    known = numbered_by_id(train, others)
    n_more = known.n_items - train.n_items
    if not n_more:
        return known, ()
    note = f"{n_more:,} items are in the evaluation data only; they stay in histories"
    return known, (note,)


def _bounds(low: int | None, high: int | None) -> str:
    if low is None or high is None:
        return f"Length at most {high}" if low is None else f"Length at least {low}"
    return f"Length {low} to {high}"


def _usual_split(data: Interactions) -> str:
    """The split of data for which none is chosen."""
    if data.kind == "baskets":
        return "leave-one-out"
    if not data.by_user:
        return "temporal"
    return "rows" if data.columns.time is None else "leave-one-out"


def _about_split(
    whole: Interactions,
    train: Interactions,
    others: list[Interactions],
    method: str,
    chosen: bool,
) -> tuple[str, ...]:
    """What a split of rows of users does that may not be meant."""
    if not whole.by_user:
        return ()
    time = whole.columns.time
    if time is None and method == "rows" and not chosen:
        return (
            "There is no column of times, so rows are split at random, whatever their order; if "
            "they are in order of time, say --split leave-one-out or --split time.",
        )
    held = [part.frame[time].min() for part in others if time is not None and part.n_rows]
    if method not in ("leave-one-out", "last") or not held:
        return ()
    later = int((train.frame[str(time)] > min(held)).sum())  # type: ignore[type-var]
    if not later:
        return ()
    return (
        f"The training data looks ahead: {later:,} of its {train.n_rows:,} rows are later than "
        "the first row that is held out, and so in the future of other users; --split time keeps "
        "to the order of time.",
    )


def _split(data: Interactions, method: str, config: Config) -> tuple[Interactions, ...]:
    from whence.data import splits

    wanted = config.split
    if method == "last":
        return splits.split_last(data, wanted.n)
    if method == "leave-one-out":
        return splits.split_leave_one_out(data)
    if method == "random":
        return splits.split_random(data, wanted.fractions, seed=wanted.seed)
    if method == "rows":
        return splits.split_rows(
            data, wanted.fractions, seed=wanted.seed, per_source=wanted.per_user is not False
        )
    if method == "time":
        each = wanted.per_user is True
        return splits.split_time(data, wanted.fractions, at=wanted.at, per_source=each)
    return splits.split_temporal(data, wanted.fractions, at=wanted.at)
