"""What strategies of disclosure are worth: quality against violation, over λ and seeds.

Prints Markdown tables and draws the frontiers. Run from the repository root, with the data in a
folder that has ``ml-100k`` and ``ml-1m`` (the files of GroupLens, and those of RecBole)::

    python benchmarks/disclosure.py DATA OUTPUT [TABLE …] [seeds=5] [only=SEED]

Each seed is computed for itself, and may be in a process of its own (``only=2``); those that are
there are put together. Tables are ``ml-100k`` and ``generated``, of factorisations of ratings, and
of networks ``neumf`` (ML-100K), ``neumf-same`` (retrained from the start that was looked at),
``neumf-own`` (the same, by the influence of that run alone), ``neumf-steps`` (by a trust region),
``neumf-replay`` (smooth, by replayed training), ``neumf-ndcg``, ``neumf-1m``, ``bprmf``,
``gru4rec`` and ``sasrec`` (150 users of ML-100K). Results of single fits are kept in OUTPUT, so
that a run that was broken off goes on. Seconds are of the processor, in one process.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import whence
from whence.errors import DataWarning
from whence.experiments.disclosure import DisclosureResult
from whence.plots import picture

SEEDS = 5
METRICS = ("hitrate@10", "ndcg@10")
NETWORKS: dict[str, Any] = {
    "shares": (1.0, 2.0),
    "strategies": ("social", "all", "none"),
    "fractions": (0.6, 0.2, 0.2),
    "disclosure": whence.Disclosure(runs=4),
}


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


def first_users(data: whence.Interactions, n: int) -> whence.Interactions:
    """The rows of the users that come first."""
    users = data.frame[data.columns.user]
    first = users.unique(maintain_order=True).head(n)
    return data.keep_rows(users.is_in(first.implode()).to_numpy()).rebuild()


def small_neumf(**params: Any) -> Any:
    """Makers of the network of the tables: 8 factors, and layers of 16 and 8."""

    def make(train: whence.Interactions, seed: int) -> Any:
        usual = {"n_negatives": 2, "batch_size": 2048, "learning_rate": 5e-3, "epochs": 10}
        tower = {"gmf_dim": 8, "mlp_dim": 16, "layers": (16, 8)}
        return whence.NeuMF(**{**tower, **usual, **params}, seed=seed)

    return make


def sequences(kind: type, **params: Any) -> Any:
    """Makers of a small sequence model, one example for each target."""

    def make(train: whence.Interactions, seed: int) -> Any:
        usual = {"positions": "last", "max_length": 10, "epochs": 4, "learning_rate": 5e-3}
        return kind(embedding_dim=32, **{**usual, **params}, seed=seed)

    return make


def smooth(make: Any) -> Any:
    """Makers of the same network with smooth training."""
    return lambda train, seed: whence.smooth(make(train, seed))


def tables() -> dict[str, tuple[str, dict[str, Any]]]:
    """Tables by name: the data, and the experiment."""
    neumf, films = small_neumf(), "ml-100k/u.data"
    steps = {"strategies": ("trust_region", "all"), "starts": ("other", "same")}
    own = {"starts": ("same",)}
    searched = whence.Disclosure(runs=4, rounds=2)
    replayed = whence.Disclosure(influence=whence.Replay(runs=4))
    ranked = whence.Disclosure(outcome="ndcg", runs=4)
    gru, sasrec = sequences(whence.GRU4Rec, hidden_dim=32), sequences(whence.SASRec)
    quick = smooth(small_neumf(learning_rate=1e-2))
    few = whence.Disclosure(
        influence=whence.InfluenceFunction(solver="ggn", max_iterations=8), runs=2
    )

    def bprmf(train: whence.Interactions, seed: int) -> Any:
        return whence.BPRMF(
            embedding_dim=16, epochs=10, batch_size=2048, learning_rate=1e-2, seed=seed
        )

    large = small_neumf(batch_size=8192, epochs=6)
    return {
        "ml-100k": (films, {}),
        "generated": ("", {}),
        "neumf": (films, {**NETWORKS, "model": neumf}),
        "neumf-same": (films, {**NETWORKS, **own, "model": neumf}),
        "neumf-own": (
            films, {**NETWORKS, **own, "model": neumf, "disclosure": whence.Disclosure(runs=1)}
        ),
        "neumf-steps": (
            films, {**NETWORKS, **steps, "model": neumf, "disclosure": searched}
        ),
        "neumf-replay": (films, {**NETWORKS, "model": quick, "disclosure": replayed}),
        "neumf-ndcg": (films, {**NETWORKS, "model": neumf, "disclosure": ranked}),
        "neumf-1m": ("ml-1m/ml-1m.inter.gz", {**NETWORKS, "model": large}),
        "bprmf": (films, {**NETWORKS, "model": bprmf}),
        "gru4rec": (films, {**NETWORKS, "model": gru, "disclosure": few}),
        "sasrec": (films, {**NETWORKS, "model": sasrec, "disclosure": few}),
    }  # fmt: skip


def measured(seed: int, data: whence.Interactions, folder: Path, how: Any) -> Any:
    """The experiment with one seed, kept in a folder of its own once it is done."""
    folder = folder / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    experiment = whence.DisclosureExperiment(seeds=(seed,), metrics=METRICS, **how)
    result = experiment.run(data, run=whence.Run(folder=folder, resume=True))
    result.rows.write_parquet(folder / "rows.parquet")
    (folder / "settings.json").write_text(json.dumps(result.settings, default=str))
    return result


def show(name: str, data: whence.Interactions, folder: Path, seeds: list[int]) -> None:
    """Put the seeds together, print their tables and draw their picture."""
    parts = [folder / f"seed-{seed}" for seed in seeds]
    parts = [part for part in parts if (part / "rows.parquet").exists()]
    if not parts:
        return
    settings = json.loads((parts[0] / "settings.json").read_text())
    rows = pl.concat([pl.read_parquet(part / "rows.parquet") for part in parts])
    result = DisclosureResult(rows, settings)
    result.rows.write_csv(folder / "rows.csv")
    print(f"\n## {name}: {data}, {len(parts)} seeds\n")
    print(result.to_markdown(), flush=True)
    for measure in ("quality", "ndcg@10", "ndcg@10 less withheld"):
        print(f"\nOf {measure} alone:\n")
        print(result.to_markdown(measure).rpartition("\n\n")[2], flush=True)
    with picture(folder / "frontier.png", overwrite=True) as axes:
        result.plot(axes)


def main() -> None:
    """Run what the command line asks for."""
    warnings.simplefilter("ignore", DataWarning)
    data, output = Path(sys.argv[1]), Path(sys.argv[2])
    number = [word.removeprefix("seeds=") for word in sys.argv[3:] if word.startswith("seeds=")]
    seeds = int(number[0]) if number else SEEDS
    only = [int(word.removeprefix("only=")) for word in sys.argv[3:] if word.startswith("only=")]
    wanted = [word for word in sys.argv[3:] if "=" not in word] or ["ml-100k", "generated"]
    known = tables()
    for name in wanted:
        path, how = known[name]
        interactions = whence.read_interactions(data / path) if path else generated()
        if name in ("gru4rec", "sasrec"):
            interactions = first_users(interactions, 150)
        for seed in only or range(seeds):
            if not (output / name / f"seed-{seed}" / "rows.parquet").exists():
                began = time.process_time()
                measured(seed, interactions, output / name, how)
                print(f"{name}, seed {seed}: {time.process_time() - began:.0f} s", flush=True)
        show(name, interactions, output / name, only or list(range(seeds)))


if __name__ == "__main__":
    main()
