"""Which sources to remove, and the interactions that are left without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution.record import OWN_COLUMNS
from whence.data import Interactions
from whence.data._frames import to_polars
from whence.data.vocabulary import family
from whence.errors import (
    ColumnError,
    DataError,
    ParameterError,
    check_float,
    check_int,
    did_you_mean,
)

if TYPE_CHECKING:
    from whence.attribution import Attribution

Positions = npt.NDArray[np.int64]


def lowest(
    attribution: Attribution,
    *,
    fraction: float | None = None,
    n: int | None = None,
    below: float | None = None,
    standard_errors: float | None = None,
) -> Positions:
    """Choose the sources to remove: positions in the table, lowest total first.

    Raises
    ------
    ParameterError
        If not exactly one of `fraction`, `n`, `below` is given (none is enough where
        `standard_errors` is), or one is out of range.
    """
    check_amount(fraction=fraction, n=n, below=below, standard_errors=standard_errors)
    order = attribution.order()
    if standard_errors is not None or below is not None:
        order = order[_is_below(attribution, below or 0.0, standard_errors)[order]]
    if fraction is not None:
        # A hair is added so that 0.07 of 100 sources is 7 of them in binary arithmetic, too.
        return order[: int(fraction * len(attribution) + 1e-9)]
    if n is not None:
        return order[: check_int("n", n, 0, len(attribution))]
    return order


def check_amount(
    *,
    fraction: float | None = None,
    n: int | None = None,
    below: float | None = None,
    standard_errors: float | None = None,
) -> None:
    """Refuse what does not say how much is to be removed, before anything is read.

    Raises
    ------
    ParameterError
        As `lowest`.
    """
    amounts = {"fraction": fraction, "n": n, "below": below}
    given = [name for name, value in amounts.items() if value is not None]
    if len(given) > 1 or (not given and standard_errors is None):
        got = f"not by {len(given)} of them" if given else "and none is given"
        raise ParameterError(
            f"Say how much to remove by exactly one of fraction=…, n=… and below=…, {got}."
        )
    if fraction is not None:
        check_float("fraction", fraction, 0.0, 1.0)
    if n is not None:
        check_int("n", n, 0)
    if below is not None:
        check_float("below", below)
    if standard_errors is not None:
        check_float("standard_errors", standard_errors, 0.0)


def without(attribution: Attribution, interactions: Any, removed: Positions) -> Any:
    """Return the interactions (any kind of table) without the rows of the removed sources.

    Raises
    ------
    DataError
        If the table does not hold the sources, or holds ids of another type.
    """
    if isinstance(interactions, Interactions):
        column = _column(attribution, interactions.frame.columns, interactions)
        gone = _rows_of(attribution, removed, interactions.frame, column)
        return interactions.keep_rows(~gone)
    import narwhals as nw

    native = nw.from_native(interactions)
    table = native.collect() if isinstance(native, nw.LazyFrame) else native
    column = _column(attribution, table.columns, None)
    wanted = _identifying(attribution, table.columns) if column is None else [column]
    frame, _ = to_polars(table.select(wanted or table.columns[:1]).to_native())
    gone = _rows_of(attribution, removed, frame, column)
    kept = table.filter((~gone).tolist())
    if isinstance(native, nw.LazyFrame):
        return kept.lazy().to_native()
    return kept.to_native()


def _is_below(
    attribution: Attribution, below: float, standard_errors: float | None
) -> npt.NDArray[np.bool_]:
    errors = attribution.total_errors
    if standard_errors is None or errors is None:  # exact values are beyond doubt
        return attribution.totals < below
    return attribution.totals + standard_errors * errors < below


def _column(
    attribution: Attribution, columns: list[str], interactions: Interactions | None
) -> str | None:
    """Column of the interactions that holds the sources; None where sources are rows."""
    if attribution.source == "row":
        return None
    source = attribution.column
    if source in columns:
        return source
    if interactions is not None:  # the same role under another name, as in a file renamed since
        roles = interactions.columns
        role = {"session": roles.source, "user": roles.user or roles.source, "item": roles.item}
        column = role.get(str(attribution.metadata.get("by")))
        if column is not None:
            return column
    raise ColumnError(
        f"The interactions have no column {source!r}, which identifies the sources; their columns "
        f"are {', '.join(map(repr, columns))}.{did_you_mean(source, columns)}"
    )


def _identifying(attribution: Attribution, columns: list[str]) -> list[str]:
    """Columns of the interactions that a table of single rows carries beside the row numbers."""
    found = attribution.frame.columns
    return [name for name in found if name in columns and name not in OWN_COLUMNS]


def _rows_of(
    attribution: Attribution, removed: Positions, frame: pl.DataFrame, column: str | None
) -> npt.NDArray[np.bool_]:
    """Mask of the rows of `frame` that belong to the removed sources."""
    if column is None:
        return _by_row_number(attribution, removed, frame)
    ids, rows = attribution.ids, frame.get_column(column)
    if family(ids.dtype) != family(rows.dtype):
        raise DataError(
            f"The values are of {attribution.noun} with ids of type {ids.dtype}, but column "
            f"{column!r} of the interactions is {rows.dtype}; cast one of them to the other."
        )
    if len(ids) and not rows.is_in(ids.implode()).any():
        raise DataError(
            f"None of the {len(ids)} {attribution.noun} with a value is in column {column!r} of "
            "the interactions; give the training data that the values were computed from."
        )
    return rows.is_in(ids.gather(removed).implode()).to_numpy()


def _by_row_number(
    attribution: Attribution, removed: Positions, frame: pl.DataFrame
) -> npt.NDArray[np.bool_]:
    numbers = attribution.ids.to_numpy()
    known = _identifying(attribution, frame.columns)
    fits = len(numbers) == 0 or numbers.max() < frame.height
    if fits and known:
        fits = frame.select(known)[numbers].equals(attribution.frame.select(known))
    if not fits:
        raise DataError(
            "The values are of single rows of another table than this one; give the training "
            "table that they were computed from, its rows in the same order."
        )
    gone = np.zeros(frame.height, dtype=bool)
    gone[numbers[removed]] = True
    return gone
