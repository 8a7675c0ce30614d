"""Outcomes of what is recommended, wanted or not, against their definitions and differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_outcomes import EXACT, SMOOTH, retrained, unit
from training_cases import MODELS

import whence
from whence.errors import DataError
from whence.influence.replay.outcomes import outcome_of
from whence.influence.replay.soft_lists import NAMES
from whence.influence.replay.training import TrainingMap

TEMPERATURE = 0.5


@pytest.fixture(scope="module", params=["neumf", "gru"])
def fitted(request, likes):
    return MODELS[request.param](**SMOOTH).fit(likes[0])


def defined(model, queries, name, scores):
    """The outcomes one after another, from the scores of all items, by their definitions."""
    counts = np.bincount(model.train_.item_codes, minlength=model.n_items)
    missed, values = torch.ones(model.n_items, dtype=scores.dtype), []
    for query in range(len(queries)):
        history = queries.history_items[queries.history_start[query] : queries.history_end[query]]
        known = queries.users[query] >= 0 if model.asks == "users" else len(history)
        if not known:
            continue
        # Items of the history are never recommended by models that know users.
        closed = set(history.tolist()) if model.asks == "users" else set()
        odds = [
            torch.zeros(()) if item in closed else torch.exp(scores[query, item] / TEMPERATURE)
            for item in range(model.n_items)
        ]
        drawn = torch.stack(odds) / sum(odds)
        missed = missed * (1 - drawn)
        worth = {
            "averagepopularity": counts,
            "novelty": np.log2(counts.sum() / np.maximum(counts, 1)),
        }.get(name, counts)
        values.append(sum(p * float(w) for p, w in zip(drawn, worth)))
    return (1 - missed).mean().reshape(1) if name == "coverage" else torch.stack(values)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_their_definitions_and_differentiated_through_training(likes, fitted, name):
    _, later = likes
    queries = whence.make_queries(fitted, later, unknown="drop", protocol="users")

    def outcome(trained):
        return defined(fitted, queries, name, trained._score_batch(queries))

    training = TrainingMap(fitted, fitted.epochs, fitted.seed, torch.float64)
    parameters = training.vector(dict(fitted.module_.named_parameters()))
    one = outcome_of(fitted, later, name, TEMPERATURE)
    one.together = 3
    with torch.no_grad():
        plain = training.evaluated(parameters, outcome, training.model)
        found = one.values(training, parameters, 0, len(one)) if len(one) == 1 else torch.cat(
            [one.values(training, parameters, n, n + 1) for n in range(len(one))]
        )  # fmt: skip
    np.testing.assert_allclose(found.numpy(), plain.numpy(), rtol=1e-6)

    method = whence.Replay(outcome=name, temperature=TEMPERATURE, **EXACT)
    values = method.attribute(fitted, later)
    expected = retrained(fitted, lambda trained: outcome(trained).mean(), [unit(len(values), 1)])
    np.testing.assert_allclose(values.scores[1], expected[0], rtol=1e-3, atol=1e-9)
    assert values.metadata["metric"] == name

    matrix = method.matrix(fitted, later)
    np.testing.assert_allclose(matrix.mean(axis=1), values.scores, rtol=1e-6, atol=1e-12)


def test_they_go_with_others_in_one_pass_and_forwards(likes, fitted):
    _, later = likes
    method = whence.Replay(temperature=TEMPERATURE, **EXACT)
    coverage, novelty = method.attribute_each(fitted, later, outcomes=["coverage", "novelty"])
    alone = whence.Replay(outcome="coverage", temperature=TEMPERATURE, **EXACT)
    np.testing.assert_allclose(
        coverage.scores, alone.attribute(fitted, later).scores, rtol=1e-7, atol=1e-13
    )
    assert np.abs(novelty.scores - coverage.scores).max() > 1e-6
    mask = np.ones(fitted.train_.n_rows, dtype=bool)
    effects = alone.effects(fitted, later, groups={"all": mask})
    np.testing.assert_allclose(effects["all"], [coverage.scores.sum()], rtol=1e-6, atol=1e-12)


def test_nobody_asks(likes, fitted):
    _, later = likes
    strangers = later.with_columns(user_id=later["user_id"] + 1000, item_id=later["item_id"] + 1000)
    with pytest.raises(DataError, match="known"):
        outcome_of(fitted, strangers, "coverage", 1.0)
