"""Groups of queries in a report: of those who ask, and of what was to be found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.evaluation.result import clustered_error

if TYPE_CHECKING:
    from whence.data import Interactions
    from whence.evaluation import Queries

_NORMAL = 1.959964
_BINS = 4
_MOST_GROUPS, _MOST_COLUMNS = 12, 4


def groupings(train: Interactions, queries: Queries) -> dict[str, pl.Series]:
    """Groups of queries by name: null where a query is in none."""
    known = queries.history_end - queries.history_start
    if queries.kind == "baskets":
        counts = np.diff(train.sequences.offsets)
        known = np.where(queries.users >= 0, counts[queries.users], 0)
    first = queries.target_items[queries.target_start]
    popularity = np.bincount(train.item_codes, minlength=train.n_items)
    seen = np.where(first >= 0, popularity[np.maximum(first, 0)], 0)
    what = "known rows of who asks" if queries.kind != "sessions" else "length of the beginning"
    found = {
        f"activity ({what})": binned(known),
        "popularity of the next item (rows in the training data)": binned(seen),
    }
    tables = ((train.user_table, train.source_ids, queries.users, "of the user"),
              (train.item_table, train.item_ids, first, "of the next item"))  # fmt: skip
    for side, ids, codes, whose in tables:
        if side is None or not (codes >= 0).any():
            continue
        wanted = pl.DataFrame({side.columns[0]: ids.gather(np.maximum(codes, 0))})
        wanted = wanted.with_columns(pl.col(side.columns[0]).cast(side.dtypes[0], strict=False))
        joined = wanted.join(side, on=side.columns[0], how="left", maintain_order="left")
        usable = [column for column in side.columns[1:] if _is_usable(joined[column])]
        for column in usable[:_MOST_COLUMNS]:
            groups = _of_column(joined[column])
            found[f"{column} {whose}"] = pl.Series(
                [group if code >= 0 else None for group, code in zip(groups, codes)],
                dtype=pl.String,
            )
    return found


def _is_usable(column: pl.Series) -> bool:
    if column.dtype == pl.List(pl.String):
        column = column.list.first()
    elif column.dtype.is_nested():
        return False
    return column.dtype.is_numeric() or 2 <= column.n_unique() <= 3 * _MOST_GROUPS


def _of_column(column: pl.Series) -> pl.Series:
    """Groups of a column: bins of numbers, the most frequent values of texts."""
    if column.dtype.is_numeric() and column.n_unique() > _MOST_GROUPS:
        return binned(column.to_numpy())
    if column.dtype.is_nested():  # a sequence of words: the first is the main one
        column = column.list.first()
    text = column.cast(pl.String)
    most = text.value_counts(sort=True).drop_nulls().head(_MOST_GROUPS)
    return text.set(~text.is_in(most.to_series(0).implode()) & text.is_not_null(), "others")


def binned(values: npt.ArrayLike) -> pl.Series:
    """Return groups of about equal size, in words.

    Examples
    --------
    >>> binned([1, 1, 2, 3, 4, 5, 6, 7]).to_list()
    ['1', '1', '2 to 3', '2 to 3', '4 to 5', '4 to 5', '6 to 7', '6 to 7']
    """
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    if not len(finite):
        return pl.Series([None] * len(array), dtype=pl.String)
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, _BINS + 1)[1:-1], method="lower"))
    number = np.searchsorted(edges, array, side="left")
    names: dict[int, str] = {}
    for one in np.unique(number[np.isfinite(array)]):
        own = array[(number == one) & np.isfinite(array)]
        low, high = _plain(own.min()), _plain(own.max())
        names[int(one)] = low if low == high else f"{low} to {high}"
    return pl.Series(
        [names[int(n)] if np.isfinite(v) else None for n, v in zip(number, array)], dtype=pl.String
    )


def _plain(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:.3g}"


def grouped(
    values: npt.NDArray[np.float64], groups: pl.Series, clusters: npt.NDArray[np.int64]
) -> pl.DataFrame:
    """Return the mean of values by group, with its 95% interval.

    Parameters
    ----------
    values : float64 [n]
    groups : polars.Series [n]
        Null for those in none.
    clusters : int64 [n]
        Within which values are not independent.

    Returns
    -------
    polars.DataFrame
        ``group``, ``mean``, ``low``, ``high``, ``queries``, ``sources``; in the order of the
        numbers that the groups begin with, or by size.
    """
    rows = []
    for name in groups.drop_nulls().unique(maintain_order=True):
        mask = (groups == name).fill_null(False).to_numpy()
        own = np.unique(clusters[mask], return_inverse=True)[1]
        mean, error = float(values[mask].mean()), clustered_error(values[mask], own)
        half = None if error is None else _NORMAL * error
        rows.append({
            "group": name, "mean": mean, "low": None if half is None else mean - half,
            "high": None if half is None else mean + half, "queries": int(mask.sum()),
            "sources": int(own.max()) + 1,
        })  # fmt: skip
    schema = {"group": pl.String, "mean": pl.Float64, "low": pl.Float64, "high": pl.Float64,
              "queries": pl.Int64, "sources": pl.Int64}  # fmt: skip
    rows.sort(key=lambda row: (_leading(row["group"]), -row["queries"]))
    return pl.DataFrame(rows, schema=schema)


def _leading(name: str) -> float:
    try:
        return float(name.partition(" to ")[0].replace(",", ""))
    except ValueError:
        return 0.0
