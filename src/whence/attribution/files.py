"""Attributions in files: Parquet with everything inside, or CSV with JSON beside it."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution.record import BACKENDS, OWN_COLUMNS, plain_values, wrong_entry
from whence.data.files import (
    UNREADABLE,
    atomic_path,
    read_parquet_with_metadata,
    write_parquet_with_metadata,
)
from whence.errors import FileFormatError, OutputExistsError

if TYPE_CHECKING:
    from whence.attribution.result import Attribution

_FORMAT = "whence-attribution-1"
_HEADER = {"source": str, "backend": str, "schema": dict, "metadata": dict}
_NUMBERS = ("score", "std_error", "own_score", "own_std_error")


def save(attribution: Attribution, path: Path, *, overwrite: bool) -> Path:
    """Write an attribution to ``.parquet`` or ``.csv``; see `Attribution.save`."""
    header = _header(attribution)
    if path.suffix == ".parquet":
        entries = {"whence": json.dumps(header)}
        if attribution.state is not None:
            entries["whence.state"] = _pack(attribution.state)
        return write_parquet_with_metadata(attribution.frame, path, entries, overwrite=overwrite)
    if path.suffix == ".csv":
        beside = path.with_suffix(".json")
        if beside.exists() and not overwrite:
            raise OutputExistsError(
                f"{beside} exists already; choose another name or ask to overwrite it."
            )
        with atomic_path(path, overwrite=overwrite) as temporary:
            attribution.frame.write_csv(temporary)
            with atomic_path(beside, overwrite=overwrite) as header_file:
                header_file.write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
        return path
    raise FileFormatError(
        f"Values are written to a .parquet or a .csv file, not to {path.name!r}; change the ending."
    )


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, as the arguments of `Attribution`; see `Attribution.load`."""
    if path.suffix == ".csv":
        header = _read_header(path)
        table, packed = _read_csv(path, header["schema"]), None
    else:
        table, entries = read_parquet_with_metadata(path)
        header, packed = _check_header(entries.get("whence"), path), entries.get("whence.state")
    _check_table(table, header["source"], path)
    return {
        "table": table,
        "source": header["source"],
        "metadata": header["metadata"],
        "backend": header["backend"],
        "state": None if packed is None else _unpack(packed, path),
    }


def _header(attribution: Attribution) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "source": attribution.source,
        "backend": attribution.backend,
        "schema": {name: str(dtype) for name, dtype in attribution.frame.schema.items()},
        "metadata": plain_values(attribution.metadata),
    }


def _check_header(text: str | None, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(text or "null")
        ours = header["format"] == _FORMAT and all(
            isinstance(header.get(name), kind) for name, kind in _HEADER.items()
        )
    except UNREADABLE:
        ours = False
    if not ours:
        raise FileFormatError(
            f"{path} does not hold values saved by Whence; give a file written by `whence value` "
            "or Attribution.save."
        )
    checked: dict[str, Any] = header
    wrong = wrong_entry(checked["metadata"])
    if wrong is None and checked["backend"] not in BACKENDS:
        wrong = f"has {checked['backend']!r} as its 'backend'"
    if wrong is None and checked["source"] in OWN_COLUMNS[1:]:
        wrong = f"has {checked['source']!r} as its 'source'"
    if wrong is not None:
        raise FileFormatError(f"{path} is damaged: it {wrong}; save the values again.")
    return checked


def _check_table(table: pl.DataFrame, source: str, path: Path) -> None:
    missing = [name for name in (source, "score") if name not in table.columns]
    if missing:
        raise FileFormatError(
            f"{path} lacks the column {missing[0]!r} that it was saved with; save the values again."
        )
    numbers = [name for name in _NUMBERS if name in table.columns]
    for name in numbers:
        if not table.schema[name].is_numeric():
            raise FileFormatError(
                f"{path} is damaged: its column {name!r} holds {table.schema[name]}, not numbers; "
                "save the values again."
            )
    if source in numbers or table.schema[source].is_nested():
        raise FileFormatError(
            f"{path} is damaged: its column {source!r} holds no ids; save the values again."
        )


def _read_header(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    for file in (path, beside):
        if not file.is_file():
            raise FileFormatError(
                f"There is no file {file}; a .csv of values is read together with the .json that "
                "was saved beside it."
            )
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(
            f"{beside} cannot be read ({error}); save the values again."
        ) from error
    return _check_header(text, beside)


def _read_csv(path: Path, schema: dict[str, str]) -> pl.DataFrame:
    simple = {name: getattr(pl, str(dtype), None) for name, dtype in schema.items()}
    # Types with parameters (dates with a time zone, enumerations) are left to what polars infers.
    known = {
        name: dtype
        for name, dtype in simple.items()
        if isinstance(dtype, type) and issubclass(dtype, pl.DataType)
    }
    try:
        return pl.read_csv(path, schema_overrides=known, try_parse_dates=True)
    except UNREADABLE as error:
        raise FileFormatError(
            f"{path} is not a readable CSV file of values; save the values again."
        ) from error


def _pack(state: dict[str, npt.NDArray[Any]]) -> str:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **state)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _unpack(packed: str, path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(io.BytesIO(base64.b64decode(packed, validate=True))) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except UNREADABLE as error:
        raise FileFormatError(
            f"The state to resume from in {path} is damaged; run the method anew without resuming."
        ) from error
