"""Text files without guesses that lose ids: separators, headers, sessions per line, columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from whence.data._times import NULLS
from whence.data._warning import warn
from whence.data.columns import is_usual_name
from whence.errors import FileFormatError, ParameterError

SEPARATORS = ("\t", ",", ";", "|")
_SAMPLED_LINES = 50
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")
_MOMENT = re.compile(r"(1[0-9]{9}|[89][0-9]{8})([0-9]{3})?(\.[0-9]+)?")  # (milli)seconds since 1970
_ASCENDING = 8  # steps upwards, which sessions take by chance once in 40,000 times
_MAGIC = {
    b"\x1f\x8b": "gzip-compressed (rename it to end in .gz)",
    b"PAR1": "a Parquet file (rename it to end in .parquet)",
    b"ARROW1": "an Arrow file (rename it to end in .arrow)",
    b"PK\x03\x04": "a zip archive (rename it to end in .zip)",
    b"BZh": "bzip2-compressed (rename it to end in .bz2)",
    b"\xfd7zXZ\x00": "xz-compressed (rename it to end in .xz)",
    b"\x28\xb5\x2f\xfd": "Zstandard-compressed (rename it to end in .zst)",
    b"SQLite format 3": "an SQLite database (write its table as CSV or Parquet)",
    b"\x89HDF": "an HDF5 file (write its table as CSV or Parquet)",
    b"\x93NUMPY": "a NumPy array (load it, and give the array)",
    b"\xff\xfe": "UTF-16 text (save it as UTF-8)",
    b"\xfe\xff": "UTF-16 text (save it as UTF-8)",
}


def decode(content: bytes, path: Path) -> str:
    """Return bytes as text, refusing what is no text.

    Raises
    ------
    FileFormatError
        It is of a known binary format, has NUL bytes, or is not UTF-8.
    """
    refuse_binary(content, path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"Line {_line_at(content, error.start)} of {path} is not UTF-8 text (byte "
            f"{error.start}); save it as UTF-8."
        ) from error
    if "\0" in text:
        raise FileFormatError(
            f"Line {_line_at(content, content.index(0))} of {path} has NUL bytes, so it is no text "
            "file; check the format."
        )
    # Old Macs end lines by carriage returns alone; in other files these are part of a field.
    return text.replace("\r", "\n") if "\r" in text and "\n" not in text else text


def _line_at(content: bytes, place: int) -> int:
    return content.count(b"\n", 0, place) + 1


def refuse_binary(content: bytes, path: Path) -> None:
    """Refuse what begins as files of a known binary format do.

    Raises
    ------
    FileFormatError
        It says which format it is.
    """
    for magic, what in _MAGIC.items():
        if content.startswith(magic):
            raise FileFormatError(f"{path} is not text as its name says, but {what}.")


@dataclass(frozen=True)
class Sniffed:
    """What the first lines of a text say: sessions per line, or the separator of a table."""

    session_lines: bool
    separator: str


def sniff(text: str, path: Path, separator: str | None = None) -> Sniffed:
    """Tell sessions per line from a table, and find the separator of the table.

    Parameters
    ----------
    text : str
    path : Path
        For messages.
    separator : str, optional
        Given by the caller; must occur in the first line.

    Raises
    ------
    FileFormatError
        The table has no header line, names a column twice, or lacks the separator given.
    ParameterError
        The separator is not one character.
    """
    lines = [line.rstrip("\r") for line in text[:200_000].split("\n")[:_SAMPLED_LINES]]
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise FileFormatError(f"{path} has blank lines only.")
    header = lines[0]
    if separator is not None:
        if len(separator) != 1:
            raise ParameterError(f"separator must be one character, not {separator!r}.")
        if separator not in header:
            raise FileFormatError(
                f"The separator {separator!r} does not occur in the first line of {path}, "
                f"{_shown(header)}; leave it out to have it recognised."
            )
    else:
        counts = {candidate: header.count(candidate) for candidate in SEPARATORS}
        separator = max(SEPARATORS, key=lambda candidate: counts[candidate])
        if counts[separator] == 0:
            if all(_is_integer(token) for line in lines for token in line.split()):
                return Sniffed(True, " ")
            separator = " " if " " in header.strip() else ","
    _check_header(header, separator, path)
    return Sniffed(False, separator)


def first_line(text: str) -> str:
    """Return the first line that is not empty, without a copy of all others."""
    body = text.lstrip("\r\n")
    end = body.find("\n")
    return (body if end < 0 else body[:end]).rstrip("\r")


def cells_of(line: str, separator: str, path: Path) -> list[str]:
    """Return the fields of a line, in which quotes have their meaning.

    Raises
    ------
    FileFormatError
        The line has a carriage return, or a field that is too long.
    """
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error as error:
        raise FileFormatError(
            f"The first line of {path}, {_shown(line)}, cannot be read "
            f"({str(error).partition(' - ')[0]}); check how its lines end."
        ) from error


def _check_header(header: str, separator: str, path: Path) -> None:
    cells = [cell.strip() for cell in cells_of(header, separator, path)]
    values = [cell for cell in cells if _is_value(cell)]
    if values and not any(map(is_usual_name, cells)):
        all_numbers = all(map(is_number, cells))
        what = "only numbers" if all_numbers else f"values such as {values[0]!r}"
        raise FileFormatError(
            f"The first line of {path}, {_shown(header)}, has {what}, so the columns have "
            "no names; if there is no header line, name them all in their order, as in "
            f"columns={_example(cells)!r}."
        )
    if twice := sorted({cell for cell in cells if cells.count(cell) > 1}):
        raise FileFormatError(f"{path} has several columns named {twice[0]!r}; rename all but one.")


def parse_table(text: str, separator: str, path: Path) -> pl.DataFrame:
    """Return a delimited text as a table in which every column is still text.

    Raises
    ------
    FileFormatError
        A line has more fields than the header, or quotes are not closed.
    """
    try:
        return pl.read_csv(text.encode(), separator=separator, infer_schema=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).strip().split("\n", 1)[0].rstrip(".")
        raise FileFormatError(
            f"{path} cannot be read as a table separated by {separator!r} ({reason}); "
            "check the separator and the quotes, and that all lines have as many fields "
            "as the header."
        ) from error


def parse_session_lines(text: str) -> pl.DataFrame:
    """Return a text of one session per line as columns ``session_id`` and ``item_id``.

    The session id is the number of its line from 0; items are separated by blanks.
    """
    lines = pl.Series("item_id", text.replace("\r", "").replace("\t", " ").split("\n"))
    return (
        lines.str.split(" ")
        .to_frame()
        .with_row_index("session_id")
        .with_columns(pl.col("session_id").cast(pl.Int64))
        .explode("item_id")
        .filter(pl.col("item_id") != "")
    )


def refuse_unclear_lines(sessions: pl.DataFrame, path: Path) -> None:
    """Refuse lines of numbers that are a table, or the items of users, rather than sessions.

    Parameters
    ----------
    sessions : polars.DataFrame
        As of `parse_session_lines`.
    path : Path
        For messages.

    Raises
    ------
    FileFormatError
        All lines have the same one to four numbers, or the first numbers are in ascending order.
    """
    lines = sessions.group_by("session_id", maintain_order=True).agg(
        pl.len().alias("length"), pl.col("item_id").first().cast(pl.Int128, strict=False)
    )
    lengths = lines["length"].unique().to_list()
    if len(lengths) == 1 and 1 <= lengths[0] <= 4:
        first = sessions["item_id"].head(lengths[0]).to_list()
        raise FileFormatError(
            f"Each line of {path} has {lengths[0]} number{'s' * (lengths[0] > 1)}, as rows of a "
            "table have and sessions do not; name its columns in their order, as in "
            f"columns={_example(first)!r}, or say format='session-lines'."
        )
    steps = lines["item_id"].diff().drop_nulls()
    numbered = len(steps) and (steps == 1).all()
    ascending = len(steps) >= _ASCENDING and (steps > 0).all()
    if max(lengths) > 1 and (numbered or ascending):
        raise FileFormatError(
            f"The first number of each line of {path} is above that of the line before, as ids of "
            "users are; say format='user-lines' if it is one, and format='session-lines' if it is "
            "an item."
        )
    if len(steps) > 1 and (steps > 0).all():
        warn(
            f"The first number of each line of {path} is above that of the line before, and is "
            "taken for an item; say format='user-lines' if it is a user."
        )


def parse_user_lines(text: str, path: Path) -> pl.DataFrame:
    """Return a text of ``user item item ...`` per line as columns ``user_id`` and ``item_id``.

    Lines of a user without items, of which there are some in LightGCN's files, are left out with a
    warning.

    Raises
    ------
    FileFormatError
        No line has an item.
    """
    lines = pl.Series(text.replace("\r", "").split("\n")).str.replace_all(r"[ \t]+", " ")
    words = lines.str.strip_chars(" ").str.split(" ")
    empty = words.list.len() == 1
    alone = empty & (lines.str.strip_chars(" ") != "")
    if empty.all():
        number = int(alone.arg_max() or 0)
        raise FileFormatError(
            f"Line {number + 1} of {path} has one word, {_shown(words[number][0])}, where a user "
            "and at least one item are needed, and no line has more; say format='session-lines' if "
            "the lines have no users."
        )
    if n_alone := int(alone.sum()):
        number = int(alone.arg_max() or 0)
        warn(
            f"{n_alone:,} of {int((~empty).sum()) + n_alone:,} lines of {path} have a user and no "
            f"item, the first {_shown(words[number][0])} in line {number + 1}; they are left out.",
        )
    words = words.filter(~empty)
    table = pl.DataFrame({"user_id": words.list.first(), "item_id": words.list.slice(1)})
    return table.explode("item_id")


def parse_lists(column: pl.Series) -> pl.Series:
    """Return text such as ``[1, 2, 3]`` as lists of text; as it is where it is something else."""
    brackets = column.str.strip_chars(" ")
    if not (brackets.str.starts_with("[") & brackets.str.ends_with("]")).all():
        return column
    words = brackets.str.strip_chars(" []").str.split(",")
    stripped = words.list.eval(pl.element().str.strip_chars(" '\""))
    return stripped.list.eval(pl.element().filter(pl.element() != ""))


def infer_types(
    table: pl.DataFrame, ids: Collection[str] = (), texts: Collection[str] = ()
) -> pl.DataFrame:
    """Turn columns of text into numbers where nothing is lost.

    A column becomes integers if every value is one as Python would print it, so that ``007`` and
    numbers beyond 64 bits stay text. Other columns of numbers become floats, unless they are ids,
    where 1.1 and 1.10 may be two. Columns in `texts` stay text.
    """
    return table.with_columns(
        _infer(table[name], name in ids)
        for name, dtype in table.schema.items()
        if dtype == pl.String and name not in texts
    )


def _infer(column: pl.Series, is_id: bool) -> pl.Series:
    integers = _integers(column)
    if integers is not None:
        return integers
    # What stands for "no value" is one only if all else are numbers: an item may be called NA.
    values = column.set(column.is_in(NULLS), None)
    if values.null_count() == len(values):
        return column
    integers = _integers(values)
    if integers is not None:
        return integers
    if not is_id and not column.str.contains("^0[0-9]").any():
        floats = values.cast(pl.Float64, strict=False)
        if floats.null_count() == values.null_count():
            return floats
    return column


def with_points(column: pl.Series) -> pl.Series:
    """Return ratings that are text with decimal commas, such as ``3,5``, as floats."""
    if column.dtype != pl.String or not column.str.contains(r"^-?[0-9]{1,3}(,[0-9]{1,2})?$").all():
        return column
    return column.str.replace(",", ".", literal=True).cast(pl.Float64)


def integers_or_text(column: pl.Series) -> pl.Series:
    """Return text, or lists of text, as integers if every one, printed, is the same text again."""
    if not isinstance(column.dtype, pl.List):
        integers = _integers(column)
        return column if integers is None or column.null_count() == len(column) else integers
    flat = column.filter(column.list.len() > 0).explode()
    integers = _integers(flat) if len(flat) else None
    return column if integers is None else column.cast(pl.List(integers.dtype))


def _integers(values: pl.Series) -> pl.Series | None:
    for dtype in (pl.Int64(), pl.UInt64()):
        integers = values.cast(dtype, strict=False)
        if integers.null_count() == values.null_count():
            return integers if (integers.cast(pl.String) == values).all() else None
    return None


def _is_integer(token: str) -> bool:
    return token.isdecimal() and token.isascii()


def _is_value(token: str) -> bool:
    """Whether this is a number or a date, and so no name of a column."""
    return is_number(token) or _DATE.match(token) is not None


def _example(cells: list[str]) -> str:
    """Return how columns could be named that have such values: an example, not a guess."""
    left, names = ["user", "item"], []
    for cell in cells:
        kind = "_"
        if "time" not in names and (_DATE.match(cell) or _MOMENT.fullmatch(cell)):
            kind = "time"
        elif left:
            kind = left.pop(0)
        elif "rating" not in names and is_number(cell) and 0 <= float(cell) <= 10:
            kind = "rating"
        names.append(kind)
    return " ".join(names)


def is_number(token: str) -> bool:
    """Whether a text is a number, and so no name of a column."""
    try:
        float(token)
    except ValueError:
        return False
    return True


def _shown(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:57] + "...")
