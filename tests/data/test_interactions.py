from __future__ import annotations

import datetime
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.data import Interactions
from whence.errors import DataError

CLICKS = {
    "session_id": [20, 10, 20, 30, 10],
    "item_id": [7, 8, 8, 9, 7],
    "timestamp": [5, 1, 2, 9, 1],
}
BASKETS = {
    "user_id": [1, 2, 1, 2, 1, 1],
    "basket_id": [10, 9, 9, 9, 10, 9],
    "item_id": [5, 6, 7, 8, 9, 7],
}


def clicks(**changes) -> Interactions:
    return Interactions.from_frame(pl.DataFrame({**CLICKS, **changes}))


def test_numbers_by_first_appearance_after_a_stable_sort_by_time():
    data = clicks()
    assert data.kind == "sessions"
    assert data.rows.tolist() == [1, 4, 2, 0, 3]
    assert data.vocabulary.sources.to_list() == [10, 20, 30]
    assert data.vocabulary.items.to_list() == [8, 7, 9]
    assert data.source_codes.tolist() == [0, 0, 1, 1, 2]
    assert data.item_codes.tolist() == [0, 1, 0, 1, 2]
    assert data.moments.tolist() == [0, 0, 1, 2, 3]
    assert data.frame["session_id"].to_list() == CLICKS["session_id"]


def test_without_time_the_order_of_rows_is_the_order():
    data = Interactions.from_frame(pl.DataFrame(CLICKS).drop("timestamp"))
    assert data.rows.tolist() == [0, 1, 2, 3, 4]
    assert data.vocabulary.sources.to_list() == [20, 10, 30]
    assert data.recency.tolist() == [0, 2, 1]  # by the last row


def test_sequences_group_rows_by_source_in_order_of_time():
    data = clicks()
    assert data.sequences.offsets.tolist() == [0, 2, 4, 5]
    assert data.sequences.items.tolist() == [0, 1, 0, 1, 2]
    assert data.sequences.rows.tolist() == [1, 4, 2, 0, 3]
    assert data.sequences.baskets is None
    items = data.frame["item_id"].gather(data.sequences.rows)
    assert (data.vocabulary.items.gather(data.sequences.items) == items).all()


def test_recency_breaks_ties_of_the_last_timestamp_by_source_number():
    data = Interactions.from_frame(
        pl.DataFrame({"session": [5, 4, 3, 4], "item": [1, 1, 1, 1], "time": [2, 1, 9, 9]})
    )
    assert data.vocabulary.sources.to_list() == [4, 5, 3]
    assert data.recency.tolist() == [1, 0, 2]


def test_baskets_are_ordered_by_their_id():
    data = Interactions.from_frame(pl.DataFrame(BASKETS))
    assert data.kind == "baskets"
    assert data.rows.tolist() == [1, 2, 3, 5, 0, 4]
    assert data.vocabulary.sources.to_list() == [2, 1]
    assert data.basket_codes.tolist() == [0, 1, 0, 1, 2, 2]
    assert data.sequences.items.tolist() == [0, 2, 1, 1, 3, 4]
    assert data.sequences.baskets.tolist() == [0, 0, 0, 0, 1, 1]
    assert data.recency.tolist() == [0, 1]
    assert data.n_duplicates == 1


def test_baskets_with_a_time_are_ordered_by_it_then_by_id():
    frame = pl.DataFrame(
        {"user": [1, 1, 1, 1], "basket": [3, 2, 1, 2], "item": [4, 5, 6, 7], "time": [1, 2, 2, 8]}
    )
    data = Interactions.from_frame(frame)
    # Basket 2 begins when basket 1 does; its row of a later time stays with it.
    assert data.frame["item"].gather(data.rows).to_list() == [4, 6, 5, 7]
    assert data.sequences.baskets.tolist() == [0, 1, 2, 2]


def test_basket_ids_that_are_numbers_in_text_count_as_numbers():
    frame = pl.DataFrame({"user": [1, 1, 1], "basket": ["10", "9", "009"], "item": [1, 2, 3]})
    data = Interactions.from_frame(frame)
    assert data.frame["basket"].gather(data.rows).to_list() == ["009", "9", "10"]
    assert data.sequences.baskets.tolist() == [0, 1, 2]


def test_text_basket_ids_without_time_are_alphabetical_with_a_warning():
    frame = pl.DataFrame({"user": [1, 1], "basket": ["b", "a"], "item": [1, 2]})
    with pytest.warns(UserWarning, match="alphabetical") as caught:
        data = Interactions.from_frame(frame)
    assert caught[0].filename == __file__
    assert data.item_codes.tolist() == [0, 1]
    assert data.vocabulary.items.to_list() == [2, 1]


BIG = 2**53 + 1
IDS = {
    "int64": (pl.Series([BIG, -BIG, BIG - 1]), pl.Int64),
    "uint64": (pl.Series([2**64 - 1, 3, 2**64 - 2], dtype=pl.UInt64), pl.UInt64),
    "int8": (pl.Series([-5, 3, 1], dtype=pl.Int8), pl.Int8),
    "text": (pl.Series(["ä\n", "", "NA"]), pl.String),
    "categorical": (pl.Series(["b", "a", "c"], dtype=pl.Categorical), pl.Categorical),
    "enum": (pl.Series(["b", "a", "c"], dtype=pl.Enum(["a", "b", "c"])), pl.Enum),
    "float": (pl.Series([0.1, 0.30000000000000004, 0.3]), pl.Float64),
    "date": (pl.Series([datetime.date(2020, 1, d) for d in (3, 1, 2)]), pl.Date),
}


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("library", ["polars", "lazy", "pandas", "pyarrow"])
def test_ids_of_any_type_come_back_as_they_were(name, library):
    ids, dtype = IDS[name]
    if library == "pandas" and name == "date":
        ids = ids.cast(pl.Datetime("ms"))  # pandas has no dates
    frame = pl.DataFrame({"session": ids, "item": ids, "time": [1, 2, 3], "extra": [1.5, None, 2]})
    given = {
        "polars": lambda: frame,
        "lazy": frame.lazy,
        "pandas": frame.to_pandas,
        "pyarrow": frame.to_arrow,
    }[library]()
    data = Interactions.from_frame(given)
    assert data.backend == {"lazy": "polars"}.get(library, library)
    assert data.vocabulary.items.to_list() == ids.to_list()
    assert data.vocabulary.sources.to_list() == ids.to_list()
    assert data.vocabulary.item_codes(ids).tolist() == [0, 1, 2]
    if library in ("polars", "lazy"):
        assert isinstance(data.vocabulary.items.dtype, dtype)
        assert data.native().equals(frame)
    elif library == "pandas":
        pd.testing.assert_frame_equal(data.native(), given)
    else:
        assert data.native().to_pydict() == given.to_pydict()
    assert data.columns.extras == ("extra",)


def test_pandas_index_and_dtypes_come_back():
    frame = pd.DataFrame(
        {
            "session": pd.array([1, 1, 2], dtype="Int64"),
            "item": pd.Categorical(["x", "y", "x"], categories=["y", "x", "unused"]),
            "time": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]).tz_localize("UTC"),
            "flag": [True, False, True],
            "small": np.array([1, 2, 3], dtype=np.int16),
        },
        index=pd.Index([7, 5, 9], name="row"),
    )
    data = Interactions.from_frame(frame)
    pd.testing.assert_frame_equal(data.native(), frame)
    kept = data.keep_rows(np.array([True, False, True]))
    pd.testing.assert_frame_equal(kept.native(), frame.iloc[[0, 2]])


def test_pandas_integer_categories_stay_integers():
    frame = pd.DataFrame({"session": [1, 2], "item": pd.Categorical([30, 4])})
    assert Interactions.from_frame(frame).vocabulary.items.to_list() == [30, 4]


@pytest.mark.parametrize(
    "times",
    [
        pl.Series([2**62 + 1, 2**62, 2**62 + 2]),
        pl.Series([np.nextafter(1396437466.94, np.inf), 1396437466.94, 1396437467.0]),
        pl.Series([2, 1, 3], dtype=pl.UInt8),
        pl.Series([datetime.datetime(2020, 1, 1, 0, 0, 0, us) for us in (2, 1, 3)]),
        pl.Series([datetime.date(2020, 1, day) for day in (2, 1, 3)]),
        pl.Series([2, 1, 3]).cast(pl.Datetime("ns", "Europe/Berlin")),
        pl.Series([2, 1, 3]).cast(pl.Int128),
        pl.Series([2, 1, 3]).cast(pl.Decimal(10, 2)),
    ],
)
def test_timestamps_of_any_type_keep_their_precision(times):
    frame = pl.DataFrame({"session": [1, 2, 3], "item": [1, 2, 3], "time": times})
    assert Interactions.from_frame(frame).vocabulary.sources.to_list() == [2, 1, 3]


def test_keep_rows_keeps_the_vocabulary_and_rebuild_numbers_anew():
    data = clicks()
    kept = data.keep_rows(np.array([True, False, True, True, False]))
    assert kept.vocabulary is data.vocabulary
    assert (kept.n_rows, kept.n_sources, kept.n_items) == (3, 3, 3)
    assert kept.source_codes.tolist() == [1, 1, 2]
    assert kept.item_codes.tolist() == [0, 1, 2]
    assert kept.rows.tolist() == [1, 0, 2]
    assert kept.recency.tolist() == [-1, 0, 1]
    assert kept.sequences.offsets.tolist() == [0, 0, 2, 3]
    anew = kept.rebuild()
    assert anew.vocabulary.sources.to_list() == [20, 30]
    assert anew.source_codes.tolist() == [0, 0, 1]
    assert data.n_rows == 5


def test_keep_rows_of_baskets_numbers_baskets_densely_in_order():
    data = Interactions.from_frame(pl.DataFrame(BASKETS))
    kept = data.keep_rows(np.array([True, False, False, False, True, True]))
    assert kept.basket_codes.tolist() == [0, 1, 1]
    assert kept.sequences.baskets.tolist() == [0, 1, 1]
    assert kept.sequences.offsets.tolist() == [0, 0, 3]


def test_everything_may_be_removed():
    data = clicks().without([10, 20, 30])
    assert len(data) == 0
    assert data.recency.tolist() == [-1, -1, -1]
    assert data.sequences.offsets.tolist() == [0, 0, 0, 0]
    assert data.n_duplicates == 0
    assert data.describe()["rows"] == 0
    assert repr(data) == "<Interactions: 0 rows, 0 sessions, 0 items>"


def test_without_takes_external_ids():
    data = clicks()
    for ids in ([20], pl.Series([20], dtype=pl.Int8), np.array([20, 20]), (20,)):
        assert data.without(ids).frame["session_id"].to_list() == [10, 30, 10]
    assert data.without([]).n_rows == 5
    with pytest.raises(DataError, match="session_id 99 is not in these data"):
        data.without([10, 99])
    with pytest.raises(DataError, match="are Int64 in the training data but String"):
        data.without(["20"])


@pytest.mark.parametrize("mask", [[True], np.ones(5), np.ones((5, 1), dtype=bool)])
def test_keep_rows_refuses_what_is_no_mask(mask):
    with pytest.raises(DataError, match=r"one truth value per row \(5\)"):
        clicks().keep_rows(mask)
    with pytest.raises(DataError, match=r"one truth value per source \(3\)"):
        clicks().keep_sources(mask)


def test_unknown_ids_get_minus_one_and_integer_widths_are_one_family():
    vocabulary = clicks().vocabulary
    assert vocabulary.item_codes([7, 99, 9]).tolist() == [1, -1, 2]
    assert vocabulary.item_codes(pl.Series([2**64 - 1, 7], dtype=pl.UInt64)).tolist() == [-1, 1]
    assert vocabulary.item_codes(np.array([7], dtype=np.int8)).tolist() == [1]
    assert vocabulary.item_codes([]).tolist() == []
    assert vocabulary.source_codes([30, 31]).tolist() == [2, -1]
    text = Interactions.from_frame(pl.DataFrame({"session": ["a"], "item": ["x"]})).vocabulary
    assert text.item_codes(pl.Series(["y", "x"], dtype=pl.Categorical)).tolist() == [-1, 0]


@pytest.mark.parametrize("ids", [["7"], [7.0], [True], pl.Series(["7"], dtype=pl.Categorical)])
def test_ids_of_another_family_are_refused_with_both_types(ids):
    with pytest.raises(DataError, match=r"Item ids are Int64 .* cast .*astype\('int64'\)"):
        clicks().vocabulary.item_codes(ids)


def test_ids_of_mixed_types_are_refused():
    with pytest.raises(DataError, match="cannot be read as one type"):
        clicks().vocabulary.item_codes([7, "x"])


def test_rows_can_be_numbered_by_a_given_vocabulary():
    data = clicks()
    kept = data.keep_rows(np.array([True, False, True, True, False]))
    again = Interactions.from_frame(kept.frame, vocabulary=data.vocabulary)
    assert again.source_codes.tolist() == kept.source_codes.tolist()
    assert again.item_codes.tolist() == kept.item_codes.tolist()
    with pytest.raises(DataError, match="session_id 20 is not in the vocabulary"):
        Interactions.from_frame(data.frame, vocabulary=data.without([20]).rebuild().vocabulary)


def test_duplicates_are_kept_and_counted():
    frame = pl.DataFrame({"session": [1, 1, 1, 2], "item": [4, 4, 4, 4], "time": [1, 1, 2, 1]})
    data = Interactions.from_frame(frame)
    assert data.n_rows == 4
    assert data.n_duplicates == 1
    assert data.describe() == {
        "kind": "sessions",
        "rows": 4,
        "sessions": 2,
        "items": 1,
        "duplicate_rows": 1,
        "tied_rows": 2,
        "shortest": 1,
        "median_length": 2.0,
        "longest": 3,
        "first_time": 1,
        "last_time": 2,
    }


def test_fingerprint_depends_on_ids_times_and_order_alone():
    data = clicks()
    assert len(data.fingerprint) == 16
    assert data.fingerprint == Interactions.from_frame(pl.DataFrame(CLICKS).to_pandas()).fingerprint
    narrow = pl.DataFrame(CLICKS).with_columns(pl.col("item_id").cast(pl.Int16))
    assert data.fingerprint == Interactions.from_frame(narrow).fingerprint
    others = [
        clicks(item_id=[7, 8, 8, 9, 8]),
        clicks(item_id=[70, 8, 8, 9, 70]),
        clicks(session_id=[21, 10, 21, 30, 10]),
        clicks(timestamp=[6, 1, 2, 9, 1]),
        Interactions.from_frame(pl.DataFrame(CLICKS)[[0, 4, 2, 3, 1]]),
        data.keep_rows(np.array([True, True, True, True, False])),
    ]
    prints = {data.fingerprint, *(other.fingerprint for other in others)}
    assert len(prints) == len(others) + 1


def test_immutable_and_pickled():
    data = clicks()
    for array in (data.rows, data.item_codes, data.sequences.items, data.recency):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        data.kind = "baskets"
    again = pickle.loads(pickle.dumps(data))
    assert again.fingerprint == data.fingerprint


def test_interactions_pass_through():
    data = clicks()
    assert Interactions.from_frame(data) is data
    assert Interactions.from_frame(data, kind="sessions") is data
    with pytest.raises(DataError, match="are sessions, not baskets"):
        Interactions.from_frame(data, kind="baskets")


def test_repr_is_one_line():
    assert repr(clicks()) == "<Interactions: 5 rows, 3 sessions, 3 items>"
    baskets = Interactions.from_frame(pl.DataFrame(BASKETS))
    assert repr(baskets) == "<Interactions: 6 rows, 2 users, 3 baskets, 5 items>"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_id": [7, None, 8, None, 7]}, "'item_id' has 2 null values"),
        ({"session_id": [None, 10, 20, 30, 10]}, "'session_id' has 1 null value;"),
        ({"item_id": [7.0, float("nan"), 8, 9, 7]}, "'item_id' has 1 NaN value;"),
        ({"session_id": [[7], [8], [8], [9], [7]]}, r"type List\(Int64\), which cannot be ids"),
        ({"timestamp": [5, None, 2, 9, 1]}, "'timestamp' has 1 null timestamp;"),
        ({"timestamp": [5, float("nan"), 2, 9, 1]}, "1 NaN or infinite timestamp;"),
        ({"timestamp": [5, float("inf"), -float("inf"), 9, 1]}, "2 NaN or infinite timestamps"),
        (
            {"timestamp": ["2020-01-01"] * 5},
            "has text, not timestamps, such as '2020-01-01'",
        ),
        ({"timestamp": [True] * 5}, "type Boolean, which are no timestamps"),
        ({"timestamp": [datetime.time(1)] * 5}, "type Time, which are no timestamps"),
    ],
)
@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_bad_values_are_named(changes, message, library):
    frame = pl.DataFrame({**CLICKS, **changes}, strict=False)
    with pytest.raises(DataError, match=message):
        Interactions.from_frame(frame if library == "polars" else frame.to_arrow())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_id": [7, None, 8, 9, 7]}, "'item_id' has 1 NaN value; .* cast the ids to integers"),
        ({"item_id": ["a", None, "b", "c", "a"]}, "'item_id' has 1 null value"),
        ({"item_id": ["a", 1, "b", "c", "a"]}, "'item_id' has values of mixed or unknown types"),
        ({"timestamp": pd.to_datetime([None, *["2020-01-01"] * 4])}, "1 null timestamp"),
        ({"timestamp": [5, None, 2, 9, 1]}, "1 NaN or infinite timestamp"),
    ],
)
def test_bad_values_of_pandas_are_named(changes, message):
    with pytest.raises(DataError, match=message):
        Interactions.from_frame(pd.DataFrame({**CLICKS, **changes}))


def test_empty_and_foreign_tables_are_refused():
    with pytest.raises(DataError, match="has no rows"):
        Interactions.from_frame(pl.DataFrame(CLICKS).head(0))
    for thing in ([1, 2], None, 5, "clicks.csv"):
        with pytest.raises(DataError, match="A pandas, polars or pyarrow table is needed"):
            Interactions.from_frame(thing)
    with pytest.raises(DataError, match="column names must be text"):
        Interactions.from_frame(pd.DataFrame({("a", 0): [1], ("a", 1): [2]}))
    twice = pd.DataFrame([[1, 2, 3]], columns=["session", "item", "item"])
    with pytest.raises(DataError, match="several columns named 'item'"):
        Interactions.from_frame(twice)
    with pytest.raises(DataError, match="cannot be read as one"):
        Interactions.from_frame(pa.table([[1], [2], [3]], names=["session", "item", "item"]))


rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=30
)


@given(rows, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_relabelling_changes_nothing(table, random):
    session, item, time = zip(*table)
    names = random.sample(["b", "a", "10", "9", ""], 5)
    labels = random.sample(range(-(10**15), 10**15), 7)
    plain = Interactions.from_frame(pl.DataFrame({"session": session, "item": item, "time": time}))
    other = Interactions.from_frame(
        pl.DataFrame(
            {
                "session": [names[s] for s in session],
                "item": [labels[i] for i in item],
                "time": [t * 0.25 for t in time],
            }
        )
    )
    for name in ("rows", "source_codes", "item_codes", "moments", "recency"):
        assert getattr(plain, name).tolist() == getattr(other, name).tolist()
    assert other.vocabulary.items.to_list() == [labels[i] for i in plain.vocabulary.items]


@given(rows, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_order_of_rows_matters_only_where_timestamps_tie(table, random):
    table = [(s, i, number) for number, (s, i, _) in enumerate(table)]
    shuffled = random.sample(table, len(table))
    schema = ["session", "item", "time"]
    first = Interactions.from_frame(pl.DataFrame(table, schema=schema, orient="row"))
    second = Interactions.from_frame(pl.DataFrame(shuffled, schema=schema, orient="row"))
    for name in ("source_codes", "item_codes", "recency"):
        assert getattr(first, name).tolist() == getattr(second, name).tolist()
    assert first.fingerprint == second.fingerprint


@given(rows, st.booleans())
@settings(deadline=None, max_examples=60)
def test_definitions_against_a_naive_reading(table, has_baskets):
    schema = ["user", "item", "basket" if has_baskets else "time"]
    data = Interactions.from_frame(pl.DataFrame(table, schema=schema, orient="row"))
    order = sorted(range(len(table)), key=lambda row: table[row][2])
    users = list(dict.fromkeys(table[row][0] for row in order))
    assert data.rows.tolist() == order
    assert data.vocabulary.sources.to_list() == users
    assert data.vocabulary.items.to_list() == list(dict.fromkeys(table[row][1] for row in order))
    for number, user in enumerate(users):
        mine = [row for row in order if table[row][0] == user]
        part = slice(data.sequences.offsets[number], data.sequences.offsets[number + 1])
        assert data.sequences.rows[part].tolist() == mine
        if has_baskets:
            ids = sorted({table[row][2] for row in mine})
            expected = [ids.index(table[row][2]) for row in mine]
            assert data.sequences.baskets[part].tolist() == expected
    last = [max(t for u, _, t in table if u == user) for user in users]
    by_recency = sorted(range(len(users)), key=lambda number: (last[number], number))
    assert np.argsort(data.recency).tolist() == by_recency


@given(rows, st.data())
@settings(deadline=None, max_examples=60)
def test_keep_rows_agrees_with_building_from_the_rows_left(table, draw):
    frame = pl.DataFrame(table, schema=["session", "item", "time"], orient="row")
    data = Interactions.from_frame(frame)
    mask = np.array(draw.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
    kept = data.keep_rows(mask)
    assert kept.frame.equals(frame.filter(mask))
    if mask.any():
        anew = Interactions.from_frame(frame.filter(mask), vocabulary=data.vocabulary)
        assert kept.rows.tolist() == anew.rows.tolist()
        assert kept.recency.tolist() == anew.recency.tolist()
        assert kept.sequences.items.tolist() == anew.sequences.items.tolist()
        assert kept.rebuild().fingerprint == Interactions.from_frame(frame.filter(mask)).fingerprint
