"""Pruning statistics, stand-ins, tables of events, and the reports made of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from explanation_oracles import knn, naive_scores, neural
from featured import BASE, FEATURES, Recurrent, events, value_of
from matplotlib.figure import Figure

pytest.importorskip("torch")

from whence.errors import (
    ColumnError,
    DataError,
    OutputExistsError,
    ParameterError,
    UnsupportedError,
)
from whence.explanation import (
    average_event,
    average_sequence,
    explain,
    explain_many,
    global_report,
    histories_from,
    local_report,
    pruning_statistics,
    stand_in_scores,
    stand_ins,
)

CODES = [4, 1, 8, 10, 2, 0]
ITEM = 5
ASKED = {"k": 2, "target": ("item", ITEM), "masking": ("item", BASE)}


@pytest.fixture(scope="module")
def model():
    return neural("GRU4Rec", learning_rate=0.1)


def ids_of(model, codes):
    ids = model.vocabulary.items.to_list()
    return [ids[code] for code in codes]


# Pruning statistics


def joined_by_definition(model, history, tolerance):
    """From the oldest on, as long as the Shapley value of two players stays small."""
    n, width = len(history), len(FEATURES)

    def value(kept):
        return value_of(model, history, np.repeat(np.array(kept)[:, None], width, axis=1), ITEM)

    whole, none = value([True] * n), value([False] * n)
    shares = []
    for t in range(1, n):
        old = np.arange(n) < t
        shares.append((value(old) - none + whole - value(~old)) / 2)
    beyond = [t for t, share in enumerate(shares) if abs(share) > tolerance * abs(whole - none)]
    joined = beyond[0] if beyond else n - 1
    return (joined if joined >= 2 else 0), np.array([*shares, whole - none]) / abs(whole - none)


def test_pruning_statistics_are_those_of_the_definition():
    model = Recurrent()
    histories = {f"u{n}": events(3 + n, seed=n) for n in range(6)}
    tolerances = [0.3, 0.05, 0.8]
    found = pruning_statistics(model, histories, tolerances=tolerances, **ASKED)
    kept = {}
    for name, history in histories.items():
        for tolerance in tolerances:
            joined, shares = joined_by_definition(model, history, tolerance)
            kept[name, tolerance] = len(history) - joined
            pruned = explain(model, history, prune=tolerance, **ASKED)
            assert pruned.metadata["n_pruned"] == joined
        curve = found.curves.filter(history=name)
        np.testing.assert_allclose(curve["older"], shares, atol=1e-6)
        np.testing.assert_allclose(curve["newer"], shares[-1] - shares, atol=1e-6)
        assert curve["recency"].to_list() == list(range(len(history)))[::-1]
    table = found.to_frame()
    assert {(h, t): k for h, t, k in table.select("history", "tolerance", "kept").iter_rows()} == (
        kept
    )
    statistics = found.statistics()
    assert statistics["tolerance"].to_list() == [None, 0.05, 0.3, 0.8]
    for tolerance, mean, std, error in statistics.select(
        "tolerance", "mean", "std", "std_error"
    ).iter_rows():
        own = [
            len(history) if tolerance is None else kept[name, tolerance]
            for name, history in histories.items()
        ]
        assert mean == pytest.approx(np.mean(own))
        assert std == pytest.approx(np.std(own, ddof=1))
        assert error == pytest.approx(np.std(own, ddof=1) / len(own) ** 0.5)


def test_pruning_of_items_does_not_depend_on_threads(model):
    histories = [ids_of(model, CODES[:n]) for n in range(1, 7)]
    one, two = (pruning_statistics(model, histories, k=3, threads=t) for t in (1, 2))
    assert one.table.equals(two.table)
    assert one.curves.equals(two.curves)
    for kind in ("curve", "lengths"):
        assert one.plot(Figure().subplots(), kind=kind).get_xlabel()
    assert "6 histories" in repr(one)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tolerances": []}, "shares from 0 to 1"),
        ({"tolerances": [2.0]}, "shares from 0 to 1"),
        ({"tolerances": 0.1}, "list of numbers"),
        ({"prune": 0.1}, "has no prune"),
    ],
)
def test_pruning_that_makes_no_sense(model, options, words):
    with pytest.raises(ParameterError, match=words):
        pruning_statistics(model, [ids_of(model, CODES)], **options)


# Tables and typical events


@pytest.mark.parametrize("library", ["polars", "pandas", "arrow"])
def test_histories_of_a_table(library):
    frame = pl.DataFrame(
        {
            "who": ["b", "a", "b", "a", "b"],
            "when": [3, 2, 1, 1, 3],
            "item": [1, 2, 3, 4, 5],
            "stars": [1.0, 2.0, 3.0, 4.0, 5.0],
        }
    )
    table = {"polars": frame, "pandas": frame.to_pandas(), "arrow": frame.to_arrow()}[library]
    assert histories_from(table, "who", "when", "item") == {"b": [3, 1, 5], "a": [4, 2]}
    assert histories_from(table, "who", features=["item"])["a"] == [{"item": 2}, {"item": 4}]
    whole = histories_from(table, "who", "when")
    assert whole["a"] == [{"item": 4, "stars": 4.0}, {"item": 2, "stars": 2.0}]
    with pytest.raises(ColumnError, match="no column 'x'"):
        histories_from(table, "x")
    with pytest.raises(DataError, match="no event"):
        histories_from(table.head(0) if library != "arrow" else table.slice(0, 0), "who")
    if library == "polars":
        empty = frame.with_columns(stars=pl.lit(None, dtype=pl.Float64))
        with pytest.raises(DataError, match="is empty in 5 of 5 rows"):
            histories_from(empty, "who")


def test_the_typical_event():
    rows = [{"item": 9, "hour": 1.0, "day": "mo"}, {"item": 2, "hour": 5.0, "day": "tu"},
            {"item": 9, "hour": 2.0, "day": "tu"}]  # fmt: skip
    assert average_event(rows) == {"item": 9, "hour": 2.0, "day": "tu"}
    assert average_event(pl.DataFrame(rows), ["hour"], categorical=["hour"]) == {"hour": 1.0}
    assert average_event(pl.DataFrame(rows).to_pandas(), ["day"]) == {"day": "tu"}
    assert average_sequence({0: rows[:2], 1: rows[1:]}, categorical=["day"]) == [
        {"item": 9, "hour": 3.0, "day": "mo"}, {"item": 2, "hour": 3.5, "day": "tu"},
    ]  # fmt: skip
    with pytest.raises(DataError, match="2 lengths"):
        average_sequence({0: rows[:1], 1: rows})
    with pytest.raises(ColumnError, match="'x'"):
        average_event(rows, ["x"])
    with pytest.raises(DataError, match="no value"):
        average_event(pl.DataFrame({"a": [None, None]}, schema={"a": pl.Float64}))


def test_an_event_for_each_place():
    model, history = Recurrent(), events(4, seed=2)
    same = {**ASKED, "masking": ("items", [BASE] * 4)}
    for level in ("event", "feature", "cell"):
        one = explain(model, history, level=level, method="exact", **ASKED)
        other = explain(model, history, level=level, method="exact", **same)
        np.testing.assert_allclose(other.scores, one.scores, atol=1e-9)
    own = explain(model, history, **{**ASKED, "masking": ("items", history)})
    np.testing.assert_allclose(own.scores, 0.0, atol=1e-9)
    with pytest.raises(ParameterError, match="3 events for a history of 4"):
        explain(model, history, **{**ASKED, "masking": ("items", [BASE] * 3)})


# What stands in


def test_stand_ins_by_their_score(model):
    history = ids_of(model, CODES[:4])
    scores = naive_scores(model, CODES[:4])
    counts = np.bincount(model.train_.item_codes, minlength=model.n_items)
    free = [i for i in range(model.n_items) if i not in CODES[:4] and counts[i]]
    order = sorted(free, key=lambda item: (scores[item], item))
    chosen = {"lowest": order[0], "median": order[len(order) // 2], "highest": order[-1]}
    for rule, code in chosen.items():
        item = ids_of(model, [code])[0]
        found = explain(model, history, k=3, masking=rule)
        named = explain(model, history, k=3, masking=("item", item))
        np.testing.assert_array_equal(found.scores, named.scores)
        assert found.metadata["masking"] == f"{rule} (item {item!r})"
    sweep = stand_ins(model, history, n=5, k=3)
    assert sweep.table["item"].to_list()[::2] == ids_of(model, chosen.values())
    assert sweep.table["score"].is_sorted()
    assert sweep.shares.height == 5 * 4
    for row, one in zip(sweep.table.iter_rows(named=True), sweep.explanations):
        assert row["value_nothing"] == one.value_nothing
        assert row["better"] == (one.value_nothing >= one.value_all)
        own = sweep.shares.filter(quantile=row["quantile"])
        np.testing.assert_array_equal(own["score"], one.scores)
    assert sweep.plot(Figure().subplots()).get_ylabel() == "share"
    with pytest.raises(UnsupportedError, match="not items alone"):
        explain(Recurrent(), events(3), k=2, masking="lowest")
    with pytest.raises(UnsupportedError, match="Stand-ins are items"):
        stand_ins(Recurrent(), events(3))


def test_what_a_repeated_event_scores(model):
    item = ids_of(model, [3])[0]
    table = stand_in_scores(model, item, lengths=[1, 3], item=ids_of(model, [7])[0])
    wanted = [naive_scores(model, [3] * n)[7] for n in (1, 3)]
    np.testing.assert_allclose(table["score"], wanted, atol=1e-5)
    free = [i for i in range(12) if i != 3]
    table = stand_in_scores(model, item, lengths=[2])
    np.testing.assert_allclose(table["score"], naive_scores(model, [3, 3])[free].mean(), atol=1e-5)
    np.testing.assert_allclose(table["highest"], naive_scores(model, [3, 3])[free].max(), atol=1e-5)
    found = stand_in_scores(Recurrent(), BASE, lengths=[2], item=ITEM)
    assert found["score"][0] == pytest.approx(Recurrent().scores([[BASE] * 2])[0, ITEM])


# Reports


def test_a_report_of_one_history(tmp_path):
    model, history = Recurrent(), events(6, seed=4)
    found = local_report(model, history, prune=0.4, cells=("top", 2, 2), **ASKED)
    same = {"prune": 0.4, **ASKED}
    for name, level, more in (
        ("events", "event", {}), ("features", "feature", {}),
        ("cells", "cell", {"cells": ("top", 2, 2)}),
    ):  # fmt: skip
        own = explain(model, history, level=level, **more, **same)
        assert getattr(found, name).frame.equals(own.frame)
    folder = found.save(tmp_path / "one")
    written = {path.name for path in folder.iterdir()}
    assert written == {
        "pruning.parquet", "events.parquet", "features.parquet", "cells.parquet", "report.png",
    }  # fmt: skip
    assert "Of the features" in found.summary()
    with pytest.raises(OutputExistsError, match="overwrite"):
        found.save(folder)


def test_reports_of_models_of_items(model, tmp_path):
    histories = {n: ids_of(model, CODES[:n]) for n in range(2, 7)}
    one = local_report(model, histories[5], k=3)
    assert one.features is None
    found = global_report(model, histories, k=3, tolerances=[0.1])
    assert found.features is None
    assert found.events.to_frame().equals(explain_many(model, histories, k=3).to_frame())
    folder = found.save(tmp_path / "all")
    assert pl.read_parquet(folder / "recency.parquet").equals(found.events.report("recency"))
    assert (folder / "report.png").stat().st_size > 1000
    neighbours = global_report(knn("ItemKNN"), list(histories.values()), k=3)
    assert "5 histories" in repr(neighbours)


def test_a_report_of_many_with_features():
    model, histories = Recurrent(), [events(4, seed=n) for n in range(4)]
    found = global_report(model, histories, **ASKED)
    same = explain_many(model, histories, level="feature", **ASKED)
    assert found.features.report("feature").equals(same.report("feature"))
    assert same.plot(Figure().subplots()).get_title(loc="left") == "How much each feature matters"
    assert {"features", "feature-report"} <= set(found._parts())
