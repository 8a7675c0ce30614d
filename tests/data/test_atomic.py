from __future__ import annotations

import datetime
import gzip

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whence.data import Interactions, read_interactions, read_table, write_interactions
from whence.errors import DataError, FileFormatError, OutputExistsError

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\tneg:token_seq\n"
ROWS = "1\t7\t3\t881250949\t8 9\n1\t8\t4.5\t881250950\t\n2\t7\t1\t3e2\t9\n"


def put(path, content):
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["x.inter", "x.inter.gz", "x.csv", "x.txt"])
def test_typed_headers_say_what_the_columns_are(tmp_path, name):
    data = read_interactions(put(tmp_path / name, INTER + ROWS))
    assert data.frame.schema == {
        "user_id": pl.Int64,
        "item_id": pl.Int64,
        "rating": pl.Float64,
        "timestamp": pl.Float64,
        "neg": pl.List(pl.Int64),
    }
    assert data.frame.row(0) == (1, 7, 3.0, 881250949.0, [8, 9])
    assert data.frame["neg"].to_list() == [[8, 9], [], [9]]
    assert data.columns.negatives == "neg"
    assert (data.columns.rating, data.columns.time) == ("rating", "timestamp")
    assert data.by_user
    assert data.vocabulary.sources.to_list() == [2, 1]


def test_line_ends_blank_lines_and_other_names_do_not_matter(tmp_path):
    plain = read_interactions(put(tmp_path / "a.inter", INTER + ROWS))
    windows = (INTER + ROWS).replace("\n", "\r\n") + "\r\n"
    assert read_interactions(put(tmp_path / "b.inter", windows)).frame.equals(plain.frame)
    spaced = "\n" + INTER + "\n\n" + ROWS.replace("\n", "\n\n")
    path = put(tmp_path / "c.dat", spaced)
    assert read_interactions(path, format="atomic").frame.equals(plain.frame)
    commas = (INTER + ROWS).replace("\t", ",")
    assert read_interactions(put(tmp_path / "d.inter", commas)).frame.equals(plain.frame)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["7", "10"], [7, 10]),
        (["7", "007"], ["7", "007"]),
        (["7", ' "7"'], ["7", ' "7"']),
        (["1.10", "1.1"], ["1.10", "1.1"]),
        (["NA", "7"], ["NA", "7"]),
    ],
)
def test_tokens_are_integers_only_where_that_loses_nothing(tmp_path, tokens, expected):
    rows = "".join(f"1\t{token}\t{token}\n" for token in tokens)
    path = put(tmp_path / "x.inter", "user_id:token\titem_id:token\tcolour:token\n" + rows)
    data = read_interactions(path)
    assert data.frame["item_id"].to_list() == expected
    assert data.frame["colour"].to_list() == expected


def test_whole_numbers_that_no_float_can_hold_are_kept(tmp_path):
    times = [2**60 + 1, 2**60]
    rows = "".join(f"{number}\t1\t{time}\n" for number, time in enumerate(times))
    path = put(tmp_path / "x.inter", "user_id:token\titem_id:token\ttimestamp:float\n" + rows)
    data = read_interactions(path)
    assert data.frame["timestamp"].to_list() == times
    assert data.vocabulary.sources.to_list() == [1, 0]


def test_dates_in_tokens_are_times(tmp_path):
    rows = "1\t1\t2020-01-02\n2\t1\t2020-01-01\n"
    path = put(tmp_path / "x.inter", "user_id:token\titem_id:token\tdate:token\n" + rows)
    assert read_interactions(path).vocabulary.sources.to_list() == [2, 1]


def test_order_is_the_time_where_there_is_no_other(tmp_path):
    rows = "1\t5\t1\n1\t6\t0\n"
    head = "user_id:token\titem_id:token\torder:float\n"
    data = read_interactions(put(tmp_path / "x.inter", head + rows))
    assert data.columns.time == "order"
    assert data.vocabulary.items.to_list() == [6, 5]
    text = read_interactions(
        put(tmp_path / "y.inter", head.replace("float", "token") + "1\t5\ta\n1\t6\tb\n")
    )
    assert (text.columns.time, text.columns.extras) == (None, ("order",))
    both = head[:-1] + "\ttimestamp:float\n1\t5\t1\t8\n1\t6\t0\t9\n"
    assert read_interactions(put(tmp_path / "z.inter", both)).columns.time == "timestamp"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id:token\titem_id\n1\t2\n", r"has 'item_id', which should be .*'item_id:token'"),
        ("user_id:token\t:token\n1\t2\n", "which should be a name and a type"),
        ("user_id:token\titem_id:tokn\n1\t2\n", r"unknown type 'tokn'.* mean 'token'"),
        ("a:token\ta:float\n1\t2\n", "several columns named 'a'"),
        (INTER + "1\t7\tgood\t2\t\n", r"Line 2 of .* has 'good' in column 'rating', where numbers"),
        (INTER + "\n" + ROWS + "1\t7\t3\tnow\t\n", r"Line 6 .*'now' in column 'timestamp'"),
        (INTER + ROWS + "1\t7\t3\n", r"Line 5 .* has 3 fields separated by '\\t' where 5"),
        (INTER + ROWS + "1,7,3,4,5\n", r"Line 5 .* has 1 field .* seems to be separated by ','"),
        (INTER + "1\t7\t3\t4\t5\t6\n" + ROWS, r"Line 2 .* has 6 fields"),
        ("item_id:token\tx:float_seq\n1\t1.5 b\n", r"Line 2 .* has '1.5 b' in column 'x'"),
    ],
)
def test_malformed_files_are_named_by_line(tmp_path, content, message):
    with pytest.raises(FileFormatError, match=message) as error:
        read_interactions(put(tmp_path / "x.inter", content))
    assert "\n" not in str(error.value)


def test_a_header_without_rows_and_text_among_integers(tmp_path):
    with pytest.raises(DataError, match=r"x\.inter: The table has no rows"):
        read_interactions(put(tmp_path / "x.inter", INTER))
    with pytest.raises(DataError, match=r"'user_id' has 1 null value"):
        read_interactions(put(tmp_path / "y.inter", INTER + "\t7\t3\t4\t\n"))
    with pytest.raises(DataError, match=r"'neg' has ids that are text, .* integers"):
        read_interactions(put(tmp_path / "z.inter", INTER + "1\t7\t3\t4\ta b\n"))


def test_negatives_have_the_type_of_the_items(tmp_path):
    data = read_interactions(put(tmp_path / "x.inter", INTER + "1\tx7\t3\t4\t8 9\n"))
    assert data.frame["neg"].to_list() == [["8", "9"]]


def test_side_tables_lie_beside(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    put(folder / "x.inter", INTER + ROWS)
    items = "item_id:token\tmovie_title:token_seq\tprice:float\n7\tToy Story\t1\n5\tAmélie\t2\n"
    put(folder / "x.item", items.encode("latin-1"))
    put(folder / "x.user.gz", "user_id:token\tzip:token\n1\t02138\n")
    for source in (folder, folder / "x.inter"):
        data = read_interactions(source)
        assert data.item_table["item_id"].to_list() == [7, 5]
        assert data.item_table["movie_title"].to_list()[1] == ["Amélie"]
        assert data.user_table.rows() == [(1, "02138")]
        assert data.item_titles.to_list() == ["Toy Story", None]
    assert read_interactions(folder, side_tables=False).item_table is None
    put(folder / "x.item", items + "7\tAgain\t1\n")
    with pytest.raises(DataError, match=r"item_id 7 has several rows .* say side_tables=False"):
        read_interactions(folder)


def test_parts_of_a_benchmark_share_the_side_tables(tmp_path):
    for part in ("train", "valid"):
        put(tmp_path / f"x.{part}.inter", INTER + ROWS)
    put(tmp_path / "x.item", "item_id:token\tname:token\n7\tTea\n")
    assert read_interactions(tmp_path / "x.valid.inter").item_titles.to_list() == ["Tea", None]
    with pytest.raises(FileFormatError, match=r"several files of interactions, x\.train\.inter, "):
        read_interactions(tmp_path)


def test_text_ids_of_interactions_meet_integers_of_a_side_table(tmp_path):
    put(tmp_path / "x.inter", "user_id:token\titem_id:token\n1\t7\n1\tb\n")
    put(tmp_path / "x.item", "item_id:token\tname:token\n7\tTea\n")
    assert read_interactions(tmp_path / "x.inter").item_titles.to_list() == ["Tea", None]


def test_written_and_read_back(tmp_path):
    data = read_interactions(put(tmp_path / "x.inter", INTER + ROWS)).with_tables(
        items=pl.DataFrame({"item_id": [7, 8], "title": ["Tea", "Cup and pot"]}),
        users=pl.DataFrame({"user_id": [1], "age": [41], "tags": [["a", "b"]]}),
    )
    path = write_interactions(data, tmp_path / "out" / "y.inter")
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["y.inter", "y.item", "y.user"]
    assert path.read_text().splitlines()[0] + "\n" == INTER
    again = read_interactions(path)
    assert again.frame.equals(data.frame)
    assert again.columns == data.columns
    assert again.item_table.equals(data.item_table)
    assert again.user_table.equals(data.user_table)
    assert again.fingerprint == data.fingerprint


def test_types_follow_from_roles_and_values(tmp_path):
    table = pl.DataFrame(
        {
            "session_id": ["a", "b"],
            "item_id": [1, 2],
            "time": [datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 2)],
            "stars": [3, 4],
            "price": [0.5, None],
            "shelf": [3, None],
            "vector": [[0.5, 1.0], []],
            "words": [["x", "y"], None],
        }
    )
    path = write_interactions(Interactions.from_frame(table), tmp_path / "x.inter.gz")
    header = gzip.decompress(path.read_bytes()).decode().splitlines()[0].split("\t")
    assert header == [
        "session_id:token",
        "item_id:token",
        "time:float",
        "stars:float",
        "price:float",
        "shelf:token",
        "vector:float_seq",
        "words:token_seq",
    ]
    again = read_interactions(path).frame
    assert again["time"].to_list() == [1577836800.0, 1577923200.0]
    assert again["words"].to_list() == [["x", "y"], []]
    for name in ("session_id", "item_id", "price", "shelf", "vector"):
        assert again[name].equals(table[name])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a\tb"], r"has the text 'a\\tb', and an atomic file cannot hold"),
        ([""], "has the text ''"),
        ([["a b"]], "has lists with 'a b'"),
        ([[None, "a"]], "has lists with None"),
        ([{"a": 1}], "which an atomic file cannot hold"),
    ],
)
def test_what_an_atomic_file_cannot_hold(tmp_path, values, message):
    table = pl.DataFrame({"session_id": [1], "item_id": [2], "x": values})
    with pytest.raises(DataError, match=message):
        write_interactions(Interactions.from_frame(table), tmp_path / "x.inter")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_where_one_of_the_files_exists(tmp_path):
    put(tmp_path / "x.item", "precious")
    data = Interactions.from_frame(pl.DataFrame({"session": [1], "item": [2]}))
    data = data.with_tables(items=pl.DataFrame({"item": [2], "title": ["Tea"]}))
    with pytest.raises(OutputExistsError):
        write_interactions(data, tmp_path / "x.inter")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.item"]
    write_interactions(data, tmp_path / "x.inter", overwrite=True)
    assert read_interactions(tmp_path / "x.inter").item_titles.to_list() == ["Tea"]


words = st.text(st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"]), min_size=1, max_size=5)
numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)


def column(values):
    return st.one_of(st.lists(kind, min_size=3, max_size=3) for kind in values)


@given(
    user=column([numbers, words]),
    item=column([numbers, words]),
    rating=column([floats, st.none() | floats]),
    extra=column([words, st.none() | words, numbers, st.lists(words, max_size=3)]),
    vector=column([st.lists(floats, max_size=3)]),
)
@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_everything_that_can_be_written_reads_back_equal(
    tmp_path, user, item, rating, extra, vector
):
    given_columns = {"user": user, "item": item, "rating": rating, "extra": extra, "v": vector}
    schema = {"rating": pl.Float64, "v": pl.List(pl.Float64)}
    table = pl.DataFrame(given_columns, schema_overrides=schema)
    assume_text = all(value is None for value in extra) or extra == [[], [], []]
    if assume_text:
        table = table.drop("extra")
    data = Interactions.from_frame(table)
    path = write_interactions(data, tmp_path / "x.inter", overwrite=True)
    again = read_interactions(path)
    for name, values in table.to_dict().items():
        expected = values
        if values.dtype in (pl.String, pl.List(pl.String)):  # "7" and "8" come back as integers
            flat = values.explode() if values.dtype != pl.String else values
            if flat.drop_nulls().str.contains("^(0|-?[1-9][0-9]*)$").all():
                expected = again.frame[name].cast(values.dtype)
                assert expected.equals(values)
                continue
        assert again.frame[name].equals(expected, check_dtypes=True), name


@pytest.mark.parametrize(
    ("name", "rows", "users", "items"),
    [
        ("ml-100k", 100_000, 943, 1_682),
        ("ml-100k/ml-100k.inter", 100_000, 943, 1_682),
        ("ml-1m", 1_000_209, 6_040, 3_706),
        ("ml-1m/ml-1m.inter.gz", 1_000_209, 6_040, 3_706),
    ],
)
def test_real_data_have_their_published_counts(data_dir, name, rows, users, items):
    data = read_interactions(data_dir / name)
    assert (data.n_rows, data.n_sources, data.n_items) == (rows, users, items)
    assert data.by_user
    if name != "ml-1m/ml-1m.inter.gz":
        assert data.item_titles.null_count() == 0
        assert data.user_table.height == users


def test_real_data_go_to_atomic_files_and_back(data_dir, tmp_path):
    data = read_interactions(data_dir / "ml-100k")
    path = write_interactions(data, tmp_path / "ml-100k.inter")
    again = read_interactions(path)
    assert again.frame.equals(data.frame)
    assert again.item_table.equals(data.item_table)
    assert again.user_table.equals(data.user_table)
    for ending in ("inter", "item", "user"):
        ours, theirs = tmp_path / f"ml-100k.{ending}", data_dir / "ml-100k" / f"ml-100k.{ending}"
        first = [file.read_text("utf-8").splitlines()[0] for file in (ours, theirs)]
        assert first[0] == first[1]
    assert read_table(path).equals(data.frame)
