"""Does the sum of replayed values predict retraining? A NeuMF on MovieLens 100K.

Run ``python benchmarks/replay.py`` with the data sets at ``WHENCE_DATA`` or ``../shared/data``.
Random shares of the training interactions are left out, the model is trained again from the same
start (batches, negatives and the divisor of the loss as before), and the change of the loss on
validation data is set beside the sum of the values of what was left out: Spearman correlation over
masks, of the mean loss and of the losses of single interactions, with 95% intervals from a
bootstrap over masks.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

import whence
from whence.influence import query_examples

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))


def losses(model, asked):
    """Losses of the queries, float64 [Q]."""
    with torch.no_grad():
        return model.example_loss(asked.batch(np.arange(len(asked)))).double().numpy()


def correlation(predicted, actual):
    """Mean Spearman correlation over outcomes, and its 95% interval over masks.

    Parameters
    ----------
    predicted, actual : float64 [masks, outcomes]
    """

    def mean(rows):
        pairs = zip(predicted[rows].T, actual[rows].T)
        return float(np.nanmean([spearmanr(*pair)[0] for pair in pairs]))

    rng = np.random.default_rng(0)
    n = len(actual)
    again = [mean(rng.integers(0, n, n)) for _ in range(400)]
    return mean(np.arange(n)), *np.percentile(again, [2.5, 97.5])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=24)
    parser.add_argument("--queries", type=int, default=16)
    parser.add_argument("--eps-root", type=float, default=whence.smooth(whence.NeuMF()).eps_root)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()

    rows = whence.read_interactions(DATA / "ml-100k" / "u.data")
    train, valid, _ = whence.split_rows(rows, (0.6, 0.2, 0.2), seed=0)
    params = {
        "gmf_dim": 8, "mlp_dim": 16, "layers": (16, 8), "n_negatives": 2, "weight_decay": 0.0,
        "batch_size": 1024, "activation": "gelu", "eps_root": given.eps_root,
        "learning_rate": given.learning_rate, "epochs": given.epochs,
    }  # fmt: skip
    start = time.process_time()
    model = whence.NeuMF(**params).fit(train)
    training = time.process_time() - start
    asked = query_examples(model, valid)
    base = losses(model, asked)
    start = time.process_time()
    values = whence.Replay().attribute(model, asked)
    replaying = time.process_time() - start
    rng = np.random.default_rng(1)
    chosen = rng.choice(len(asked), given.queries, replace=False)
    start = time.process_time()
    matrix = whence.Replay().matrix(model, asked.take(chosen))
    several = time.process_time() - start
    tracin = whence.TracIn(checkpoints="final").attribute(model, asked)
    print(f"{len(values):,} examples, {len(asked):,} queries, validation loss {base.mean():.4f}")
    print(
        f"training {training:.1f} CPU s, all values {replaying:.1f} CPU s, of {len(chosen)} "
        f"queries {several:.1f} CPU s"
    )
    for share in (0.01, 0.1):
        actual, single, by_replay, by_query, by_tracin = [], [], [], [], []
        for _ in range(given.masks):
            gone = rng.choice(len(values), int(share * len(values)), replace=False)
            change = losses(whence.NeuMF(**params).fit(train, without=gone), asked) - base
            actual.append(change.mean())
            single.append(change[chosen])
            by_replay.append(values.scores[gone].sum())
            by_query.append(matrix[gone].sum(axis=0))
            by_tracin.append(tracin.scores[gone].sum())
        total = np.array(actual)[:, None]
        shown = {
            "Replay, mean loss": correlation(np.array(by_replay)[:, None], total),
            "Replay, single losses": correlation(np.array(by_query), np.array(single)),
            "gradients at the end, mean loss": correlation(np.array(by_tracin)[:, None], total),
        }
        for name, (mean, low, high) in shown.items():
            print(f"{share:.0%} left out, {name}: {mean:.2f} [{low:.2f}, {high:.2f}]")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
