"""The opponents experiment: what is left out, resumption, the table, the original protocol."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from killing import kill_after
from sklearn.base import clone

pytest.importorskip("torch")

import whence
from whence.curation import Attack
from whence.errors import ArgumentError, DataError, ParameterError
from whence.experiments import OpponentsExperiment
from whence.experiments.histories import in_order_of_the_table, split_shares
from whence.experiments.opponents import ARMS, PLANTED_SEED


def make(seed):
    return whence.LSTMRec(
        embedding_dim=8,
        hidden_dim=8,
        max_length=6,
        epochs=4,
        batch_size=32,
        learning_rate=0.02,
        seed=seed,
    )


METRICS = ("mrr@10", "recall@5")


@pytest.fixture(scope="module")
def data():
    return ring()


def ring():
    """Users who walk along a ring of items, one step at a time."""
    rng = np.random.default_rng(0)
    starts, steps = rng.integers(0, 20, 30), np.arange(14)
    items = (starts[:, None] + steps + (rng.random((30, 14)) < 0.1)) % 20
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
    return {
        "model": make,
        "n": 60,
        "seeds": (0, 1),
        "planted": 0.3,
        "checkpoints": 2,
        "metrics": METRICS,
    }


@pytest.fixture(scope="module")
def result(data, small, tmp_path_factory):
    run = whence.Run(folder=tmp_path_factory.mktemp("runs"))
    return OpponentsExperiment(**small).run(data, run=run)


def test_rows_and_table(result):
    assert result.rows["arm"].to_list() == list(ARMS) * 2
    left_out = result.rows.filter(pl.col("arm") != "none")
    assert (left_out["n_left_out"] == 60).all()
    table = result.to_frame()
    assert table.height == 2 * (len(ARMS) + 1)
    row = table.row(
        by_predicate=(pl.col("arm") == "loss") & (pl.col("metric") == "mrr@10"), named=True
    )
    values = {arm: result.rows.filter(pl.col("arm") == arm)["mrr@10"].to_numpy() for arm in ARMS}
    assert row["mean"] == pytest.approx(values["loss"].mean())
    assert row["vs_none"] == pytest.approx((values["loss"] - values["none"]).mean())
    assert row["vs_random_low"] < row["vs_random"] < row["vs_random_high"]
    text = result.to_markdown()
    assert all(arm in text for arm in (*ARMS, "popularity"))
    axes = result.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == list(ARMS[1:])


def test_what_is_planted_is_found_better_than_at_random(result):
    share = {
        arm: result.rows.filter(pl.col("arm") == arm)["planted_share"].mean()
        for arm in ("random", "loss", "self-influence", "opponents")
    }
    assert share["opponents"] > share["random"]
    assert share["loss"] > share["random"]


def test_it_goes_on_where_it_stopped(data, small, result, tmp_path):
    def stop(done, total, message):
        assert total == 10
        if done == 7:
            raise KeyboardInterrupt

    experiment = OpponentsExperiment(**small)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(data, run=whence.Run(folder=tmp_path, progress=stop))
    told = []
    again = whence.Run(folder=tmp_path, resume=True, progress=lambda *what: told.append(what))
    with pytest.raises(ParameterError, match="is of other n"):
        clone(experiment).set_params(n=61).run(data, run=again)
    assert experiment.run(data, run=again).rows.equals(result.rows)
    assert [done for done, _, _ in told] == [7, 8, 9, 10]


@pytest.mark.parametrize("by", ["user", "session", "item"])
def test_users_sessions_and_items_are_left_out(data, small, by):
    if by == "session":
        frame = data.frame.rename({"user_id": "session_id"})
        data = whence.Interactions.from_frame(frame)
    few = {**small, "n": 4, "by": by, "seeds": (0,), "attack": "bandwagon", "planted": 0.2}
    few["arms"] = ("none", "loss", "opponents")
    experiment = OpponentsExperiment(**few)
    found = experiment.run(data)
    assert found.rows["n_left_out"].to_list() == [0, 4, 4]
    # The arm of the opponents, by hand.
    attack = Attack(kind="bandwagon", share=0.2, seed=PLANTED_SEED)
    asked = split_shares(data, 0.1, 0.1, attack=attack)
    model = make(0).fit(asked.train, checkpoints=2)
    values = whence.TracIn(by=by).attribute(model, asked.validation)
    gone = values.ids.gather(np.argsort(values.scores, kind="stable")[:4])
    column = "item_id" if by == "item" else f"{by}_id"
    kept = ~asked.train.frame[column].is_in(gone.implode())
    again = make(0).fit(asked.train.keep_rows(kept.to_numpy()))
    row = found.rows.row(by_predicate=pl.col("arm") == "opponents", named=True)
    assert row["mrr@10"] == pytest.approx(float(whence.evaluate(again, asked.test, "mrr@10")))
    wanted = asked.targets
    if by != "item":
        wanted = asked.train.source_ids.filter(pl.Series(asked.is_planted))
    assert row["planted_share"] == pytest.approx(gone.is_in(wanted.implode()).mean())


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(data, small, result, tmp_path):
    script = """
import whence
from test_opponents import make, ring
from whence.experiments import OpponentsExperiment

small = {small}
OpponentsExperiment(model=make, **small).run(ring(), run=whence.Run(folder=folder))
""".replace("{small}", repr({k: v for k, v in small.items() if k != "model"}))
    kill_after(6, script, tmp_path)
    found = OpponentsExperiment(**small).run(data, run=whence.Run(folder=tmp_path, resume=True))
    assert found.rows.equals(result.rows)
    assert found.settings == result.settings


def test_original_protocol(data):
    result = OpponentsExperiment(
        model=make,
        n=20,
        seeds=(0,),
        arms=("none", "opponents"),
        protocol="original",
        metrics=METRICS,
    ).run(data)
    assert result.settings["n_validation_queries"] == result.settings["n_test_queries"] == 30
    assert result.to_frame()["vs_none_low"].drop_nulls().is_empty()


def test_the_study_as_it_was(data):
    from whence.experiments.original import StudyLSTM

    small = {"epochs": 2, "embedding_dim": 8, "hidden_dim": 8, "batch_size": 64}
    experiment = OpponentsExperiment.original(
        model=lambda seed: StudyLSTM(seed=seed, **small), checkpoints=(1, 2), n=20
    )
    result = experiment.run(data)
    # Its reciprocal ranks are among all items, and items of the history may be recommended.
    assert result.metrics == [f"mrr@{data.n_items}", "recall@10"]
    train = split_shares(in_order_of_the_table(data), 0.0, 0.1)
    popular = whence.Popularity(exclude_seen=False).fit(train.train)
    wanted = whence.evaluate(popular, train.test, result.metrics).scores
    assert result.settings["popularity"] == dict(wanted)
    assert result.rows["arm"].to_list() == ["none", "random", "opponents"]
    model = StudyLSTM(**small).fit(data)
    again = StudyLSTM(**{**small, "epochs": 1}).fit(data)
    frozen = model.module_.embedding.weight
    assert frozen.equal(again.module_.embedding.weight)
    assert not model.module_.output.weight.equal(again.module_.output.weight)
    full = OpponentsExperiment.original()
    assert full._make(3).params["seed"] == 3
    assert (full.n, full.protocol, full.checkpoints) == (500, "original", (15, 45))


def test_bad_input(data):
    with pytest.raises(ParameterError, match="arms"):
        OpponentsExperiment(arms=("opponent",)).run(data)
    with pytest.raises(ParameterError, match="seeds"):
        OpponentsExperiment(seeds=()).run(data)
    with pytest.raises(ParameterError, match="seeds must be an integer"):
        OpponentsExperiment(seeds=(0, "1")).run(data)
    with pytest.raises(ArgumentError, match=r"no parameter .seed.\. Did you mean .seeds."):
        OpponentsExperiment(seed=0)
    with pytest.raises(DataError, match="smaller n"):
        OpponentsExperiment(model=make, n=10**6, seeds=(0,)).run(data)
    with pytest.raises(DataError, match="There are 30 users, and 30 are to be left out"):
        OpponentsExperiment(model=make, n=30, by="user", seeds=(0,)).run(data)
