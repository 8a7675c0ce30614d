"""Cleaning with a record: what was removed, why, and how to take it back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whence._html import ShownAsTable
from whence._words import counted, plural_of
from whence.attribution import Attribution, as_backend
from whence.curation import oddities
from whence.curation.detection import suspicious
from whence.data import Interactions, write_interactions
from whence.data.files import atomic_path
from whence.data.vocabulary import as_ids, family
from whence.errors import (
    UNREADABLE,
    DataError,
    FileFormatError,
    OutputExistsError,
    ParameterError,
    check_path,
)

_LOG, _REMOVED, _ABOUT = "actions.csv", "removed.parquet", "cleaning.json"
_PLACE = "__row"
"""Column of the place of a removed row in the table that it was removed from."""


@dataclass(frozen=True)
class Cleaning(ShownAsTable):
    """Data without what was removed, and the record of it.

    Attributes
    ----------
    data : polars.DataFrame
        What is left, in the order of the rows.
    actions : polars.DataFrame
        One row per source that was removed, in the order of the actions: ``action``, its id,
        ``reason`` ("value", "duplicate", "bot" or "named"), ``why`` as a sentence, ``n_rows``, and
        ``score`` and ``std_error`` where it has a value.
    removed : polars.DataFrame
        The rows that were removed.
    column : str
        Of the sources in the data.
    backend : str
        Kind of data frame that the caller works with.
    """

    data: pl.DataFrame
    actions: pl.DataFrame
    removed: pl.DataFrame
    column: str
    backend: str = "polars"

    def __repr__(self) -> str:
        noun = plural_of(self.column.removesuffix("_id"))
        return (
            f"<Cleaning: {counted(self.actions.height, noun)} and "
            f"{counted(self.removed.height, 'rows')} removed, {self.data.height:,} rows left>"
        )

    def to_frame(self) -> pl.DataFrame:
        """The actions."""
        return self.actions

    def cleaned(self) -> Any:
        """Return the data that are left, as the caller's kind of data frame."""
        return as_backend(self.data, self.backend)

    def explain(self, source: Any) -> str:
        """Say why a source was removed, or that it was not.

        Raises
        ------
        DataError
            If it was in the data neither before nor after.
        """
        ids = self._ids([source])
        mine = self.actions.filter(pl.col(self._id).is_in(ids.implode()))
        if mine.is_empty():
            if self.data[self.column].is_in(ids.implode()).any():
                return f"{source} was not removed."
            raise DataError(f"{source!r} was never in the data that were cleaned.")
        row = mine.row(0, named=True)
        rows = counted(row["n_rows"], "rows")
        return f"{source} was removed with {rows} by action {row['action']}: {row['why']}."

    def undo(self, sources: Iterable[Any] | None = None) -> Cleaning:
        """Take actions back.

        Parameters
        ----------
        sources : iterable of ids, optional
            Whose rows return to where they were; all by default.

        Returns
        -------
        Cleaning
            With the rows in their old places, and without these actions.

        Raises
        ------
        DataError
            If one was not removed.
        """
        chosen = self.actions[self._id] if sources is None else self._ids(list(sources))
        strangers = chosen.filter(~chosen.is_in(self.actions[self._id].implode()))
        if len(strangers):
            raise DataError(f"{strangers[0]!r} was not removed, so that there is nothing to undo.")
        back = self.removed[self.column].is_in(chosen.implode())
        n = self.data.height + self.removed.height
        left = np.delete(np.arange(n), self.removed[_PLACE].to_numpy())
        whole = pl.concat(
            [
                self.data.with_columns(pl.Series(_PLACE, left)),
                self.removed.filter(back).select([*self.data.columns, _PLACE]),
            ]
        ).sort(_PLACE)
        still = self.removed.filter(~back)
        # Places among the rows that there are now, and those that are still away, are as before.
        return Cleaning(
            whole.drop(_PLACE),
            self.actions.filter(~pl.col(self._id).is_in(chosen.implode())),
            still,
            self.column,
            self.backend,
        )

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write the data, the actions and the removed rows into a folder.

        Raises
        ------
        OutputExistsError
            If the folder has a cleaning and `overwrite` is false.
        """
        folder = check_path("folder", folder)
        if (folder / _ABOUT).exists() and not overwrite:
            raise OutputExistsError(f"{folder} holds a cleaning; choose another folder.")
        folder.mkdir(parents=True, exist_ok=True)
        write_interactions(self.data, folder / "data.parquet", overwrite=True)
        write_interactions(self.data, folder / "data.csv", overwrite=True)
        write_interactions(self.removed, folder / _REMOVED, overwrite=True)
        write_interactions(self.actions, folder / "actions.parquet", overwrite=True)
        write_interactions(self.actions, folder / _LOG, overwrite=True)
        with atomic_path(folder / _ABOUT, overwrite=True) as path:
            path.write_text(json.dumps({"column": self.column}) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Cleaning:
        """Read what `save` wrote.

        Raises
        ------
        FileFormatError
            If something is missing or damaged.
        """
        folder = check_path("folder", folder)
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            data, actions, removed = (
                pl.read_parquet(folder / name)
                for name in ("data.parquet", "actions.parquet", _REMOVED)
            )
            found = cls(data, actions, removed, str(about["column"]))
            removed.select([*data.columns, _PLACE])
            actions.select("action", "reason", "why", "n_rows", found._id)
        except (*UNREADABLE, pl.exceptions.PolarsError) as error:
            raise FileFormatError(
                f"{folder} is no folder that whence clean wrote, or something in it is damaged."
            ) from error
        return found

    @property
    def _id(self) -> str:
        """Column of the ids among the actions."""
        return self.actions.columns[1]

    def _ids(self, sources: list[Any]) -> pl.Series:
        known = self.data[self.column]
        ids = as_ids(sources)
        if family(ids.dtype) != family(known.dtype):
            try:
                return ids.cast(known.dtype)
            except pl.exceptions.PolarsError as error:
                raise DataError(
                    f"{sources[0]!r} is no id of these data, whose {self.column} is {known.dtype}."
                ) from error
        return ids


_ACTION = ("action", "reason", "why", "n_rows", "score", "std_error")


def clean(
    data: Any,
    values: Attribution | None = None,
    *,
    level: float | None = 0.05,
    fraction: float | None = None,
    duplicates: bool = False,
    bots: bool = False,
    named: Iterable[Any] | None = None,
) -> Cleaning:
    """Remove what is probably corrupted, and keep a record by which each removal can be undone.

    Parameters
    ----------
    data : Interactions or table
        Sessions or users with their items.
    values : Attribution, optional
        Of the sessions or users; those that `find_corrupted` lists are removed.
    level : float, optional
        Of `find_corrupted`: how probable it may be that any value is taken for negative and is not.
    fraction : float, optional
        Remove this share of the lowest values instead.
    duplicates, bots : bool
        Remove what `find_duplicates` and `find_bots` list.
    named : iterable of ids, optional
        Remove these.

    Returns
    -------
    Cleaning

    Raises
    ------
    ParameterError
        If nothing says what to remove.
    DataError
        If the values are of other sources, an id is not in the data, or nothing would be left.

    Examples
    --------
    >>> import whence
    >>> made = whence.make_sessions(n_sessions=300, n_validation=100, n_items=100, seed=1)
    >>> model = whence.VMISKNN(k=20, m=50).fit(made.train)
    >>> values = whence.LeaveOneOut("mrr@20").attribute(model, made.validation)
    >>> cleaning = whence.clean(made.train, values, fraction=0.01)
    >>> first = cleaning.actions["session_id"][0]
    >>> cleaning.undo([first]).data.height - cleaning.data.height == cleaning.actions["n_rows"][0]
    True
    """
    if values is None and not duplicates and not bots and named is None:
        raise ParameterError(
            "Nothing says what to remove: give values, duplicates=True, bots=True or named=[...]."
        )
    interactions = Interactions.from_frame(data)
    frame = interactions.frame
    column = interactions.columns.source
    name = interactions.columns.beside(column, _ACTION)
    known = interactions.source_ids
    parts: list[pl.DataFrame] = []
    if named is not None:
        given = as_ids(list(named))
        ids = given.cast(known.dtype, strict=False)
        strangers = given.filter(ids.is_null() | ~ids.is_in(known.implode()))
        if len(strangers):
            raise DataError(f"{strangers[0]!r} is not in column {column!r} of the data.")
        parts.append(_action(name, ids, "named", ["it was named"] * len(ids)))
    for wanted, reason, find in (
        (duplicates, "duplicate", oddities.duplicates),
        (bots, "bot", oddities.bots),
    ):
        if wanted:
            found = find(interactions)
            parts.append(_action(name, found.to_series(0), reason, found["why"].to_list()))
    if values is not None:
        parts.append(_by_value(interactions, values, name, level, fraction))
    actions = pl.concat(parts).unique(name, keep="first", maintain_order=True)
    gone = frame[column].is_in(actions[name].implode())
    if gone.all():
        raise DataError("Nothing would be left of the data; remove less of them.")
    counts = frame[column].value_counts()
    n_rows = actions[name].replace_strict(counts[column], counts["count"], return_dtype=pl.Int64)
    actions = actions.with_columns(n_rows=n_rows).select(
        pl.int_range(1, actions.height + 1, dtype=pl.Int64).alias("action"),
        name, "reason", "why", "n_rows", "score", "std_error",
    )  # fmt: skip
    places = pl.Series(_PLACE, np.flatnonzero(gone.to_numpy()))
    removed = frame.filter(gone).with_columns(places)
    return Cleaning(frame.filter(~gone), actions, removed, column, interactions.backend)


def _action(name: str, ids: pl.Series, reason: str, why: list[str]) -> pl.DataFrame:
    return pl.DataFrame({name: ids, "reason": [reason] * len(ids), "why": why}).with_columns(
        pl.col("reason", "why").cast(pl.String),
        score=pl.lit(None, dtype=pl.Float64),
        std_error=pl.lit(None, dtype=pl.Float64),
    )


def _by_value(
    data: Interactions, values: Attribution, name: str, level: float | None, fraction: float | None
) -> pl.DataFrame:
    """Actions on sources of low value, the lowest first."""
    positions, _ = suspicious(values, fraction=fraction, level=level if fraction is None else None)
    ids = values.ids.gather(positions)
    theirs = values.ids
    if family(theirs.dtype) != family(data.source_ids.dtype) or not (
        theirs.is_in(data.source_ids.implode()).all()
    ):
        raise DataError(
            f"The values are of {values.noun} that are not all in the data; give the data that "
            "they were computed from."
        )
    scores, errors = values.totals[positions], values.total_errors
    metric = values.metadata.get("metric")
    of = f" for {metric}" if metric else ""
    table = _action(
        name,
        ids.cast(data.source_ids.dtype),
        "value",
        [
            f"its value{of} is {score:.2e}"
            + ("" if errors is None else f", with a standard error of {errors[place]:.1e}")
            for score, place in zip(scores, positions)
        ],
    )
    table = table.with_columns(score=pl.Series(scores, dtype=pl.Float64))
    if errors is not None:
        table = table.with_columns(std_error=pl.Series(errors[positions], dtype=pl.Float64))
    return table
