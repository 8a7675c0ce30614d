"""Tables of any library to polars, and back to what the caller gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from whence.errors import DataError


@dataclass(frozen=True, eq=False)
class Native:
    """What is needed to give a table back as the caller's own type.

    Attributes
    ----------
    backend : {"polars", "pandas", "pyarrow"}
    pandas_index : pandas.Index or None
        One label per row.
    pandas_dtypes : dict
        Column to the dtype it had.
    """

    backend: str
    pandas_index: Any = None
    pandas_dtypes: Any = None

    def take(self, rows: Any) -> Native:
        """Return the same for some of the rows, given by number."""
        if self.pandas_index is None:
            return self
        return Native(self.backend, self.pandas_index.take(rows), self.pandas_dtypes)

    def restore(self, frame: pl.DataFrame) -> Any:
        """Return a polars frame as the caller's type, index and dtypes included."""
        if self.backend == "pyarrow":
            return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self.backend != "pandas":
            return frame
        table = frame.to_pandas()
        changed = {
            name: dtype
            for name, dtype in self.pandas_dtypes.items()
            if name in table.columns and table[name].dtype != dtype
        }
        if changed:
            table = table.astype(changed)
        if self.pandas_index is not None:
            table.index = self.pandas_index
        return table


def to_polars(frame: Any) -> tuple[pl.DataFrame, Native]:
    """Read a pandas, polars or pyarrow table, or anything else narwhals takes.

    Raises
    ------
    DataError
        It is no table, two columns have one name, a name is no text, or a column has values
        of mixed types.
    """
    if isinstance(frame, pl.DataFrame):
        return frame, Native("polars")
    if isinstance(frame, pl.LazyFrame):
        return frame.collect(), Native("polars")
    import narwhals as nw  # here: it takes long to load

    if nw.dependencies.is_pandas_dataframe(frame):
        return _from_pandas(frame)
    try:
        wrapped = nw.from_native(frame)
        eager = wrapped.collect() if isinstance(wrapped, nw.LazyFrame) else wrapped
        backend = "pyarrow" if eager.implementation is nw.Implementation.PYARROW else "polars"
        return eager.to_polars(), Native(backend)
    except (TypeError, ValueError, pl.exceptions.PolarsError, nw.exceptions.NarwhalsError) as error:
        raise DataError(
            f"A pandas, polars or pyarrow table is needed, and {type(frame).__name__} cannot be "
            f"read as one ({_first_line(error)})."
        ) from error


def _from_pandas(frame: Any) -> tuple[pl.DataFrame, Native]:
    names = list(frame.columns)
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"All column names must be text, not {names!r}; rename the columns.")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"The table has several columns named {twice[0]!r}; rename all but one.")
    columns = []
    for name in names:
        try:
            # nan_to_null is off so that a NaN among numeric ids or times can be named as such.
            columns.append(pl.Series(name, pl.from_pandas(frame[name], nan_to_null=False)))
        except ImportError:
            raise
        except Exception as error:  # pyarrow and polars each raise their own kinds here
            raise DataError(
                f"Column {name!r} has values of mixed or unknown types ({_first_line(error)}); "
                "cast it to one type or leave it out."
            ) from error
    native = Native("pandas", frame.index, dict(frame.dtypes))
    return pl.DataFrame(columns), native


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")
