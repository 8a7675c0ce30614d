"""The prune experiment: the choice is made on its part alone, and what it gains on test data."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from killing import kill_after

import whence
from whence.errors import MetricError, ParameterError, UnsupportedError
from whence.experiments import PruneExperiment
from whence.experiments.removing import divided

SHARES = (0.1, 0.2, 0.4)


def make(seed):
    return whence.VMISKNN(k=10, m=30)


SMALL = {
    "model": make,
    "methods": ("length", "random"),
    "shares": SHARES,
    "seeds": (0, 1),
    "metrics": ("mrr@10",),
}


@pytest.fixture(scope="module")
def data():
    return whence.make_sessions(
        n_sessions=120, n_validation=60, n_test=30, n_items=50, n_clusters=5, seed=4
    )


@pytest.fixture(scope="module")
def result(data):
    return PruneExperiment(**SMALL).run(data.train, data.validation, data.test)


def of(result, **wanted):
    return result.rows.filter(pl.all_horizontal(pl.col(k) == v for k, v in wanted.items()))


def test_the_choice_is_the_best_share_on_the_choice_part(data, result):
    queries = whence.make_queries(data.train, data.validation)
    valued, choice = divided(queries, 0.5, 1)
    assert len(valued) + len(choice) == len(queries)
    base = of(result, seed=1, order="nothing", data="choice")
    model = make(1).fit(data.train)
    assert base["mrr@10"][0] == pytest.approx(float(whence.evaluate(model, choice, "mrr@10")))
    curve = of(result, seed=1, order="random", data="choice")
    order = np.random.Generator(np.random.PCG64([1, 120])).permutation(120)
    values = {0.0: base["mrr@10"][0]}
    for row in curve.iter_rows(named=True):
        kept = np.ones(120, dtype=bool)
        kept[order[: row["n_removed"]]] = False
        again = make(1).fit(data.train.keep_sources(kept))
        assert row["mrr@10"] == pytest.approx(float(whence.evaluate(again, choice, "mrr@10")))
        values[row["share"]] = row["mrr@10"]
    best = max(values, key=values.__getitem__)
    tested = of(result, seed=1, order="random random", data="test")
    assert tested["share"].to_list() == [best]


def test_gains_are_differences_of_evaluations_on_test_data(data, result):
    row = result.to_frame().row(by_predicate=pl.col("order") == "shortest first", named=True)
    assert row["gained"] == pytest.approx(row["after"] - row["before"])
    model = make(0).fit(data.train)
    assert row["before"] == pytest.approx(float(whence.evaluate(model, data.test, "mrr@10")))
    random = of(result, order="random shortest first", data="test")
    assert row["above_random"] == pytest.approx(row["after"] - random["mrr@10"].mean())
    chosen = of(result, order="shortest first", data="test")
    for one in random.iter_rows(named=True):
        own = chosen.filter(pl.col("seed") == one["seed"])
        rows = own["n_rows_removed"][0] if own.height else 0
        assert rows - 30 < one["n_rows_removed"] <= rows


def test_test_data_decide_nothing(data, result):
    other = PruneExperiment(**SMALL).run(data.train, data.validation, data.train)
    assert of(other, data="choice").equals(of(result, data="choice"))
    keys = ["seed", "order", "share", "n_removed"]
    assert of(other, data="test")[keys].equals(of(result, data="test")[keys])


def test_an_aim_is_raised_as_far_as_the_metric_keeps_its_value(data):
    green = data.train.item_ids[:10]
    experiment = PruneExperiment(
        **{**SMALL, "methods": ("loo", "length"), "seeds": (0,)}, aim="st@5",
        sustainable_items=green, keep=0.95,
    )  # fmt: skip
    found = experiment.run(data.train, data.validation, data.test)
    orders = ["least loo first, mrr@10", "least loo first, st@5", "shortest first"]
    assert found.settings["orders"] == orders
    for order in orders:
        base = of(found, order="nothing", data="choice").row(0, named=True)
        curve = of(found, order=order, data="choice")
        allowed = curve.filter(
            (pl.col("mrr@10") >= 0.95 * base["mrr@10"]) & (pl.col("st@5") > base["st@5"])
        )
        wanted = allowed.sort("st@5", descending=True)["share"].to_list()[:1] or [0.0]
        gains = found.to_frame().filter((pl.col("order") == order) & (pl.col("metric") == "st@5"))
        assert gains["share"].to_list() == wanted
    assert found.frontier["share"].to_list() == [0.0, *SHARES] * 3
    model = make(0).fit(data.train)
    items, _ = model.recommend_codes(whence.make_queries(model, data.test), 5)
    counts = np.bincount(items[items >= 0], minlength=data.train.n_items)
    table = found.items.filter(pl.col("order") == orders[0])
    before = dict(zip(table["item_id"], table["before"]))
    assert [before[one] for one in data.train.item_ids] == counts.tolist()
    assert set(table.filter("sustainable")["item_id"]) == set(green)
    assert found.lists["before"][0].to_list() == [data.train.item_ids[int(i)] for i in items[0]]
    axes = found.plot()
    assert axes.get_xlabel() == "mrr@10"
    assert "frontier" in found.to_markdown()


def test_killed_and_resumed_it_ends_with_the_same_bits(data, result, tmp_path):
    script = """
import whence
data = whence.make_sessions(
    n_sessions=120, n_validation=60, n_test=30, n_items=50, n_clusters=5, seed=4
)
whence.PruneExperiment(
    model=lambda seed: whence.VMISKNN(k=10, m=30), methods=("length", "random"),
    shares=(0.1, 0.2, 0.4), seeds=(0, 1), metrics=("mrr@10",),
).run(data.train, data.validation, data.test, run=whence.Run(folder=folder))
"""
    kill_after(12, script, tmp_path)
    run = whence.Run(folder=tmp_path, resume=True, threads=2)
    found = PruneExperiment(**SMALL).run(data.train, data.validation, data.test, run=run)
    for table in ("rows", "gains", "items", "values"):
        assert getattr(found, table).equals(getattr(result, table))
    assert found.lists.equals(result.lists)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"choice": 1.0}, ParameterError, "choice must be"),
        ({"shares": (1.0,)}, ParameterError, "something has to be left"),
        ({"shares": ()}, ParameterError, "shares is empty"),
        ({"shares": (0.0,)}, ParameterError, "something has to be removed"),
        ({"shares": (0.001,)}, ParameterError, "less than one of 120 sources"),
        ({"values": ()}, ParameterError, "values is empty"),
        ({"methods": ("influence-function",)}, UnsupportedError, "VMISKNN"),
        ({"aim": "st@5"}, MetricError, "sustainable"),
        ({"methods": ("lenth",)}, ParameterError, "Did you mean 'length'"),
    ],
)
def test_bad_input(data, changes, error, words):
    with pytest.raises(error, match=words):
        PruneExperiment(**{**SMALL, **changes}).run(data.train, data.validation, data.test)
