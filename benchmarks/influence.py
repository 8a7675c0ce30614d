"""Influence functions: do they predict retraining, and how fast are they?

Run ``python benchmarks/influence.py DATA [fidelity] [speed] [networks] [curvature] [--write]``,
DATA being a folder with ``ml-100k`` and ``ml-1m`` (as files of RecBole or of GroupLens). It prints
Markdown; with ``--write`` the sections that were run replace those of
``benchmarks/INFLUENCE_RESULTS.md``. ``--folder`` keeps the retrainings, so that a run that was
broken off goes on. All seconds are of the processor, one thread, one process.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import platform
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

import whence
from whence.data import Interactions
from whence.errors import DataWarning
from whence.influence.functions import descend, objective_of

RESULTS = Path(__file__).resolve().parent / "INFLUENCE_RESULTS.md"
# Penalty of a user's or item's parameters against its ratings: the mean loss has 1/Z of it.
PENALTY = 20.0
# Factors and penalties. On the validation data 28 is the best of 24, 28 and 32 for 16 factors and
# better than 32 for 32 factors; for 8 factors 20 (RMSE .9119) hardly differs from 24 (.9113).
CASES = ("8:20", "16:20", "16:28", "32:28")
HEADINGS = {
    "fidelity": "## What is predicted, and what retraining does",
    "speed": "## All interactions by one solve",
    "networks": "## Networks",
    "curvature": "## Networks by Gauss-Newton and EK-FAC",
}


def ml_100k(folder: Path) -> Interactions:
    names = ["user_id", "item_id", "rating", "timestamp"]
    path = folder / "ml-100k" / "u.data"
    return Interactions.from_frame(
        pl.read_csv(path, separator="\t", has_header=False, new_columns=names)
    )


def ml_1m(folder: Path) -> Interactions:
    return whence.read_interactions(folder / "ml-1m" / "ml-1m.inter.gz", rating="rating")


def factorisation(
    dim: int, n_rows: int, seed: int = 0, penalty: float = PENALTY
) -> whence.BiasedMF:
    """A biased factorisation with the penalty of so many ratings, not yet fitted."""
    return whence.BiasedMF(
        embedding_dim=dim, weight_decay=penalty / n_rows, epochs=20, learning_rate=5e-3, seed=seed
    )


def show_fidelity(folder: Path, cases: list[str], groups: int, kept: Path | None) -> list[str]:
    """Single removals and groups, retrained, for factorisations of several sizes."""
    data, lines = ml_100k(folder), []
    n_rows = len(whence.split_rows(data, (0.8, 0.1, 0.1), seed=0)[0])
    for case in cases:
        dim, penalty = map(int, case.split(":"))
        experiment = whence.FidelityExperiment(
            model=partial(_factorisation, dim, n_rows, penalty),
            methods=[f"influence-function:solver={name}" for name in ("cg", "block", "dot")]
            + ["random"],
            keep=(0.9, 0.7, 0.5),
            masks=groups,
            removals=100,
            pairs=0,
            optimum=True,
            seed=0,
        )
        here = None if kept is None else kept / f"mf-{dim}-{penalty}"
        found = experiment.run(data, run=whence.Run(folder=here, resume=here is not None))
        about = found.metadata
        lines += [
            f"### ML-100K, BiasedMF({dim}), penalty {penalty}",
            "",
            f"{about['n_units']:,} training examples, weight_decay {penalty}/N.",
            "",
            found.to_markdown(),
            "",
            *_slopes(found),
            "",
        ]
    return lines


def _slopes(found: whence.experiments.FidelityResult) -> list[str]:
    """Slopes of the actual on the predicted changes of single removals."""
    rows = found.scores.filter(pl.col("slope").is_not_null(), kind="single")
    lines = ["| outcome | method | slope |", "|---|---|---:|"]
    return lines + [
        f"| {row['outcome']} | {row['method']} | {row['slope']:.3f} |"
        for row in rows.iter_rows(named=True)
        if row["method"] != "random"
    ]


def _factorisation(dim: int, n_rows: int, penalty: float, seed: int) -> whence.BiasedMF:
    return factorisation(dim, n_rows, seed, penalty)


def show_speed(folder: Path) -> list[str]:
    """One solve for all training interactions, against retraining without one of them."""
    lines = [
        "| data | factors | interactions | train to the optimum, s | all influences, s "
        "| products | residual | one retraining, s | times faster |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, data, dims in (
        ("ML-100K", ml_100k(folder), (8, 32)),
        ("ML-1M", ml_1m(folder), (8,)),
    ):
        train, validation, _ = whence.split_rows(data, (0.8, 0.1, 0.1), seed=0)
        # All interactions have to be in the training data for an influence of each of them.
        for dim, rows in [*((dim, train) for dim in dims), (dims[0], data)]:
            started = time.process_time()
            model = whence.to_optimum(factorisation(dim, len(rows)).fit(rows))
            trained = time.process_time() - started
            started = time.process_time()
            problem = whence.InfluenceFunction(solver="cg").work_on(model, validation)
            values = problem.mean()
            seconds = time.process_time() - started
            once = np.mean([_retrain_without(model, row) for row in _some(values)])
            cells = [
                name, str(dim), f"{len(values):,}", f"{trained:.1f}", f"{seconds:.2f}",
                str(problem.facts["iterations"]), f"{problem.facts['residual']:.1e}",
                f"{once:.2f}", f"{once * len(values) / seconds:,.0f}",
            ]  # fmt: skip
            print(*cells, sep="  ", flush=True)
            lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _some(values: np.ndarray) -> list[int]:
    """The strongest and two other examples."""
    strongest = int(np.argmax(np.abs(values)))
    return [strongest, *map(int, np.random.default_rng(0).integers(0, len(values), 2))]


def _retrain_without(model, example: int) -> float:
    objective = objective_of(model)
    weights = np.ones(objective.n_examples)
    weights[example] = 0.0
    started = time.process_time()
    descend(objective.weighted(weights), tolerance=1e-6, warm=True)
    return time.process_time() - started


def show_networks(folder: Path) -> list[str]:
    """Which ratings led to a prediction of a network, by the rows of its embeddings."""
    train, _, _ = whence.split_rows(ml_100k(folder), (0.8, 0.1, 0.1), seed=0)
    model = whence.NeuMF(epochs=5, weight_decay=1e-4, seed=0).fit(train)
    lines = [
        "NeuMF after five epochs on ML-100K, one prediction, `block` with a damping of 0.001.",
        "",
        "| user's ratings | examples credited | seconds | gradient left |",
        "|---:|---:|---:|---:|",
    ]
    method = whence.InfluenceFunction(solver="block", damping=1e-3)
    for row in (0, len(train) // 2, len(train) - 1):
        user, item = (train.frame[name][row] for name in ("user_id", "item_id"))
        started = time.process_time()
        found = method.explain_prediction(model, user, item, own=False)
        cells = [
            f"{train.frame['user_id'].eq(user).sum():,}",
            f"{np.count_nonzero(found.scores):,}",
            f"{time.process_time() - started:.1f}",
            f"{found.metadata['gradient']:.3g}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def show_curvature(folder: Path) -> list[str]:
    """All training examples of networks, for all queries together and for one of them."""
    lines = [
        "| data | model | examples | parameters | one training, s | solver | all values, s "
        "| values for one more query, s | residual | reliability |",
        "|---|---|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    small = {"gmf_dim": 8, "mlp_dim": 16, "layers": (16, 8), "n_negatives": 2, "batch_size": 2048}
    for name, data, model in (
        ("ML-100K", ml_100k(folder), whence.NeuMF(epochs=10, learning_rate=5e-3, **small)),
        ("ML-100K", ml_100k(folder), whence.NeuMF()),
        ("ML-100K", ml_100k(folder), whence.GRU4Rec(epochs=10)),
        ("ML-100K", ml_100k(folder), whence.SASRec(epochs=10)),
        ("ML-1M", ml_1m(folder), whence.NeuMF(epochs=10, learning_rate=5e-3, **small)),
    ):
        lines += curvature_of(name, data, model)
    return [*lines, ""]


def curvature_of(name: str, data: Interactions, model) -> list[str]:
    """One line for each solver."""
    lines = []
    train, validation, _ = whence.split_rows(data, (0.8, 0.1, 0.1), seed=0)
    started = time.process_time()
    model.fit(train)
    trained = time.process_time() - started
    for solver in ("ggn", "ekfac"):
        started = time.process_time()
        values = whence.InfluenceFunction(solver=solver).attribute(model, validation)
        middle = time.process_time()
        values.scores_for(0)
        about = values.metadata
        cells = [
            name, type(model).__name__, f"{len(model.examples_):,}",
            f"{about['n_parameters']:,}", f"{trained:.0f}", solver, f"{middle - started:.1f}",
            f"{time.process_time() - middle:.1f}",
            f"{about['residual']:.2f}" if "residual" in about else "",
            f"{about['reliability']:.2f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return lines


def write(sections: dict[str, list[str]]) -> None:
    """Put sections into the file of results, in place of those of the same heading."""
    head = (
        f"# Influence functions: results\n\n{platform.machine()}, Python "
        f"{platform.python_version()}, one thread, CPU seconds, on a machine that had other work "
        "to do.\n`python benchmarks/influence.py DATA --write` makes these tables.\n"
    )
    known = {}
    if RESULTS.exists():
        for part in RESULTS.read_text(encoding="utf-8").split("\n## ")[1:]:
            known["## " + part.splitlines()[0]] = "\n".join(part.splitlines()[1:]).strip("\n")
    for name, lines in sections.items():
        new = "\n".join(lines).strip("\n")
        known[HEADINGS[name]] = _merged(known.get(HEADINGS[name], ""), new)
    titles = dict.fromkeys([*HEADINGS.values(), *known])
    body = [f"{title}\n\n{known[title]}\n" for title in titles if title in known]
    RESULTS.write_text("\n".join([head, *body]), encoding="utf-8")


def _merged(old: str, new: str) -> str:
    """The new text, with those parts of the old one whose headings it does not have."""
    if not new.startswith("### "):
        return new
    parts = {
        part.splitlines()[0]: part.strip("\n")
        for text in (old, new)
        for part in f"\n{text}".split("\n### ")[1:]
    }
    return "\n\n".join(f"### {part}" for part in parts.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("sections", nargs="*", default=[])
    parser.add_argument("--cases", nargs="+", default=CASES, help="factors:penalty")
    parser.add_argument("--groups", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keeps the retrainings")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    given = parser.parse_args()
    warnings.simplefilter("ignore", DataWarning)
    ways = {
        "fidelity": lambda: show_fidelity(given.data, given.cases, given.groups, given.folder),
        "speed": lambda: show_speed(given.data),
        "networks": lambda: show_networks(given.data),
        "curvature": lambda: show_curvature(given.data),
    }
    found = {}
    for name in given.sections or ways:
        found[name] = ways[name]()
        print("\n".join([HEADINGS[name], "", *found[name]]), flush=True)
        if given.write:
            write({name: found[name]})


if __name__ == "__main__":
    main()
