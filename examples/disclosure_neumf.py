"""NeuMF on MovieLens 1M, all users: train, influence, mask, retrain, compare.

The way of the published code for user-controllable disclosure (IFRQE), with a test set of its own,
controls of the same size, and several seeds. From the root of the repository::

    python examples/disclosure_neumf.py data/ml-1m/ml-1m.inter.gz --output disclosed

A network learns popularity from counts and has no optimum: influence is that of Gauss and Newton,
shrunk by how far two halves of the validation data agree in it; what is disclosed keeps the mix of
films, and is confirmed by retraining, a tenth of the rows at a time. Models are retrained from
other initial parameters than those of the model that was looked at.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
import warnings
from pathlib import Path

import polars as pl

import whence
from whence.errors import DataWarning

FRACTIONS = (0.6, 0.2, 0.2)


def main() -> None:
    """Choose and mask for one seed, and compare over as many as are asked for."""
    options = read_options()
    warnings.simplefilter("ignore", DataWarning)
    data = whence.read_interactions(options.data)
    if options.users:
        first = data.frame[data.columns.user].unique(maintain_order=True).head(options.users)
        keep = data.frame[data.columns.user].is_in(first.implode())
        data = data.keep_rows(keep.to_numpy()).rebuild()
    masked(data, options)
    compared(data, options)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="Users with their films.")
    parser.add_argument("--output", type=Path, default=Path("disclosed"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5, help="Steps of the trust region.")
    parser.add_argument("--share", type=float, default=1.0, help="λ as a multiple of lam_ref.")
    parser.add_argument("--users", type=int, help="The first users only.")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def neumf(epochs: int, seed: int) -> whence.NeuMF:
    """A small network."""
    return whence.NeuMF(
        gmf_dim=8, mlp_dim=16, layers=(16, 8), n_negatives=2, batch_size=8192, learning_rate=5e-3,
        epochs=epochs, seed=seed,
    )  # fmt: skip


def masked(data: whence.Interactions, options: argparse.Namespace) -> None:
    """What one platform would do: train, choose, and write the data without what is withheld."""
    clock = Clock()
    train, validation, _ = whence.split_rows(data, FRACTIONS, seed=0)
    model = neumf(options.epochs, 0).fit(train)
    clock.tell(f"trained on {train}")
    beta = whence.simulate_willingness(train, seed=0)
    asked = whence.Disclosure(rounds=options.rounds, seed=0).pose(
        model, validation, willingness=beta
    )
    print(asked.quality_in_words)
    clock.tell(f"influence of all interactions: {asked.reliability}, lam_ref {asked.lam_ref:.3g}")
    plan = asked.at(options.share * (asked.lam_ref or 0.0)).solve("trust_region")
    clock.tell(f"{plan}")
    plan.save(options.output / "plan.parquet", overwrite=True)
    whence.write_interactions(plan.apply(train), options.output / "masked.inter", overwrite=True)


def compared(data: whence.Interactions, options: argparse.Namespace) -> None:
    """Whether it pays: over seeds, against controls of as many rows and of as much violation."""
    experiment = whence.DisclosureExperiment(
        model=lambda train, seed: neumf(options.epochs, seed),
        shares=(options.share,),
        strategies=("trust_region", "all"),
        seeds=tuple(range(options.seeds)),
        fractions=FRACTIONS,
        metrics=("hitrate@10", "ndcg@10"),
        disclosure=whence.Disclosure(rounds=options.rounds),
    )
    result = experiment.run(data, run=whence.Run(folder=options.output / "runs", resume=True))
    result.rows.write_csv(options.output / "runs.csv")
    print(result.to_markdown())
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160):
        print(result.to_frame("ndcg@10").filter(strategy="trust_region"))


class Clock:
    """Says how many seconds of the processor each step took."""

    def __init__(self) -> None:
        self.last = time.process_time()

    def tell(self, what: str) -> None:
        """Print a step and its time since the last one."""
        now = time.process_time()
        print(f"{what}: {now - self.last:.1f} s", flush=True)
        self.last = now


if __name__ == "__main__":
    main()
