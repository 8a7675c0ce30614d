"""What replayed training costs: CPU seconds and memory beside those of training.

Run ``python benchmarks/replay_cost.py [--data ml-1m]`` with the data sets at ``WHENCE_DATA`` or
``../shared/data``.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

import numpy as np

import whence
from whence.influence import query_examples

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))
NAMES = {"ml-100k": "u.data", "ml-1m": "ml-1m.inter.gz"}
MODEL = whence.smooth(
    whence.NeuMF(
        gmf_dim=8, mlp_dim=16, layers=(16, 8), n_negatives=2, weight_decay=0.0, epochs=8
    )
)  # fmt: skip


def timed(name, work, beside=None):
    """Do something, and say what it took."""
    start = time.process_time()
    found = work()
    took = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    trainings = "" if beside is None else f", {took / beside:.1f} trainings"
    print(f"{name}: {took:.1f} CPU s{trainings}; peak so far {peak:,.0f} MB", flush=True)
    return found, took


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=NAMES, default="ml-100k")
    given = parser.parse_args()

    rows = whence.read_interactions(DATA / given.data / NAMES[given.data])
    train, valid, _ = whence.split_rows(rows, (0.6, 0.2, 0.2), seed=0)
    type(MODEL)(**MODEL.params | {"epochs": 1}).fit(valid)  # what is loaded counts for none
    model, training = timed("training", lambda: MODEL.fit(train))
    asked = query_examples(model, valid)
    print(f"{len(model.examples_):,} examples, {len(asked):,} queries")
    replay, users = whence.Replay(), train.frame[train.columns.user].to_numpy()
    timed("values of all examples", lambda: replay.attribute(model, asked), training)
    few = asked.take(np.arange(16))
    timed("for 16 queries each", lambda: replay.matrix(model, few), training)
    timed("for the loss and nDCG", lambda: replay.attribute_each(
        model, valid, outcomes=["loss", "ndcg"]), training)  # fmt: skip
    groups = {"one user": np.flatnonzero(users == users[0])}
    timed("forwards for one user", lambda: replay.effects(model, asked, groups=groups), training)
    some = asked.take(np.arange(300))
    ideal = whence.TracIn(every_step=True)
    timed("TracIn over every step, 300 queries", lambda: ideal.attribute(model, some), training)


if __name__ == "__main__":
    main()
