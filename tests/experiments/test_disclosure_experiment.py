"""The disclosure experiment: rows, resumption, tables, pictures, bad input."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from killing import kill_after
from sklearn.base import clone

pytest.importorskip("torch")

from matplotlib.figure import Figure

import whence
from whence.errors import DataError, ParameterError
from whence.experiments import DisclosureExperiment


def factorisation(train, seed):
    return whence.BiasedMF(embedding_dim=2, weight_decay=0.05, epochs=5, seed=seed)


@pytest.fixture(scope="module")
def data():
    return ratings()


def ratings():
    """Ratings, with a column of violations."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((25, 16)) < 0.8)
    taste, kind = rng.normal(size=25), rng.normal(size=16)
    values = np.clip(np.round(3 + taste[users] * kind[items]), 1, 5)
    no = rng.choice([0.0, 0.3, 1.0], len(users))
    table = {"user_id": users, "item_id": items, "rating": values, "no": no}
    return whence.Interactions.from_frame(pl.DataFrame(table))


@pytest.fixture(scope="module")
def small():
    return {
        "model": factorisation,
        "shares": (0.5, 2.0),
        "strategies": ("social", "selfish", "none"),
        "controls": ("threshold", "random"),
        "metrics": ("ndcg@5",),
    }


@pytest.fixture(scope="module")
def result(data, small):
    return DisclosureExperiment(**small, willingness="no", seeds=(0, 1)).run(data)


def test_every_strategy_and_control_is_measured(result):
    rows = result.rows
    each = 3 + 2 * 2 * 2
    assert rows.height == 2 * 2 * each
    np.testing.assert_allclose(rows["reward"], rows["quality"] - rows["lam"] * rows["wv"])
    for seed in (0, 1):
        for share in (0.5, 2.0):
            part = rows.filter(seed=seed, lam_share=share)
            for name in ("social", "selfish"):
                own = part.filter(strategy=name, matched="").row(0, named=True)
                same = part.filter(to=name, matched="number")
                assert same["n"].to_list() == [own["n"]] * 2
                assert (part.filter(to=name, matched="violation")["wv"] <= own["wv"] + 1e-9).all()
    assert rows.filter(strategy="none")["n"].sum() == 0


def test_differences_are_paired_with_controls_of_the_same_size(result):
    table = result.to_frame()
    row = table.filter(
        lam_share=2.0, strategy="selfish", than="threshold", matched="violation"
    ).row(0, named=True)
    rewards = [
        result.rows.filter(lam_share=2.0, strategy=name, matched=matched, to=to)["reward"]
        for name, matched, to in (("selfish", "", ""), ("threshold", "violation", "selfish"))
    ]
    gaps = (rewards[0] - rewards[1]).to_numpy()
    assert row["difference"] == pytest.approx(gaps.mean())
    half = 12.7062 * abs(gaps[0] - gaps[1]) / 2
    assert row["±"] == pytest.approx(half, rel=1e-4)
    text = result.to_markdown()
    assert "| λ = 0.5 λ_ref | disclosed | violation | quality | reward |" in text
    assert "| reward above | threshold | random |" in text
    assert "selfish, 2 λ_ref, equal violation" in text


def test_the_frontier_has_equal_violation(result):
    frontier = result.frontier()
    assert set(frontier["strategy"]) == {"social", "selfish", "threshold", "random"}
    axes = result.plot(Figure().subplots())
    assert [line.get_label() for line in axes.lines] == ["social", "selfish", "threshold", "random"]


def test_an_experiment_goes_on_where_it_stopped(data, small, result, tmp_path):
    both = DisclosureExperiment(**small, willingness="no", seeds=(0, 1))

    def stop(done, total, message):
        assert total == 2 * 2 * 11
        if done == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        both.run(data, run=whence.Run(folder=tmp_path, progress=stop))
    told = []
    run = whence.Run(folder=tmp_path, resume=True, progress=lambda *what: told.append(what))
    with pytest.raises(ParameterError, match="is of other fractions"):
        clone(both).set_params(fractions=(0.6, 0.2, 0.2)).run(data, run=run)
    assert both.run(data, run=run).rows.equals(result.rows)
    assert [done for done, _, _ in told] == list(range(15, 45))


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(data, small, result, tmp_path):
    script = """
import whence
from test_disclosure_experiment import factorisation, ratings
from whence.experiments import DisclosureExperiment

experiment = DisclosureExperiment(model=factorisation, willingness="no", seeds=(0, 1), **{small})
experiment.run(ratings(), run=whence.Run(folder=folder))
""".replace("{small}", repr({k: v for k, v in small.items() if k != "model"}))
    kill_after(26, script, tmp_path)
    experiment = DisclosureExperiment(**small, willingness="no", seeds=(0, 1))
    found = experiment.run(data, run=whence.Run(folder=tmp_path, resume=True))
    assert found.rows.equals(result.rows)


def test_violations_are_drawn_anew_for_each_seed(data, small):
    few = {**small, "strategies": ("all",), "controls": (), "shares": (1.0,), "metrics": ()}
    rows = DisclosureExperiment(**few, seeds=(0, 1)).run(data).rows
    assert rows["wv"].n_unique() == 2


def test_networks_from_two_starts(data):
    """Strategies search with the settings given; both starts share a plan."""
    experiment = DisclosureExperiment(
        model=lambda train, seed: whence.NeuMF(
            gmf_dim=2, mlp_dim=2, layers=(2,), n_negatives=1, epochs=2, seed=seed
        ),
        disclosure=whence.Disclosure(rounds=1, delta=0.05), starts=("other", "same"),
        strategies=("trust_region",), controls=("random within item",), shares=(1.0,),
        willingness="no", seeds=(0,), metrics=("ndcg@5",),
    )  # fmt: skip
    few = data.keep_rows(np.random.default_rng(1).random(data.n_rows) < 0.7).rebuild()
    found = experiment.run(few)
    rows = found.rows
    assert rows["start"].to_list() == ["other", "same"] * 3
    assert rows.group_by("start").agg(pl.col("n"))["n"].to_list()[0] == rows["n"].to_list()[::2]
    other, same = (rows.filter(start=start)["quality"] for start in ("other", "same"))
    assert not other.equals(same)
    assert {"ndcg@5", "ndcg@5 less withheld"} <= set(rows.columns)
    text = found.to_markdown()
    assert text.startswith("Quality is minus the cross-entropy")
    assert "| λ = 1 λ_ref, same start | disclosed |" in text
    assert "trust_region, 1 λ_ref, equal number, other start" in text
    assert set(found.to_frame()["start"]) == {"other", "same"}


def test_bad_input(data, small):
    for changes, match in (
        ({"seeds": ()}, "at least one seed"),
        ({"shares": ()}, "at least one seed and one of shares"),
        ({"shares": (-1.0,)}, "shares must be a number of at least 0"),
        ({"strategies": ("random",)}, "strategies must be one of"),
        ({"controls": ("social",)}, "controls must be one of"),
        ({"controls": ("threshold within user",)}, "controls must be one of"),
        ({"starts": ()}, "at least one of starts"),
        ({"starts": ("elsewhere",)}, "starts must be one of"),
        ({"disclosure": whence.Disclosure(rounds=0)}, "rounds must be"),
    ):
        with pytest.raises(ParameterError, match=match):
            DisclosureExperiment(**{**small, **changes}).run(data)
    sessions = data.frame.rename({"user_id": "session_id"})
    with pytest.raises(DataError, match="data with a user column"):
        DisclosureExperiment(**small).run(sessions)
    free = data.frame.with_columns(no=0.0)
    with pytest.raises(DataError, match="No interaction has any willingness violation"):
        DisclosureExperiment(**small, willingness="no").run(free)
