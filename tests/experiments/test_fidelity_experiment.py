"""The fidelity experiment: oracles whose score is known, shared retrainings, and bad input."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from killing import kill_after
from scipy.stats import spearmanr

pytest.importorskip("torch")

import torch

import whence
from whence.errors import DataError, OutputExistsError, ParameterError, UnsupportedError
from whence.experiments import FidelityExperiment
from whence.experiments.fidelity import retraining, scores
from whence.experiments.fidelity.methods import resolved
from whence.experiments.fidelity.removals import draw
from whence.experiments.fidelity.subjects import subject_of
from whence.models.training.examples import PairExamples
from whence.models.training.pairs import UserItemRecommender


class Additive(UserItemRecommender):
    """A loss that is linear in the parameters, trained by plain steps: effects add up exactly."""

    def _module(self, train):
        torch.manual_seed(0)
        module = torch.nn.Linear(8, 1, bias=False)
        module.register_buffer("of_users", torch.randn(train.n_sources, 8))
        module.register_buffer("of_items", torch.randn(train.n_items, 8))
        torch.nn.init.zeros_(module.weight)
        return module.double()

    def _examples(self, train):
        return PairExamples(train, 0, self.seed)

    def example_loss(self, batch):
        module = self.module_
        features = module.of_users[batch["user"]] * module.of_items[batch["item"]]
        return -module(features.to(module.weight.dtype))[:, 0]

    def _pair_scores(self, users, items):
        raise NotImplementedError


def additive(seed):
    # One batch, as the last one of an epoch is smaller and weighs its examples more.
    return Additive(optimizer="sgd", learning_rate=0.1, epochs=2, batch_size=4096, seed=seed)


class Shuffled(whence.TracIn):
    """Values in a random order of the examples."""

    def matrix(self, model, data, path=None, *, run=None):
        found = super().matrix(model, data, path, run=run)
        return found[np.random.default_rng(3).permutation(len(found))]


class Negated(whence.TracIn):
    """Values of the wrong sign."""

    def matrix(self, model, data, path=None, *, run=None):
        return -super().matrix(model, data, path, run=run)


@pytest.fixture(scope="module")
def data():
    return tastes()


def tastes():
    """Users with a taste, ratings of what they have."""
    rng = np.random.default_rng(0)
    taste, kind = rng.normal(size=(40, 2)), rng.normal(size=(25, 2))
    users, items = np.nonzero(rng.random((40, 25)) < 1 / (1 + np.exp(-taste @ kind.T)))
    return whence.Interactions.from_frame(
        pl.DataFrame(
            {
                "user_id": users,
                "item_id": items,
                "rating": np.clip(np.round(3 + (taste[users] * kind[items]).sum(1)), 1, 5),
                "timestamp": rng.permutation(len(users)),
            }
        )
    )


METHODS = {
    "tracin": whence.TracIn(precision="float64"),
    "shuffled": Shuffled(),
    "negated": Negated(),
    "random": "random",
}
TOY = {
    "model": additive, "keep": (0.5, 0.9), "masks": 16, "removals": 12, "queries": 12,
    "starts": 2, "runs": (1, 2), "proponents": 3, "pairs": 3, "seed": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def linear(data):
    return FidelityExperiment(methods=METHODS, **TOY).run(data)


def score(found, **wanted):
    return found.scores.filter(**wanted)["score"].to_list()


def test_where_effects_add_up_values_score_one(linear):
    for about in ("this run", "the expected run"):
        mine = linear.scores.filter(about=about, method="tracin")
        assert set(mine["outcome"]) == {"total", "single", "own"}
        assert mine["score"].to_list() == pytest.approx([1.0] * mine.height, abs=1e-6)
    assert linear.metadata["metasmoothness"]["mean"] == pytest.approx(1.0)


def test_the_sign_and_values_in_a_random_order(linear):
    single = {"about": "this run", "outcome": "single"}
    assert score(linear, method="negated", **single) == pytest.approx([-1.0] * 3, abs=1e-6)
    for method in ("shuffled", "random"):
        rows = linear.scores.filter(method=method, **single)
        assert rows["score"].abs().max() < 0.35
        assert (rows["low"] < 0).all()
        assert (rows["high"] > 0).all()


def test_the_ceiling_of_a_training_that_no_start_changes_is_one(linear):
    for method in ("retraining from another start", "one retraining"):
        assert score(linear, method=method) == pytest.approx([1.0] * 7, abs=1e-6)
    assert score(linear, method="random", about="the expected run", runs=2) == []


def test_proponents_by_hand(data, linear):
    rises = dict(linear.proponents.select("method", "rise").iter_rows())
    experiment = FidelityExperiment(methods=METHODS, **TOY)
    subject = subject_of(experiment, data, None, 1)
    values = whence.TracIn(precision="float64").matrix(
        subject.base, subject.asked.take(subject.chosen)
    )
    n = max(1, round(0.01 * subject.n_units))
    whole = subject.without(1, np.empty(0, dtype=np.int64))
    by_hand = [
        whole[1 + query] - subject.without(1, np.sort(np.argsort(-values[:, query])[:n]))[1 + query]
        for query in range(3)
    ]
    assert rises["tracin"] == pytest.approx(np.mean(by_hand))
    assert rises["tracin"] > max(abs(rises["random"]), 0) > rises["negated"]


def test_scores_by_hand():
    rng = np.random.default_rng(0)
    actual = rng.normal(size=(30, 4))
    predicted = actual + rng.normal(size=(30, 4))
    found = scores.linear_datamodeling_score(predicted, actual)
    by_hand = np.mean([spearmanr(predicted[:, k], actual[:, k])[0] for k in range(4)])
    assert found.mean == pytest.approx(by_hand)
    assert found.low < by_hand < found.high
    assert found.slope == pytest.approx((predicted * actual).sum() / (predicted**2).sum())
    # What nothing changes is no outcome; a prediction that is always the same says nothing.
    actual[:, 0], predicted[:, 1] = 1.0, 2.0
    less = scores.linear_datamodeling_score(predicted, actual)
    each = [spearmanr(predicted[:, k], actual[:, k])[0] for k in (2, 3)]
    assert less.n_outcomes == 3
    assert less.mean == pytest.approx(np.sum(each) / 3)
    assert scores.linear_datamodeling_score(predicted[:1], actual[:1]).mean is None
    alone = scores.clustered_score(predicted[:, 2], actual[:, 2], np.arange(30) // 3)
    assert alone.mean == pytest.approx(each[0])


def test_metasmoothness_by_hand():
    alone = np.array([1.0, -2.0, 3.0, 0.0])
    assert scores.metasmoothness(alone, 0.1 * alone) == 1.0
    assert scores.metasmoothness(alone, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(2 / 6)
    assert scores.metasmoothness(0 * alone, alone) == 1.0


def test_more_masks_begin_with_the_same():
    owned = [np.array([3, 5]), np.array([], dtype=np.int64), np.array([8])]
    few = draw(50, (0.9, 0.5), 2, 2, owned, 7)
    more = draw(50, (0.5, 0.9), 4, 3, owned, 7)
    units = {kind: [one.units.tolist() for one in more if one.kind == kind]
             for kind in ("keep 0.5", "keep 0.9", "single")}  # fmt: skip
    for kind in units:
        mine = [one.units.tolist() for one in few if one.kind == kind]
        assert mine == units[kind][:2]
    assert [len(one) for one in units["keep 0.9"]] == [5] * 4
    singles = [(one.query, int(one.units[0])) for one in more if one.kind == "single"]
    assert {query for query, _ in singles[:2]} == {0, 2}
    assert {unit for _, unit in singles} == {3, 5, 8}


def test_table_picture_and_words(linear):
    assert linear.to_frame() is linear.scores
    text = linear.to_markdown()
    assert "| this run | total, keep 0.5 | total, keep 0.9 | total, single | single," in text
    assert "| tracin, 2 runs | 1.00 [1.00, 1.00] |" in text
    assert "Metasmoothness 1.00 [1.00, 1.00]." in text
    assert repr(linear).startswith("<FidelityResult of 4 methods for Additive: tracin 1.00 [1.00")
    axes = linear.plot("total", "this run")
    assert "(this run, total), and its 95% interval" in axes.get_xlabel()
    with pytest.raises(ParameterError, match="outcome"):
        linear.plot("singles")


def test_it_goes_on_and_further_methods_need_no_retraining(data, linear, tmp_path, monkeypatch):
    def stop(done, total, message):
        if message == "retraining" and done > 0.4 * total / 3:
            raise KeyboardInterrupt

    experiment = FidelityExperiment(**{**TOY, "methods": {"random": "random"}})
    with pytest.raises(KeyboardInterrupt):
        experiment.run(data, run=whence.Run(folder=tmp_path, progress=stop))
    with pytest.raises(OutputExistsError, match="resume"):
        experiment.run(data, run=whence.Run(folder=tmp_path))
    run = whence.Run(folder=tmp_path, resume=True)
    with pytest.raises(ParameterError, match=r"of other .*seed"):
        FidelityExperiment(methods=["random"], **{**TOY, "seed": 2}).run(data, run=run)
    experiment.run(data, run=run)
    wanted = dict(TOY, proponents=0)
    fits = []
    train = retraining.ByTraining.without
    monkeypatch.setattr(
        retraining.ByTraining, "without", lambda *given: fits.append(1) or train(*given)
    )
    again = FidelityExperiment(methods=METHODS, **wanted).run(data, run=run)
    assert not fits
    assert again.scores.equals(linear.scores)


def test_a_method_that_cannot_say_the_model_has_a_reason(data):
    found = FidelityExperiment(
        model=additive, methods=["shapley", "replay", "random"], masks=2, keep=(0.5,), queries=3,
        pairs=0,
    ).run(data)  # fmt: skip
    assert list(found.metadata["left_out"]) == ["shapley"]
    why = dict(found.costs.select("method", "why").iter_rows())
    assert "values sessions and users, not training examples" in why["shapley"]
    assert why["random"] is None
    assert "shapley: Shapley values" in found.to_markdown()


def test_networks_by_user_and_values_of_several_runs(data):
    found = FidelityExperiment(
        methods=["replay", "tracin", "loss", "self-influence", "length"],
        by="user", keep=(0.9,), masks=10, queries=10, starts=1, runs=(1, 2), pairs=0, n_sources=25,
    ).run(data)  # fmt: skip
    assert found.metadata["n_units"] == 25
    replayed = score(found, method="replay", about="this run")
    assert replayed[0] > 0.9
    assert replayed[1] > 0.8
    rows = found.scores.filter(method="length")
    assert set(rows["outcome"]) == {"total"}


def test_neighbours_and_leaving_out_one_session_exactly():
    sessions = whence.make_sessions(n_sessions=60, n_validation=20, seed=2)
    found = FidelityExperiment(
        model=whence.VMISKNN(k=10, m=30), methods=["leave-one-out", "shapley", "loss"], masks=6,
        keep=(0.5,), removals=60, queries=8, pairs=2, metric="mrr@10",
    ).run(sessions.train, validation=sessions.validation)  # fmt: skip
    exact = found.scores.filter(method="leave-one-out", kind="single")
    # Of mrr@20, while mrr@10 is measured, which hardly differs.
    assert exact.filter(outcome="total")["score"].item() > 0.95
    assert exact.filter(outcome="single")["score"].item() > 0.95
    assert "needs a loss of each example" in found.metadata["left_out"]["loss"]
    assert found.metadata["outcome"] == "mrr@10"


def test_influence_functions_at_the_optimum(data):
    found = FidelityExperiment(
        model=whence.BiasedMF(embedding_dim=2, weight_decay=0.1, epochs=10, learning_rate=0.05),
        methods=["influence-function", "influence-function:solver=dot", "replay"],
        masks=4, keep=(0.9,), removals=20, queries=10, pairs=0, optimum=True,
    ).run(data)  # fmt: skip
    own = found.scores.filter(method="influence-function", outcome="own")
    assert own["score"].item() > 0.9
    assert 0.7 < own["slope"].item() < 1.4
    assert list(found.metadata["left_out"]) == ["replay"]


def test_the_models_of_the_experiment_suit_the_data(data):
    sessions = whence.make_sessions(n_sessions=60, n_validation=20, seed=2).train
    few = {"methods": ["random"], "masks": 2, "keep": (0.5,), "queries": 3, "pairs": 0}
    assert FidelityExperiment(**few).run(data).metadata["model"] == "NeuMF"
    assert FidelityExperiment(**few).run(sessions).metadata["model"] == "GRU4Rec"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"methods": ()}, "methods is empty"),
        ({"methods": "tracin"}, "methods is a list"),
        ({"methods": ["tracim"]}, "Did you mean 'tracin'"),
        ({"methods": ["tracin:weigthing=sgd"]}, "Did you mean 'weighting'"),
        ({"methods": ["tracin:sgd"]}, "no parameter of a method"),
        ({"methods": ["exact"]}, "exact"),
        ({"keep": (1.0,)}, "keep is above 0 and below 1"),
        ({"masks": 0, "removals": 0}, "Nothing is left out"),
        ({"runs": (4,)}, "give starts"),
        ({"runs": ()}, "runs is empty"),
        ({"optimum": True, "starts": 1}, "leave starts out"),
        ({"by": "session"}, "by='user'"),
        ({"metric": "mrr@5"}, "leave metric out"),
        ({"model": 3}, "model is a recommender"),
        ({"model": whence.EASE(), "optimum": True}, "not trained by gradients"),
        ({"model": whence.EASE(), "by": "example"}, "not trained by gradients"),
    ],
)
def test_arguments_that_make_no_sense(data, options, match):
    few = {"methods": ["random"], "masks": 2, "keep": (0.5,), "queries": 3}
    with pytest.raises((ParameterError, DataError), match=match):
        FidelityExperiment(**{**few, **options}).run(data)


def test_what_cannot_be_handed_to_processes_is_refused(data):
    experiment = FidelityExperiment(
        model=lambda seed: additive(seed), methods=["random"], masks=2, keep=(0.5,), queries=3
    )
    with pytest.raises(UnsupportedError, match="take engine='threads'"):
        experiment.run(data, run=whence.Run(engine="processes", threads=2))


def test_names_of_methods():
    made = resolved({"mine": whence.Replay(runs=2), "loss": "loss"})
    assert made["mine"].runs == 2
    (only,) = resolved(["influence-function:solver=cg,damping=0.5"]).values()
    assert (only.solver, only.damping) == ("cg", 0.5)


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(data, linear, tmp_path):
    script = """
import torch

import whence
from test_fidelity_experiment import METHODS, TOY, tastes
from whence.experiments import FidelityExperiment

FidelityExperiment(methods=METHODS, **TOY).run(tastes(), run=whence.Run(folder=folder))
"""
    kill_after(31, script, tmp_path)
    again = FidelityExperiment(methods=METHODS, **TOY).run(
        data, run=whence.Run(folder=tmp_path, resume=True)
    )
    assert again.changes.equals(linear.changes)


@pytest.mark.slow
def test_several_processes_give_the_same_bits(data):
    experiment = FidelityExperiment(
        model=whence.NeuMF(gmf_dim=2, mlp_dim=2, layers=(2,), dropout=0.2, epochs=2),
        methods=["random"], masks=3, keep=(0.5,), queries=3, pairs=1,
    )  # fmt: skip
    alone = experiment.run(data)
    several = experiment.run(data, run=whence.Run(engine="processes", threads=2))
    assert several.changes.equals(alone.changes)
