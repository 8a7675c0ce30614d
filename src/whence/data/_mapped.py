"""Tables and arrays in files that are mapped into memory: read when needed, given back when not."""

from __future__ import annotations

import importlib.util
import os
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whence.data._text import SEPARATORS
from whence.data.columns import is_usual_name
from whence.data.files import UNREADABLE
from whence.data.formats import ending_of
from whence.errors import FileFormatError, UnsupportedError

_BINARY = {".parquet": pl.scan_parquet, ".pq": pl.scan_parquet}
_BINARY |= dict.fromkeys((".arrow", ".feather", ".ipc"), pl.scan_ipc)  # type: ignore[arg-type]
_TEXT = (".csv", ".tsv")


def mapped_table(
    paths: Sequence[Path], folder: Path, named: Collection[str], separator: str | None = None
) -> pl.DataFrame:
    """Copy the columns in use of a file into a folder, part after part, and map the copy.

    Parameters
    ----------
    paths : sequence of Path
        Parquet, Arrow, or CSV and TSV with a header line; parts of one table.
    folder : Path
        Made where it is missing.
    named : collection of str
        Columns that the caller names; others are kept where their name is a usual one.
    separator : str, optional
        Of text.

    Raises
    ------
    UnsupportedError
        The file is compressed, or of another format, or pyarrow is not installed.
    FileFormatError
        There is no such file, or it cannot be read.
    """
    for path in paths:
        if ending_of(path) not in (*_BINARY, *_TEXT) or path.suffix in (".gz", ".zst"):
            raise UnsupportedError(
                f"{path} cannot be mapped into memory, only .parquet, .arrow, .csv and .tsv files "
                "that are not compressed; leave memory_map out, or write it as Parquet."
            )
        if not path.is_file():
            raise FileFormatError(f"{path} does not exist; give the path of a file.")
    if importlib.util.find_spec("pyarrow") is None:
        raise UnsupportedError(
            "memory_map needs pyarrow, which is not installed; install it with pip install "
            "'whence[pandas]', or leave memory_map out."
        )
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".rows.{uuid.uuid4().hex[:8]}.part"
    try:
        lazy = _scanned(paths, separator)
        names = lazy.collect_schema().names()
        used = [name for name in names if name in named or is_usual_name(name)]
        lazy = lazy.select(used or names)
        if ending_of(paths[0]) in _TEXT:
            lazy = _typed(lazy)
        lazy.sink_ipc(temporary, compression="uncompressed", maintain_order=True)
        return _by_column(temporary, folder)
    except UNREADABLE as error:
        raise FileFormatError(
            f"{paths[0]} cannot be read ({str(error).strip().splitlines()[0].rstrip('.')}); write "
            "or fetch it again, or leave memory_map out."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _by_column(path: Path, folder: Path) -> pl.DataFrame:
    """Return the table of an Arrow file, each of its columns mapped from a file of its own.

    So that a column is in one piece, of which arrays are views; text is in the memory.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {}
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        for number, field in enumerate(reader.schema):
            parts = [reader.get_batch(n).column(number) for n in range(reader.num_record_batches)]
            n_rows = sum(map(len, parts))
            fixed = pa.types.is_primitive(field.type) and not pa.types.is_boolean(field.type)
            if not fixed or any(part.null_count for part in parts) or not n_rows:
                whole = pl.from_arrow(pa.chunked_array(parts, type=field.type))
                columns[field.name] = whole.clone().rechunk()
                continue
            width = field.type.bit_width // 8
            own = folder / f"column-{number}.bin"
            temporary = own.with_name(f".{own.name}.{uuid.uuid4().hex[:8]}.part")
            with temporary.open("wb") as file:
                for part in parts:
                    values = part.buffers()[1]
                    file.write(values.slice(part.offset * width, len(part) * width))
            os.replace(temporary, own)
            with pa.memory_map(str(own)) as kept:
                values = kept.read_buffer()
            array = pa.Array.from_buffers(field.type, n_rows, [None, values])
            columns[field.name] = pl.from_arrow(array)
    return pl.DataFrame({name: column.rename(name) for name, column in columns.items()})


def _scanned(paths: Sequence[Path], separator: str | None) -> pl.LazyFrame:
    ending = ending_of(paths[0])
    if ending in _BINARY:
        return pl.concat([_BINARY[ending](path) for path in paths])
    if separator is None:
        with paths[0].open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline()
        separator = max(SEPARATORS, key=header.count)
    return pl.concat([pl.scan_csv(path, separator=separator, infer_schema=False) for path in paths])


def _typed(lazy: pl.LazyFrame) -> pl.LazyFrame:
    """Make integers and floats of columns of text where all rows are, by reading them once more.

    As `infer_types` does: integers are those that Python would print so.
    """
    names = lazy.collect_schema().names()
    checks: dict[str, pl.Expr] = {}
    for name in names:
        text = pl.col(name)
        whole = text.cast(pl.Int64, strict=False)
        same = (whole.cast(pl.String) == text).fill_null(text.is_null()).all()
        number = text.cast(pl.Float64, strict=False).is_null() == text.is_null()
        checks[f"integer {name}"] = same
        checks[f"float {name}"] = number.all() & ~text.str.contains("^0[0-9]").any()
    found = lazy.select(**checks).collect(engine="streaming").row(0, named=True)
    usual = {"time", "timestamp", "rating"}
    columns = []
    for name in names:
        if found[f"integer {name}"]:
            columns.append(pl.col(name).cast(pl.Int64))
        elif found[f"float {name}"] and _is_measure(name, usual):
            columns.append(pl.col(name).cast(pl.Float64))
        else:
            columns.append(pl.col(name))
    return lazy.select(columns)


def _is_measure(name: str, usual: set[str]) -> bool:
    """Whether a column is one of times or ratings, and so no id, which stays as it is written."""
    plain = name.lower().replace("_", "").replace(" ", "")
    return any(word in plain for word in usual)


def mapped(name: str, array: NDArray[Any], folder: Path) -> NDArray[Any]:
    """Write an array into a folder; return it mapped."""
    folder.mkdir(parents=True, exist_ok=True)
    return map_array(array, folder / f"{name}.npy")


def in_memory(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that is named as for `mapped`, as it is."""
    return array


def map_array(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Write an array to a file; return it mapped, read-only."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    # A plain array over the map: parts of the subclass take longer to make.
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)).view(np.ndarray)
