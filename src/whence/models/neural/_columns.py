"""Values of a column as numbers that a network can take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.errors import ColumnError, DataError, did_you_mean

FloatArray = npt.NDArray[np.float32]

CATEGORY, BAG, NUMBER = "category", "bag", "number"
_FEW_INTEGERS = 32


@dataclass(frozen=True)
class Column:
    """How the values of a column become numbers.

    Attributes
    ----------
    name : str
    kind : str
        ``"category"``, ``"bag"`` (of several values) or ``"number"``.
    values : list of str
        Of categories and bags: those known, numbered from 1; 0 is none of them.
    width : int
        Places of a row: of a bag as many as the largest has, else 1.
    mean, spread : float
        Of numbers, which are scaled by them to mean 0 and standard deviation 1; the spread is 0
        where no number is known.
    """

    name: str
    kind: str
    values: list[str]
    width: int = 1
    mean: float = 0.0
    spread: float = 1.0

    @classmethod
    def learned(cls, column: pl.Series, kind: str, *, in_order: bool = True) -> Column:
        """From the values that a column has.

        Parameters
        ----------
        column : polars.Series
        kind : str
        in_order : bool
            Whether values are numbered by first appearance; else they are sorted.
        """
        if kind == NUMBER:
            numbers = _as_numbers(column)
            known = numbers[np.isfinite(numbers)]
            if not len(known):
                return cls(column.name, kind, [], spread=0.0)
            spread = float(known.std()) or 1.0
            return cls(column.name, kind, [], mean=float(known.mean()), spread=spread)
        row, flat = _flattened(_as_lists(column))
        values = flat.unique(maintain_order=True)
        width = max(1, int(np.bincount(row).max(initial=0)))
        return cls(
            column.name, kind, (values if in_order else values.sort()).to_list(), width=width
        )

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Column:
        """What `entry` was made of.

        Raises
        ------
        ValueError
            If it cannot be.
        """
        found = cls(**entry)
        texts = isinstance(found.values, list) and all(isinstance(v, str) for v in found.values)
        numbers = all(isinstance(n, (int, float)) for n in (found.mean, found.spread, found.width))
        if not texts or not numbers or found.kind not in (CATEGORY, BAG, NUMBER):
            raise ValueError(f"{found.name!r} is no column")
        return found

    @property
    def entry(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def coded(self, column: pl.Series) -> FloatArray:
        """Numbers float32 [n, width] of the values of a column.

        Categories and bags: numbers of values, padded with 0; values that are not known are none.
        Numbers: scaled, and 0 where they are not known.

        Raises
        ------
        DataError
            If numbers are wanted and there is not one.
        """
        if self.kind != NUMBER:
            return self._numbered(column)
        numbers = _as_numbers(column)
        known = np.isfinite(numbers)
        if not known.any() and column.null_count() < len(column) and not column.dtype.is_numeric():
            raise DataError(
                f"Column {self.name!r} holds numbers in the training data, but "
                f"{column.dtype} here, such as {column.drop_nulls()[0]!r}; give numbers."
            )
        scaled = np.where(known, (numbers - self.mean) / (self.spread or 1.0), 0.0)
        return scaled.astype(np.float32)[:, None]

    def _numbered(self, column: pl.Series) -> FloatArray:
        row, flat = _flattened(_as_lists(column))
        known = pl.Series(self.values, dtype=pl.String)
        codes = flat.cast(pl.Enum(known), strict=False).to_physical()
        there = codes.is_not_null().to_numpy()
        row, numbers = row[there], codes.drop_nulls().to_numpy() + 1
        counts = np.bincount(row, minlength=len(column))
        place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
        inside = place < self.width
        padded = np.zeros((len(column), self.width), dtype=np.float32)
        padded[row[inside], place[inside]] = numbers[inside]
        return padded

    def text(self, numbers: FloatArray) -> Any:
        """The value that `coded` makes such numbers of, None where it is not known."""
        if self.kind == NUMBER:
            return float(numbers[0]) * self.spread + self.mean
        found = [self.values[int(number) - 1] for number in numbers if number > 0]
        if self.kind == CATEGORY:
            return found[0] if found else None
        return found or None


def chosen_kinds(
    table: pl.DataFrame, names: Sequence[str], wanted: Sequence[str] | None, what: str
) -> dict[str, str]:
    """Columns of a table that are used, with what each is taken for.

    Parameters
    ----------
    table : polars.DataFrame
    names : sequence of str
        Columns that may be used.
    wanted : sequence of str, optional
        Columns that are asked for; by default those that are usable, see `usable_kind`.
    what : {"user", "item", "context"}
        Of what they are features.

    Raises
    ------
    ColumnError
        If a column is not in the table.
    DataError
        If one cannot be used.
    """
    if wanted is None:
        kinds = {name: usable_kind(table[name]) for name in names}
        return {name: kind for name, kind in kinds.items() if kind is not None}
    return {name: _named_kind(table, name, names, what) for name in wanted}


def usable_kind(column: pl.Series) -> str | None:
    """What a column is taken for if it is not asked for by name, None if it is not taken.

    Texts and truth values are categories, texts with ``|`` between several values and lists of
    texts or integers are bags, floats and times are numbers; integers are categories if there are
    at most 32 different ones, else numbers. Not taken are columns with a single value, and
    categories and bags with more different values than half of the rows, such as titles.
    """
    kind = _kind(column)
    if kind is None:
        return None
    if kind == NUMBER:
        known = _as_numbers(column)
        known = known[np.isfinite(known)]
        return kind if len(known) and np.ptp(known) > 0 else None
    n_values = _as_lists(column).explode().drop_nulls().n_unique()
    return kind if 2 <= n_values <= len(column) / 2 else None


def _named_kind(table: pl.DataFrame, name: str, names: Sequence[str], what: str) -> str:
    home = "table of interactions" if what == "context" else f"{what} table"
    if name not in names:
        raise ColumnError(
            f"The {home} has no column {name!r}; it has {', '.join(names) or 'none'}."
            f"{did_you_mean(name, names)}"
        )
    kind = _kind(table[name])
    if kind is None:
        raise DataError(
            f"Column {name!r} of the {home} holds {table[name].dtype}, which is neither "
            f"text, number nor list of texts; leave it out of {what}_features, or cast it."
        )
    return kind


def _kind(column: pl.Series) -> str | None:
    dtype = column.dtype
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        return BAG if inner == pl.String or inner.is_integer() else None
    if dtype == pl.String:
        return BAG if column.str.contains("|", literal=True).any() else CATEGORY
    if dtype == pl.Boolean or isinstance(dtype, (pl.Categorical, pl.Enum)):
        return CATEGORY
    if dtype.is_integer():
        return CATEGORY if column.drop_nulls().n_unique() <= _FEW_INTEGERS else NUMBER
    return NUMBER if dtype.is_float() or dtype.is_temporal() else None


def _as_lists(column: pl.Series) -> pl.Series:
    """Every value as a list of texts, an empty text being none."""
    if isinstance(column.dtype, pl.List):
        lists = column.cast(pl.List(pl.String))
    elif column.dtype == pl.String:
        lists = column.str.split("|")
    else:
        if column.dtype.is_float() and (column.drop_nulls() % 1 == 0).all():
            column = column.cast(pl.Int64, strict=False)  # integers, as pandas has them with nulls
        lists = column.cast(pl.String).reshape((-1, 1)).arr.to_list()
    return lists.fill_null([]).list.eval(pl.element().filter(pl.element() != ""))


def _flattened(lists: pl.Series) -> tuple[npt.NDArray[np.int64], pl.Series]:
    """Row and value of each distinct value of each list."""
    flat = pl.DataFrame({"row": np.arange(len(lists)), "value": lists}).explode("value")
    flat = flat.drop_nulls().unique(maintain_order=True)
    return flat["row"].to_numpy(), flat["value"]


def _as_numbers(column: pl.Series) -> npt.NDArray[np.float64]:
    if column.dtype.is_temporal():
        column = column.to_physical()
    return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


def are_names(names: Iterable[Any]) -> bool:
    """Whether these are names of columns in a list."""
    return isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
