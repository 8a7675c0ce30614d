"""What strategies of disclosure are worth: quality against violation, over λ and seeds.

Prints Markdown tables and draws the frontiers. Run from the repository root, with the data in a
folder that has ``ml-100k`` (the files of GroupLens)::

    python benchmarks/disclosure.py DATA OUTPUT [ml-100k] [generated] [seeds=5]

Results of single fits are kept in OUTPUT, so that a run that was broken off goes on. Seconds are of
the processor, in one process.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import polars as pl

import whence
from whence.errors import DataWarning
from whence.plots import picture

SEEDS = 5
METRICS = ("hitrate@10", "ndcg@10")


def generated(seed: int = 0, careless: float = 0.2) -> whence.Interactions:
    """Ratings of 600 users by two tastes and biases; a share of users often rate at random."""
    rng = np.random.default_rng(seed)
    n_users, n_items, n = 600, 500, 30_000
    taste, kind = rng.normal(size=(n_users, 2)), rng.normal(size=(n_items, 2))
    popular = 1.0 / (10 + rng.permutation(n_items))
    pairs = np.unique(
        np.column_stack([
            rng.integers(0, n_users, 3 * n),
            rng.choice(n_items, 3 * n, p=popular / popular.sum()),
        ]),
        axis=0,
    )  # fmt: skip
    users, items = rng.permutation(pairs)[:n].T
    biases = 0.4 * rng.normal(size=n_users)[users] + 0.4 * rng.normal(size=n_items)[items]
    clean = (
        3.2 + biases + 0.7 * (taste[users] * kind[items]).sum(1) + 0.5 * rng.normal(size=len(users))
    )
    noisy = (rng.random(n_users) < careless)[users] & (rng.random(len(users)) < 0.8)
    values = np.where(noisy, rng.uniform(0.5, 5.5, len(users)), clean)
    table = {"user_id": users, "item_id": items, "rating": np.clip(np.round(values), 1, 5)}
    return whence.Interactions.from_frame(pl.DataFrame(table))


def show(name: str, data: whence.Interactions, folder: Path, seeds: int) -> None:
    """Run the experiment on some data, print its tables and draw its picture."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    experiment = whence.DisclosureExperiment(seeds=tuple(range(seeds)), metrics=METRICS)
    result = experiment.run(data, run=whence.Run(folder=folder, resume=True))
    seconds = time.process_time() - started
    print(f"\n## {name}: {data}, {seeds} seeds, {seconds:.0f} s\n")
    print(result.to_markdown(), flush=True)
    print("\nOf the quality alone:\n")
    print(result.to_markdown("quality").rpartition("\n\n")[2], flush=True)
    result.rows.write_csv(folder / "rows.csv")
    with picture(folder / "frontier.png", overwrite=True) as axes:
        result.plot(axes)


def main() -> None:
    """Run what the command line asks for."""
    warnings.simplefilter("ignore", DataWarning)
    data, output = Path(sys.argv[1]), Path(sys.argv[2])
    number = [word.removeprefix("seeds=") for word in sys.argv[3:] if word.startswith("seeds=")]
    seeds = int(number[0]) if number else SEEDS
    wanted = [word for word in sys.argv[3:] if "=" not in word] or ["ml-100k", "generated"]
    if "generated" in wanted:
        show("Generated ratings", generated(), output / "generated", seeds)
    if "ml-100k" in wanted:
        ratings = whence.read_interactions(data / "ml-100k" / "u.data")
        show("ML-100K", ratings, output / "ml-100k", seeds)


if __name__ == "__main__":
    main()
