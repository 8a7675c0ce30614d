"""Outcomes of training: rankings, predictions, anything; several in one pass; groups forwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_cases import MODELS, OPTIMIZERS

import whence
from whence.engines import Run
from whence.engines import checkpoints as keeping
from whence.errors import DataError, ParameterError, UnsupportedError
from whence.influence.functions.outcomes import ask
from whence.influence.functions.reading import objective_of
from whence.influence.replay.outcomes import Rankings
from whence.influence.replay.training import TrainingMap, replaying

SMOOTH = {"optimizer": "adam", "eps_root": 1e-4}
EXACT = {"precision": "float64"}


@pytest.fixture(scope="module")
def fitted(likes):
    """Small models of each way of asking, by name."""
    return {name: MODELS[name](**SMOOTH).fit(likes[0]) for name in ("neumf", "gru", "widedeep")}


def retrained(model, outcome, directions, step=1e-5):
    """Derivatives of an outcome of training along directions of the weights, by differences.

    The outcome is a function of a fitted model in double precision.
    """
    training = TrainingMap(model, model.epochs, model.seed, torch.float64)
    found = []
    for direction in directions:
        ends = []
        for sign in (1.0, -1.0):
            weights = torch.ones(training.n, dtype=torch.float64)
            weights += sign * step * torch.from_numpy(direction)
            parameters = training.train(weights)
            with replaying(training.model), torch.no_grad():
                ends.append(training.evaluated(parameters, outcome, training.model))
        found.append((ends[0] - ends[1]).numpy() / (2 * step))
    return np.array(found)


def unit(n, place):
    direction = np.zeros(n)
    direction[place] = 1.0
    return direction


def soft(scores, relevant, closed, metric, temperature):
    """A ranking metric with soft ranks, by its definition."""
    ranks = []
    for item in relevant:
        others = [j for j in range(len(scores)) if j != item and (j not in closed or j in relevant)]
        ahead = torch.sigmoid((scores[others] - scores[item]) / temperature)
        ranks.append(1.0 + ahead.sum())
    ranks = torch.stack(ranks)
    if metric == "mrr":
        return (1.0 / ranks).mean()
    best = sum(1.0 / np.log2(2.0 + place) for place in range(len(relevant)))
    return (1.0 / torch.log2(1.0 + ranks)).sum() / best


@pytest.mark.parametrize(("name", "metric"), [("neumf", "ndcg"), ("gru", "mrr")])
def test_rankings_are_differentiated_through_training(likes, fitted, name, metric):
    _, later = likes
    model = fitted[name]
    method = whence.Replay(outcome=metric, temperature=0.5, **EXACT)
    values = method.attribute(model, later)
    matrix = method.matrix(model, later)
    queries = whence.make_queries(model, later, protocol="users")
    history = [
        set(queries.history_items[a:b].tolist())
        for a, b in zip(queries.history_start, queries.history_end)
    ]
    wanted = [
        sorted({int(i) for i in queries.target_items[a:b] if i >= 0})
        for a, b in zip(queries.target_start, queries.target_end)
    ]
    closed = history if name == "neumf" else [set()] * len(history)
    rows = [q for q in range(len(queries)) if wanted[q] and queries.users[q] >= 0]

    def outcome(trained):
        scores = trained._score_batch(queries)
        return torch.stack([soft(scores[q], wanted[q], closed[q], metric, 0.5) for q in rows])

    n = len(values)
    expected = retrained(model, outcome, [unit(n, 0)])
    np.testing.assert_allclose(matrix[:1], expected, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(values.scores, matrix.mean(axis=1), rtol=1e-7, atol=1e-12)
    assert values.metadata["metric"] == metric
    assert values.metadata["n_queries"] == len(rows)


def test_rankings_are_those_of_influence_functions(likes, fitted):
    _, later = likes
    model = fitted["neumf"]
    question = ask(model, later, outcome="ndcg", temperature=0.5)
    reference = question.values(objective_of(model))
    rankings = Rankings(model, later, "ndcg", 0.5)
    training = TrainingMap(model, model.epochs, model.seed, torch.float64)
    parameters = training.vector(dict(model.module_.named_parameters()))
    values = rankings.values(training, parameters, 0, len(rankings))
    np.testing.assert_allclose(values.numpy(), reference, rtol=1e-6)


def test_scores_their_differences_and_means(likes, fitted):
    _, later = likes
    n = len(fitted["neumf"].examples_)
    one, two = (whence.Prediction(item, 4) for item in (3, 7))
    group = whence.Prediction(3, [1, 4, 5])
    each = whence.Replay(**EXACT).attribute_each(
        fitted["neumf"], outcomes=[one, one - two, group, 2.0 * one + two, "loss"], data=later
    )
    scores = [values.scores for values in each]
    alone = whence.Replay(outcome=one - two, **EXACT).attribute(fitted["neumf"])
    np.testing.assert_allclose(scores[1], alone.scores, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(scores[3], 3 * scores[0] - scores[1], rtol=1e-9, atol=1e-14)
    plain = whence.Replay(**EXACT).attribute(fitted["neumf"], later)
    np.testing.assert_allclose(scores[4], plain.scores, rtol=1e-9, atol=1e-14)

    def outcome(model):
        code = int(model.vocabulary.item_codes([3])[0])
        users = model.vocabulary.source_codes([1, 4, 5])
        return model.module_.item_scores(torch.from_numpy(users))[:, code].mean()

    expected = retrained(fitted["neumf"], outcome, [unit(n, 2)])
    np.testing.assert_allclose(scores[2][2], expected[0], rtol=1e-4)
    assert each[1].metadata["metric"] == "Prediction(3, 4) + -1 * Prediction(7, 4)"
    of_history = whence.Replay(outcome=whence.Prediction(3, [1, 2])).attribute(fitted["gru"])
    assert len(of_history) == len(fitted["gru"].examples_)


def test_any_function_is_an_outcome(likes, fitted):
    model = fitted["gru"]

    def norms(trained, parameters):
        assert set(parameters) == {name for name, _ in trained.module_.named_parameters()}
        return torch.stack([part.square().sum() for part in parameters.values()])

    method = whence.Replay(outcome=norms, **EXACT)
    matrix = method.matrix(model)
    values = method.attribute(model)
    n = len(values)

    def outcome(trained):
        return torch.stack([part.square().sum() for part in trained.module_.parameters()])

    expected = retrained(model, outcome, [unit(n, 1)])
    np.testing.assert_allclose(matrix[1], expected[0], rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(values.scores, matrix.mean(axis=1), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(values.scores_for(2), matrix[:, 2], rtol=1e-9, atol=1e-14)
    with pytest.raises(UnsupportedError, match="no queries"):
        values.queries()


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [*(("bpr", one) for one in OPTIMIZERS), ("gru", "adam"), ("gru", "clipped")],
)
def test_forwards_is_backwards(likes, name, optimizer):
    train, later = likes
    model = MODELS[name](**OPTIMIZERS[optimizer]).fit(train)
    method = whence.Replay(**EXACT)
    matrix = method.matrix(model, later)
    users = train["user_id"].to_numpy() // 3
    effects = method.effects(model, later, groups=users)
    sources = model.train_.source_ids.gather(model.examples_.sources(np.arange(len(matrix))))
    for user, found in effects.items():
        of_user = matrix[(sources // 3 == user).to_numpy()]
        np.testing.assert_allclose(found, of_user.sum(axis=0), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("outcome", ["ndcg", whence.Prediction(3, [1, 4])])
def test_groups_of_rows_and_of_every_outcome(likes, fitted, outcome):
    _, later = likes
    model = fitted["neumf"]
    method = whence.Replay(outcome=outcome, runs=2, **EXACT)
    matrix = method.matrix(model, later)
    mask = np.zeros(model.train_.n_rows, dtype=bool)
    mask[[3, 8]] = True
    effects = method.effects(model, later, groups={"days": [0, 5, 6], "mask": mask})
    row_of = model.train_.rows
    for name, rows in {"days": [0, 5, 6], "mask": [3, 8]}.items():
        chosen = np.isin(row_of, rows)
        np.testing.assert_allclose(effects[name], matrix[chosen].sum(axis=0), rtol=1e-7, atol=1e-12)


def test_windows_belong_to_groups_by_the_share_of_their_targets(likes, fitted):
    _, later = likes
    model = fitted["gru"]
    rows, offsets = model.examples_.targets(np.arange(len(model.examples_)))
    group = rows[: offsets[1] - 1]
    matrix = whence.Replay(**EXACT).matrix(model, later)
    effects = whence.Replay(**EXACT).effects(model, later, groups={"some": group})
    share = (offsets[1] - 1) / offsets[1]
    np.testing.assert_allclose(effects["some"], share * matrix[0], rtol=1e-7, atol=1e-12)


def test_effects_that_were_broken_off_go_on(likes, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "_SECONDS", 0.0)
    monkeypatch.setattr("whence.influence.replay.replay._MOST_OUTCOMES", 1)
    _, later = likes
    method, groups = whence.Replay(), {"a": [0, 1], "b": [2]}
    whole = method.effects(fitted["neumf"], later, groups=groups)
    calls = []

    def stop(done, total, message):
        calls.append(done)
        if len(calls) > 12:
            raise KeyboardInterrupt

    run = Run(folder=tmp_path, progress=stop)
    with pytest.raises(KeyboardInterrupt):
        method.effects(fitted["neumf"], later, groups=groups, run=run)
    run = Run(folder=tmp_path, resume=True)
    again = method.effects(fitted["neumf"], later, groups=groups, run=run)
    assert all(np.array_equal(again[name], whole[name]) for name in groups)


def test_bad_outcomes_and_groups_are_refused(likes, fitted):
    _, later = likes
    model = fitted["neumf"]
    for wrong, words in (
        (lambda model, parameters: 1.0, "must return a tensor"),
        (lambda model, parameters: torch.zeros(2, 2), "must return a tensor"),
        (lambda model, parameters: torch.zeros(2), "does not depend"),
    ):
        with pytest.raises(ParameterError, match=words):
            whence.Replay(outcome=wrong).attribute(model)
    with pytest.raises(ParameterError, match="outcome"):
        whence.Replay(outcome="accuracy").attribute(model, later)
    with pytest.raises(ParameterError, match="asked on data"):
        whence.Replay().attribute(model)
    with pytest.raises(DataError, match="unknown to the model"):
        whence.Replay(outcome=whence.Prediction(99, 4)).attribute(model)
    with pytest.raises(DataError, match="unknown"):
        whence.Replay(outcome=whence.Prediction(3, 999)).attribute(model)
    with pytest.raises(ParameterError, match="give one at least"):
        whence.Replay().attribute_each(model, later, outcomes=[])
    for groups, words in (
        ({}, "empty"),
        ({"a": []}, "must be a list of numbers"),
        (["x", "y"], "one label for each"),
    ):
        with pytest.raises(ParameterError, match=words):
            whence.Replay().effects(model, later, groups=groups)
    with pytest.raises(DataError, match="row 999"):
        whence.Replay().effects(model, later, groups={"a": [999]})
