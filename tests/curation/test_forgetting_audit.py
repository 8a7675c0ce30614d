"""Audits of models that have forgotten."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import whence
from whence.curation.forgetting.audit import _auc, _mean
from whence.errors import ParameterError

pytestmark = pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")


@pytest.fixture(scope="module")
def data():
    return whence.make_sessions(n_sessions=120, n_validation=20, n_test=40, n_items=100, seed=3)


def test_an_exact_model_is_the_retrained_one(data):
    model = whence.VMISKNN(k=20, m=50).fit(data.train)
    forgotten = whence.forget(model, sessions=data.train.source_ids[::6].to_list())
    found = forgotten.audit(data.test, metric="mrr@10")
    assert found.value("distance", "forgotten") == 0.0
    assert found.value("distance", "original") > 0.0
    assert found.value("overlap@10", "forgotten") == 1.0
    assert found.value("overlap@10", "original") < 1.0
    for measure in ("membership", "rank, forgotten rows", "rank, rows never seen", "mrr@10"):
        assert found.value(measure, "forgotten") == found.value(measure, "retrained"), measure
    # A session is among its own neighbours until it is forgotten.
    assert found.value("membership", "original") > found.value("membership", "forgotten") + 0.1
    assert found.value("rank, forgotten rows", "original") < 0.05
    frame = found.to_frame().filter(pl.col("measure") != "seconds")
    assert (frame["low"] <= frame["value"]).all()
    assert (frame["value"] <= frame["high"]).all()
    assert "another start" not in frame["model"].to_list()


def test_distances_are_those_of_scores(data):
    model = whence.EASE(l2=20.0).fit(data.train)
    forgotten = whence.forget(model, sessions=data.train.source_ids[:10].to_list())
    found = forgotten.audit(max_sources=30)
    left = forgotten.model.train_
    codes = np.unique(left.source_codes)
    some = codes[np.linspace(0, len(codes) - 1, 30).astype(int)]
    retrained = whence.EASE(l2=20.0).fit(left)
    asked = retrained.user_queries(left.source_ids.gather(some))
    one, other = (np.where(np.isfinite(s := m.score_codes(asked)), s, np.nan)
                  for m in (model, retrained))  # fmt: skip
    squares = np.nanmean((one - other) ** 2, axis=1)
    assert found.value("distance", "original") == pytest.approx(np.sqrt(squares.mean()))
    assert set(found.to_frame()["measure"]) == {
        "distance", "overlap@10", "rank, forgotten rows", "seconds"
    }  # fmt: skip


def test_a_network_beside_two_starts(data):
    pytest.importorskip("torch")
    model = whence.NeuMF(gmf_dim=2, mlp_dim=2, layers=(4,), epochs=3, batch_size=64).fit(data.train)
    one = data.train.source_ids[:6].to_list()
    forgotten = whence.forget(model, sessions=one)
    seen = []

    def retrain(train, seed):
        seen.append((train.fingerprint, seed))
        return type(model)(**{**model.params, "seed": seed}).fit(train)

    found = forgotten.audit(data.test, retrain=retrain)
    assert seen == [(data.train.without(one).fingerprint, seed) for seed in (42, 1042)]
    assert found.value("distance", "forgotten") > 0
    assert found.value("distance", "another start") > 0
    import torch

    numbers = np.flatnonzero(np.isin(model.examples_.sources(np.arange(len(model.examples_))),
                                     np.arange(6)))  # fmt: skip
    with torch.no_grad():
        losses = forgotten.model.example_loss(model.examples_.batch(numbers)).numpy()
    assert found.value("loss, forgotten rows", "forgotten") == pytest.approx(losses.mean())
    assert "membership" not in found.to_frame()["measure"].to_list()  # sessions of users unseen


def test_membership_against_its_definition():
    rng = np.random.default_rng(0)
    gone, unseen = rng.integers(0, 9, 40) / 3, rng.integers(0, 9, 60) / 3
    wins = (gone[:, None] < unseen) + 0.5 * (gone[:, None] == unseen)
    found = _auc(gone, np.arange(40), unseen, np.arange(60))
    assert found.value == pytest.approx(wins.mean())
    error = np.hypot(wins.mean(1).std(ddof=1) / 40**0.5, wins.mean(0).std(ddof=1) / 60**0.5)
    assert found.high - found.value == pytest.approx(1.959964 * error)
    assert _auc(gone, np.zeros(40, int), unseen, np.arange(60)).low is None


def test_intervals_are_by_source():
    values = np.repeat([1.0, 2.0, 4.0], 5)
    found = _mean(values, np.repeat([7, 3, 9], 5))
    half = 1.959964 * np.std([1.0, 2.0, 4.0], ddof=1) / 3**0.5
    assert found.high - found.value == pytest.approx(half)


def test_too_few_sources(data):
    model = whence.Popularity().fit(data.train)
    forgotten = whence.forget(model, sessions=data.train.source_ids[:1].to_list())
    with pytest.raises(ParameterError, match="max_sources"):
        forgotten.audit(max_sources=1)
