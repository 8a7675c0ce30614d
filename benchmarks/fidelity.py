"""Do values predict retraining? Every method side by side, for one model and data set.

Run ``python benchmarks/fidelity.py CASE [CASE ...] --folder FOLDER`` with the data sets at
``WHENCE_DATA`` or ``../shared/data``. In the folder stays what was retrained, so that a further
method (``--method``) or start (``--starts``) costs no more than itself, and a run that was broken
off goes on. The tables are printed as Markdown, and written into the folder of the case; with
``--write`` those of all cases in the folder become ``benchmarks/FIDELITY_RESULTS.md``, with a
summary.

Cases: a model and ``ml`` (300 users of MovieLens 100K, for models of sequences 60), ``ml-all``
(all users, for NeuMF and BPRMF), or ``rsc15`` (1,500 sessions of Yoochoose), as in ``neumf-ml`` and
``gru4rec-rsc15``; ``smooth`` are the same sessions with training as `whence.smooth` makes it.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

import whence

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "FIDELITY_RESULTS.md"
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))

SMOOTH = {"eps_root": 1e-6, "weight_decay": 0.0}
SEQUENCES = {**SMOOTH, "embedding_dim": 32, "dropout": 0.0, "positions": "all"}
GRU = {**SEQUENCES, "hidden_dim": 32, "learning_rate": 2e-2, "batch_size": 64}
LSTM = {**GRU, "learning_rate": 1e-2}
SASREC = {**SEQUENCES, "learning_rate": 5e-3, "batch_size": 64}
WINDOWS = {"embedding_dim": 32, "batch_size": 64, "max_length": 10}
MODELS = {
    "neumf": whence.NeuMF(
        gmf_dim=8, mlp_dim=16, layers=(16, 8), n_negatives=2, activation="gelu", epochs=8,
        learning_rate=2e-2, **SMOOTH,
    ),
    "bprmf": whence.BPRMF(
        embedding_dim=16, epochs=6, batch_size=512, learning_rate=5e-2, **SMOOTH
    ),
    "gru4rec-ml": whence.GRU4Rec(epochs=10, **GRU),
    "gru4rec-rsc15": whence.GRU4Rec(epochs=6, **GRU),
    "lstm-ml": whence.LSTMRec(epochs=10, **LSTM),
    "lstm-rsc15": whence.LSTMRec(epochs=8, **LSTM),
    "sasrec-ml": whence.SASRec(epochs=10, **SASREC),
    "sasrec-rsc15": whence.SASRec(epochs=6, **SASREC),
}  # fmt: skip
MODELS |= {
    f"{name}-smooth": whence.smooth(kind(epochs=6, dropout=0.0, **WINDOWS))
    for name, kind in (
        ("gru4rec", whence.GRU4Rec), ("lstm", whence.LSTMRec), ("sasrec", whence.SASRec),
    )
}  # fmt: skip
METHODS = (
    "replay", "tracin:every_step=true", "tracin", "tracin:weighting=sgd",
    "tracin:normalise=cosine", "tracin:checkpoints=final", "influence-function:solver=ggn",
    "influence-function:solver=ekfac", "influence-function:solver=dot", "trak", "self-influence",
    "loss", "random",
)  # fmt: skip
# Of which values of several runs are averaged, where those of all take too long.
SEVERAL = ("tracin", "influence-function:solver=ekfac")
TITLES = {
    "neumf": "NeuMF", "bprmf": "BPRMF", "gru4rec": "GRU4Rec", "lstm": "LSTMRec",
    "sasrec": "SASRec", "ml": "300 users of MovieLens 100K", "ml-all": "MovieLens 100K",
    "ml-sequences": "60 users of MovieLens 100K", "rsc15": "1,500 sessions of RSC15",
    "smooth": "1,500 sessions of RSC15, smooth training",
}  # fmt: skip
SHOWN = {
    "replay": "Replay", "tracin:every_step=true": "TracIn, every step", "tracin": "TracIn",
    "tracin:weighting=sgd": "TracIn, plain", "influence-function:solver=ggn": "ggn",
    "influence-function:solver=ekfac": "ekfac", "trak": "TRAK",
}  # fmt: skip
SIZES = {
    "ml": {"n_sources": 300, "masks": 24, "removals": 30, "queries": 40, "starts": 3,
           "runs": (1, 4), "proponents": 8, "pairs": 6},
    "ml-sequences": {"n_sources": 60, "keep": (0.5, 0.9), "masks": 24, "removals": 0, "queries": 16,
                     "starts": 1, "runs": (1, 4), "proponents": 0, "pairs": 6},
    "ml-all": {"keep": (0.9, 0.99), "masks": 24, "removals": 0, "queries": 8, "starts": 0,
               "runs": (1,), "proponents": 0, "pairs": 6},
    "rsc15": {"n_sources": 1500, "masks": 24, "removals": 0, "queries": 16, "starts": 2,
              "runs": (1, 4), "proponents": 0, "pairs": 6},
}  # fmt: skip
SIZES["smooth"] = {**SIZES["rsc15"], "keep": (0.5, 0.9), "starts": 1, "pairs": 4}


def data_of(name):
    """Training and validation data; None where the experiment splits."""
    if name.startswith("ml"):
        return whence.read_interactions(DATA / "ml-100k" / "u.data"), None
    parts = [
        whence.read_interactions(DATA / "rsc15-100k" / f"{part}.csv", session="session_id")
        for part in ("train", "valid")
    ]
    few = np.arange(parts[1].n_sources) < 500
    return parts[0], parts[1].keep_sources(few).rebuild()


def title_of(case):
    """Model and data in words."""
    name, _, where = case.partition("-")
    where = "ml-sequences" if where == "ml" and name not in MODELS else where
    return f"{TITLES[name]}, {TITLES[where]}"


def summary(folder, about, kind, ceiling):
    """Scores of single losses of every case, a method a column, the most runs of each."""
    heads = ["", *SHOWN.values(), ceiling]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for case in cases_in(folder):
        scores = pl.read_csv(folder / case / "scores.csv", infer_schema_length=None)
        scores = scores.filter(about=about, outcome="single", kind=kind).sort("runs")
        found = {row["method"]: row for row in scores.iter_rows(named=True)}
        if found:
            cells = [_interval(found.get(method)) for method in (*SHOWN, ceiling)]
            lines.append("| " + " | ".join([title_of(case), *cells]) + " |")
    return "\n".join(lines)


def _interval(row):
    if row is None or row["score"] is None:
        return ""
    return f"{row['score']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def cases_in(folder):
    """Cases of which there are results, in the order of the models."""
    order = [
        f"{name}-{where}" for where in ("ml", "ml-all", "rsc15", "smooth")
        for name in ("neumf", "bprmf", "gru4rec", "lstm", "sasrec")
    ]  # fmt: skip
    return [case for case in order if (folder / case / "table.md").exists()]


def write(folder):
    """Put all tables together."""
    runs = "retraining from another start", "one retraining"
    parts = [
        "# Do values predict retraining?",
        "Made by `python benchmarks/fidelity.py CASE --folder fidelity --write`; the page on "
        "influence says what is measured. Scores are Spearman correlations over 24 masks with 95% "
        "intervals, processor seconds those of the values for the mean loss and of those for all "
        "single losses, on one thread of a machine that did other work, too.",
        "Single losses, this run, a tenth left out:",
        summary(folder, "this run", "keep 0.9", runs[0]),
        "Single losses, the expected run, half left out, values of as many runs as there are:",
        summary(folder, "the expected run", "keep 0.5", runs[1]),
    ]
    for case in cases_in(folder):
        parts += [f"## {title_of(case)}", (folder / case / "table.md").read_text().strip()]
    RESULTS.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--folder", type=Path, default=Path("fidelity"))
    parser.add_argument("--method", action="append", help="Instead of all; may be repeated.")
    parser.add_argument("--starts", type=int)
    parser.add_argument("--runs", type=int, nargs="+")
    parser.add_argument("--write", action="store_true", help="Write FIDELITY_RESULTS.md.")
    given = parser.parse_args()
    for case in given.cases:
        name, _, where = case.partition("-")
        data, validation = data_of(where)
        is_pairs = name in MODELS
        model = MODELS[name if is_pairs else case]
        settings = dict(SIZES["ml-sequences" if where == "ml" and not is_pairs else where])
        settings |= {k: v for k, v in (("starts", given.starts), ("runs", given.runs)) if v}
        folder = given.folder / case
        folder.mkdir(parents=True, exist_ok=True)
        began = time.process_time()
        run = whence.Run(folder=folder, resume=True, progress=True)
        methods = given.method or METHODS
        some = {*SEVERAL, "replay"} if where == "smooth" else set(SEVERAL)
        several = methods if where == "ml" and is_pairs else some & set(methods)
        runs = settings.pop("runs")
        runs = runs if several else (1,)
        parts = [(methods, (1,))] + [(sorted(several), runs)] * (max(runs) > 1)
        tables = [
            whence.FidelityExperiment(
                model=model, methods=list(some), seed=0, runs=count, **settings
            ).run(data, validation=validation, run=run)
            for some, count in parts
        ]
        more = [one.scores.filter(pl.col("runs") > 1) for one in tables[1:]]
        found = replace(tables[0], scores=pl.concat([tables[0].scores, *more]))
        spent = time.process_time() - began
        text = f"{found.to_markdown()}\n"
        print(f"## {case}\n\n{text}\n{spent:.0f} CPU seconds.", flush=True)
        (folder / "table.md").write_text(text, encoding="utf-8")
        found.scores.write_csv(folder / "scores.csv")
        found.proponents.write_csv(folder / "proponents.csv")
        found.costs.write_csv(folder / "costs.csv")
    if given.write:
        write(given.folder)


if __name__ == "__main__":
    main()
