"""Does the sum of replayed values predict retraining, and at which loss? The frontier of both.

Run ``python benchmarks/replay.py [CASE ...] --folder FOLDER [--write]`` with the data sets at
``WHENCE_DATA`` or ``../shared/data``. For each setting of a model's training, random shares of the
training examples are left out, the model is trained again from the same start (batches, negatives
and the divisor of the loss as before), and the change of the loss on validation data is set beside
the sum of the values of what was left out: Spearman correlation over masks, of the mean loss and of
the losses of single queries, with 95% intervals from a bootstrap over masks. What is done is kept
in the folder; ``--write`` puts the table into INFLUENCE_RESULTS.md.

Cases: ``neumf`` (all of MovieLens 100K), ``gru4rec`` and ``sasrec`` (1,500 sessions of Yoochoose).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.stats import spearmanr

import whence
from whence.influence import query_examples

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).with_name("INFLUENCE_RESULTS.md")
STARTS = "Training that goes on from a model that is there, for three epochs, single losses:\n"
HEADING = "## What replayed training predicts, and at which loss\n"
SHARES = (0.01, 0.1)
NAMES = {"session": "session_id", "item": "item_id", "time": "timestamp"}


def films():
    """Training and validation rows of MovieLens 100K."""
    rows = whence.read_interactions(DATA / "ml-100k" / "u.data")
    return whence.split_rows(rows, (0.6, 0.2, 0.2), seed=0)[:2]


def sessions():
    """The first 1,500 sessions of Yoochoose with two clicks or more, and the next 500."""
    clicks = pl.read_csv(DATA / "rsc15-100k" / "train.csv", separator="\t")
    sizes = clicks.group_by("session_id", maintain_order=True).len().filter(pl.col("len") >= 2)
    parts = []
    for chosen in (sizes["session_id"][:1500], sizes["session_id"][1500:2000]):
        rows = clicks.filter(pl.col("session_id").is_in(chosen.to_list()))
        parts.append(whence.Interactions.from_frame(rows, **NAMES))
    return parts


NEUMF = {
    "gmf_dim": 8, "mlp_dim": 16, "layers": (16, 8), "n_negatives": 2, "weight_decay": 0.0,
}  # fmt: skip
WINDOWS = {"embedding_dim": 32, "dropout": 0.0, "batch_size": 64, "max_length": 10}
CASES = {
    "neumf": (films, whence.NeuMF(**NEUMF)),
    "gru4rec": (sessions, whence.GRU4Rec(hidden_dim=32, **WINDOWS)),
    "sasrec": (sessions, whence.SASRec(num_layers=1, **WINDOWS)),
}
ROUGH = {
    "neumf": {"learning_rate": 2e-3, "epochs": 14},
    "gru4rec": {"learning_rate": 2e-2, "epochs": 4},
    "sasrec": {"learning_rate": 5e-3, "epochs": 7},
}
"""The model as it is best without regard to smoothness."""
SMOOTH = {
    "neumf": [{"epochs": epochs} for epochs in (8, 10, 12)],
    "gru4rec": [{"epochs": epochs} for epochs in (6, 7, 8)],
    "sasrec": [
        *({"epochs": epochs} for epochs in (5, 6, 7)),
        {"epochs": 5, "averaging": 0.0},
        {"epochs": 5, "initial_std": 0.02, "norm_eps": 1e-8},
    ],
}
"""What `whence.smooth` makes of it, trained for more and more epochs, and without some of that."""
POINTS = {
    case: [*((True, settings) for settings in SMOOTH[case]), (False, ROUGH[case])] for case in CASES
}


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


def measured(case, smooth, settings, n_masks, n_queries):
    """Loss of a model, seconds, and what its values predict."""
    data, model = CASES[case]
    train, valid = data()

    def make():
        chosen = type(model)(**{**model.params, "epochs": settings["epochs"]})
        if smooth:
            chosen = whence.smooth(chosen)
        return type(model)(**{**chosen.params, **settings})

    start = time.process_time()
    fitted = make().fit(train)
    found = {"training": time.process_time() - start}
    asked = query_examples(fitted, valid)
    base = losses(fitted, asked)
    start = time.process_time()
    values = whence.Replay().attribute(fitted, asked).scores
    found["all values"] = time.process_time() - start
    rng = np.random.default_rng(1)
    chosen = rng.choice(len(asked), n_queries, replace=False)
    matrix = whence.Replay().matrix(fitted, asked.take(chosen))
    found |= {"loss": float(base.mean()), "examples": len(values), "queries": len(asked)}
    for share in SHARES:
        actual, single, by_replay, by_query = [], [], [], []
        for _ in range(n_masks):
            gone = rng.choice(len(values), int(share * len(values)), replace=False)
            change = losses(make().fit(train, without=gone), asked) - base
            actual.append([change.mean()])
            single.append(change[chosen])
            by_replay.append([values[gone].sum()])
            by_query.append(matrix[gone].sum(axis=0))
        found[f"total {share}"] = correlation(np.array(by_replay), np.array(actual))
        found[f"single {share}"] = correlation(np.array(by_query), np.array(single))
    return found


def started(case, n_masks, n_queries):
    """What values predict of training that goes on from a model that is there, also of other seeds.

    A model of the first half of the sessions is trained on for three epochs, by the others, with
    two seeds. The values of one predict what leaving out does to the other.
    """
    data, model = CASES[case]
    train, valid = data()
    frame = train.frame
    is_old = pl.col("session_id").is_in(
        frame["session_id"].unique(maintain_order=True)[:750].to_list()
    )
    old = frame.filter(is_old)
    known = pl.col("item_id").is_in(old["item_id"].unique().to_list())
    old, new = (
        whence.Interactions.from_frame(rows, **NAMES)
        for rows in (old, frame.filter(~is_old & known))
    )
    start = whence.smooth(type(model)(**{**model.params, "epochs": 8})).fit(old)
    later = whence.smooth(type(model)(**{**model.params, "epochs": 3})).params

    def make(seed):
        return type(model)(**{**later, "seed": seed, "start": start})

    fitted = {seed: make(seed).fit(new) for seed in (1, 2)}
    rng = np.random.default_rng(1)
    asked = query_examples(fitted[1], valid)
    found = {"before": float(losses(start, query_examples(start, valid)).mean())}
    found |= {"after": float(losses(fitted[1], asked).mean())}
    asked = asked.take(rng.choice(len(asked), n_queries, replace=False))
    matrix = {seed: whence.Replay().matrix(one, asked) for seed, one in fitted.items()}
    matrix["2 to 5"] = whence.Replay(runs=4).matrix(fitted[2], asked)
    found["examples"] = len(matrix[1])
    for share in SHARES:
        predicted, actual = {seed: [] for seed in matrix}, {1: [], 2: []}
        for _ in range(n_masks):
            gone = rng.choice(len(matrix[1]), int(share * len(matrix[1])), replace=False)
            for seed, one in fitted.items():
                again = make(seed).fit(new, without=gone)
                actual[seed].append(losses(again, asked) - losses(one, asked))
            for seed, values in matrix.items():
                predicted[seed].append(values[gone].sum(axis=0))
        told = {"own": predicted[1], "other": predicted[2], "others": predicted["2 to 5"]}
        for name, rows in {**told, "ceiling": actual[2]}.items():
            found[f"{name} {share}"] = correlation(np.array(rows), np.array(actual[1]))
    return found


def shown(found, name):
    """A correlation with its interval."""
    return "{:.2f} [{:.2f}, {:.2f}]".format(*found[name]) if name in found else "not measured"


def table_of_starts(folder):
    """What has been measured of training that goes on, as Markdown."""
    lines = [
        "| model | left out | own values | another's | four others' | another retraining |",
        "|---|---|---|---|---|---|",
    ]
    for case in ("gru4rec", "sasrec"):
        path = folder / f"{case}-started.json"
        found = json.loads(path.read_text()) if path.exists() else None
        for share in SHARES if found else ():
            names = [f"{kind} {share}" for kind in ("own", "other", "others", "ceiling")]
            cells = [shown(found, name) for name in names]
            lines.append(f"| {' | '.join([case, f'{share:.0%}', *cells])} |")
    return "\n".join(lines) + "\n"


def table(folder):
    """What has been measured, as Markdown."""
    lines = [
        "| model | training | loss | values cost | 1% left out: mean loss | single losses | "
        "10% left out: mean loss | single losses |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case, points in POINTS.items():
        paths = [folder / name_of(case, *point) for point in points]
        done = [json.loads(path.read_text()) if path.exists() else None for path in paths]
        best = done[-1]["loss"] if done[-1] else np.nan
        for (smooth, settings), found in zip(points, done):
            if found is None:
                continue
            way = ", ".join(
                f"{settings[key]} epochs" if key == "epochs" else f"`{key}={settings[key]}`"
                for key in settings
            )
            way = f"{'smooth' if smooth else 'not smooth'}, {way}"
            loss = f"{found['loss']:.3f} ({found['loss'] / best - 1:+.0%})"
            cost = f"{found['all values'] / found['training']:.1f}" if "training" in found else ""
            names = [f"{kind} {share}" for share in SHARES for kind in ("total", "single")]
            cells = [shown(found, name) for name in names]
            lines.append(f"| {' | '.join([case, way, loss, cost, *cells])} |")
    return "\n".join(lines) + "\n"


def name_of(case, smooth, settings):
    """File of a point."""
    told = "-".join(f"{key}={value}" for key, value in settings.items())
    return f"{case}-{'smooth' if smooth else 'rough'}-{told}.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", default=list(CASES))
    parser.add_argument("--masks", type=int, default=16)
    parser.add_argument("--queries", type=int, default=12)
    parser.add_argument(
        "--point", type=int, help="number of a case's setting, from 0; all by default"
    )
    parser.add_argument("--folder", type=Path, default=Path("replay-results"))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for case in given.cases:
        for number, (smooth, settings) in enumerate(POINTS[case]):
            if given.point not in (None, number):
                continue
            path = given.folder / name_of(case, smooth, settings)
            if not path.exists():
                found = measured(case, smooth, settings, given.masks, given.queries)
                path.write_text(json.dumps(found, default=float))
                print(case, smooth, settings, found, flush=True)
        path = given.folder / f"{case}-started.json"
        if case != "neumf" and given.point is None and not path.exists():
            path.write_text(json.dumps(started(case, given.masks, given.queries), default=float))
    text = f"{table(given.folder)}\n{STARTS}\n{table_of_starts(given.folder)}"
    print(text)
    if given.write:
        before = RESULTS.read_text().split(HEADING)[0].rstrip("\n")
        RESULTS.write_text(f"{before}\n\n{HEADING}\n{text}")


if __name__ == "__main__":
    main()
