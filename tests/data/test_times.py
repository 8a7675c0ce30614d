from __future__ import annotations

import datetime

import polars as pl
import pytest

from whence.data import Interactions, read_interactions, write_interactions
from whence.errors import DataError, DataWarning, ParameterError


def read(folder, texts, **more):
    path = folder / "t.csv"
    rows = "".join(f'1,{number},"{text}"\n' for number, text in enumerate(texts))
    path.write_text("session,item,time\n" + rows)
    return read_interactions(path, **more)


UTC = datetime.timezone.utc
DAY = datetime.datetime


@pytest.mark.parametrize(
    ("texts", "times"),
    [
        (["2019-10-01 00:00:04 UTC"] * 2, [DAY(2019, 10, 1, 0, 0, 4, tzinfo=UTC)] * 2),
        (["2019-10-01T00:00:04.5Z", "2019-10-01T00:00:04Z"],
         [DAY(2019, 10, 1, 0, 0, 4, 500_000, tzinfo=UTC), DAY(2019, 10, 1, 0, 0, 4, tzinfo=UTC)]),
        (["2019-10-01 02:00:00+02:00", "2019-10-01 02:00:00-0100"],
         [DAY(2019, 10, 1, tzinfo=UTC), DAY(2019, 10, 1, 3, tzinfo=UTC)]),
        (["2019/10/1", "2019/9/30"], [datetime.date(2019, 10, 1), datetime.date(2019, 9, 30)]),
        (["12/1/2010 8:26", "12/31/2010 10:05"],
         [DAY(2010, 12, 1, 8, 26), DAY(2010, 12, 31, 10, 5)]),
        (["31/12/2010 8:26", "1/12/2010 8:26"],
         [DAY(2010, 12, 31, 8, 26), DAY(2010, 12, 1, 8, 26)]),
        (["01.02.2024 13:45:10", "13.02.2024 13:45:09"],
         [DAY(2024, 2, 1, 13, 45, 10), DAY(2024, 2, 13, 13, 45, 9)]),
        (["12/31/2010 8:26 PM", "12/31/2010 8:26 am"],
         [DAY(2010, 12, 31, 20, 26), DAY(2010, 12, 31, 8, 26)]),
    ],
)  # fmt: skip
def test_dates_that_can_only_be_one_are_read(tmp_path, texts, times):
    assert read(tmp_path, texts).frame["time"].to_list() == times


def test_day_and_month_are_never_guessed_without_a_word(tmp_path):
    with pytest.warns(DataWarning, match=r"first number is taken for the month.*%m/%d/%Y"):
        data = read(tmp_path, ["12/1/2010 8:26", "12/2/2010 8:26"])
    assert data.frame["time"][0] == DAY(2010, 12, 1, 8, 26)
    with pytest.warns(DataWarning, match="first number is taken for the day"):
        data = read(tmp_path, ["01.02.2024 13:45", "02.02.2024 13:46"])
    assert data.frame["time"][0] == DAY(2024, 2, 1, 13, 45)
    changing = ["12/1/2010 8:26", "1/2/2011 8:26", "2/1/2011 8:26"]
    with pytest.raises(DataError, match="taken for each other; say which is which"):
        read(tmp_path, changing)
    by_month = read(tmp_path, changing, time_format="%m/%d/%Y %H:%M")
    by_day = read(tmp_path, changing, time_format="%d/%m/%Y %H:%M")
    assert by_month.sequences.rows.tolist() == [0, 1, 2]
    assert by_day.sequences.rows.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("texts", "format", "times"),
    [
        (["20191001", "20191002"], "%Y%m%d", [DAY(2019, 10, 1), DAY(2019, 10, 2)]),
        (["01-Jan-2001"] * 2, "%d-%b-%Y", [DAY(2001, 1, 1)] * 2),
        (["Fri Nov 10 14:30:41 -0800 2017"] * 2, "%a %b %d %H:%M:%S %z %Y",
         [DAY(2017, 11, 10, 22, 30, 41, tzinfo=UTC)] * 2),
        (["1/2/10", "2/2/10"], "%d/%m/%y", [DAY(2010, 2, 1), DAY(2010, 2, 2)]),
    ],
)  # fmt: skip
def test_a_format_is_given(tmp_path, texts, format, times):
    assert read(tmp_path, texts, time_format=format).frame["time"].to_list() == times


def test_a_format_for_a_table():
    frame = pl.DataFrame({"user": [1, 1], "item": [1, 2], "time": ["02.01.2024", "01.01.2024"]})
    for table in (frame, frame.to_pandas(), frame.lazy()):
        data = Interactions.from_frame(table, time_format="%d.%m.%Y")
        assert data.sequences.rows.tolist() == [1, 0]
    again = Interactions.from_frame(data.frame, time_format="%d.%m.%Y")
    assert again.fingerprint == data.fingerprint


def test_what_was_written_is_read_with_the_same_words(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("1;x;7;02.01.2024\n1;x;8;01.01.2024\n")
    how = {"columns": "user _ item time", "time_format": "%d.%m.%Y"}
    data = read_interactions(path, **how)
    for ending in ("csv", "tsv.gz", "parquet", "inter"):
        written = write_interactions(data, tmp_path / f"y.{ending}")
        if ending == "inter":
            how.pop("time_format")  # numbers
        again = read_interactions(written, **how)
        assert again.vocabulary.items.to_list() == data.vocabulary.items.to_list()
        assert again.frame.columns == data.frame.columns


def test_formats_that_do_not_fit(tmp_path):
    texts = ["01.02.2024 13:45", "yesterday"]
    with pytest.raises(DataError, match=r"1 of 2 times .* the first 'yesterday' in row 2"):
        read(tmp_path, texts, time_format="%d.%m.%Y %H:%M")
    for wrong in ("%H:%M", "", "dd.mm.yyyy", 5):
        with pytest.raises(ParameterError, match="time_format must say how dates are written"):
            read(tmp_path, texts, time_format=wrong)
    frame = pl.DataFrame({"user": [1], "item": [1]})
    with pytest.raises(ParameterError, match="there is no time column"):
        Interactions.from_frame(frame, time_format="%Y")
    with pytest.raises(DataError, match=r"has text, not timestamps, such as '01.02.2024 13:45'"):
        read(tmp_path, texts)


def times_of(values, **more):
    frame = pl.DataFrame({"user": [1] * len(values), "item": [*range(len(values))], "time": values})
    return Interactions.from_frame(frame, **more)


SECONDS = [1_600_000_000 + n for n in range(9)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([*SECONDS, 1_600_000_000_000], "9 in seconds and 1 in milliseconds since 1970"),
        ([*map(float, SECONDS), 1.6e15], "9 in seconds and 1 in microseconds"),
        ([5] * 10, "has the same time in all 10 rows"),
        ([1995, 1996, 1995, 2003], "has years, 1995.* to 2003.* for times"),
        ([0, *SECONDS * 12], "1 times that are 0 or less among times in seconds"),
        ([*SECONDS, 4_000_000_000], "has 1 times in the future"),
        ([datetime.date(2020, 1, 1), datetime.date(2999, 1, 1)], "1 times in the future"),
    ],
)
def test_times_that_cannot_be_meant_are_warned_of(values, message):
    with pytest.warns(DataWarning, match=message):
        times_of(values)


@pytest.mark.parametrize(
    "values",
    [
        SECONDS,
        [1_600_000_000_000 + n for n in range(9)],
        [1.5, 1e9, 1e12, 3.0],  # counts of whatever
        [*range(1900, 2110)],
        [-5, 0, 5],
        [10**18, 10**18 + 1],  # which are one float
        [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)],
    ],
)
@pytest.mark.filterwarnings("error::whence.errors.DataWarning")
def test_other_times_are_not(values):
    times_of(values)
