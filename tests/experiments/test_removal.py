"""The removal experiment: its points are refits by hand, its areas sums over queries."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from killing import kill_after
from scipy import stats

import whence
from whence.errors import ColumnError, DataError, MetricError, ParameterError, UnsupportedError
from whence.experiments import RemovalExperiment
from whence.experiments.intervals import paired
from whence.experiments.removing import Removal, divided


def make(seed):
    return whence.VMISKNN(k=10, m=30)


SMALL = {
    "model": make,
    "methods": ("loo", "length", "random"),
    "up_to": 0.4,
    "steps": 4,
    "seeds": (0, 1),
    "metrics": ("mrr@10", "coverage@5"),
}


@pytest.fixture(scope="module")
def data():
    return whence.make_sessions(
        n_sessions=120, n_validation=40, n_test=30, n_items=50, n_clusters=5, seed=4
    )


@pytest.fixture(scope="module")
def result(data):
    return RemovalExperiment(**SMALL).run(data.train, data.validation, data.test)


def test_a_point_is_a_refit_without_the_first_of_the_order(data, result):
    model = make(0).fit(data.train)
    values = whence.LeaveOneOut("mrr@10").attribute(model, data.validation)
    row = result.rows.row(
        by_predicate=(pl.col("seed") == 0) & (pl.col("order") == "least loo first")
        & (pl.col("share") == 0.1) & (pl.col("data") == "test"),
        named=True,
    )  # fmt: skip
    n = row["n_removed"]
    assert n == 12
    worst = np.sort(values.scores)[n - 1]
    gone = values.ids.filter(pl.Series(values.scores < worst))
    ties = values.ids.filter(pl.Series(values.scores == worst))
    queries = whence.make_queries(model, data.test)
    possible = []
    for one in ties:  # the last of those removed may be any of those that are equal
        left = data.train.without(pl.concat([gone, pl.Series([one])]))
        again = make(0).fit(left)
        possible.append(float(whence.evaluate(again, queries, "mrr@10")))
    assert len(gone) == n - 1
    assert min(abs(row["mrr@10"] - one) for one in possible) < 1e-12
    base = result.rows.filter((pl.col("order") == "nothing") & (pl.col("data") == "test"))
    assert base["mrr@10"].to_list() == [float(whence.evaluate(model, queries, "mrr@10"))] * 2


def test_the_table_is_the_mean_height_between_curves(result):
    curve = result.curves("mrr@10", "test")
    base = curve["value"][0]
    for row in result.to_frame().filter(pl.col("metric") == "mrr@10").iter_rows(named=True):
        own = curve.filter(pl.col("order") == row["order"])
        height = np.trapezoid(own["value"] - base, own["fraction"]) / 0.4
        assert row["change"] == pytest.approx(height, abs=1e-12)
        assert row["change_low"] < row["change"] < row["change_high"]
    random = result.to_frame().filter(pl.col("order") == "random")
    assert random["above_random"].is_null().all()


def test_metrics_of_all_lists_have_intervals_over_seeds(result):
    row = result.to_frame().row(
        by_predicate=(pl.col("order") == "random") & (pl.col("metric") == "coverage@5"), named=True
    )
    own = result.rows.filter(pl.col("data") == "test")
    heights = []
    for seed in (0, 1):
        part = own.filter((pl.col("seed") == seed) & pl.col("order").is_in(["nothing", "random"]))
        part = part.sort("share")
        change = part["coverage@5"] - part["coverage@5"][0]
        heights.append(np.trapezoid(change, part["share"]) / 0.4)
    low, high = stats.t.interval(0.95, 1, np.mean(heights), stats.sem(heights))
    assert (row["change_low"], row["change_high"]) == pytest.approx((low, high))


def test_intervals_are_those_of_clusters_and_of_seeds():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 6, 40)
    queries = [rng.normal(0.1, 1, n) for n in counts]
    sums = np.array([one.sum() for one in queries])
    from whence.evaluation.result import clustered_error

    flat, owners = np.concatenate(queries), np.repeat(np.arange(40), counts)
    found = paired("x", sums[None], counts)
    half = 1.959963984540054 * clustered_error(flat, owners)
    assert found["x"] == pytest.approx(flat.mean())
    assert found["x_high"] - found["x"] == pytest.approx(half)
    both = paired("x", np.stack([sums, sums + 0.1 * counts]), counts)
    over_seeds = stats.t.ppf(0.975, 1) * stats.sem([flat.mean(), flat.mean() + 0.1])
    assert both["x_high"] - both["x"] == pytest.approx(np.hypot(half, over_seeds))


def test_shares_of_rows_take_as_many_rows_from_every_order(data):
    found = RemovalExperiment(**{**SMALL, "of": "rows", "seeds": (0,)}).run(
        data.train, data.validation, data.test
    )
    longest = int(data.train.frame["session_id"].value_counts()["count"].max())
    for row in found.rows.filter(pl.col("share") > 0).iter_rows(named=True):
        wanted = row["share"] * data.train.n_rows
        assert wanted - longest < row["n_rows_removed"] <= wanted + 1e-6
    removal = Removal.of(data.train, None)
    assert len(removal.first(np.arange(120), 0.07)) == 8
    assert len(removal.first(np.arange(100), 0.29 * 100 / 120)) == 29


def test_the_longest_go_first(data, result):
    first = result.rows.filter(
        (pl.col("order") == "longest first") & (pl.col("share") == 0.1) & (pl.col("data") == "test")
    )
    lengths = data.train.frame["session_id"].value_counts()["count"].sort(descending=True)
    assert first["n_rows_removed"].to_list() == [lengths[:12].sum()] * 2


def test_what_is_asked_on_test_data_decides_nothing(data, result):
    """With other test data the orders, and so all that is measured on validation, are the same."""
    other = RemovalExperiment(**SMALL).run(data.train, data.validation, data.validation)
    assert other.values.equals(result.values)
    own, others = (one.rows.filter(pl.col("data") == "validation") for one in (result, other))
    assert own.equals(others)


def test_without_test_data_half_of_those_who_ask_are_held_out(data):
    few = {**SMALL, "methods": ("random",), "steps": 1, "seeds": (0,)}
    found = RemovalExperiment(**few).run(data.train, data.validation)
    assert found.settings["held_out"]
    assert found.settings["n_test_askers"] == 20
    queries = whence.make_queries(data.train, data.validation)
    one, other = divided(queries, 0.5, 7)
    assert not set(one.ids.to_series(0)) & set(other.ids.to_series(0))
    assert len(one) + len(other) == len(queries)


def test_items_and_baskets(data):
    few = {**SMALL, "methods": ("length", "random"), "steps": 1, "seeds": (0,)}
    found = RemovalExperiment(**few, by="item").run(data.train, data.validation, data.test)
    popular = found.rows.filter(pl.col("order") == "longest first")
    counts = data.train.frame["item_id"].value_counts()["count"].sort(descending=True)
    assert popular["n_rows_removed"][0] == counts[:20].sum()
    baskets = whence.make_baskets(n_users=40, seed=1)
    few |= {"model": None, "metrics": ("ndcg@5",)}
    found = RemovalExperiment(**few).run(baskets.train, baskets.validation)
    assert found.settings["model"] == "TIFUKNN"


def test_users_of_a_network_go_by_methods_of_gradients_and_losses(data):
    pytest.importorskip("torch")
    users = whence.Interactions.from_frame(data.train.frame.rename({"session_id": "user_id"}))
    train, validation, _ = whence.split_leave_one_out(users)

    def small(seed):
        return whence.BPRMF(embedding_dim=4, epochs=3, seed=seed)

    methods = ("tracin", "loss", "length")
    experiment = RemovalExperiment(
        model=small, methods=methods, steps=1, seeds=(0,), metrics=("mrr@10",)
    )
    found = experiment.run(train, validation)
    assert found.rows.height == 2 * (1 + 2 * len(methods))
    model = small(0).fit(train, checkpoints=1)
    queries = whence.make_queries(model, validation)
    asked, _ = divided(queries, 0.5, 7)
    wanted = whence.TracIn(by="user").attribute(model, asked, run=whence.Run(seed=0))
    own = found.values.filter(method="tracin")
    assert own["user_id"].to_list() == train.source_ids.to_list()
    scores = dict(zip(wanted.ids, wanted.totals))
    assert own["score"].to_list() == pytest.approx([scores[one] for one in own["user_id"]])


def test_killed_and_resumed_it_ends_with_the_same_bits(data, result, tmp_path):
    script = """
import whence
data = whence.make_sessions(
    n_sessions=120, n_validation=40, n_test=30, n_items=50, n_clusters=5, seed=4
)
whence.RemovalExperiment(
    model=lambda seed: whence.VMISKNN(k=10, m=30), methods=("loo", "length", "random"), up_to=0.4,
    steps=4, seeds=(0, 1), metrics=("mrr@10", "coverage@5"),
).run(data.train, data.validation, data.test, run=whence.Run(folder=folder))
"""
    kill_after(20, script, tmp_path)
    run = whence.Run(folder=tmp_path, resume=True, threads=2)
    found = RemovalExperiment(**SMALL).run(data.train, data.validation, data.test, run=run)
    assert found.rows.equals(result.rows)
    assert found.areas.equals(result.areas)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"up_to": 1.0}, ParameterError, "something left"),
        ({"up_to": 0.0}, ParameterError, "up_to"),
        ({"methods": ("shaply",)}, ParameterError, "Did you mean 'shapley'"),
        ({"methods": ()}, ParameterError, "methods is empty"),
        ({"metrics": ("st@5",)}, MetricError, "sustainable"),
        ({"methods": ("tracin",)}, UnsupportedError, "VMISKNN"),
        ({"methods": ("influence-function",)}, UnsupportedError, "VMISKNN"),
        ({"up_to": 0.005}, ParameterError, "less than one of 120 sources"),
        ({"by": "basket"}, ParameterError, "by='item'"),
        ({"by": "user"}, ParameterError, "each session or item"),
        ({"up_to": 0.999, "steps": 1, "of": "rows"}, DataError, ""),
    ],
)
def test_bad_input_is_one_sentence_before_any_fit(data, changes, error, words):
    if "of" in changes:
        short = data.train.keep_sources(np.arange(120) < 1)
        with pytest.raises(error):
            Removal.of(short, None).without(np.arange(120))
        return
    with pytest.raises(error, match=words):
        RemovalExperiment(**{**SMALL, **changes}).run(data.train, data.validation, data.test)


def test_results_are_shown(result):
    text = result.to_markdown()
    assert "least loo first" in text
    assert "above random order" in text
    axes = result.plot()
    assert len(axes.get_lines()) == 5
    with pytest.raises(ColumnError, match="Did you mean 'test'"):
        result.curves(data="tets")
    axes.figure.clear()
