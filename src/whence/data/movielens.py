"""The files of the MovieLens data sets, in the three forms that they have."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from whence.data._lines import decode_titles, parse_lines
from whence.data._text import decode, first_line, integers_or_text
from whence.errors import FileFormatError

# The flags of u.item, in their order.
GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
NO_GENRES = "(no genres listed)"
_OWN_RATINGS = re.compile(r"u\.data|u[1-5ab]\.(base|test)|ratings\.dat")
_HIGHEST_RATING = 10
_SAMPLED = 200_000  # characters
_RATINGS = ("user_id", "item_id", "rating", "timestamp")
_SIDE_COLUMNS = {
    "u.item": ("item_id", "title", "release_date", "video_release_date", "imdb_url", *GENRES),
    "u.user": ("user_id", "age", "gender", "occupation", "zip_code"),
    "movies.dat": ("item_id", "title", "genres"),
    "users.dat": ("user_id", "gender", "age", "occupation", "zip_code"),
}


def parse_movielens(content: bytes, path: Path, name: Path | None = None) -> pl.DataFrame:
    """Return a MovieLens file without a header: ratings, or by its name items or users.

    Parameters
    ----------
    content : bytes
        Ratings are lines of user, item, rating and perhaps timestamp, as in ``u.data`` (tabs) and
        ``ratings.dat`` (``::``); ``u.item``, ``u.user``, ``movies.dat`` and ``users.dat`` are
        known by name, may be in latin-1, and have ``|``, ``::`` or tabs.
    path : Path
        For messages.
    name : Path, optional
        What the file is called without its compression; `path` if absent.

    Returns
    -------
    polars.DataFrame
        Genres are one column of lists.

    Raises
    ------
    FileFormatError
        A line has another number of fields than the file should have, or a rating or timestamp is
        no number.
    """
    name = name or path
    if has_known_name(name):
        return _parse_side_table(decode_titles(content, path), _plain(name), path)
    text = decode(content, path)
    first = first_line(text)
    separator = _separator(first)
    n_fields = first.count(separator) + 1
    if n_fields not in (3, 4):
        raise FileFormatError(
            f"{path} is not a MovieLens file of ratings: its first line, {first[:60]!r}, should "
            "have user, item, rating and timestamp, separated by tabs or '::'."
        )
    types = [(name, "token" if name.endswith("_id") else "float") for name in _RATINGS[:n_fields]]
    table = parse_lines(text, separator, types, path, header=False)
    return table.with_columns(
        integers_or_text(table["user_id"]),
        integers_or_text(table["item_id"]),
        *(_whole(table[name]) for name in _RATINGS[2:n_fields]),
    )


def split_genres(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table of items with its genres, ``A|B|C`` in text, as lists."""
    if table.schema.get("genres") != pl.String:
        return table
    genres = table["genres"].replace(NO_GENRES, None).fill_null("").str.split("|")
    return table.with_columns(genres.list.eval(pl.element().filter(pl.element() != "")))


def has_known_name(path: Path) -> bool:
    """Tell whether this is MovieLens's name for a table of items or users without a header."""
    return _plain(path) in _SIDE_COLUMNS


def looks_like_ratings(text: str, path: Path) -> bool:
    """Tell whether lines without a header are users, items and ratings, as MovieLens has them.

    Parameters
    ----------
    text : str
    path : Path
        Of MovieLens's own names nothing more is asked than numbers in the first line. In other
        files the separator is ``::`` or a tab and the third number is one that ratings have.
    """
    lines = [line.rstrip("\r") for line in text.lstrip("\r\n")[:_SAMPLED].split("\n")]
    separator = _separator(lines[0])
    if not _are_numbers(lines[0].split(separator)):
        return False
    if _OWN_RATINGS.fullmatch(_plain(path)):
        return True
    rows = [line.split(separator) for line in lines[: max(1, len(lines) - 1)] if line]
    return separator in ("::", "\t") and all(
        len(row) in (3, 4) and _are_numbers(row[2:3]) and 0 <= float(row[2]) <= _HIGHEST_RATING
        for row in rows
    )


def _are_numbers(cells: list[str]) -> bool:
    try:
        _ = [float(cell) for cell in cells]
    except ValueError:
        return False
    return True


def _parse_side_table(text: str, name: str, path: Path) -> pl.DataFrame:
    columns = _SIDE_COLUMNS[name]
    first = first_line(text)
    separator = _separator(first) if name.endswith(".dat") else "|"
    flags = set(GENRES) if name == "u.item" else set()
    types = [(column, "float" if column in flags else "token") for column in columns]
    table = parse_lines(text, separator, types, path, header=False)
    if flags:
        table = table.select(pl.exclude(GENRES), _flagged(table))
    table = split_genres(table)
    texts = ("title", "zip_code")  # in which 1984 and 02138 are no numbers
    return table.with_columns(
        integers_or_text(table[column])
        for column, dtype in table.schema.items()
        if dtype == pl.String and column not in texts
    )


def _flagged(table: pl.DataFrame) -> pl.Expr:
    """Return the names of the flags that are set, as lists."""
    names = [pl.when(pl.col(name) != 0).then(pl.lit(name)) for name in GENRES]
    return pl.concat_list(names).list.drop_nulls().alias("genres")


def _whole(column: pl.Series) -> pl.Series:
    """Return floats as integers where that is what they are."""
    whole = column.cast(pl.Int64, strict=False)
    same = whole.null_count() == column.null_count() and (whole == column).all()
    return whole if same else column


def _plain(path: Path) -> str:
    return re.sub(r"\.(gz|bz2|xz|zst|zip)$", "", path.name.lower())


def _separator(line: str) -> str:
    return next((mark for mark in ("::", "\t", "|", ",", ";") if mark in line), " ")
