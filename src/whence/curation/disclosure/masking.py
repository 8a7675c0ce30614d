"""Some rows of a file, in the format that the file has."""

from __future__ import annotations

import bz2
import gzip
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import read_table, write_interactions
from whence.data._compression import read_bytes
from whence.data._folders import find_files
from whence.data.files import atomic_path
from whence.errors import DataError, FileFormatError

_BINARY = (".parquet", ".pq", ".arrow", ".feather", ".ipc")


@dataclass(frozen=True)
class RowFile:
    """A file with one line, or one record, for each row of a table.

    Attributes
    ----------
    path : Path
    n_rows : int
    """

    path: Path
    n_rows: int

    @classmethod
    def of(cls, path: str | Path, n_rows: int) -> RowFile:
        """The file that a table of so many rows was read from, or the one in that folder.

        Raises
        ------
        FileFormatError
            If it is not one row per line, perhaps after a header.
        """
        where = find_files(Path(path), folders=True)
        if where.parts:
            raise FileFormatError(
                f"{path} consists of {len(where.parts):,} files; write their rows to one, as CSV, "
                "Parquet or .inter, first."
            )
        source = where.data
        if source.suffix.lower() in (".zst", ".zip"):
            raise FileFormatError(
                f"{source} is compressed in a way that is not written here; decompress it first."
            )
        found = cls(source, n_rows)
        if not found._is_binary and len(found._lines()) - n_rows not in (0, 1):
            raise FileFormatError(
                f"{source} is not a file of one row per line, so that single rows cannot be left "
                "out of it; write it as CSV, Parquet or .inter first."
            )
        return found

    def keep(
        self, mask: npt.NDArray[np.bool_], target: str | Path, *, overwrite: bool = False
    ) -> Path:
        """Write the rows where `mask` holds: their lines as they are, after the same header.

        Parameters
        ----------
        mask : bool [n_rows]
        target : path
            With the ending of the source.
        overwrite : bool

        Raises
        ------
        DataError
            If the mask is for another number of rows.
        OutputExistsError
            If the target is there and `overwrite` is false.
        """
        if mask.shape != (self.n_rows,):
            raise DataError(
                f"The mask is for {mask.size} rows, but {self.path} has {self.n_rows}; give one "
                "value for each row of the file."
            )
        if self._is_binary:
            kept = read_table(self.path).filter(pl.Series(mask))
            return write_interactions(kept, target, overwrite=overwrite)
        lines = self._lines()
        head = len(lines) - self.n_rows
        chosen = [*lines[:head], *(lines[head + k] for k in np.flatnonzero(mask))]
        content = b"".join(
            line if line.endswith((b"\n", b"\r")) else line + b"\n" for line in chosen
        )
        ending = self.path.suffix.lower()
        if ending == ".gz":
            content = gzip.compress(content, mtime=0)
        elif ending in (".bz2", ".xz"):
            content = (bz2 if ending == ".bz2" else lzma).compress(content)
        with atomic_path(Path(target), overwrite=overwrite) as temporary:
            temporary.write_bytes(content)
        return Path(target)

    @property
    def _is_binary(self) -> bool:
        return self.path.suffix.lower() in _BINARY

    def _lines(self) -> list[Any]:
        return [line for line in read_bytes(self.path).splitlines(keepends=True) if line.strip()]
