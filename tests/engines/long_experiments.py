"""Every experiment, as small as it can be, to be done by any engine."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import polars as pl

import whence
from whence import experiments

_TIMES = ("seconds", "cpu_seconds", "memory_mb")


def neighbours(seed):
    return whence.VMISKNN(k=10, m=30)


def items(seed):
    return whence.ItemKNN(k=5)


def network(seed):
    return whence.GRU4Rec(
        embedding_dim=4, hidden_dim=4, dropout=0.0, max_length=5, epochs=2, batch_size=32,
        learning_rate=0.02, torch_threads=1, seed=seed,
    )  # fmt: skip


def factorisation(train, seed):
    return whence.BiasedMF(embedding_dim=2, weight_decay=0.05, epochs=3, seed=seed)


def factors(seed):
    return whence.BiasedMF(embedding_dim=2, weight_decay=0.05, epochs=3, seed=seed)


@cache
def sessions():
    return whence.make_sessions(
        n_sessions=120, n_validation=60, n_test=30, n_items=50, n_clusters=5, seed=4
    )


@cache
def ring():
    """Users who walk along a ring of items, one step at a time."""
    rng = np.random.default_rng(0)
    steps = np.arange(12)
    walked = (rng.integers(0, 20, 30)[:, None] + steps + (rng.random((30, 12)) < 0.2)) % 20
    return whence.Interactions.from_frame(
        pl.DataFrame(
            {
                "user_id": np.repeat(np.arange(30), 12),
                "item_id": walked.ravel(),
                "timestamp": np.tile(steps, 30),
            }
        )
    )


@cache
def ratings():
    """Ratings, with a column of violations."""
    rng = np.random.default_rng(0)
    users, rated = np.nonzero(rng.random((25, 16)) < 0.8)
    values = np.clip(np.round(3 + rng.normal(size=25)[users] * rng.normal(size=16)[rated]), 1, 5)
    no = rng.choice([0.0, 0.3, 1.0], len(users))
    table = {"user_id": users, "item_id": rated, "rating": values, "no": no}
    return whence.Interactions.from_frame(pl.DataFrame(table))


def corruption(run):
    return experiments.CorruptionExperiment(
        model=network, attacks=("uniform",), share=0.2, methods=("random", "length", "loss"),
        clean=("random",), shares=(0.1,), seeds=(0, 1), metrics=("mrr@10",),
    ).run(ring(), run=run)  # fmt: skip


def removal(run):
    data = sessions()
    return experiments.RemovalExperiment(
        model=neighbours, methods=("loo", "length", "random"), up_to=0.4, steps=2, seeds=(0, 1),
        metrics=("mrr@10",),
    ).run(data.train, data.validation, data.test, run=run)  # fmt: skip


def prune(run):
    data = sessions()
    return experiments.PruneExperiment(
        model=neighbours, methods=("length", "random"), shares=(0.1, 0.3), seeds=(0, 1),
        metrics=("mrr@10",),
    ).run(data.train, data.validation, data.test, run=run)  # fmt: skip


def scaling(run):
    data = sessions()
    return experiments.ScalingExperiment(
        clicks=(200, 400), queries=(20,), n_threads=(1,), repeats=2, methods=("loo",)
    ).run(data.train, data.validation, run=run)


def forgetting(run):
    table = ratings().frame.drop("no")
    return experiments.ForgettingExperiment(
        model=items, singles=1, shares=(0.1,), stream=2, seeds=(0, 1)
    ).run(table, run=run)


def fidelity(run):
    return experiments.FidelityExperiment(
        model=factors, methods=("tracin", "random"), keep=(0.5,), masks=4, removals=0, queries=6,
        starts=2, runs=(1,), proponents=2, pairs=2, seed=1,
    ).run(ratings(), run=run)  # fmt: skip


def explanation_fidelity(run):
    return experiments.ExplanationFidelityExperiment(
        model=network, n_users=6, n_events=5, k=3, n=2, budget=40
    ).run(ring(), run=run)


def opponents(run):
    return experiments.OpponentsExperiment(
        model=network, n=30, seeds=(0, 1), planted=0.3, checkpoints=1, metrics=("mrr@10",)
    ).run(ring(), run=run)


def disclosure(run):
    return experiments.DisclosureExperiment(
        model=factorisation, shares=(0.5,), strategies=("social", "none"), controls=("random",),
        metrics=("ndcg@5",), willingness="no", seeds=(0, 1),
    ).run(ratings(), run=run)  # fmt: skip


EXPERIMENTS = {
    work.__name__: work
    for work in (
        corruption, removal, prune, scaling, forgetting, fidelity, explanation_fidelity, opponents,
        disclosure,
    )
}  # fmt: skip


def digest_of_rows(found):
    """A text that differs where a bit of the rows does, of what is no measured time."""
    rows = found.rows if hasattr(found, "rows") else found.scores
    rows = rows.drop(_TIMES, strict=False)
    if "measure" in rows.columns:
        rows = rows.filter(pl.col("measure") != "seconds")
    assert rows.height > 0
    whole = hashlib.sha256()
    for column in rows:
        values = column.to_numpy() if column.dtype.is_numeric() else repr(column.to_list()).encode()
        whole.update(values if isinstance(values, bytes) else values.tobytes())
    return whole.hexdigest()
