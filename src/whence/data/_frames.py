"""Tables of any library to polars, and back to what the caller gave."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from whence.data._headerless import UNUSED
from whence.data._objects import is_plain, named, plain_table
from whence.errors import DataError, ParameterError, WhenceError


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
    pandas_names : dict
        Column to what it was called, where that was no text.
    """

    backend: str
    pandas_index: Any = None
    pandas_dtypes: Any = None
    pandas_names: Any = None

    def take(self, rows: Any) -> Native:
        """Return the same for some of the rows, given by number."""
        if self.pandas_index is None:
            return self
        return replace(self, pandas_index=self.pandas_index.take(rows))

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
        return table.rename(columns=self.pandas_names) if self.pandas_names else table


def to_polars(frame: Any, names: tuple[str, ...] | None = None) -> tuple[pl.DataFrame, Native]:
    """Read a pandas, polars or pyarrow table, or anything else narwhals takes; or plain objects.

    Parameters
    ----------
    frame : table or object
        Tables of other libraries, such as a relation of DuckDB, come by Arrow's C stream, and
        plain objects by `plain_table`.
    names : tuple of str, optional
        Of the columns, where they have none but their numbers; ``_`` is left out.

    Raises
    ------
    DataError
        It is no table, two columns have one name, a name is no text, or a column has values
        of mixed types.
    ParameterError
        There are names of columns, and the table has its own.
    """
    if is_plain(frame):
        return plain_table(frame, names), Native("polars")
    table, native = _table(frame)
    if native.pandas_names or all(re.fullmatch(r"column_[0-9]+", n) for n in table.columns):
        if names is not None:
            return _renamed(table, native, names)
    elif names is not None:
        shown = ", ".join(map(repr, table.columns[:6]))
        raise ParameterError(
            f"columns is for what has no names of columns, and the table has {shown}; say what "
            "they are by user=..., item=... and the like."
        )
    return table, native


def _renamed(
    table: pl.DataFrame, native: Native, names: tuple[str, ...]
) -> tuple[pl.DataFrame, Native]:
    """Return a table with names for its columns, which had numbers."""
    named(names, table.width)
    kept = [place for place, name in enumerate(names) if name != UNUSED]
    new = {table.columns[place]: names[place] for place in kept}
    table = table.select(pl.col(old).alias(name) for old, name in new.items())
    if native.backend != "pandas":
        return table, native
    were, dtypes = native.pandas_names or {}, native.pandas_dtypes
    return table, replace(
        native,
        pandas_names={new[old]: were.get(old, old) for old in new},
        pandas_dtypes={new[old]: dtypes[old] for old in new},
    )


def _table(frame: Any) -> tuple[pl.DataFrame, Native]:
    if isinstance(frame, pl.DataFrame):
        return frame, Native("polars")
    try:
        if isinstance(frame, pl.LazyFrame):
            return frame.collect(), Native("polars")
        import narwhals as nw  # here: it takes long to load

        if nw.dependencies.is_pandas_dataframe(frame):
            return _from_pandas(frame)
        if nw.dependencies.is_pyarrow_table(frame):
            return nw.from_native(frame, eager_only=True).to_polars(), Native("pyarrow")
        if hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__arrow_c_array__"):
            arrow = type(frame).__module__.partition(".")[0] == "pyarrow"
            return pl.DataFrame(frame), Native("pyarrow" if arrow else "polars")
        wrapped = nw.from_native(frame)
        eager = wrapped.collect() if isinstance(wrapped, nw.LazyFrame) else wrapped
        return eager.to_polars(), Native("polars")
    except WhenceError:
        raise
    except Exception as error:  # each library has errors of its own
        raise DataError(
            f"A pandas, polars or pyarrow table is needed, and {type(frame).__name__} cannot be "
            f"read as one ({_first_line(error)})."
        ) from error


def _from_pandas(frame: Any) -> tuple[pl.DataFrame, Native]:
    given: list[Any] = list(frame.columns)
    if not all(isinstance(name, (str, int, np.integer)) for name in given):
        raise DataError(f"All column names must be text, not {given!r}; rename the columns.")
    names = [str(name) for name in given]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"The table has several columns named {twice[0]!r}; rename all but one.")
    columns = [_from_series(name, frame.iloc[:, place]) for place, name in enumerate(names)]
    dtypes = dict(zip(names, frame.dtypes))
    numbered = {new: old for new, old in zip(names, given) if not isinstance(old, str)}
    return pl.DataFrame(columns), Native("pandas", frame.index, dtypes, numbered)


def _from_series(name: str, values: Any) -> pl.Series:
    try:
        # nan_to_null is off so that a NaN among numeric ids or times can be named as such.
        return pl.Series(name, pl.from_pandas(values, nan_to_null=False))
    except ImportError:
        raise
    except Exception as error:  # pyarrow and polars each raise their own kinds here
        raise DataError(
            f"Column {name!r} has values of mixed or unknown types ({_first_line(error)}); "
            "cast it to one type or leave it out."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")
