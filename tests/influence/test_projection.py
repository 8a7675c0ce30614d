"""Projected gradients: right on average, the same for a seed, and what TRAK makes of them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from brute import at, close, gradients  # noqa: E402
from foreign import Batches, Everything, LookedUp, Model  # noqa: E402

import whence  # noqa: E402
from whence.influence import TRAK, TracIn, TracInRandomProjection, query_examples  # noqa: E402


@pytest.mark.parametrize("module", [Everything, LookedUp])
def test_products_of_sketches_are_right_on_average(module):
    model, queries = Model(module()), Batches(5, seed=1)
    want = TracIn(checkpoints="final", precision="float64").matrix(model, queries)
    found = np.stack([
        TracInRandomProjection(
            dimension=4, seed=seed, checkpoints="final", precision="float64"
        ).matrix(model, queries)
        for seed in range(100)
    ])  # fmt: skip
    deviation = found.std(0, ddof=1)
    # Far from exact each, and within their standard errors on average.
    assert (deviation > 0.1 * np.abs(want).max()).any()
    away = np.abs(found.mean(0) - want) / (deviation / len(found) ** 0.5)
    assert away.max() < 4.5
    assert np.sqrt(np.mean(away**2)) < 1.5


def test_kept_sketches_have_the_scores_as_their_products(lstm, sessions):
    queries = query_examples(lstm, sessions[1])
    method = TracInRandomProjection(dimension=8, seed=3, precision="float64")
    kept, asked = method.sketches(lstm), method.query_sketches(lstm, queries)
    close(kept @ asked.T, method.matrix(lstm, queries), 1e-10)
    # Of a seed they are the same, whatever they are asked together with; of another they are not.
    again = TracInRandomProjection(dimension=8, seed=3, precision="float64", threads=2)
    assert np.array_equal(again.sketches(lstm), kept)
    few = query_examples(lstm, sessions[1]).take(np.arange(2))
    close(again.query_sketches(lstm, few), asked[:2], 1e-10)
    other = TracInRandomProjection(dimension=8, seed=4, precision="float64")
    assert not np.allclose(other.sketches(lstm), kept)
    with_seed = other.sketches(lstm, run=whence.Run(seed=3))
    assert np.array_equal(with_seed, kept)


def products_of(features, of_queries, ridge):
    """Products of features after division by their second moments."""
    moments = features.T @ features + ridge * np.eye(features.shape[1])
    return features @ np.linalg.solve(moments, of_queries.T)


@pytest.mark.parametrize("embeddings", ["kept", "projected"])
def test_trak_is_its_definition(embeddings):
    torch.manual_seed(1)
    models, queries = [Model(LookedUp()), Model(LookedUp())], Batches(5, seed=1)
    doubts, scores = [], []
    for model in models:
        here = at(model)
        with torch.no_grad():
            losses = [
                here.example_loss(batch).double().numpy()
                for batch in (here.examples_.batch(np.arange(12)), queries.batch(np.arange(5)))
            ]
        # The output is f = -log(e^l - 1) of a loss l = -log p, so that df/dθ = -(dl/dθ) / (1 - p).
        train, asked = (-np.expm1(-loss) for loss in losses)
        assert min(train.min(), asked.min()) > 1e-3
        features = -gradients(here, here.examples_, 12, 0) / train[:, None]
        of_queries = -gradients(here, queries, 5) / asked[:, None]
        product, rest = 0.0, np.ones(features.shape[1], dtype=bool)
        if embeddings == "kept":  # every row that is touched by itself, all else together
            means = (features**2).sum(0)
            for table in by_table(here.module_):
                rows = [row for row in table if features[:, row].any()]
                ridge = 0.7 * np.mean([means[row] for row in rows])
                rest &= ~np.any(table, axis=0)
                for row in rows:
                    product += products_of(features[:, row], of_queries[:, row], ridge)
        ridge = 0.1 * (features[:, rest] ** 2).sum(0).mean()
        scores.append(product + products_of(features[:, rest], of_queries[:, rest], ridge))
        doubts.append(train)
    want = np.mean(doubts, axis=0)[:, None] * np.mean(scores, axis=0)
    # Of full size nothing is projected.
    how = {"embeddings": embeddings, "embedding_regularisation": 0.7, "precision": "float64"}
    method = TRAK(dimension=10**6, regularisation=0.1, **how)
    found = method.attribute(models, queries)
    close(found.scores, want.sum(1), 1e-8)
    close(np.stack([found.scores_for(query) for query in range(5)], 1), want, 1e-8)
    assert found.metadata["kept"] == (["others", "tokens.weight"] if embeddings == "kept" else [])


def by_table(module):
    """Masks over the parameters of each row of both tables, [rows, parameters] each."""
    named = list(module.named_parameters())
    of = np.concatenate([np.full(p.numel(), number) for number, (_, p) in enumerate(named)])
    row = np.concatenate([np.arange(p.numel()) // p[0].numel() for _, p in named])
    return [
        (of == number) & (row == np.arange(len(p))[:, None])
        for number, (name, p) in enumerate(named)
        if name in ("others", "tokens.weight")
    ]


def test_trak_has_tables_by_row(lstm, sessions):
    values = TRAK(dimension=8).attribute(lstm, sessions[1])
    assert values.metadata["kept"] == ["embedding.weight"]
