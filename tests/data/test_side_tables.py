from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

from whence.data import (
    Interactions,
    filter_core,
    k_fold,
    split_last,
    split_leave_one_out,
    split_rows,
    split_time,
)
from whence.errors import DataError, FileFormatError

FRAME = pl.DataFrame({"user": [1, 1, 2, 2, 2], "sku": [7, 8, 7, 9, 8], "t": [1, 2, 3, 4, 5]})
ITEMS = pl.DataFrame({"name": ["Tea", "Cup", "Jug"], "sku": [8, 7, 6], "price": [1.5, 2.0, 3.0]})
USERS = pl.DataFrame({"member": [2], "age": [41]})


def interactions() -> Interactions:
    return Interactions.from_frame(FRAME, time="t")


def test_tables_have_the_id_first_named_as_in_the_interactions():
    data = interactions().with_tables(items=ITEMS, users=USERS)
    assert data.item_table.columns == ["sku", "name", "price"]
    assert data.item_table.rows() == [(8, "Tea", 1.5), (7, "Cup", 2.0), (6, "Jug", 3.0)]
    assert data.user_table.rows() == [(2, 41)]
    assert data.user_table.columns == ["user", "age"]
    assert interactions().item_table is None
    assert data.fingerprint == interactions().fingerprint


@pytest.mark.parametrize("kind", ["pandas", "arrow", "csv", "latin-1", "parquet"])
def test_tables_may_be_of_any_library_or_files(tmp_path, kind):
    if kind == "pandas":
        given = ITEMS.to_pandas()
    elif kind == "arrow":
        given = ITEMS.to_arrow()
    elif kind == "parquet":
        given = tmp_path / "items.parquet"
        ITEMS.write_parquet(given)
    else:
        given = tmp_path / "items.csv"
        text = ITEMS.write_csv().replace("Jug", "Gefäß")
        given.write_bytes(text.encode("utf-8" if kind == "csv" else "latin-1"))
    data = interactions().with_tables(items=given)
    assert data.item_titles.to_list() == ["Cup", "Tea", None]
    assert data.item_table["name"][2] in ("Jug", "Gefäß")


def test_titles_by_item_number():
    data = interactions().with_tables(items=ITEMS)
    assert data.vocabulary.items.to_list() == [7, 8, 9]
    assert data.item_titles.to_list() == ["Cup", "Tea", None]
    assert interactions().item_titles is None
    assert interactions().with_tables(items=ITEMS.drop("name")).item_titles is None
    both = ITEMS.with_columns(title=pl.lit("T"))
    assert interactions().with_tables(items=both).item_titles.to_list() == ["T", "T", None]
    words = pl.DataFrame({"sku": [7], "Movie Title": [["Toy", "Story"]]})
    assert interactions().with_tables(items=words).item_titles.to_list() == [
        "Toy Story",
        None,
        None,
    ]


def test_titles_of_text_ids_of_any_kind():
    frame = FRAME.with_columns(pl.col("sku").cast(pl.String).cast(pl.Categorical))
    items = ITEMS.with_columns(pl.col("sku").cast(pl.String))
    data = Interactions.from_frame(frame, time="t").with_tables(items=items)
    assert data.item_titles.to_list() == ["Cup", "Tea", None]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"items": pl.concat([ITEMS, ITEMS.head(1)])}, "sku 8 has several rows in the item table"),
        ({"items": ITEMS.with_columns(sku=pl.lit(None, pl.Int64))}, "has 3 null values"),
        ({"items": ITEMS.with_columns(pl.col("sku").cast(pl.String))}, "is String, but 'sku' of"),
        ({"items": pl.DataFrame()}, "has no columns"),
        ({"users": pd.DataFrame({"user": ["x"]})}, "is String, but 'user' of"),
        ({"items": [1, 2]}, "A pandas, polars or pyarrow table is needed"),
    ],
)
def test_tables_that_do_not_fit(tables, message):
    with pytest.raises(DataError, match=message):
        interactions().with_tables(**tables)


def test_sessions_have_no_users_to_describe(tmp_path):
    data = Interactions.from_frame(pl.DataFrame({"session": [1], "item": [1]}))
    with pytest.raises(DataError, match="no user column"):
        data.with_tables(users=USERS)
    with pytest.raises(FileFormatError, match="does not exist"):
        data.with_tables(items=tmp_path / "no.csv")


def test_by_user_is_for_items_of_users_alone():
    assert interactions().by_user
    assert repr(interactions()) == "<Interactions: 5 rows, 2 users, 3 items>"
    assert interactions().describe()["users"] == 2
    sessions = pl.DataFrame({"session": [1], "user": [2], "item": [3]})
    assert not Interactions.from_frame(sessions).by_user
    baskets = pl.DataFrame({"user": [1], "basket": [2], "item": [3]})
    assert not Interactions.from_frame(baskets).by_user


def test_tables_survive_what_makes_interactions_of_interactions():
    data = interactions().with_tables(items=ITEMS, users=USERS)
    made = [
        data.keep_rows(np.array([True, False, True, False, True])),
        data.keep_sources(np.array([True, False])),
        data.without([1]),
        data.without([1]).rebuild(),
        *split_last(data),
        *split_rows(data, (0.5, 0.5)),
        *split_time(data, (0.4, 0.6)),
        filter_core(data, users=3, items=1)[0],
        *next(k_fold(data, 2)),
        pickle.loads(pickle.dumps(data)),
        data.with_tables(),
    ]
    for other in made:
        assert other.item_table.equals(data.item_table)
        assert other.user_table.equals(data.user_table)
    renumbered = data.without([1]).rebuild()
    assert renumbered.vocabulary.items.to_list() == [7, 9, 8]
    assert renumbered.item_titles.to_list() == ["Cup", None, "Tea"]
    baskets = pl.DataFrame({"user": [1, 1, 1, 2], "basket": [1, 2, 3, 1], "sku": [7, 8, 9, 9]})
    parts = split_leave_one_out(Interactions.from_frame(baskets).with_tables(items=ITEMS))
    assert all(part.item_table.height == 3 for part in parts)
