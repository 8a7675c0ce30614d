from __future__ import annotations

import polars as pl
import pytest

from whence.data import read_interactions, read_table
from whence.data.movielens import GENRES
from whence.errors import DataError, FileFormatError

RATINGS = [(1, 10, 5, 881250949), (1, 20, 3, 881250950), (2, 10, 4, 881250948)]
NAMES = ["user_id", "item_id", "rating", "timestamp"]


def lines(separator, rows=RATINGS):
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def flags(*genres):
    return "|".join(str(int(genre in genres)) for genre in GENRES)


def fill(folder, form):
    folder.mkdir()
    if form == "100k":
        (folder / "u.data").write_text(lines("\t"))
        items = (
            f"10|Amélie (2001)|01-Jan-2001||http://x|{flags('Comedy', 'Romance')}\n"
            f"30|1984|||http://y|{flags('unknown')}\n"
        )
        (folder / "u.item").write_bytes(items.encode("latin-1"))
        (folder / "u.user").write_text("1|24|M|technician|02138\n2|53|F|other|T8H1N\n")
        return folder / "u.data"
    if form == "csv":
        (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + lines(","))
        movies = 'movieId,title,genres\n10,"Amélie (2001)",Comedy|Romance\n30,1984,'
        (folder / "movies.csv").write_text(movies + "(no genres listed)\n", encoding="utf-8")
        return folder / "ratings.csv"
    mark = "::" if form == "1m" else "\t"
    (folder / "ratings.dat").write_text(lines(mark))
    movies = f"10{mark}Amélie (2001){mark}Comedy|Romance\n30{mark}1984{mark}(no genres listed)\n"
    (folder / "movies.dat").write_bytes(movies.encode("latin-1"))
    (folder / "users.dat").write_text(lines(mark, [(1, "F", 1, 10, "02138"), (2, "M", 56, 16, 7)]))
    return folder / "ratings.dat"


@pytest.mark.parametrize("form", ["100k", "1m", "1m-tabs", "csv"])
def test_each_form_is_read_with_its_side_tables(tmp_path, form):
    file = fill(tmp_path / "data", form)
    for source in (tmp_path / "data", file):
        data = read_interactions(source)
        assert data.frame.rows() == RATINGS
        assert data.by_user
        assert data.columns.rating == "rating"
        assert data.vocabulary.sources.to_list() == [2, 1]
        assert data.item_titles.to_list() == ["Amélie (2001)", None]
        assert data.item_table["title"].to_list() == ["Amélie (2001)", "1984"]
        genres = data.item_table["genres"].to_list()
        assert genres[0] == ["Comedy", "Romance"]
        assert genres[1] == (["unknown"] if form == "100k" else [])
        assert data.item_table.columns[0] == data.columns.item
        if form == "csv":
            assert data.user_table is None
        else:
            assert data.user_table["user_id"].to_list() == [1, 2]
            assert data.user_table["zip_code"][0] == "02138"
    assert read_interactions(file, side_tables=False).item_table is None


def test_other_names_by_format(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text(lines("::"))
    assert read_interactions(path, format="movielens").frame.columns == NAMES
    path.write_text(lines("::", [row[:3] for row in RATINGS]))
    assert read_interactions(path, format="movielens").frame.columns == NAMES[:3]
    half = [(1, 10, 4.5, 1), (2, 10, 4, 2)]
    (tmp_path / "u1.base").write_text(lines("\t", half))
    assert read_interactions(tmp_path / "u1.base").frame["rating"].to_list() == [4.5, 4.0]
    (tmp_path / "clicks.dat").write_text("session_id,item_id\na,1\n")
    assert read_interactions(tmp_path / "clicks.dat").frame.rows() == [("a", 1)]


def test_tables_of_items_and_users_are_tables(tmp_path):
    fill(tmp_path / "data", "100k")
    table = read_table(tmp_path / "data" / "u.item")
    assert table.columns == [
        "item_id",
        "title",
        "release_date",
        "video_release_date",
        "imdb_url",
        "genres",
    ]
    assert table["item_id"].dtype == pl.Int64
    other = read_interactions(tmp_path / "data" / "u.data", side_tables=False)
    named = other.with_tables(items=tmp_path / "data" / "u.item")
    assert named.item_titles.to_list()[0] == "Amélie (2001)"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ratings.dat", lines("::") + "1\t10\t5\t6\n", r"Line 4 of .* separated by '\\t'"),
        ("ratings.dat", lines("::") + "1::10::5\n", "Line 4 of .* has 3 fields"),
        ("u.data", lines("\t") + "1\t10\tgood\t6\n", "Line 4 of .* has 'good' in column 'rating'"),
        ("u.data", "1\t2\n", "is not a MovieLens file of ratings: its first line, '1"),
        ("u.data", lines("\t") + "1 10 5 6\n", "Line 4 of .* seems to be separated by ' '"),
    ],
)
def test_malformed_files_are_named_by_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(FileFormatError, match=message):
        read_interactions(tmp_path / name)


def test_malformed_side_tables(tmp_path):
    file = fill(tmp_path / "data", "100k")
    (tmp_path / "data" / "u.item").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(FileFormatError, match="gzip-compressed"):
        read_interactions(file)
    (tmp_path / "data" / "u.item").write_text("10|Amelie|2001\n")
    with pytest.raises(FileFormatError, match=r"Line 1 of .*u\.item has 3 fields .* 24"):
        read_interactions(file)
    (tmp_path / "data" / "u.item").unlink()
    (tmp_path / "data" / "u.user").write_text("1|24|M|none|1\n1|24|M|none|1\n")
    with pytest.raises(DataError, match=r"u\.user: user_id 1 has several rows in the user table"):
        read_interactions(file)


def test_folders(tmp_path):
    with pytest.raises(FileFormatError, match=r"is a folder without an \.inter file, u\.data,"):
        read_interactions(tmp_path)
    fill(tmp_path / "data", "100k")
    (tmp_path / "data" / "x.inter").write_text("user_id:token\titem_id:token\n1\t10\n")
    assert read_interactions(tmp_path / "data").n_rows == 1
    assert read_interactions(tmp_path / "data", format="movielens").n_rows == 3
    assert read_interactions(tmp_path / "data", format="atomic").item_titles[0] == "Amélie (2001)"
    with pytest.raises(FileFormatError, match="is a folder"):
        read_interactions(tmp_path / "data", format="parquet")


def test_real_data_have_their_published_counts(data_dir):
    data = read_interactions(data_dir / "ml-100k", format="movielens")
    assert (data.n_rows, data.n_sources, data.n_items) == (100_000, 943, 1_682)
    titles = data.item_titles
    assert titles.null_count() == 0
    assert "Misérables, Les (1995)" in titles.to_list()
    atomic = read_interactions(data_dir / "ml-100k" / "ml-100k.inter")
    assert data.vocabulary.items.equals(atomic.vocabulary.items)
    n_genres = data.item_table["genres"].list.len()
    assert (n_genres.min(), n_genres.sum()) == (1, 2_893)
