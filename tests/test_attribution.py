from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.attribution import Attribution, describe_run
from whence.data import Interactions
from whence.errors import (
    ColumnError,
    DataError,
    FileFormatError,
    OutputExistsError,
    ParameterError,
    UnsupportedError,
)

CLICKS = pl.DataFrame(
    {
        "session_id": ["a", "a", "b", "b", "c", "d", "d"],
        "item_id": [1, 2, 2, 3, 1, 4, 1],
        "timestamp": [1, 2, 3, 4, 5, 6, 7],
        "shop": ["x", "x", "y", "y", "x", "y", "y"],
    }
)


def values(**changes):
    table = pl.DataFrame(
        {
            "session_id": ["a", "b", "c", "d"],
            "score": [0.3, -0.2, 0.0, -0.05],
            "std_error": [0.01, 0.02, 0.0, 0.04],
        }
    )
    arguments = {
        "source": "session_id",
        "metadata": describe_run(
            "shapley", by="session", source="session_id", metric="mrr@20", n_queries=9
        ),
    }
    return Attribution(changes.pop("table", table), **{**arguments, **changes})


def test_top_and_bottom_are_sorted_with_ties_in_source_order():
    table = pl.DataFrame({"session_id": [5, 3, 9, 1], "score": [0.0, 0.1, 0.0, 0.1]})
    attribution = values(table=table)
    assert attribution.top(3)["session_id"].to_list() == [3, 1, 5]
    assert attribution.bottom(3)["session_id"].to_list() == [5, 9, 3]
    assert attribution.top(0).height == 0
    assert attribution.top(99).height == 4


def test_own_score_counts_in_the_order_and_in_pruning():
    table = pl.DataFrame(
        {"user_id": [1, 2, 3], "score": [0.1, 0.2, -0.1], "own_score": [-0.5, 0.0, 0.4]}
    )
    attribution = Attribution(table, source="user_id", metadata={"by": "user"})
    np.testing.assert_allclose(attribution.totals, [-0.4, 0.2, 0.3])
    assert attribution.bottom(1)["user_id"].to_list() == [1]
    kept = attribution.prune(pl.DataFrame({"user_id": [1, 2, 3, 1]}), n=1)
    assert kept["user_id"].to_list() == [2, 3]


def test_errors_of_totals_join_both_errors():
    table = pl.DataFrame(
        {
            "user_id": [1, 2],
            "score": [-0.2, -0.2],
            "std_error": [0.03, 0.08],
            "own_score": [0.0, 0.0],
            "own_std_error": [0.04, 0.06],
        }
    )
    attribution = Attribution(table, source="user_id", metadata={"by": "user"})
    np.testing.assert_allclose(attribution.total_errors, [0.05, 0.1])
    kept = attribution.prune(table.select("user_id"), standard_errors=2.5)
    assert kept["user_id"].to_list() == [2]
    exact = Attribution(table.select("user_id", "score"), source="user_id", metadata={})
    assert exact.total_errors is None
    assert exact.prune(table.select("user_id"), standard_errors=9).is_empty()


@pytest.mark.parametrize(
    ("backend", "kind"),
    [("polars", pl.DataFrame), ("pandas", pd.DataFrame), ("pyarrow", pa.Table)],
)
def test_tables_come_in_the_callers_kind(backend, kind):
    attribution = values(backend=backend)
    for table in (attribution.to_frame(), attribution.top(2), attribution.bottom(2)):
        assert isinstance(table, kind)
    worst = pl.DataFrame(attribution.bottom(1))
    assert worst["session_id"].to_list() == ["b"]


def test_merges_with_the_callers_pandas_table():
    attribution = values(backend="pandas")
    merged = CLICKS.to_pandas().merge(attribution.to_frame(), on="session_id")
    assert len(merged) == CLICKS.height
    assert merged["score"].tolist() == [0.3, 0.3, -0.2, -0.2, 0.0, -0.05, -0.05]


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ({"fraction": 0.0}, "abcd"),
        ({"fraction": 0.25}, "acd"),
        ({"fraction": 0.49}, "acd"),
        ({"fraction": 0.5}, "ac"),
        ({"fraction": 1.0}, ""),
        ({"n": 2}, "ac"),
        ({"n": 3}, "a"),
        ({"below": 0.0}, "ac"),
        ({"below": -0.1}, "acd"),
        ({"below": 0.1}, "a"),
        ({"standard_errors": 2}, "acd"),
        ({"standard_errors": 1}, "ac"),
        ({"below": 0.1, "standard_errors": 2}, "a"),
        ({"n": 2, "standard_errors": 2}, "acd"),
    ],
)
def test_prune_removes_the_lowest(how, left):
    kept = values().prune(CLICKS, **how)
    assert sorted(set(kept["session_id"].to_list())) == sorted(left)
    assert kept.equals(CLICKS.filter(pl.col("session_id").is_in(list(left))))


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"fraction": 0.1, "n": 1},
        {"n": 1, "below": 0.0},
        {"fraction": 1.1},
        {"fraction": -0.1},
        {"n": -1},
        {"n": 5},
        {"below": float("nan")},
        {"standard_errors": -1.0},
    ],
)
def test_prune_refuses_unclear_amounts(how):
    with pytest.raises(ParameterError):
        values().prune(CLICKS, **how)


def test_prune_gives_back_the_same_kind():
    polars = values().prune(CLICKS, n=1)
    assert isinstance(values().prune(CLICKS.lazy(), n=1), pl.LazyFrame)
    assert values().prune(CLICKS.lazy(), n=1).collect().equals(polars)
    frame = CLICKS.to_pandas()
    frame.index = frame.index + 100
    pruned = values().prune(frame, n=1)
    assert pruned.index.tolist() == [100, 101, 104, 105, 106]
    assert (pruned.dtypes == frame.dtypes).all()
    arrow = values().prune(CLICKS.to_arrow(), n=1)
    assert isinstance(arrow, pa.Table)
    assert arrow.column("session_id").to_pylist() == polars["session_id"].to_list()


def test_pruned_interactions_keep_their_numbering():
    train = Interactions.from_frame(CLICKS)
    pruned = values().prune(train, n=1)
    assert pruned.vocabulary is train.vocabulary
    assert pruned.frame["session_id"].unique(maintain_order=True).to_list() == ["a", "c", "d"]


def test_prune_by_item_by_group_and_by_row():
    items = Attribution(
        pl.DataFrame({"item_id": [1, 2, 3, 4], "score": [0.1, -0.1, 0.2, 0.0]}),
        source="item_id",
        metadata={"by": "item"},
    )
    assert items.prune(CLICKS, n=1)["item_id"].to_list() == [1, 3, 1, 4, 1]
    shops = Attribution(
        pl.DataFrame({"shop": ["x", "y"], "score": [0.1, -0.1]}),
        source="shop",
        metadata={"by": "shop"},
    )
    assert shops.noun == "shops"
    assert shops.prune(CLICKS, below=0)["session_id"].to_list() == ["a", "a", "c"]
    rows = Attribution(
        pl.DataFrame(
            {
                "row": np.arange(7),
                "session_id": CLICKS["session_id"],
                "item_id": CLICKS["item_id"],
                "score": [0.1, -0.3, 0.0, 0.2, -0.2, 0.1, 0.1],
            }
        ),
        source="row",
        metadata={"by": "interaction"},
    )
    assert rows.noun == "interactions"
    left = CLICKS.with_row_index().filter(~pl.col("index").is_in([1, 4])).drop("index")
    assert rows.prune(CLICKS, n=2).equals(left)
    assert rows.prune(Interactions.from_frame(CLICKS), n=2).frame.equals(left)
    assert rows.prune(CLICKS.to_pandas(), n=2)["item_id"].tolist() == left["item_id"].to_list()
    with pytest.raises(DataError, match="in the same order"):
        rows.prune(CLICKS.reverse(), n=2)
    with pytest.raises(DataError, match="in the same order"):
        rows.prune(CLICKS.head(5), n=2)


def test_prune_finds_the_role_of_a_renamed_column():
    renamed = Interactions.from_frame(CLICKS.rename({"session_id": "SessionId"}))
    assert values().prune(renamed, n=1).frame["SessionId"].n_unique() == 3


def test_prune_refuses_other_tables():
    with pytest.raises(ColumnError, match="Did you mean 'sesion_id'"):
        values().prune(CLICKS.rename({"session_id": "sesion_id"}), n=1)
    with pytest.raises(DataError, match="cast"):
        values().prune(CLICKS.with_columns(session_id=pl.lit(3)), n=1)
    with pytest.raises(DataError, match="training data"):
        values().prune(CLICKS.with_columns(session_id=pl.col("session_id") + "!"), n=1)


@pytest.mark.parametrize(
    "ids",
    [
        pl.Series([1, 2**62, -3], dtype=pl.Int64),
        pl.Series(["007", "7", "é"], dtype=pl.String),
        pl.Series([1, 2, 3], dtype=pl.UInt16),
    ],
)
@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_save_and_load(tmp_path, ids, ending):
    table = pl.DataFrame({"user": ids, "score": [0.1, -1 / 3, 1e-17], "std_error": [0.0, 0.1, 0.2]})
    state = {"sums": np.arange(6.0).reshape(2, 3), "drawn": np.array([3, 1], dtype=np.int32)}
    about = describe_run(
        "shapley", by="user", source="user", seed=5, params={"tolerance": np.float64(0.1)}
    )
    saved = Attribution(table, source="user", metadata=about, backend="pandas", state=state)
    path = saved.save(tmp_path / f"values.{ending}")
    loaded = Attribution.load(path)
    assert loaded.frame.equals(table)
    assert loaded.frame.schema == table.schema
    assert loaded.metadata == saved.metadata
    assert (loaded.source, loaded.backend) == ("user", "pandas")
    if ending == "parquet":
        assert loaded.state is not None
        for name, array in state.items():
            np.testing.assert_array_equal(loaded.state[name], array)
            assert loaded.state[name].dtype == array.dtype
    with pytest.raises(OutputExistsError):
        saved.save(path)
    saved.save(path, overwrite=True)
    assert not [file for file in tmp_path.iterdir() if "part" in file.name]


def test_csv_does_not_overwrite_the_json_beside_it(tmp_path):
    (tmp_path / "values.json").write_text("mine")
    with pytest.raises(OutputExistsError):
        values().save(tmp_path / "values.csv")
    assert not (tmp_path / "values.csv").exists()
    assert (tmp_path / "values.json").read_text() == "mine"


def test_load_refuses_what_is_not_ours(tmp_path):
    with pytest.raises(FileFormatError, match="There is no file"):
        Attribution.load(tmp_path / "none.parquet")
    with pytest.raises(FileFormatError, match=r"parquet or a \.csv"):
        values().save(tmp_path / "values.xlsx")
    other = tmp_path / "other.parquet"
    CLICKS.write_parquet(other)
    with pytest.raises(FileFormatError, match="does not hold values"):
        Attribution.load(other)
    whole = values().save(tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError):
        Attribution.load(tmp_path / "half.parquet")
    (tmp_path / "text.parquet").write_text("session_id,score\n")
    with pytest.raises(FileFormatError):
        Attribution.load(tmp_path / "text.parquet")
    values().save(tmp_path / "values.csv")
    (tmp_path / "values.json").write_text("{")
    with pytest.raises(FileFormatError):
        Attribution.load(tmp_path / "values.csv")
    (tmp_path / "values.json").unlink()
    with pytest.raises(FileFormatError, match="beside"):
        Attribution.load(tmp_path / "values.csv")


def test_load_says_when_the_state_is_damaged(tmp_path):
    path = tmp_path / "values.parquet"
    attribution = values(state={"sums": np.ones(3)})
    attribution.save(path)
    entries = pl.read_parquet_metadata(path)
    attribution.frame.write_parquet(
        path, metadata={"whence": entries["whence"], "whence.state": entries["whence.state"][:-40]}
    )
    with pytest.raises(FileFormatError, match="resum"):
        Attribution.load(path)


def test_metadata_is_plain_and_complete():
    about = values().metadata
    assert json.loads(json.dumps(about)) == about
    assert {"whence", "numpy", "python", "polars"} == set(about["versions"])
    assert about["method"] == "shapley"
    train = Interactions.from_frame(CLICKS)
    about = describe_run(
        "leave-one-out",
        by="session",
        source="session_id",
        train=train,
        params={"array": np.arange(2), "set": {1}, "path": CLICKS.schema},
        elapsed_seconds=np.float32(1.5),
        candidates=("fixed", 3),
        relative_error=np.float64("inf"),
    )
    assert about["relative_error"] is None
    assert about["fingerprint"] == {"train": train.fingerprint, "validation": None}
    assert about["candidates"] == ["fixed", 3]
    json.dumps(about)


def test_for_query_recomputes_or_says_why_not():
    asked = []

    def recompute(query):
        asked.append(query)
        return values()

    assert len(values(recompute=recompute).for_query(8)) == 4
    assert asked == [8]
    for query in (-1, 9, 1.5):
        with pytest.raises(ParameterError):
            values(recompute=recompute).for_query(query)
    with pytest.raises(UnsupportedError):
        values().for_query(0)


def test_repr_and_summary_are_for_people():
    attribution = values(
        metadata=describe_run(
            "shapley",
            by="session",
            source="session_id",
            metric="mrr@20",
            n_queries=1234,
            n_empty_queries=3,
            n_unknown_rows=7,
            value_all=0.17321,
            value_nothing=0.0,
            stopped="tolerance",
            relative_error=0.0987,
            elapsed_seconds=2.34,
        )
    )
    assert repr(attribution) == "<Attribution: Data Shapley values of 4 sessions for mrr@20>"
    assert attribution.summary().splitlines() == [
        "Data Shapley values of 4 sessions for mrr@20.",
        "1,234 evaluation queries, 3 of them with nothing known to the model; 7 evaluation rows "
        "have an item unknown to it.",
        "mrr@20 is 0.1732 with all of them and 0.0000 with none.",
        "2 sessions (50.0%) have a negative value, 1 (25.0%) has none, and 1 a positive one; 1 "
        "is negative by more than two standard errors.",
        "The mean standard error is 9.9% of the mean |value|; the requested precision was reached "
        "after 2.3 s.",
    ]
    assert len(values(metadata={}).summary().splitlines()) == 2
    assert repr(values(metadata={})) == "<Attribution: values of 4 sessions>"


def test_a_table_needs_its_columns():
    with pytest.raises(ParameterError, match="score"):
        Attribution(pl.DataFrame({"session_id": [1]}), source="session_id", metadata={})
    with pytest.raises(ParameterError, match="backend"):
        values(backend="excel")


def test_plot_draws_on_the_axes_given():
    from matplotlib.figure import Figure

    for kind in ("distribution", "ranked"):
        ax = Figure().subplots()
        assert values().plot(ax=ax, kind=kind) is ax
        assert "sessions" in ax.get_title(loc="left")
    with pytest.raises(ParameterError, match="kind"):
        values().plot(kind="distributoin")


@given(
    st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5]), min_size=1, max_size=20),
    st.floats(0.0, 1.0),
)
def test_pruning_a_fraction_removes_a_prefix_of_bottom(scores, fraction):
    ids = list(range(len(scores)))
    attribution = values(table=pl.DataFrame({"session_id": ids, "score": scores}))
    kept = attribution.prune(pl.DataFrame({"session_id": ids}), fraction=fraction)
    removed = [
        i for i in attribution.bottom(len(ids))["session_id"] if i not in set(kept.to_series())
    ]
    assert removed == attribution.bottom(len(removed))["session_id"].to_list()
    assert len(removed) == int(fraction * len(ids) + 1e-9)
