"""How unwilling users are to have each interaction used: β, from 0 (use it) to 1 (do not)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions
from whence.errors import (
    ColumnError,
    DataError,
    ParameterError,
    check_float,
    check_int,
    did_you_mean,
)

FloatArray = npt.NDArray[np.float64]
_STREAM = 0xBE7A
PLACE = "whence row"
"""Column with the number of a row in the file that it came from, where files are masked."""


def violations(train: Interactions, willingness: Any) -> FloatArray:
    """β of each row of the training table, checked.

    Parameters
    ----------
    train : Interactions
    willingness : str, or numbers [n_rows]
        Name of a column of the training data, or the numbers themselves in the order of its rows.

    Returns
    -------
    float64 [n_rows]

    Raises
    ------
    ColumnError
        If there is no such column.
    DataError
        If a number is missing or not from 0 to 1, or there are not as many as rows.
    """
    if isinstance(willingness, str):
        if willingness not in train.frame.columns:
            columns = [name for name in train.frame.columns if name != PLACE]
            raise ColumnError(
                f"The training data has no column {willingness!r} of willingness violations; its "
                f"columns are {', '.join(columns)}.{did_you_mean(willingness, columns)}"
            )
        column = train.frame[willingness]
        if not column.dtype.is_numeric():
            raise DataError(
                f"Column {willingness!r} holds {column.dtype}, but a willingness violation is a "
                "number from 0 (use it) to 1 (do not use it)."
            )
        numbers = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    else:
        numbers = np.asarray(willingness, dtype=np.float64)
    if numbers.shape != (train.n_rows,):
        raise DataError(
            f"There are {numbers.size} willingness violations for {train.n_rows} rows of training "
            "data; give one for each row, in the order of the table."
        )
    wrong = np.flatnonzero(~((numbers >= 0) & (numbers <= 1)))
    if len(wrong):
        value, row = numbers[wrong[0]], int(wrong[0])
        what = "is missing" if np.isnan(value) else f"is {value:g}"
        raise DataError(
            f"The willingness violation of row {row} {what} ({len(wrong)} such rows); each must be "
            "a number from 0 (use it) to 1 (do not use it)."
        )
    return np.ascontiguousarray(numbers)


def willingness_by_category(
    train: Interactions,
    rules: Mapping[Any, float],
    *,
    column: str,
    default: float = 0.0,
    separator: str | None = None,
) -> FloatArray:
    """β from a rule per category of items, such as ``{"Horror": 1.0}``.

    Parameters
    ----------
    train : Interactions
        With the column in its own table or in its item table (`Interactions.with_tables`).
    rules : mapping of category to float
    column : str
        Holds a category, or a list of them; of several the largest β counts.
    default : float
        β of categories without a rule, and of items without a category.
    separator : str, optional
        Between the categories of one text.

    Returns
    -------
    float64 [n_rows]

    Raises
    ------
    ColumnError
        If there is no such column.
    ParameterError
        If a β is not from 0 to 1.

    Examples
    --------
    >>> import polars as pl
    >>> seen = pl.DataFrame({"user": [1, 1], "item": ["a", "b"], "genre": ["Drama", "Horror"]})
    >>> train = Interactions.from_frame(seen)
    >>> willingness_by_category(train, {"Horror": 1.0}, column="genre").tolist()
    [0.0, 1.0]
    """
    table = {key: check_float(f"rules[{key!r}]", value, 0.0, 1.0) for key, value in rules.items()}
    check_float("default", default, 0.0, 1.0)
    values = _categories(train, column)
    if separator is not None:
        values = values.cast(pl.String).str.split(separator)

    def worst(category: Any) -> float:
        several = category if isinstance(category, (list, pl.Series)) else [category]
        return max((table.get(one, default) for one in several), default=default)

    return np.array([worst(category) for category in values.to_list()], dtype=np.float64)


def simulate_willingness(
    train: Interactions, *, mean: float = 0.5, spread: float = 1.0, seed: int = 42
) -> FloatArray:
    """β drawn at random: some users are more reserved than others, some items more sensitive.

    ``β = σ(logit(mean) + spread (a_u + b_i + e) )`` with independent standard normal a for each
    user, b for each item and e for each row.

    Parameters
    ----------
    train : Interactions
    mean : float
        β of an average user, item and row, between 0 and 1.
    spread : float
        Of the three normal parts.
    seed : int

    Returns
    -------
    float64 [n_rows]
    """
    check_int("seed", seed, minimum=0)
    check_float("spread", spread, minimum=0.0)
    if not 0.0 < check_float("mean", mean, 0.0, 1.0) < 1.0:
        raise ParameterError(f"mean must be between 0 and 1, both excluded, not {mean!r}.")
    rng = np.random.default_rng([seed, _STREAM])
    users, items = rng.normal(size=train.n_sources), rng.normal(size=train.n_items)
    rows = rng.normal(size=train.n_rows)
    rows[train.rows] += users[train.source_codes] + items[train.item_codes]
    result: FloatArray = 1.0 / (1.0 + (1.0 - mean) / mean * np.exp(-spread * rows))
    return result


def _categories(train: Interactions, column: str) -> pl.Series:
    """Category of each row of the training table."""
    if column in train.frame.columns:
        return train.frame[column]
    items = train.item_table
    if items is not None and column in items.columns:
        name = items.columns[0]
        joined = train.frame.select(pl.col(train.columns.item).alias(name)).join(
            items.select(name, column), on=name, how="left", maintain_order="left"
        )
        return joined[column]
    known = [*train.frame.columns, *(items.columns if items is not None else [])]
    raise ColumnError(
        f"Neither the training data nor its table of items has a column {column!r}; their columns "
        f"are {', '.join(known)}.{did_you_mean(column, known)}"
    )
