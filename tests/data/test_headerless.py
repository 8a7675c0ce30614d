from __future__ import annotations

import gzip

import polars as pl
import pytest

from whence.data import read_interactions, read_table
from whence.data.tables import read_ids
from whence.errors import ColumnError, DataWarning, FileFormatError, ParameterError


def put(folder, name, content):
    path = folder / name
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "columns", "rows"),
    [
        # Cornac's UIR triples, in each of the separators that are in use
        ("uir.txt", "1 7 5\n1  9 3\n", "user item rating", [(1, 7, 5), (1, 9, 3)]),
        ("uir.tsv", "1\t7\t5\n2\t7\t4.5\n", "user item rating", [(1, 7, 5.0), (2, 7, 4.5)]),
        ("uirt.dat", "a::x::5::30\na::y::3::10\n", "user item rating time",
         [("a", "x", 5, 30), ("a", "y", 3, 10)]),
        ("shop.csv", "A1,B1,5.0,1370000000\nA2,B2,4.0,1371000000\n", "user,item,rating,time",
         [("A1", "B1", 5.0, 1370000000), ("A2", "B2", 4.0, 1371000000)]),
        ("noending", "1;7\r\n2;8\r\n", "user item", [(1, 7), (2, 8)]),
        ("strange.rating", "1|007\n2|8\n", ["user", "item"], [(1, "007"), (2, "8")]),
        ("quoted.csv", '1,"a, b",3\n2,c,4\n', "user item time", [(1, "a, b", 3), (2, "c", 4)]),
        ("mac.csv", "1,2,3\r1,3,4\r", "user item time", [(1, 2, 3), (1, 3, 4)]),
        ("x.csv.gz", "1,2\n1,3\n", "user item", [(1, 2), (1, 3)]),
        # Last.fm: quotes in the titles of songs mean nothing
        ("lastfm.tsv", 'u1\t5\tm\tThe "A"\nu1\t6\t\t"B\n', "user time _ item",
         [("u1", 5, 'The "A"'), ("u1", 6, '"B')]),
    ],
)  # fmt: skip
def test_columns_are_named_in_their_order(tmp_path, name, content, columns, rows):
    data = read_interactions(put(tmp_path, name, content), columns=columns)
    assert data.frame.rows() == rows
    assert data.by_user


def test_yoochoose_and_gowalla(tmp_path):
    clicks = "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09Z,214536500,S\n"
    path = put(tmp_path, "yoochoose-clicks.dat", clicks)
    data = read_interactions(path, columns="session time item category")
    assert data.columns.source == "session"
    assert data.columns.extras == ("category",)
    assert data.frame.schema["time"] == pl.Datetime("us", "UTC")
    first, second = "2010-10-19T23:55:27Z\t30.2359\t-97.795", "2010-10-18T22:17:43Z\t30.2\t-97"
    gowalla = f"0\t{first}\t22847\n0\t{second}\t420315\n"
    path = put(tmp_path, "Gowalla_totalCheckins.txt", gowalla)
    data = read_interactions(path, columns="user time latitude longitude item")
    assert data.vocabulary.items.to_list() == [420315, 22847]


@pytest.mark.parametrize("content", ["1 7\n1 9\n2 7\n", "1 7 5\n2 9 3\n", "1 7 5 1\n2 9 3 2\n"])
def test_rows_of_a_table_are_never_taken_for_sessions(tmp_path, content):
    path = put(tmp_path, "ml-1m.txt", content)
    with pytest.raises(FileFormatError, match=r"Each line .* numbers.* columns='user item"):
        read_interactions(path)
    assert read_interactions(path, format="session-lines").n_rows == len(content.split())
    names = ["user", "item", "rating", "time"][: len(content.split("\n")[0].split())]
    assert read_interactions(path, columns=names).n_sources == 2


@pytest.mark.parametrize(
    "content",
    ["0 3 4\n1 5\n2 3 4 5\n", "".join(f"{3 * n} 7 {'8' * (n % 2)}\n" for n in range(9))],
)
def test_items_of_users_are_never_taken_for_sessions(tmp_path, content):
    path = put(tmp_path, "train.txt", content)
    with pytest.raises(FileFormatError, match="format='user-lines'"):
        read_interactions(path)
    assert read_interactions(path, format="user-lines").by_user
    assert read_interactions(path, format="session-lines").kind == "sessions"


def test_a_few_lines_that_could_be_of_users_are_warned_of(tmp_path):
    with pytest.warns(DataWarning, match="say format='user-lines' if it is a user"):
        data = read_interactions(put(tmp_path, "s.txt", "3 4 3\n5\n6 7\n"))
    assert data.columns.source == "session_id"


def test_decimal_commas_of_ratings(tmp_path):
    path = put(tmp_path, "x.csv", "user;item;rating;note\n1;17;3,50;1,5\n1;18;4;1,5\n")
    data = read_interactions(path)
    assert data.frame.rows() == [(1, 17, 3.5, "1,5"), (1, 18, 4.0, "1,5")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("clicks.dat", "1,1396437466,2145,0\n2,1396437467,5,0\n", "'user time item rating'"),
        ("clicks.dat", "1\t214536502\t1396437466\n", "columns='user item time'"),
        ("clicks.dat", "u1\t2009-05-04T23:08:57Z\tX\t\tY\n", "columns='user time item _ _'"),
        ("a.csv", "A1,B01,5.0,1370000000\n", "values such as '5.0'.* no header line"),
        ("a.csv", "A1,2019-10-01 00:00:00,B\n", "no header line"),
        ("a.csv", "ann,tea\nbob,cup\n", "has no header line: name the columns"),
        ("a.txt", "ann tea\nbob cup\n", "has no header line: name the columns"),
    ],
)
def test_a_missing_header_is_said(tmp_path, name, content, message):
    with pytest.raises((FileFormatError, ColumnError), match=message):
        read_interactions(put(tmp_path, name, content))


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ("user item", FileFormatError, "names 2 columns, and the first line .* has 3 fields"),
        ("user item item", ParameterError, "has the name 'item' twice"),
        ("", ParameterError, "columns must name the columns"),
        ("_ _ _", ParameterError, "leaves out all columns"),
        (5, ParameterError, "columns must name the columns"),
        (["user", 3, "x"], ParameterError, "columns must name the columns"),
        ("a b c", ColumnError, "No session or user column"),
    ],
)
def test_names_that_do_not_fit(tmp_path, columns, error, message):
    path = put(tmp_path, "x.csv", "1,2,3\n1,3,4\n")
    with pytest.raises(error, match=message):
        read_interactions(path, columns=columns)


def test_lines_that_do_not_fit_the_names_are_named(tmp_path):
    path = put(tmp_path, "x.csv", "1,2,3\n1,3\n")
    with pytest.raises(FileFormatError, match=r"Line 2 of .* has 2 fields separated by ','"):
        read_interactions(path, columns="user item time")
    path = put(tmp_path, "q.csv", '1,"2",3\n1,"3\n')
    with pytest.raises(FileFormatError, match=r"line 2 of .* do not close"):
        read_interactions(path, columns="user item time")
    path = put(tmp_path, "r.csv", '1,"2",3\n\n1,"3"\n')
    with pytest.raises(FileFormatError, match=r"Line 3 of .* has 2 fields"):
        read_interactions(path, columns="user item time")


def test_a_file_that_has_names_needs_none(tmp_path):
    path = put(tmp_path, "x.csv", "user_id,item_id,time\n1,2,3\n")
    with pytest.raises(FileFormatError, match="is a header line, and columns is for files without"):
        read_interactions(path, columns="user item time")
    same = read_interactions(path, columns="user_id item_id time")
    assert same.frame.rows() == [(1, 2, 3)]
    atomic = put(tmp_path, "x.inter", "user_id:token\titem_id:token\n1\t2\n")
    with pytest.raises(ParameterError, match="columns is for files without names"):
        read_interactions(atomic, columns="user item")
    pl.DataFrame({"user": [1], "item": [2]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(ParameterError, match="is read as parquet, which has them"):
        read_interactions(tmp_path / "x.parquet", columns="who what")
    assert read_interactions(tmp_path / "x.parquet", columns="user item").n_rows == 1


def test_the_separator_may_be_given(tmp_path):
    path = put(tmp_path, "x.txt", "1,5 2,5\n1,5 3,5\n")
    data = read_interactions(path, columns="user item", separator=" ")
    assert data.frame.rows() == [("1,5", "2,5"), ("1,5", "3,5")]
    path = put(tmp_path, "y.txt", "a::b\n")
    assert read_interactions(path, columns="user item", separator="::").n_rows == 1
    with pytest.raises(ParameterError, match="one character or '::'"):
        read_interactions(path, columns="user item", separator="abc")


def test_tables_of_other_things_have_names_too(tmp_path):
    path = put(tmp_path, "items.csv", "B1,0.5\nB2,0.7\n")
    assert read_table(path, columns="item_id weight").rows() == [("B1", 0.5), ("B2", 0.7)]
    with pytest.raises(FileFormatError, match="no header line"):
        read_table(path)


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("u.csv", "3\n5\n7\n", [3, 5, 7]),
        ("u.txt", "ann\nbob\n", ["ann", "bob"]),
        ("u.csv", "user_id\n3\n5\n", [3, 5]),
        ("u.csv", "who,user_id\nx,3\ny,5\n", [3, 5]),
        ("u.csv.gz", "mine\n3\n5\n", [3, 5]),
        ("u.tsv", "item\tx\n3\t1\n", [3]),
    ],
)
def test_lists_of_ids(tmp_path, name, content, ids):
    assert read_ids(put(tmp_path, name, content), "mine").to_list() == ids


def test_lists_of_ids_that_are_not_clear(tmp_path):
    path = put(tmp_path, "u.csv", "B001\nB002\n")
    with pytest.warns(DataWarning, match="'B001', is taken for the name"):
        assert read_ids(path).to_list() == ["B002"]
    with pytest.raises(FileFormatError, match="has the columns a, b; give a file with one"):
        read_ids(put(tmp_path, "v.csv", "a,b\n1,2\n"))
    with pytest.raises(FileFormatError, match=r"Each line of .* has 1 number, as"):
        read_interactions(put(tmp_path, "w.txt", "1\n2\n"))


def test_ratings_of_other_names_are_told_from_other_numbers(tmp_path):
    path = put(tmp_path, "x.data", "1\t2\t5\t881250949\n1\t3\t4\t881250950\n")
    assert read_interactions(path).columns.rating == "rating"
    put(tmp_path, "x.data", "1\t2\t5\t1881250949\n1\t3\t4000\t1881250950\n")
    with pytest.raises(FileFormatError, match="columns='user item rating time'"):
        read_interactions(path)


def test_users_without_items_are_left_out(tmp_path):
    path = put(tmp_path, "test.txt", "0 3 4\n1 \n2 5\n")
    with pytest.warns(DataWarning, match="1 of 3 lines"):
        assert read_interactions(path, format="user-lines").n_rows == 3
