"""How the values of Illoominate 1.0.0 differ from those of Whence, and from refitting.

Illoominate pins its dependencies, so it runs in an environment of its own:

    python illoominate_differences.py values DATA RESULTS      # where illoominate is installed
    python illoominate_differences.py compare DATA RESULTS     # where whence is installed

DATA holds ``rsc15-100k/`` and ``tafeng-1k/``; RESULTS is a folder for the tables in between. The
figures of ``docs/from-illoominate.md`` are what the second command prints.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

METRICS = (
    "mrr", "ndcg", "st", "hitrate", "f1", "f1score", "precision", "recall", "sustainablemrr",
    "sustainablendcg",
)  # fmt: skip
SESSIONS = {"m": 500, "k": 100, "seed": 42}
BASKETS = {"m": 7, "k": 100, "r_b": 0.9, "r_g": 0.7, "alpha": 0.7, "seed": 42}
PERMUTATIONS = 100


def values(data: Path, results: Path) -> None:
    """Run Illoominate and keep what it gives, and how long it takes."""
    import illoominate
    import pandas as pd

    def read(*names: str):
        return [pd.read_csv(data / name, sep="\t") for name in names]

    results.mkdir(parents=True, exist_ok=True)
    train, valid, green = read(
        "rsc15-100k/train.csv", "rsc15-100k/valid.csv", "rsc15-100k/sustainable.csv"
    )
    scores: dict[str, float | str] = {}
    for metric in METRICS:
        try:
            found = illoominate.train_and_evaluate_for_sbr(
                train, valid, "vmis", f"{metric}@20", SESSIONS, green
            )
            scores[metric] = float(found["score"][0])
        except ValueError as error:
            scores[metric] = str(error)
    scores["head"] = float(
        illoominate.train_and_evaluate_for_sbr(
            train.head(3000), valid.head(6000), "vmis", "mrr@20", SESSIONS
        )["score"][0]
    )
    (results / "metrics.json").write_text(json.dumps(scores))

    def run(name: str, function, *arguments) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        function(*arguments).to_csv(results / f"{name}.csv", index=False)
        seconds[name] = [time.perf_counter() - wall, time.process_time() - cpu]
        (results / "seconds.json").write_text(json.dumps(seconds))

    seconds: dict[str, list[float]] = {}
    users, baskets = read("tafeng-1k/train.csv", "tafeng-1k/valid.csv")
    for number in (1, 2):
        run(
            f"sessions-loo-{number}", illoominate.data_loo_values, train, valid, "vmis", "mrr@20",
            SESSIONS,
        )  # fmt: skip
        run(
            f"users-loo-{number}", illoominate.data_loo_values, users, baskets, "tifu", "ndcg@20",
            BASKETS,
        )  # fmt: skip
    run(
        "sessions-shapley", illoominate.data_shapley_values, train, valid, "vmis", "mrr@20",
        {**SESSIONS, "max_iterations": PERMUTATIONS},
    )  # fmt: skip


def compare(data: Path, results: Path) -> None:
    """Print the differences."""
    import whence

    rsc15, tafeng = data / "rsc15-100k", data / "tafeng-1k"
    seconds = json.loads((results / "seconds.json").read_text())
    sessions = whence.VMISKNN(k=100, m=500).fit(whence.read_interactions(rsc15 / "train.csv"))
    users = whence.TIFUKNN(k=100, m=7).fit(whence.read_interactions(tafeng / "train.csv"))
    asked = whence.make_queries(
        sessions, whence.read_interactions(rsc15 / "valid.csv"), unknown="drop"
    )
    baskets = whence.make_queries(
        users, whence.read_interactions(tafeng / "valid.csv"), unknown="drop"
    )

    _metrics(json.loads((results / "metrics.json").read_text()), sessions, asked, rsc15)
    _unknown(rsc15)
    _leave_one_out(results, "sessions", sessions, asked, "mrr@20", seconds)
    _leave_one_out(results, "users", users, baskets, "ndcg@20", seconds)
    _shapley(results, sessions, asked, seconds)


def _metrics(theirs, model, queries, folder: Path) -> None:
    import polars as pl

    import whence

    green = pl.read_csv(folder / "sustainable.csv", separator="\t")["item_id"]
    print("| metric | Illoominate | Whence |\n|---|---|---|")
    for metric in METRICS:
        ours = float(whence.evaluate(model, queries, f"{metric}@20", sustainable_items=green))
        found = theirs[metric]
        shown = f"{found:.4f}" if isinstance(found, float) and found > 1e-3 else f"{found}"
        print(f"| `{metric}@20` | {shown} | {ours:.4f} |")


def _unknown(folder: Path) -> None:
    """What becomes of items that are unknown to the training data."""
    import polars as pl

    import whence

    train, valid = (
        pl.read_csv(folder / f"{name}.csv", separator="\t") for name in ("train", "valid")
    )
    whole = whence.train_and_evaluate_for_sbr(train, valid, "vmis", "mrr@20", SESSIONS)
    print(f"mrr@20 with ties by id: {whole['score'][0]:.4f}")
    tables = train.head(3000), valid.head(6000)
    for unknown in (None, "ignore", "drop"):
        params = {**SESSIONS, **({} if unknown is None else {"unknown": unknown})}
        found = whence.train_and_evaluate_for_sbr(*tables, "vmis", "mrr@20", params)
        print(f"mrr@20 of the head, unknown items {unknown or 'kept'}: {found['score'][0]:.4f}")


def _leave_one_out(results: Path, noun: str, model, queries, metric: str, seconds) -> None:
    import numpy as np

    import whence

    started = time.perf_counter()
    values = whence.LeaveOneOut(metric).attribute(model, queries)
    took = time.perf_counter() - started
    first, second = (_joined(results / f"{noun}-loo-{number}.csv", values) for number in (1, 2))
    ours = values.totals
    full = float(whence.evaluate(model, queries, metric))
    largest = np.argsort(-np.abs(first))[:40]
    refitted = [
        full
        - float(
            whence.evaluate(
                type(model)(**model.params).fit(model.train_.without([values.ids[int(i)]])),
                queries,
                metric,
            )
        )
        for i in largest
    ]
    print(f"\nLeave-one-out values of {len(values):,} {noun}, {metric}")
    print(f"- Whence against refitting, the 40: {np.abs(refitted - ours[largest]).max():.0e} apart")
    changed = np.abs(first - second) > 1e-9
    print(f"- Illoominate, two runs of one seed: {changed.sum():,} values differ")
    for name, theirs in (("first", first), ("second", second)):
        both = (theirs != 0) & (ours != 0)
        wrong = (np.sign(theirs) != np.sign(ours)) & both
        top = np.argsort(-np.abs(theirs))[:40]
        bottom = len(set(np.argsort(theirs)[:100]) & set(np.argsort(ours)[:100]))
        print(
            f"- {name} run against refitting: correlation {np.corrcoef(theirs, ours)[0, 1]:.2f}; "
            f"{wrong.sum():,} of {both.sum():,} differ in sign "
            f"({(np.sign(theirs) != np.sign(ours))[top].sum()} of its 40 largest); "
            f"{((theirs != 0) & (ours == 0)).sum():,} where refitting changes nothing, "
            f"{((theirs == 0) & (ours != 0)).sum():,} zero where it does; "
            f"{bottom} of the 100 lowest in common"
        )
    wall, cpu = seconds[f"{noun}-loo-2"]
    print(f"- seconds: Illoominate {wall:.1f} (CPU {cpu:.1f}), Whence {took:.2f}")
    apart = np.argsort(-np.abs(first - ours) * (np.sign(first) != np.sign(ours)))[:3]
    for i in apart:
        print(
            f"- {values.ids[int(i)]}: {first[i] * len(queries):+.2f} / Q, refitting gives "
            f"{ours[i] * len(queries):+.2f} / Q"
        )


def _shapley(results: Path, model, queries, seconds) -> None:
    import numpy as np

    import whence

    precise = whence.Shapley("mrr@20", tolerance=0.01, max_permutations=100_000, seed=1)
    reference = precise.attribute(model, queries).scores
    started = time.perf_counter()
    equal = whence.Shapley("mrr@20", tolerance=0, max_permutations=PERMUTATIONS, seed=2)
    ours = equal.attribute(model, queries)
    took = time.perf_counter() - started
    theirs = _joined(results / "sessions-shapley.csv", ours)
    print(f"\nShapley values of {len(ours):,} sessions, {PERMUTATIONS} permutations of all queries")
    for name, found in (("Illoominate", theirs), ("Whence", ours.scores)):
        error = found - reference
        negative = found < 0
        print(
            f"- {name}: root-mean-square error {np.sqrt((error**2).mean()):.1e}, mean error "
            f"{np.abs(error).mean() / np.abs(reference).mean():.1%} of the mean |value|; "
            f"correlation {np.corrcoef(found, reference)[0, 1]:.3f}; of {negative.sum():,} below 0 "
            f"{(negative & (reference >= 0)).sum() / negative.sum():.0%} are not"
        )
    wall, cpu = seconds["sessions-shapley"]
    print(f"- seconds: Illoominate {wall:.0f} (CPU {cpu:.0f}), Whence {took:.1f}")


def _joined(path: Path, values):
    """Values from a file of Illoominate's, in the order of an attribution."""
    import polars as pl

    table = pl.read_csv(path).rename({"score": "theirs"})
    joined = values.frame.join(table, on=values.source, how="left", maintain_order="left")
    return joined["theirs"].to_numpy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("step", choices=("values", "compare"))
    parser.add_argument("data", type=Path)
    parser.add_argument("results", type=Path)
    given = parser.parse_args()
    {"values": values, "compare": compare}[given.step](given.data, given.results)
