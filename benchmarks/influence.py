"""Influence functions and disclosure: are they right, how fast, and what strategies are worth.

Prints Markdown tables. Run from the repository root, with the data in a folder of ``ml-100k`` and
``ml-1m`` (as files of RecBole or of GroupLens)::

    python benchmarks/influence.py DATA [fidelity] [speed] [disclosure] [generated]

Seconds are of the processor, in one process.
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
from whence.curation.disclosure import Disclosure, simulate_willingness
from whence.data import Interactions
from whence.errors import DataWarning
from whence.influence.functions import (
    InfluenceFunction,
    descend,
    fidelity,
    objective_of,
    to_optimum,
)
from whence.models.matrix.mf import BiasedMF

# Penalty of a user's or item's parameters against its ratings: the mean loss has 1/Z of it.
PENALTY = 20.0
SECTIONS = ("fidelity", "speed", "disclosure", "generated")


def ml_100k(folder: Path) -> Interactions:
    names = ["user_id", "item_id", "rating", "timestamp"]
    path = folder / "ml-100k" / "u.data"
    return Interactions.from_frame(
        pl.read_csv(path, separator="\t", has_header=False, new_columns=names)
    )


def ml_1m(folder: Path) -> Interactions:
    return whence.read_interactions(folder / "ml-1m" / "ml-1m.inter.gz", rating="rating")


def generated(seed: int = 0, careless: float = 0.2) -> Interactions:
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
    return Interactions.from_frame(pl.DataFrame(table))


def best(train: Interactions, dim: int, n: int | None = None, **more) -> BiasedMF:
    """A biased factorisation at its optimum; the penalty is that of `n` ratings."""
    ridge = PENALTY / (n or train.n_rows)
    model = BiasedMF(
        embedding_dim=dim, weight_decay=ridge, epochs=20, learning_rate=5e-3, **more
    ).fit(train)
    return to_optimum(model)


def table(title: str, rows: pl.DataFrame) -> None:
    print(f"\n### {title}\n")
    with pl.Config(
        tbl_formatting="MARKDOWN", tbl_hide_column_data_types=True, tbl_rows=-1, tbl_cols=-1,
        tbl_hide_dataframe_shape=True, tbl_width_chars=300, float_precision=4,
    ):  # fmt: skip
        print(rows, flush=True)


def show_fidelity(folder: Path) -> None:
    train, validation, test = whence.split_rows(ml_100k(folder), (0.8, 0.1, 0.1), seed=0)
    for dim in (8, 16):
        model = best(train, dim)
        rmse = float(whence.evaluate(model, test, "rmse"))
        found = fidelity(model, validation, removals=100, groups=5)
        rows = found.table.filter(
            pl.col("kind").is_in(["single", "random", "keep 0.9", "keep 0.7", "keep 0.5"])
            & (pl.col("solver") != "random")
            & ((pl.col("outcome") == "own user") | pl.col("kind").is_in(["single", "random"]))
        )
        table(
            f"ML-100K, BiasedMF({dim}), test RMSE {rmse:.4f}, noise floor {found.noise}, "
            f"seconds { ({k: round(v, 2) for k, v in found.seconds.items()}) }",
            rows,
        )


def show_speed(folder: Path) -> None:
    rows = []
    for name, data, dims in (("ML-100K", ml_100k(folder), (8, 32)), ("ML-1M", ml_1m(folder), (8,))):
        parts = whence.split_rows(data, (0.8, 0.1, 0.1), seed=0)
        for dim in dims:
            started = time.process_time()
            model = best(parts[0], dim)
            trained = time.process_time() - started
            InfluenceFunction("dot").attribute(model, parts[1])  # compiles
            started = time.process_time()
            values = InfluenceFunction("cg").attribute(model, parts[1])
            seconds = time.process_time() - started
            objective = objective_of(model)
            weights = np.ones(objective.n_examples)
            weights[np.argmax(np.abs(values.scores))] = 0.0
            started = time.process_time()
            descend(objective.weighted(weights), tolerance=1e-6, warm=True)
            once = time.process_time() - started
            rows.append({
                "data": name,
                "D": dim,
                "interactions": len(values),
                "train to optimum, s": trained,
                "all influences, s": seconds,
                "products": values.metadata["iterations"],
                "residual": values.metadata["residual"],
                "one retraining, s": once,
                "times faster than retraining": once * len(values) / seconds,
            })  # fmt: skip
    table("All influences on the validation loss, by one solve", pl.DataFrame(rows))


def show_disclosure(name: str, data: Interactions, dim: int, seeds: tuple[int, ...]) -> None:
    train, validation, test = whence.split_rows(data, (0.5, 0.3, 0.2), seed=0)
    model = best(train, dim, data.n_rows)
    beta = simulate_willingness(train, seed=1)
    base = Disclosure(model, beta, validation)
    usual = base.lam_ref
    print(f"\n## Disclosure, {name}: {base.calibration}, lam_ref {usual:.3g}")
    lams = [usual * x for x in (0.1, 0.3, 1, 3, 10)]
    controls = ("threshold", "random", "influence_only")
    table("Frontier", base.frontier(lams, controls=controls, test=test))
    for share in (0.5, 1.0, 2.0):
        found = base.at(share * usual).evaluate(
            ("social", "trust_region", "all", "none"), test=test, seeds=seeds
        )
        table(f"{name}, lam = {share:g} lam_ref", found.table())
        gaps = found.differences().filter(pl.col("strategy").is_in(["social", "trust_region"]))
        table("Test reward, paired differences", gaps)


def main() -> None:
    warnings.simplefilter("ignore", DataWarning)
    folder = Path(sys.argv[1])
    wanted = sys.argv[2:] or SECTIONS
    if "fidelity" in wanted:
        show_fidelity(folder)
    if "speed" in wanted:
        show_speed(folder)
    if "disclosure" in wanted:
        show_disclosure("ML-100K", ml_100k(folder), 8, (0, 1, 2))
    if "generated" in wanted:
        show_disclosure("generated ratings", generated(), 4, (0, 1, 2))


if __name__ == "__main__":
    main()
