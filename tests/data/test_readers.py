from __future__ import annotations

import datetime
import gzip
import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whence.data import Interactions, read_interactions, read_table, write_interactions
from whence.errors import (
    ColumnError,
    DataError,
    DataWarning,
    FileFormatError,
    OutputExistsError,
    ParameterError,
    WhenceError,
)

TABLE = pl.DataFrame(
    {"session_id": [2, 1, 2], "item_id": [2**60 + 1, 5, 6], "timestamp": [1.5, 1.25, 3.0]}
)


def put(path, content):
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "tsv.gz", "parquet", "arrow"])
def test_written_files_read_the_same(tmp_path, ending):
    path = write_interactions(Interactions.from_frame(TABLE), tmp_path / f"clicks.{ending}")
    data = read_interactions(path)
    assert data.frame.equals(TABLE)
    assert data.fingerprint == Interactions.from_frame(TABLE).fingerprint
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert read_table(path).equals(TABLE)


def test_text_ids_and_datetimes_round_trip(tmp_path):
    table = pl.DataFrame(
        {
            "user": ['a,"b"', "ü", "NA"],
            "item": ["007", "7", "1.10"],
            "time": [datetime.datetime(2020, 1, 1, 0, 0, 0, us) for us in (3, 1, 2)],
        }
    )
    for ending in ("csv", "tsv", "parquet"):
        data = read_interactions(write_interactions(table, tmp_path / f"t.{ending}"))
        assert data.frame.equals(table)


def test_existing_output_is_kept_unless_overwriting(tmp_path):
    path = put(tmp_path / "t.csv", "precious")
    with pytest.raises(OutputExistsError, match="exists already"):
        write_interactions(TABLE, path)
    assert path.read_text() == "precious"
    write_interactions(TABLE, path, overwrite=True)
    assert read_interactions(path).n_rows == 3


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    with pytest.raises(DataError, match="cannot be written as csv"):
        write_interactions(TABLE.with_columns(x=pl.lit([1])), tmp_path / "t.csv")
    for name in ("t.xlsx", "t.parquet.gz", "t.json"):
        with pytest.raises(FileFormatError):
            write_interactions(TABLE, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", " "])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.csv.gz"])
def test_the_separator_is_recognised_whatever_the_ending(tmp_path, separator, name):
    lines = ["SessionId,ItemId,Time", "1,2,3.5", "1,3,4.5"]
    path = put(tmp_path / name, "\r\n".join(lines).replace(",", separator))
    data = read_interactions(path)
    assert data.frame.rows() == [(1, 2, 3.5), (1, 3, 4.5)]
    assert read_interactions(path, separator=separator).fingerprint == data.fingerprint


def test_byte_order_mark_and_quotes(tmp_path):
    path = put(tmp_path / "t.csv", '\ufeff"session_id","item_id"\n1,"a,b"\n')
    assert read_interactions(path).frame.rows() == [(1, "a,b")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "22"], [1, 22]),
        (["7", "007"], ["7", "007"]),
        (["+1", "1"], ["+1", "1"]),
        (["1", str(2**64 - 1)], [1, 2**64 - 1]),
        (["1", str(2**64)], ["1", str(2**64)]),
        (["1.10", "1.1"], ["1.10", "1.1"]),
        (["x", "NA"], ["x", "NA"]),
    ],
)
def test_ids_in_text_lose_nothing(tmp_path, values, expected):
    path = put(tmp_path / "t.csv", "session,item\n" + "\n".join(f"1,{v}" for v in values))
    assert read_interactions(path).frame["item"].to_list() == expected


@pytest.mark.parametrize("null", ["", "NA", "nan", "NULL", "None"])
def test_missing_values_among_numbers_are_named_with_the_file(tmp_path, null):
    path = put(tmp_path / "t.csv", f"session,item,time\n1,2,3\n1,{null},4\n")
    with pytest.raises(DataError, match=r"t\.csv: Column 'item' has 1 null value"):
        read_interactions(path)
    path = put(tmp_path / "t.csv", f"session,item,time\n1,2,3.5\n1,2,{null}\n")
    with pytest.raises(DataError, match=r"t\.csv: Column 'time' has 1 null timestamp"):
        read_interactions(path)


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["2014-04-07T10:51:09.277Z", "2014-04-07T10:51:09.278Z"], pl.Datetime),
        (["2014-04-07 10:51:09", "2014-04-07 10:51:10"], pl.Datetime),
        (["2014-04-07", "2014-04-08"], pl.Date),
        (["1396437466.94", "1e12"], pl.Float64),
        ([str(2**62), str(2**62 + 1)], pl.Int64),
    ],
)
def test_timestamps_in_text_are_parsed(tmp_path, texts, kind):
    path = put(tmp_path / "t.csv", "session,item,time\n1,1,{}\n2,2,{}\n".format(*texts[::-1]))
    data = read_interactions(path)
    assert isinstance(data.frame.schema["time"], kind)
    assert data.vocabulary.sources.to_list() == [2, 1]


@pytest.mark.parametrize("text", ["07/04/14", "April 7 2014", "20140407x", "2014-13-01"])
def test_dates_that_are_not_known_are_not_guessed(tmp_path, text):
    path = put(tmp_path / "t.csv", f"session,item,time\n1,1,{text}\n")
    with pytest.raises(DataError, match="'time' has text, not timestamps"):
        read_interactions(path)


def test_nanoseconds_in_text_are_kept(tmp_path):
    times = ["2020-01-01T00:00:00.000000002", "2020-01-01T00:00:00.000000001"]
    path = put(tmp_path / "t.csv", "session,item,time\n1,1,{}\n2,2,{}\n".format(*times))
    assert read_interactions(path).vocabulary.sources.to_list() == [2, 1]


def test_timestamps_that_cannot_be_parsed(tmp_path):
    path = put(tmp_path / "t.csv", "session,item,time\n1,1,yesterday\n")
    with pytest.raises(DataError, match="'time' has text, not timestamps"):
        read_interactions(path)
    path = put(tmp_path / "t.csv", "session,item,time\n1,1,inf\n")
    with pytest.raises(DataError, match="infinite timestamp"):
        read_interactions(path)


def test_session_lines(tmp_path):
    path = put(tmp_path / "s.txt.gz", "3 4 3\r\n5\n\n 6  7 \n")
    data = read_interactions(path)
    assert data.frame.rows() == [(0, 3), (0, 4), (0, 3), (1, 5), (3, 6), (3, 7)]
    assert data.columns.time is None
    assert data.recency.tolist() == [0, 1, 2]
    words = put(tmp_path / "w.txt", "milk bread\nbread\n")
    with pytest.raises(ColumnError, match=r"w\.txt: No session or user column"):
        read_interactions(words)
    named = read_interactions(words, format="session-lines")
    assert named.vocabulary.items.to_list() == ["milk", "bread"]
    padded = put(tmp_path / "p.txt", "7 007\n7\n")
    assert read_interactions(padded).vocabulary.items.to_list() == ["7", "007"]


def test_user_lines_are_read_by_their_name_alone(tmp_path):
    path = put(tmp_path / "u.txt", "7 3 4 3\r\n\n 9\t5  6 \n7 8\n")
    data = read_interactions(path, format="user-lines")
    assert data.frame.rows() == [(7, 3), (7, 4), (7, 3), (9, 5), (9, 6), (7, 8)]
    assert data.by_user
    assert data.sequences.items.tolist() == [0, 1, 0, 4, 2, 3]
    assert read_interactions(path).columns.source == "session_id"
    names = put(tmp_path / "n.txt.gz", "ann tea 007\nbob tea\n")
    data = read_interactions(names, format="user-lines")
    assert data.frame.rows() == [("ann", "tea"), ("ann", "007"), ("bob", "tea")]
    alone = put(tmp_path / "w.txt", "ann tea\nbob\n")
    with pytest.warns(DataWarning, match=r"1 of 2 lines of .* no item, the first 'bob' in line 2"):
        assert read_interactions(alone, format="user-lines").frame.rows() == [("ann", "tea")]
    with pytest.raises(FileFormatError, match=r"Line 1 of .* has one word, 'bob', where a user"):
        read_interactions(put(tmp_path / "w.txt", "bob\n"), format="user-lines")


@pytest.mark.parametrize("format", [None, "rechorus", "tsv"])
def test_rechorus_has_lists_of_negatives(tmp_path, format):
    head = "user_id\titem_id\ttime\tneg_items\n"
    path = put(tmp_path / "dev.csv", head + "1\t5\t10\t[7, 8, 9]\n2\t6\t9\t[]\n")
    data = read_interactions(path, format=format)
    assert data.columns.negatives == "neg_items"
    assert data.frame["neg_items"].to_list() == [[7, 8, 9], []]
    assert data.frame.schema["neg_items"] == pl.List(pl.Int64)
    assert data.by_user
    for ending in ("csv", "tsv", "inter", "parquet"):
        again = read_interactions(write_interactions(data, tmp_path / f"x.{ending}"))
        assert again.frame["neg_items"].to_list() == [[7, 8, 9], []]
        assert again.columns == data.columns
    texts = put(tmp_path / "t.csv", head + "1\tx\t10\t['7', \"y\"]\n")
    data = read_interactions(texts)
    assert data.frame["neg_items"].to_list() == [["7", "y"]]
    again = read_interactions(write_interactions(data, tmp_path / "y.csv"))
    assert again.frame.equals(data.frame)
    none = put(tmp_path / "n.csv", head + "1\tx\t10\tmany\n")
    assert read_interactions(none).columns.negatives is None
    with pytest.raises(ColumnError, match="negatives must be lists"):
        read_interactions(none, negatives="neg_items")
    with pytest.raises(DataError, match="ids that are text"):
        read_interactions(put(tmp_path / "m.csv", head + "1\t5\t10\t[a]\n"))


def test_negatives_that_no_list_in_text_can_hold(tmp_path):
    table = pl.DataFrame({"user": ["a"], "item": ["b"], "negatives": [["x, y"]]})
    data = Interactions.from_frame(table)
    assert data.columns.negatives == "negatives"
    with pytest.raises(DataError, match="has the id 'x, y', which cannot stand in a list"):
        write_interactions(data, tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user,item,time\n1,2,3\n1;2;4\n", "Line 3 of .* has 1 field .* separated by ';'"),
        ("user,item,time\n1,2,3\n\n1,2\n", "Line 4 of .* has 2 fields separated by ',' where 3"),
        ("user\titem\n1\t2\t3\n", r"Line 2 of .* has 3 fields separated by '\\t' where 2"),
    ],
)
def test_lines_that_do_not_fit_the_header_are_named(tmp_path, content, message):
    with pytest.raises(FileFormatError, match=message):
        read_interactions(put(tmp_path / "t.csv", content))


cells = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5)


@given(
    st.lists(
        st.tuples(cells, st.integers(), cells, st.floats(allow_nan=False, allow_infinity=False)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["csv", "tsv", "csv.gz", "parquet", "arrow"]),
)
@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_written_reads_back_equal(tmp_path, rows, ending):
    users, items, words, ratings = zip(*rows)
    table = pl.DataFrame(
        {
            "user": [f"u{user}" for user in users],
            "item": [str(item) for item in items],
            "note": [f"n{word}" for word in words],
            "rating": ratings,
        }
    )
    data = Interactions.from_frame(table)
    path = write_interactions(data, tmp_path / f"x.{ending}", overwrite=True)
    again = read_interactions(path).frame
    assert again.columns == table.columns
    assert again.select(pl.exclude("item")).equals(table.select(pl.exclude("item")))
    assert again["item"].cast(pl.String).equals(table["item"])  # integers if they are small enough
    if ending in ("parquet", "arrow"):
        assert again.equals(table)


def test_basket_json(tmp_path):
    users = {"10": [[3, 4], [], [3]], "9": [[5, 5]], "11": []}
    data = read_interactions(put(tmp_path / "b.json", json.dumps(users)))
    assert data.kind == "baskets"
    assert data.frame.rows() == [(10, 0, 3), (10, 0, 4), (10, 2, 3), (9, 0, 5), (9, 0, 5)]
    assert data.sequences.baskets.tolist() == [0, 0, 1, 0, 0]
    text = put(tmp_path / "t.json.gz", json.dumps({"ann": [["milk"]], "9": [["bread"]]}))
    assert read_interactions(text).vocabulary.sources.to_list() == ["ann", "9"]
    assert read_interactions(put(tmp_path / "b.dat", json.dumps(users)), format="basket-json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"1": [[1, 2]', "not valid JSON .*truncated"),
        ("[[1, 2]]", "columns have no names; name them in their order, as in columns='user item'"),
        ("[1, 2]", "is JSON, but no rows"),
        ('{"1": [1, 2]}', "not baskets of users"),
        ('{"1": 5}', "not baskets of users"),
        ('{"1": [[[1]]]}', "not baskets of users"),
        ('{"1": [[1, "a"]]}', "mixed types"),
        ('{"1": [[1, null]]}', "'item_id' has 1 null value"),
        ("{}", "has no rows"),
    ],
)
def test_bad_basket_json(tmp_path, content, message):
    with pytest.raises(WhenceError, match=message):
        read_interactions(put(tmp_path / "b.json", content))


def test_truncated_and_falsely_named_files(tmp_path):
    whole = gzip.compress(b"session_id,item_id\n" + b"1,2\n" * 5000)
    parquet = write_interactions(TABLE, tmp_path / "p.parquet").read_bytes()
    arrow = write_interactions(TABLE, tmp_path / "a.arrow").read_bytes()
    cases = [
        ("t.csv.gz", whole[:-20], "truncated or damaged"),
        ("u.csv.gz", b"session_id,item_id\n1,2\n", "not gzip-compressed although"),
        ("v.csv", whole, "gzip-compressed .rename it to end in .gz"),
        ("w.csv", parquet, "a Parquet file"),
        ("x.tsv", arrow, "an Arrow file"),
        ("y.parquet", parquet[:-10], "not a readable Parquet file"),
        ("z.parquet", b"session_id,item_id\n1,2\n", "not a readable Parquet file"),
        ("a.feather", arrow[: len(arrow) // 2], "not a readable Arrow file"),
        ("b.csv", b'{"1": [[1]]}', "looks like JSON"),
        ("c.csv", b"", "is empty"),
        ("d.csv", b"\n \n", "blank lines only"),
        ("e.csv", "session,item\n1,é".encode("latin-1"), "not UTF-8"),
        ("f.csv", "session,item\n1,2".encode("utf-16"), "UTF-16"),
        ("g.csv", b"session,item\n1,\x002", "NUL bytes"),
        ("h.csv", b"1,2,3\n1,3,4\n", "only numbers, so the columns have no names"),
        ("i.csv", b"session,item,item\n1,2,3\n", "several columns named 'item'"),
        ("j.csv", b"session,item\n1,2,3\n", "Line 2 of .* has 3 fields separated by .,. where 2"),
        ("k.xls", b"x", "not known by its ending"),
    ]
    for name, content, message in cases:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileFormatError, match=message):
            read_interactions(tmp_path / name)


def test_header_without_rows(tmp_path):
    with pytest.raises(DataError, match=r"t\.csv: The table has no rows"):
        read_interactions(put(tmp_path / "t.csv", "session_id,item_id\n"))


def test_missing_file_suggests_the_nearest_name(tmp_path):
    put(tmp_path / "train.csv", "session,item\n1,2\n")
    with pytest.raises(FileFormatError, match=r"does not exist.*Did you mean 'train.csv'"):
        read_interactions(tmp_path / "tran.csv")
    with pytest.raises(FileFormatError, match="is a folder"):
        read_interactions(tmp_path)
    with pytest.raises(FileFormatError, match="does not exist"):
        read_interactions(str(tmp_path / "no" / "such.csv"))


def test_wrong_parameters(tmp_path):
    path = put(tmp_path / "t.csv", "session_id,item_id\n1,2\n")
    with pytest.raises(FileFormatError, match="separator ';' does not occur"):
        read_interactions(path, separator=";")
    with pytest.raises(ParameterError, match="one character"):
        read_interactions(path, separator="::")
    with pytest.raises(ParameterError, match=r"format must be one of .* Did you mean 'parquet'"):
        read_interactions(path, format="parket")
    with pytest.raises(ParameterError, match="separator is for text files"):
        read_interactions(write_interactions(TABLE, tmp_path / "t.parquet"), separator=",")
    with pytest.raises(ParameterError, match="are for files"):
        read_interactions(TABLE, separator=",")


def test_misnamed_columns_of_a_file(tmp_path):
    path = put(tmp_path / "t.csv", "sesion_id,item_id\n1,2\n")
    with pytest.raises(ColumnError, match=r"t\.csv: .*Did you mean 'sesion_id'"):
        read_interactions(path)
    assert read_interactions(path, session="sesion_id").n_rows == 1
    with pytest.raises(ColumnError, match=r"no column 'item' to use as item.* mean 'item_id'"):
        read_interactions(path, session="sesion_id", item="item")


def test_tables_pass_through():
    data = read_interactions(TABLE)
    assert data.frame.equals(TABLE)
    assert read_interactions(data) is data
    assert read_interactions(TABLE, user="session_id").columns.source == "session_id"


@pytest.mark.parametrize(
    ("name", "rows", "sources", "items", "kind"),
    [
        ("rsc15-100k/train.csv", 53_254, 13_629, 2_873, "sessions"),
        ("rsc15-100k/valid.csv", 16_539, 4_084, None, "sessions"),
        ("rsc15-100k/test.csv", 13_568, 3_416, None, "sessions"),
        ("tafeng-1k/train.csv", 34_620, 1_000, None, "baskets"),
        ("tafeng-1k/valid.csv", 6_801, 1_000, None, "baskets"),
        ("tafeng/tafeng_merged.json.gz", 571_933, 13_858, 11_997, "baskets"),
        ("diginetica/train_sessions.txt.gz", 906_140, 186_670, None, "sessions"),
        ("diginetica/test_sessions.txt.gz", 76_821, 15_963, None, "sessions"),
    ],
)
def test_real_data_have_their_published_counts(data_dir, name, rows, sources, items, kind):
    data = read_interactions(data_dir / name)
    assert (data.n_rows, data.n_sources, data.kind) == (rows, sources, kind)
    assert items in (None, data.n_items)
    if "rsc15" in name:
        assert data.frame.schema[data.columns.time] == pl.Float64


def test_real_list_of_items(data_dir):
    table = read_table(data_dir / "rsc15-100k" / "sustainable.csv")
    assert table.columns == ["item_id"]
    assert table["item_id"].dtype == pl.Int64


def test_a_column_that_is_called_as_an_expression(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("session_id,item_id,*,^.*$\n1,2,3,4\n1,3,5,6\n")
    assert read_interactions(path).frame.columns == ["session_id", "item_id", "*", "^.*$"]
