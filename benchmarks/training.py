"""Time, memory and quality of training the recommenders on MovieLens.

Run ``python benchmarks/training.py`` with the data sets at ``WHENCE_DATA`` or ``../shared/data``;
it prints a table of every run and their means, and with ``--write FILE`` puts it there. Names
choose what is run; ``--large`` adds the sequential models on ML-1M, one epoch each.

Each run has a process of its own with one thread. *CPU s* is that of the whole process, from
starting Python and importing to the last metric; *training* and *validation* are the parts of it
in `fit`.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))
RANKING = ["recall@10", "mrr@10", "ndcg@10", "hitrate@10", "precision@10"]

# Rows of users split at random 8:1:1, each metric over all items that the user does not have;
# validated by mrr@10, after every second epoch where the peer does so.
RATED = {"data": "ml-100k", "split": "rows", "metrics": RANKING, "eval_every": 2}

# The last item of each user is for testing, the one before for validation. A batch counts windows
# of up to 50 places, each of which has a next item to learn.
SEQUENCES = {"split": "leave-one-out", "metrics": RANKING[:3], "eval_every": 1}
WINDOWS = {"max_length": 50, "embedding_dim": 64}

RUNS = {
    "BPRMF": {**RATED, "model": "BPRMF"},
    "BPRMF as RecBole": {
        **RATED,
        "model": "BPRMF",
        "params": {"epochs": 60, "batch_size": 512, "learning_rate": 1e-3, "weight_decay": 0.0},
    },
    "NeuMF": {**RATED, "model": "NeuMF"},
    "NeuMF as RecBole": {
        **RATED,
        "model": "NeuMF",
        "params": {
            "epochs": 10,
            "batch_size": 256,  # and as many negatives, which RecBole counts
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "gmf_dim": 64,
            "mlp_dim": 64,
            "layers": (128, 64),
            "dropout": 0.1,
            "n_negatives": 1,
        },
    },
    "WideDeep": {**RATED, "model": "WideDeep"},
    "RBM": {**RATED, "model": "RBM", "eval_every": 5},
    **{
        name: {**RATED, "model": name, "eval_every": None}
        for name in ("EASE", "ALS", "ItemKNN", "Popularity")
    },
    "BiasedMF": {
        "data": "ml-100k",
        "split": "80/20",
        "metrics": ["rmse", "mae"],
        "eval_every": None,
        "model": "BiasedMF",
    },
    "GRU4Rec": {
        **SEQUENCES,
        "data": "ml-100k",
        "model": "GRU4Rec",
        "params": {**WINDOWS, "hidden_dim": 128, "epochs": 20, "batch_size": 32},
    },
    "GRU4Rec, seen items too": {
        **SEQUENCES,
        "data": "ml-100k",
        "model": "GRU4Rec",
        "params": {
            **WINDOWS,
            "hidden_dim": 128,
            "epochs": 20,
            "batch_size": 32,
            "exclude_seen": False,
        },
    },
    **{
        name: {
            **SEQUENCES,
            "data": "ml-100k",
            "model": name,
            "params": {**WINDOWS, "positions": "all", "epochs": 20, "batch_size": 32},
        }
        for name in ("LSTMRec", "SASRec")
    },
    **{
        name: {**SEQUENCES, "data": "ml-100k", "model": name, "eval_every": None}
        for name in ("MarkovChain", "VMISKNN")
    },
    # What a user rated in one minute is a basket; the last of each user is for testing.
    "TIFUKNN": {
        "data": "ml-100k",
        "split": "last basket",
        "metrics": RANKING[:3],
        "eval_every": None,
        "model": "TIFUKNN",
    },
}
LARGE = {
    f"{model}, ML-1M": {
        **SEQUENCES,
        "data": "ml-1m",
        "model": model,
        "eval_every": None,
        "params": {**WINDOWS, "epochs": 1, "batch_size": 64, "positions": "all"},
    }
    for model in ("GRU4Rec", "LSTMRec", "SASRec")
}
LARGE["MarkovChain, ML-1M"] = {**RUNS["MarkovChain"], "data": "ml-1m"}


def one_run(name, seed):
    """Facts of a run, in this process."""
    import torch

    import whence

    torch.set_num_threads(1)
    chosen = {**RUNS, **LARGE}[name]
    train, valid, test = split(chosen, seed)
    kind = getattr(whence, chosen["model"])
    seeded = {"seed": seed} if "seed" in inspect.signature(kind).parameters else {}
    model = kind(**seeded, **chosen.get("params", {}))
    started = time.process_time()
    if chosen["eval_every"] is None:
        model.fit(train)
    else:
        every = {"metric": "mrr@10", "eval_every": chosen["eval_every"]}
        model.fit(train, validation=valid, **every)
    fitted = time.process_time() - started
    protocol = None if chosen["model"] == "TIFUKNN" else "users"
    result = whence.evaluate(
        model, test, chosen["metrics"], history=valid, protocol=protocol, threads=1
    )
    history = getattr(model, "history_", None)
    share = validation_share(history) if history else 0.0
    return {
        "metrics": result.scores,
        "total": time.process_time(),
        "training": fitted * (1 - share),
        "validation": fitted * share,
        "epochs": len(history or ()),
        "best": model.best_.get("epoch", len(history)) if history else 0,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def split(chosen, seed):
    """Training, validation and test data."""
    import polars as pl

    import whence

    path = {
        "ml-100k": DATA / "ml-100k" / "ml-100k.inter",
        "ml-1m": DATA / "ml-1m" / "ml-1m.inter.gz",
    }[chosen["data"]]
    data = whence.read_interactions(path)
    if chosen["split"] == "leave-one-out":
        return whence.split_leave_one_out(data)
    if chosen["split"] == "last basket":
        by_minute = (pl.col("timestamp").cast(pl.Int64) // 60).alias("basket_id")
        baskets = whence.Interactions.from_frame(data.frame.with_columns(by_minute))
        train, test = whence.split_last(baskets, 1)
        return train, None, test
    if chosen["split"] == "80/20":
        train, test = whence.split_rows(data, (0.8, 0.2), seed=seed, per_source=False)
        return train, None, test
    return whence.split_rows(data, seed=seed)


def validation_share(history):
    """Part of the time of `fit` that went into validation."""
    validated = sum(entry.get("evaluation_seconds", 0.0) for entry in history)
    return validated / (validated + sum(entry["seconds"] for entry in history))


def in_own_process(name, seed):
    command = [sys.executable, __file__, "--one", name, str(seed)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    environment = {**os.environ, **threads}
    output = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout
    return json.loads(output.splitlines()[-1])


def table(names, seeds):
    """Lines of Markdown, one for each run and one for the mean of each model."""
    lines = []
    for metrics in dict.fromkeys(tuple({**RUNS, **LARGE}[name]["metrics"]) for name in names):
        head = ["model", "seed", *metrics, "best epoch", "CPU s", "training", "validation", "MB"]
        lines += ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for name in names:
            if tuple({**RUNS, **LARGE}[name]["metrics"]) != metrics:
                continue
            runs = []
            for seed in seeds:
                runs.append(in_own_process(name, seed))
                lines.append(row(name, seed, metrics, runs[-1:]))
                print(lines[-1], file=sys.stderr, flush=True)
            if len(runs) > 1:
                lines.append(row(f"**{name}**", "mean", metrics, runs))
    return lines


def row(name, seed, metrics, runs):
    def mean(*keys):
        values = [run[keys[0]] if len(keys) == 1 else run[keys[0]][keys[1]] for run in runs]
        return statistics.mean(values)

    cells = [
        name,
        str(seed),
        *(f"{mean('metrics', metric):.4f}" for metric in metrics),
        f"{mean('best'):.0f} of {mean('epochs'):.0f}",
        *(f"{mean(key):.1f}" for key in ("total", "training", "validation")),
        f"{mean('memory'):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def machine():
    import numpy as np
    import polars
    import torch

    import whence

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else 'unknown processor'}, one thread, "
        f"Python {platform.python_version()}, PyTorch {torch.__version__}, "
        f"NumPy {np.__version__}, Polars {polars.__version__}, "
        f"Whence {whence.__version__}."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*RUNS, *LARGE]))
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 1")
    parser.add_argument("--large", action="store_true", help="the sequential models on ML-1M too")
    parser.add_argument("--write", metavar="FILE", help="where the table goes, beside the screen")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "SEED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, seed = arguments.one
        print(json.dumps(one_run(name, int(seed))))
        return
    unknown = set(arguments.names) - set(RUNS) - set(LARGE)
    if unknown:
        parser.error(f"there is no {unknown.pop()!r}; choose from {', '.join([*RUNS, *LARGE])}")
    names = arguments.names or [*RUNS, *(LARGE if arguments.large else [])]
    lines = ["# Training", "", machine(), *table(names, range(1, arguments.seeds + 1))]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        Path(arguments.write).write_text(text)


if __name__ == "__main__":
    main()
