"""Formats of files: one entry each, with its endings, how it is told, parsed and written.

A format of another package is one call of `register_format`, at import or by an entry point of
the group ``whence.formats``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from whence.data import _text
from whence.data._compression import ENDINGS as COMPRESSED
from whence.data._lines import decode_titles
from whence.errors import FileFormatError, ParameterError, check_choice
from whence.registry import Registry


@dataclass(frozen=True)
class Source:
    """A file that is to be parsed.

    Attributes
    ----------
    path : Path
        For its name, and for messages.
    content : bytes
        Decompressed.
    separator : str or None
        Between columns, where the caller says so.
    latin : bool
        Whether it may be text in latin-1, as tables of titles are.
    columns : tuple of str or None
        Names of all columns, where the caller says that the file has none.
    name : Path or None
        What the file is called without its compression; `path` if absent.
    """

    path: Path
    content: bytes
    separator: str | None = None
    latin: bool = False
    columns: tuple[str, ...] | None = None
    name: Path | None = None

    @cached_property
    def text(self) -> str:
        """The content as text.

        Raises
        ------
        FileFormatError
            If it is no text.
        """
        if self.latin or ending_of(self.name or self.path) in (".item", ".user"):
            return decode_titles(self.content, self.path)
        return _text.decode(self.content, self.path)

    @property
    def first_line(self) -> str:
        """The first line that is not empty."""
        return _text.first_line(self.text)


Parse = Callable[[Source], Any]
Sniff = Callable[[Source], bool]
Write = Callable[[Any, Path], None]


@dataclass(frozen=True)
class Format:
    """A format of files; see `register_format`."""

    name: str
    endings: tuple[str, ...] = ()
    parse: Parse | None = None
    write: Write | None = None
    sniff: Sniff | None = None
    typed: bool = True
    written_endings: tuple[str, ...] = ()
    compressed: bool = False
    write_files: Callable[[Any, Path, bool], None] | None = None
    takes_names: bool = False

    def takes(self, source: Source) -> bool:
        """Whether a file is of this format whatever its ending says."""
        try:
            return self.sniff is not None and self.sniff(source)
        except FileFormatError:  # no text
            return False

    @property
    def writes(self) -> bool:
        """Whether it can be written."""
        return self.write is not None or self.write_files is not None

    @property
    def reads(self) -> bool:
        """Whether it can be read."""
        return self.parse is not None


FORMATS: Registry[Format] = Registry(
    "format", homes=("whence.data.table_formats",), group="whence.formats"
)


def register_format(
    name: str,
    *,
    endings: tuple[str, ...] = (),
    sniff: Sniff | None = None,
    parse: Parse | None = None,
    write: Write | None = None,
    typed: bool = True,
    written_endings: tuple[str, ...] | None = None,
    compressed: bool = False,
    write_files: Callable[[Any, Path, bool], None] | None = None,
    takes_names: bool = False,
) -> Format:
    """Make a format known to `whence.read_interactions` and `whence.write_interactions`.

    Parameters
    ----------
    name : str
        What ``format=`` calls it.
    endings : tuple of str
        Of files that are read so, such as ``(".log",)``.
    sniff : callable, optional
        ``sniff(source) -> bool``: whether a file is of this format whatever its ending says; only
        for what cannot be anything else.
    parse : callable, optional
        ``parse(source) -> table``: `Source` has ``path``, ``content`` (bytes), ``text`` and
        ``separator``; the table is a data frame of any kind.
    write : callable, optional
        ``write(table, path)``: a polars.DataFrame, and a temporary name to write it to.
    typed : bool
        Whether the table's columns have their types; else they are text, of which numbers and
        times are recognised.
    written_endings : tuple of str, optional
        Endings that are written so; those of `endings` if absent.
    compressed : bool
        Whether a name may end in ``.gz``; what `write` wrote is compressed then.
    write_files : callable, optional
        ``write_files(interactions, path, overwrite)`` instead of `write`, for formats of several
        files, which are whole or not there.
    takes_names : bool
        Whether a file may lack names of columns, which are then `Source.columns`.

    Returns
    -------
    Format

    Raises
    ------
    ParameterError
        If there is such a format, or an ending belongs to another.

    Examples
    --------
    >>> import polars as pl
    >>> def parse(source):
    ...     pairs = [line.split("->") for line in source.text.splitlines()]
    ...     return pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
    >>> register_format("arrows", endings=(".arrows",), parse=parse).name
    'arrows'
    """
    written = endings if write or write_files else ()
    if written_endings is not None:
        written = written_endings
    entry = Format(
        name, endings, parse, write, sniff, typed, written, compressed, write_files, takes_names
    )
    for other in FORMATS.loaded():
        shared = set(endings) & set(FORMATS[other].endings)
        if shared and other != name:
            raise ParameterError(
                f"Files that end in {min(shared)} are read as {other!r} already; register "
                f"{name!r} with other endings."
            )
    return FORMATS.add(name, entry)


def format_to_read(path: Path, format: str | None) -> Format:
    """Return the format that is asked for, or that a file's ending says.

    Raises
    ------
    ParameterError
        If there is no such format.
    FileFormatError
        If the ending is not known.
    """
    if format is not None:
        return _named(format, "reads")
    ending = ending_of(path)
    for name in FORMATS.names():
        if ending in FORMATS[name].endings:
            return FORMATS[name]
    known = [one for name in FORMATS.names() for one in FORMATS[name].endings]
    raise FileFormatError(
        f"The format of {path} is not known by its ending; it should be one of "
        f"{', '.join(known)} (or these with {', '.join(COMPRESSED)}), or say format=..."
    )


def format_to_write(path: Path, format: str | None) -> Format:
    """Return the format that is asked for, or that a file's ending says.

    Raises
    ------
    ParameterError
        If there is no such format.
    FileFormatError
        If the ending is not known, or the format cannot be compressed.
    """
    ending, compressed = ending_of(path), path.suffix.lower() == ".gz"
    chosen = None if format is None else _named(format, "writes")
    for name in FORMATS.names() if chosen is None else ():
        if ending in FORMATS[name].written_endings:
            chosen = FORMATS[name]
    if chosen is None or (compressed and not chosen.compressed):
        entries = [entry for _, entry in FORMATS.items()]
        usual = [entry.written_endings[0] for entry in entries if entry.written_endings]
        packed = [
            e.written_endings[0] + ".gz" for e in entries if e.written_endings and e.compressed
        ]
        *first, last = [*usual, *packed]
        raise FileFormatError(
            f"{path} cannot be written; choose a name that ends in {', '.join(first)} or {last}."
        )
    return chosen


def _named(format: str, able: str) -> Format:
    choices = [name for name, entry in FORMATS.items() if getattr(entry, able)]
    return FORMATS[check_choice("format", format, choices)]


def ending_of(path: Path) -> str:
    """Return the ending of a file's name in lower case, that of compression left out."""
    endings = [suffix.lower() for suffix in path.suffixes]
    if endings and endings[-1] in COMPRESSED:
        endings.pop()
    return endings[-1] if endings else ""
