"""The corruption experiment: what is found, cleaned, resumed and refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone

pytest.importorskip("torch")

import whence
from whence.attribution import METHODS, Attribution
from whence.curation import Attack
from whence.errors import DataError, MetricError, ParameterError, UnsupportedError
from whence.experiments import CorruptionExperiment, CorruptionResult
from whence.experiments.corruption import _detected, _method
from whence.experiments.corruption_results import NOTHING, PLANTED
from whence.experiments.histories import split_shares

METRICS = ("mrr@10", "recall@5")


def make(seed):
    return whence.GRU4Rec(
        embedding_dim=8, hidden_dim=8, dropout=0.0, max_length=5, epochs=6, batch_size=16,
        learning_rate=0.02, seed=seed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data():
    """Users who walk along a ring of items."""
    rng = np.random.default_rng(0)
    steps = np.arange(14)
    items = (rng.integers(0, 20, 30)[:, None] + steps + (rng.random((30, 14)) < 0.1)) % 20
    return whence.Interactions.from_frame(
        pl.DataFrame(
            {
                "user_id": np.repeat(np.arange(30), 14),
                "item_id": items.ravel(),
                "timestamp": np.tile(steps, 30),
            }
        )
    )


@pytest.fixture(scope="module")
def small():
    return CorruptionExperiment(
        model=make,
        attacks=("uniform", "shuffled"),
        share=0.2,
        methods=("random", "length", "loss", "trimmed-loss", "order-gain", "tracin"),
        clean=("random", "loss"),
        shares=(0.1, 0.2),
        seeds=(0, 1),
        metrics=METRICS,
    )


@pytest.fixture(scope="module")
def result(data, small):
    return small.run(data)


def row_of(result, **wanted):
    return result.rows.row(
        by_predicate=pl.all_horizontal(pl.col(k) == v for k, v in wanted.items()), named=True
    )


def test_rows_are_what_they_say(data, small, result):
    assert result.rows.height == 2 * 2 * 8
    asked = split_shares(data, attack=Attack(kind="shuffled", share=0.2, seed=1))
    ids = asked.train.source_ids.filter(pl.Series(asked.is_planted))
    model = make(1).fit(asked.train)
    report = whence.detection_report({"loss": whence.TrainingLoss().attribute(model)}, ids)
    row = row_of(result, attack="shuffled", seed=1, method="loss")
    for name in ("average_precision", "precision", "recall", "auc"):
        assert row[name] == pytest.approx(report[name][0])
    dirty = row_of(result, attack="shuffled", seed=1, method=NOTHING)
    assert dirty["mrr@10"] == pytest.approx(float(whence.evaluate(model, asked.test, "mrr@10")))
    clean = make(1).fit(asked.train.keep_sources(~asked.is_planted))
    planted = row_of(result, attack="shuffled", seed=1, method=PLANTED)
    assert planted["recall@5"] == pytest.approx(
        float(whence.evaluate(clean, asked.test, "recall@5"))
    )


def test_the_share_is_chosen_on_validation(data, result):
    asked = split_shares(data, attack=Attack(kind="uniform", share=0.2, seed=0))
    model = make(0).fit(asked.train)
    values = whence.TrainingLoss().attribute(model)
    order = np.argsort(values.scores, kind="stable")
    models = {0.0: model}
    for share in (0.1, 0.2):
        kept = np.ones(len(values), dtype=bool)
        kept[order[: round(share * len(values))]] = False
        models[share] = make(0).fit(asked.train.keep_sources(kept))
    value = {
        share: float(whence.evaluate(model, asked.validation, "mrr@10"))
        for share, model in models.items()
    }
    best = max(value, key=value.__getitem__)
    row = row_of(result, attack="uniform", seed=0, method="loss")
    assert row["share"] == best
    test = whence.evaluate(models[best], asked.test, list(METRICS)).scores
    assert {name: row[name] for name in METRICS} == pytest.approx(dict(test))


def test_table(small, result):
    table = result.to_frame()
    assert table.height == 2 * 8
    uniform = table.filter(pl.col("attack") == "uniform")
    control = uniform.filter(pl.col("method").is_in(["random", "length", "loss"])).sort(
        "average_precision"
    )["method"][-1]
    values = {
        name: result.rows.filter((pl.col("attack") == "uniform") & (pl.col("method") == name))[
            "average_precision"
        ].to_numpy()
        for name in ("tracin", control)
    }
    row = uniform.row(by_predicate=pl.col("method") == "tracin", named=True)
    assert row["above_controls"] == pytest.approx((values["tracin"] - values[control]).mean())
    assert row["above_controls_low"] <= row["above_controls"] <= row["above_controls_high"]
    text = result.to_markdown()
    assert all(name in text for name in ("uniform", "shuffled", *small.methods))
    axes = result.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == list(small.methods)


def test_what_is_recovered_is_a_share_of_what_is_lost():
    rows = [
        {"attack": "bot", "seed": seed, "method": method, "average_precision": None, "m": value}
        for seed, shift in enumerate((0.0, 0.001, -0.001))
        for method, value in (
            (NOTHING, 0.1), (PLANTED, 0.2 + shift), ("loss", 0.15 + shift / 2)
        )
    ]  # fmt: skip
    found = CorruptionResult(pl.DataFrame(rows), {"metrics": ["m"]})
    frame = found.to_frame().filter(pl.col("method") == "loss")
    assert frame["m_gained"][0] == pytest.approx(0.05)
    assert frame["m_recovered"][0] == pytest.approx(0.5)
    assert frame["m_recovered_low"][0] == pytest.approx(0.5, abs=1e-9)


def test_length_and_popularity_count_by_the_better_direction():
    values = Attribution(
        pl.DataFrame({"user_id": [1, 2, 3, 4], "score": [1.0, 2.0, 3.0, 4.0]}),
        source="user_id",
        metadata={"method": "length"},
    )
    corrupted = pl.Series([4])
    assert _detected("length", values, corrupted)["average_precision"] == 1.0
    assert _detected("loss", values, corrupted)["average_precision"] == 0.25


def test_items_are_found_by_their_targets(data):
    found = CorruptionExperiment(
        model=make,
        attacks=("bandwagon",),
        by="item",
        methods=("popularity", "loss", "tracin"),
        clean=("tracin",),
        shares=(0.05,),
        seeds=(0,),
        metrics=("mrr@10",),
    ).run(data)
    ranks = found.rows["average_precision"].drop_nulls().to_list()
    assert len(ranks) == 3
    # One target of twenty items: its average precision is one over its rank.
    assert all(1 / rank == pytest.approx(round(1 / rank)) for rank in ranks)


def test_it_goes_on_where_it_stopped(data, small, result, tmp_path):
    def stop(done, total, message):
        if done == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small.run(data, run=whence.Run(folder=tmp_path, progress=stop))
    again = whence.Run(folder=tmp_path, resume=True)
    with pytest.raises(ParameterError, match="is of other share"):
        clone(small).set_params(share=0.3).run(data, run=again)
    assert small.run(data, run=again).rows.equals(result.rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacks": ()}, "attacks is empty"),
        ({"attacks": ("spam",)}, "attacks"),
        ({"methods": ("guess",)}, "methods"),
        ({"clean": ("guess",)}, "clean"),
        ({"by": "item"}, "has no target"),
        ({"by": "item", "attacks": ("bot",)}, "leave order-gain out"),
        ({"share": 2.0}, "share"),
        ({"share": 0.0}, "share"),
        ({"shares": ()}, "shares is empty"),
        ({"shares": (1.0,)}, "something has to be left"),
        ({"shares": (0.0,)}, "something has to be removed"),
        ({"clean": ("banzhaf",)}, "clean has 'banzhaf', which is none of methods"),
    ],
)
def test_bad_parameters(data, small, changes, message):
    with pytest.raises(ParameterError, match=message):
        clone(small).set_params(**changes).run(data)


def test_a_bad_metric_is_refused_before_any_work(data, small, tmp_path):
    run = whence.Run(folder=tmp_path / "work")
    with pytest.raises(MetricError, match="Unknown metric"):
        clone(small).set_params(metrics=("mrx@10",)).run(data, run=run)
    assert not (tmp_path / "work").exists()


def test_every_method_that_values_training_data_can_be_asked():
    names = [name for name in METHODS.names() if METHODS[name].of_training]
    experiment = CorruptionExperiment(methods=names, tolerance=0.5)
    experiment._check_params()
    for name in names:
        made = _method(name, "user", experiment)
        assert type(made) is METHODS[name]
        if "metric" in made.params:
            assert (made.metric, made.by) == ("mrr@100", None)
            assert made.params.get("tolerance", 0.5) == 0.5
    assert _method("tracin-cosine", "user", experiment).normalise == "cosine"


def test_bad_data(data):
    with pytest.raises(DataError, match="leaves no row"):
        CorruptionExperiment().run(data.frame.filter(pl.col("timestamp") < 5))
    with pytest.raises(UnsupportedError, match="those of ItemKNN"):
        CorruptionExperiment(model=lambda seed: whence.ItemKNN()).run(data)
    with pytest.raises(ParameterError, match="or neither"):
        CorruptionExperiment().run(data, test=data)


def test_neighbours_of_sessions_with_data_of_their_own_to_test_on():
    made = whence.make_sessions(
        n_sessions=150, n_validation=40, n_test=30, n_items=100, corrupted=0.0, seed=3
    )

    def neighbours(seed):
        return whence.VMISKNN(k=20, m=50)

    found = CorruptionExperiment(
        model=neighbours, attacks=("duplicated",), seeds=(0,), metrics=("mrr@10",), tolerance=0.5
    ).run(made.train, validation=made.validation, test=made.test)
    methods = ["random", "length", "popularity", "loo", "shapley"]
    assert found.rows["method"].to_list() == [NOTHING, PLANTED, *methods]
    attacked = Attack(kind="duplicated", share=0.1, seed=0).plant(made.train)
    model = neighbours(0).fit(attacked.data)
    values = whence.LeaveOneOut("mrr@10").attribute(model, made.validation)
    report = whence.detection_report({"loo": values}, attacked.corrupted)
    row = row_of(found, method="loo")
    assert row["average_precision"] == pytest.approx(report["average_precision"][0])
    clean = neighbours(0).fit(attacked.data.without(attacked.corrupted))
    queries = whence.make_queries(model, made.test)
    planted = row_of(found, method=PLANTED)
    assert planted["mrr@10"] == pytest.approx(float(whence.evaluate(clean, queries, "mrr@10")))
    assert {"random", "loo", "shapley"} == set(
        found.rows.drop_nulls("share").filter(pl.col("method").is_in(methods))["method"]
    )
