"""Long work of every kind; run as a script, a process that kills itself in the middle of it.

``python long_work.py NAME FOLDER SAVES DELAY``: after so many states have been kept, and so many
seconds, the process is killed by SIGKILL.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
import warnings
from functools import cache

import numpy as np

import whence
from whence.engines import Checkpoints, Run, checkpoints

warnings.simplefilter("ignore")


def keep_always():
    """Keep what is done after every part."""
    checkpoints._SECONDS, checkpoints._LONGEST_SHARE = 0.0, float("inf")


@cache
def clicks():
    return whence.make_sessions(n_sessions=150, n_validation=170, seed=3)


@cache
def neighbours():
    return whence.VMISKNN(k=20, m=50).fit(clicks().train)


@cache
def few():
    return whence.make_sessions(n_sessions=9, n_validation=10, seed=3)


@cache
def baskets():
    data = whence.make_baskets(n_users=70, seed=3)
    return whence.TIFUKNN(k=10).fit(data.train), data.validation


@cache
def lstm():
    model = whence.LSTMRec(embedding_dim=4, hidden_dim=4, epochs=2, torch_threads=1, seed=1)
    return model.fit(clicks().train, checkpoints=1)


@cache
def factors():
    import polars as pl

    from whence.influence.functions import passes

    passes._PER_SOLVE = 6
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 25)) < 0.5)
    ratings = rng.integers(1, 6, len(users))
    table = pl.DataFrame({"user_id": users, "item_id": items, "rating": ratings})
    model = whence.BiasedMF(embedding_dim=3, weight_decay=0.05, epochs=2, seed=1)
    return whence.to_optimum(model.fit(table)), table.gather_every(5)


def value(method):
    return lambda run: method.attribute(neighbours(), clicks().validation, run=run)


def refitted(method):
    return lambda run: method.attribute(
        whence.Popularity().fit(few().train), few().validation, run=run
    )


def traced(name, **options):
    def work(run):
        method = whence.TracIn(batch_size=64, **options)
        return getattr(method, name)(lstm(), clicks().validation, run=run)

    return work


def influence(name, **options):
    return lambda run: getattr(whence.InfluenceFunction(**options), name)(*factors(), run=run)


SAMPLED = {"exact": 0, "tolerance": 0.01, "max_permutations": 60}
WORK = {
    "shapley": value(whence.Shapley("mrr@5", **SAMPLED)),
    "banzhaf": value(whence.Banzhaf("mrr@5", **SAMPLED)),
    "beta-shapley": value(whence.BetaShapley("ndcg@5", alpha=4.0, **SAMPLED)),
    "shapley of users": lambda run: whence.Shapley("recall@5", own="player", **SAMPLED).attribute(
        *baskets(), run=run
    ),
    "leave-one-out": value(whence.LeaveOneOut("mrr@5")),
    "leave-one-out by item": value(whence.LeaveOneOut("mrr@5", by="item")),
    "leave-one-out by interaction": value(whence.LeaveOneOut("mrr@5", by="interaction")),
    "retraining-leave-one-out": refitted(whence.RetrainingLeaveOneOut("mrr@5")),
    "retraining-shapley": refitted(whence.RetrainingShapley("mrr@5", max_permutations=12)),
    "retraining-shapley truncated": refitted(
        whence.RetrainingShapley("mrr@5", max_permutations=12, truncation=0.3, tolerance=0)
    ),
    "retraining-shapley of all coalitions": refitted(
        whence.RetrainingShapley("mrr@5", max_permutations=60)
    ),
}
TORCH = {
    "tracin": traced("attribute"),
    "tracin cosine": traced("attribute", normalise="cosine"),
    "tracin per query": traced("per_query"),
    "tracin matrix": traced("matrix"),
    "trak": lambda run: whence.TRAK(dimension=16, batch_size=64).attribute(
        lstm(), clicks().validation, run=run
    ),
    "influence-function": influence("attribute", tolerance=1e-12),
    "influence-function by a series": influence(
        "attribute", solver="lissa", batch_size=50, damping=0.5, scale=5.0, max_iterations=60
    ),
    "influence-function matrix": influence("matrix"),
    "influence-function own": influence("own"),
}


def digest(found):
    """A text that differs where a bit of a result does."""
    if isinstance(found, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(found).tobytes()).hexdigest()
    columns = [found.frame[name] for name in found.frame.columns]
    arrays = [column.to_numpy() for column in columns if column.dtype.is_numeric()]
    arrays += [array for _, array in sorted((found.state or {}).items())]
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    for fact in ("stopped", "n_fits", "n_permutations", "value_all", "relative_error"):
        whole.update(repr(found.metadata.get(fact)).encode())
    return whole.hexdigest()


def die_after(saves, delay):
    """Arm the end of this process; what comes after cannot finish before it."""
    save, finish, count = Checkpoints.save, Checkpoints.finish, [0]

    def counted(self, stage, state):
        save(self, stage, state)
        count[0] += 1
        if count[0] == saves:
            kill = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))
            kill.start()
        elif count[0] > saves:
            time.sleep(0.02)

    def waiting(self):
        if count[0] >= saves:
            time.sleep(30)
        finish(self)

    Checkpoints.save, Checkpoints.finish = counted, waiting


if __name__ == "__main__":
    name, folder, saves, delay = sys.argv[1:]
    keep_always()
    die_after(int(saves), float(delay))
    {**WORK, **TORCH}[name](Run(folder=folder, threads=2))
