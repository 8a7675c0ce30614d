"""What features of events add to sequence models on MovieLens: recall and nDCG, and by how much.

Run ``python benchmarks/event_features.py`` with the data sets at ``WHENCE_DATA`` or
``../shared/data``; it prints a table, and with ``--write FILE`` puts it there. ``--keep FOLDER``
keeps the values of every run, so that what was broken off goes on.

Genres and years of the films, sex, age and occupation of the users, and the rating of each film of
the history are given to the same network, trained as long. The last film of each user is for
testing. The difference to the network without features is that of the same users, of whom each has
the mean over the seeds; its interval is over users, and the deviation beside a mean over seeds.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import torch

import whence

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))
METRICS = ["recall@10", "ndcg@10"]
USER = ["gender", "age", "occupation"]
FILES = {
    "ml-100k": ("ml-100k/ml-100k.inter", None, None, ["class", "release_year"]),
    "ml-1m": ("ml-1m/ml-1m.inter.gz", "ml-1m/movies.dat", "ml-1m/users.dat", ["genres"]),
}
CASES = {
    "items alone": (),
    "and of the films": ("item",),
    "and of the users": ("item", "user"),
    "and the ratings": ("item", "user", "context"),
}
TRAINING = {
    "ml-100k": {
        "embedding_dim": 32,
        "hidden_dim": 64,
        "epochs": 10,
        "batch_size": 128,
        "learning_rate": 5e-3,
    },
    "ml-1m": {"epochs": 5, "batch_size": 128, "learning_rate": 3e-3},
}


def read(name):
    inter, items, users, _ = FILES[name]
    data = whence.read_interactions(DATA / inter)
    return data if items is None else data.with_tables(items=DATA / items, users=DATA / users)


def values_of(name, model, case, seed, data):
    """Value of each user and metric [users, 2], and the seconds of training."""
    sides = {"item": FILES[name][3], "user": USER, "context": ["rating"]}
    wanted = {f"{side}_features": sides[side] for side in CASES[case]}
    train, test = whence.split_last(data, 1)
    started = time.process_time()
    kind = getattr(whence, model)
    own = {key: one for key, one in TRAINING[name].items() if key in kind.parameter_types()}
    fitted = kind(seed=seed, **own, **wanted).fit(train)
    seconds = time.process_time() - started
    found = whence.evaluate(fitted, test, METRICS, threads=1)
    return np.column_stack([found.values(metric) for metric in METRICS]), seconds


def table_of(found):
    """A row per model and case: means, and differences to the network of items alone."""
    lines = [
        "| data | model | features | recall@10 | difference | nDCG@10 | difference | CPU s |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for (name, model, case), runs in found.items():
        values = np.stack([values for values, _ in runs.values()])
        base = found[name, model, "items alone"]
        parts = []
        for metric in range(len(METRICS)):
            own = values[:, :, metric]
            parts.append(f"{own.mean():.4f} ± {own.mean(1).std(ddof=1):.4f}")
            if case == "items alone":
                parts.append("")
                continue
            other = np.stack([base[seed][0][:, metric] for seed in runs])
            gain = (own - other).mean(0)
            half = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
            parts.append(
                f"{gain.mean():+.4f} [{gain.mean() - half:+.4f}, {gain.mean() + half:+.4f}]"
            )
        seconds = np.mean([seconds for _, seconds in runs.values()])
        lines.append(f"| {name} | {model} | {case} | {' | '.join(parts)} | {seconds:.0f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["ml-100k"], choices=FILES)
    parser.add_argument("--models", nargs="+", default=["GRU4Rec", "SASRec"])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    found = {}
    for name in given.data:
        data = read(name)
        for seed in given.seeds:
            for model in given.models:
                for case in given.cases:
                    file = given.keep and given.keep / f"{name} {model} {case} {seed}.parquet"
                    if file is not None and file.exists():
                        kept = pl.read_parquet(file)
                        run = kept.select(METRICS).to_numpy(), kept["seconds"][0]
                    else:
                        run = values_of(name, model, case, seed, data)
                        if file is not None:
                            file.parent.mkdir(parents=True, exist_ok=True)
                            columns = dict(zip(METRICS, run[0].T))
                            pl.DataFrame({**columns, "seconds": run[1]}).write_parquet(file)
                    found.setdefault((name, model, case), {})[seed] = run
    table = table_of(found)
    print(table)
    if given.write:
        given.write.write_text(f"{table}\n")


if __name__ == "__main__":
    main()
