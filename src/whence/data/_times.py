"""Times that are written as text: in a format that is given, or in one that can only be one."""

from __future__ import annotations

import re
from typing import Literal

import polars as pl

from whence.data._warning import warn
from whence.errors import DataError, ParameterError

NULLS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>")
"""Texts that stand for no value."""
_DATE = r"^\s*(\d{1,4})([-/.])(\d{1,2})([-/.])(\d{1,4})"
_CLOCK = r"(?:[T ]\s*\d{1,2}:\d{2}(?P<s>:\d{2}(?:\.\d+)?)?(?P<half>\s?[AaPp][Mm])?)"
_ZONE = r"(?P<zone>\s?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))"
_WRITTEN = re.compile(rf"{_DATE}(?P<clock>{_CLOCK}(?:{_ZONE})?)?\s*$")
_YEAR_FIRST = r"^\s*[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}"
_YEAR_LAST = r"^\s*[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}"
_YEAR = re.compile(r"%[-_0]?[YyCGDFxcsv+]")


def written_times(column: pl.Series) -> pl.Series:
    """Return text as dates or datetimes, where it is clear how it is written; else as it is.

    Parameters
    ----------
    column : polars.Series
        Of text. Dates that begin with the year, such as ``2014-04-07T10:51:09.277Z``,
        ``2019-10-01 00:00:04 UTC`` or ``2019/10/01``; and ``12/31/2010 8:26`` or
        ``31.12.2010 8:26``, where one of the first two numbers is above 12 in some row.

    Returns
    -------
    polars.Series
        Times with a zone are in UTC.

    Raises
    ------
    DataError
        Day and month can be taken for each other, and which is which changes the order of rows.

    Warns
    -----
    DataWarning
        Day and month can be taken for each other, and the order is the same either way.
    """
    values = column.set(column.is_in(NULLS), None)
    known = values.drop_nulls()
    shape = _WRITTEN.match(known[0]) if len(known) else None
    if shape is None or shape[2] != shape[4]:
        return column
    if known.str.contains(_YEAR_FIRST).all():
        return _parsed_as(values, shape, ("%Y", "%m", "%d"))
    if not known.str.contains(_YEAR_LAST).all():  # years of two digits are not for us to guess
        return column
    orders = [("%d", "%m", "%Y"), ("%m", "%d", "%Y")]
    if shape[2] != ".":  # with dots, days come first wherever dates are written so
        orders.reverse()
    readings = [(order, _parsed_as(values, shape, order)) for order in orders]
    possible = [(order, times) for order, times in readings if times.dtype != pl.String]
    if not possible:
        return column
    order, times = possible[0]
    if len(possible) == 2:
        formats = " or ".join(repr(_format(shape, one)) for one, _ in possible)
        other = possible[1][1]
        if not times.rank("dense").equals(other.rank("dense"), null_equal=True):
            raise DataError(
                f"Column {column.name!r} has times such as {known[0]!r}, of which day and month "
                f"can be taken for each other; say which is which with time_format={formats}."
            )
        first = "the day" if order[0] == "%d" else "the month"
        warn(
            f"Column {column.name!r} has times such as {known[0]!r}, of which the first number is "
            f"taken for {first}; the order of the rows is the same if it is not. Say which it is "
            f"with time_format={formats}.",
        )
    return times


def formatted_times(column: pl.Series, format: str) -> pl.Series:
    """Return text, or numbers such as 20191001, as datetimes; dates as they are.

    Text that begins with the year in all rows, as Whence writes dates, is read in any case.

    Parameters
    ----------
    column : polars.Series
    format : str
        As of ``strftime``, such as ``"%d.%m.%Y %H:%M"``.

    Raises
    ------
    ParameterError
        The format has no year.
    DataError
        A value is not written so; the first is named.
    """
    check_time_format(format)
    if column.dtype.is_temporal():
        return column
    texts = column.cast(pl.String, strict=False)
    unit: Literal["ns", "us"] = "ns" if texts.str.contains(r"\.[0-9]{7}").any() else "us"
    try:
        times = texts.str.to_datetime(format, strict=False, time_unit=unit)
    except pl.exceptions.PolarsError as error:
        raise ParameterError(
            f"time_format {format!r} is not understood ({str(error).strip().splitlines()[0]}); "
            "write it as of strftime, such as '%d.%m.%Y %H:%M'."
        ) from error
    bad = times.is_null() & texts.is_not_null()
    if bad.all() and texts.str.contains(_YEAR_FIRST).all():
        written = written_times(texts)
        if written.dtype != pl.String:
            return written
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise DataError(
            f"Column {column.name!r} has {int(bad.sum()):,} of {len(texts):,} times not written as "
            f"time_format={format!r} says, the first {texts[row]!r} in row {row + 1}; correct the "
            "format or the values."
        )
    return times


def check_time_format(format: str | None) -> None:
    """Refuse a format of times that has no year, and so no order.

    Raises
    ------
    ParameterError
        It says what a format looks like.
    """
    if format is None:
        return
    if not isinstance(format, str) or not _YEAR.search(format):
        raise ParameterError(
            f"time_format must say how dates are written, with their year, such as "
            f"'%d.%m.%Y %H:%M', not {format!r}."
        )


def _parsed_as(column: pl.Series, shape: re.Match[str], order: tuple[str, str, str]) -> pl.Series:
    """Return text as times in the order of year, month and day, or as it is where it is not so."""
    text = column.str.strip_chars()
    zoned = bool(shape["zone"])
    if zoned:
        text = text.str.replace(r"\s?(?:Z|UTC|GMT)$", "+00:00")
        text = text.str.replace(r"\s?([+-][0-9]{2}):?([0-9]{2})$", "${1}:${2}")
    if shape["clock"] and "T" in shape["clock"]:
        text = text.str.replace("T", " ", literal=True)
    text = text.str.replace(r"\s+", " ").str.replace(r"\s([AaPp][Mm])$", "${1}")
    if shape["half"]:
        text = text.str.to_uppercase()
    unit: Literal["ns", "us"] = "ns" if text.str.contains(r"\.[0-9]{7}").any() else "us"
    format = _format(shape, order).replace(" %p", "%p")
    try:
        if not shape["clock"]:
            times = text.str.to_date(format, strict=False)
        else:
            times = text.str.to_datetime(format, strict=False, time_unit=unit)
    except pl.exceptions.PolarsError:
        return column
    return column if times.null_count() > column.null_count() else times


def _format(shape: re.Match[str], order: tuple[str, str, str]) -> str:
    """Return the format of a text that is written as its match says."""
    format = shape[2].join(order)
    if shape["clock"]:
        format += " %I:%M" if shape["half"] else " %H:%M"
        if shape["s"]:
            format += ":%S%.f"
        if shape["half"]:
            format += " %p"
        if shape["zone"]:
            format += "%z"
    return format
