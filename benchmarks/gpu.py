"""Every path through which a GPU is used, beside the processor: do both give the same?

Run ``python benchmarks/gpu.py [--device cuda] [--write]``. Each model is trained on generated data
on either device from the same start, recommends, is evaluated, valued by each method, explained,
forgotten from, saved and read on the other device. The table tells the largest difference of the
results, over the largest of their absolute values, and wall seconds of both; a path that fails is
told with its error, and the exit code is 1. With ``--write`` the table becomes GPU_RESULTS.md.

Training itself is compared in the first step; results of values, explanations and the rest are of
one set of trained parameters, read on both devices, so that they differ by rounding alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import torch

import whence

RESULTS = Path(__file__).with_name("GPU_RESULTS.md")
SMALL = {"epochs": 3, "batch_size": 128, "learning_rate": 5e-3, "seed": 1}
SEQUENCES = {**SMALL, "embedding_dim": 32, "max_length": 10, "dropout": 0.0}
MODELS = {
    "GRU4Rec": (whence.GRU4Rec, {**SEQUENCES, "hidden_dim": 32}),
    "LSTMRec": (whence.LSTMRec, {**SEQUENCES, "hidden_dim": 32}),
    "SASRec": (whence.SASRec, {**SEQUENCES, "num_layers": 1}),
    "NeuMF": (whence.NeuMF, {**SMALL, "gmf_dim": 8, "mlp_dim": 16, "layers": (16, 8)}),
    "BPRMF": (whence.BPRMF, {**SMALL, "embedding_dim": 16}),
    "WideDeep": (whence.WideDeep, {**SMALL, "embedding_dim": 8}),
    "BiasedMF": (whence.BiasedMF, {**SMALL, "embedding_dim": 16}),
}
METHODS = {
    "TracIn": lambda: whence.TracIn(),
    "TracIn, every step": lambda: whence.TracIn(every_step=True),
    "influence, ggn": lambda: whence.InfluenceFunction(solver="ggn", max_iterations=8),
    "influence, ekfac": lambda: whence.InfluenceFunction(solver="ekfac"),
    "TRAK": lambda: whence.TRAK(),
    "Replay": lambda: whence.Replay(),
}


def data_of(name):
    """Training and validation data of a model: sessions, or users with ratings."""
    sequences = name in ("GRU4Rec", "LSTMRec", "SASRec")
    if sequences:
        made = whence.make_sessions(n_sessions=400, n_items=200, seed=3)
        return made.train, made.validation
    return whence.split_rows(ratings(), (0.8, 0.1, 0.1), seed=1)[:2]


def ratings():
    """Ratings of 120 users."""
    rng = np.random.default_rng(4)
    pairs = np.unique(rng.integers(0, (120, 90), size=(4000, 2)), axis=0)
    stars = 1.0 + (pairs.sum(1) + rng.integers(0, 3, len(pairs))) % 5
    table = {"user_id": pairs[:, 0], "item_id": pairs[:, 1], "rating": stars}
    return whence.Interactions.from_frame(table)


def paths(name, model, valid, folder, side):
    """Names and functions of what is done with a trained model; each returns numbers."""
    queries = whence.make_queries(model, valid)
    queries = queries.take(np.arange(min(64, len(queries))))

    def recommended():
        scores = model.score_codes(queries)
        return np.where(np.isfinite(scores), scores, 0.0)

    def evaluated():
        found = whence.evaluate(model, valid, ["ndcg@10"] if name != "BiasedMF" else ["rmse"])
        return np.array(list(found.scores.values()))

    def saved():
        path = folder / f"{name}-{side}.model"
        model.save(path)
        return whence.load_model(path).score_codes(queries).clip(-1e6)

    def explained():
        history = queries.history_items[queries.history_start[5] : queries.history_end[5]]
        ids = model.train_.vocabulary.items.gather(history).to_list()
        return whence.Explainer(k=5, method="exact").attribute(model, ids).scores

    def forgotten():
        first = {"users" if model.train_.by_user else "sessions": [model.train_.source_ids[0]]}
        found = whence.forget(model, **first)
        return found.model.score_codes(queries).clip(-1e6)

    yield "recommend", recommended
    yield "evaluate", evaluated
    yield "save, load", saved
    for method, make in METHODS.items():
        asked = valid if name == "BiasedMF" else queries
        yield method, lambda make=make, asked=asked: make().attribute(model, asked).scores
    if name in ("GRU4Rec", "LSTMRec", "SASRec"):
        yield "explain", explained
    yield "forget", forgotten


def on(device, kind, params, train, valid, state=None):
    """A model trained on a device; with the parameters of another where they are given."""
    model = kind(**{**params, "device": device}).fit(train, checkpoints=1)
    if state is not None:
        model.module_.load_state_dict({key: value.to(device) for key, value in state.items()})
    return model


def timed(work):
    """Result, wall seconds, and the error instead of a result."""
    began = time.perf_counter()
    try:
        found = np.asarray(work(), dtype=np.float64)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    except Exception as error:
        traceback.print_exc()
        return None, time.perf_counter() - began, f"{type(error).__name__}: {error}"
    return found, time.perf_counter() - began, None


def difference(one, other):
    """The largest difference over the largest absolute value."""
    if one.shape != other.shape:
        return np.inf
    return float(np.abs(one - other).max(initial=0) / max(np.abs(one).max(initial=0), 1e-12))


def large(device):
    """Wall seconds of an epoch and of values by TracIn, with a catalogue of 20,000 items."""
    made = whence.make_sessions(n_sessions=20_000, n_items=20_000, n_clusters=100, seed=1)
    model = whence.GRU4Rec(
        embedding_dim=100, hidden_dim=100, epochs=1, batch_size=512, device=device, seed=1
    )
    began = time.perf_counter()
    model.fit(made.train, checkpoints=1)
    spent = time.perf_counter() - began
    began = time.perf_counter()
    whence.TracIn().attribute(model, made.validation)
    return spent, time.perf_counter() - began, made.train.n_rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--large", action="store_true", help="A large catalogue, too.")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    there = torch.cuda.get_device_name() if given.device.startswith("cuda") else given.device
    lines = [
        f"{there}; torch {torch.__version__}, NumPy {np.__version__}.", "",
        "| model | path | largest difference | CPU s | GPU s |", "|---|---|---:|---:|---:|",
    ]  # fmt: skip
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in given.model or MODELS:
            kind, params = MODELS[name]
            train, valid = data_of(name)
            both = {}
            for device in ("cpu", given.device):
                began = time.perf_counter()
                both[device] = on(device, kind, params, train, valid)
                both[device, "s"] = time.perf_counter() - began
            states = [both[device].module_.state_dict() for device in ("cpu", given.device)]
            vectors = [
                torch.cat([value.double().cpu().flatten() for value in state.values()]).numpy()
                for state in states
            ]
            lines.append(
                f"| {name} | train | {difference(*vectors):.1e} | {both['cpu', 's']:.2f} "
                f"| {both[given.device, 's']:.2f} |"
            )
            state = {key: value.cpu() for key, value in states[0].items()}
            other = on(given.device, kind, params, train, valid, state)
            sides = [
                list(paths(name, model, valid, Path(folder), side))
                for side, model in enumerate((both["cpu"], other))
            ]
            for (path, here), (_, there_) in zip(*sides):
                one, first, wrong = timed(here)
                two, second, wrong_there = timed(there_)
                told = wrong or wrong_there or f"{difference(one, two):.1e}"
                failed += bool(wrong or wrong_there)
                lines.append(f"| {name} | {path} | {told} | {first:.2f} | {second:.2f} |")
                print(lines[-1], flush=True)
    if given.large:
        here, there_ = (large(device) for device in ("cpu", given.device))
        lines += [
            "", f"GRU4Rec with 100 units, 20,000 items, {here[2]:,} clicks, in wall seconds:", "",
            "| | CPU, one thread | GPU |", "|---|---:|---:|",
            f"| one epoch | {here[0]:.1f} | {there_[0]:.1f} |",
            f"| TracIn, aggregated, one checkpoint | {here[1]:.1f} | {there_[1]:.1f} |",
        ]  # fmt: skip
    text = "\n".join(lines)
    print(text)
    if given.write:
        head = RESULTS.read_text(encoding="utf-8").split("\n\n")[:2]
        RESULTS.write_text("\n\n".join([*head, text]) + "\n", encoding="utf-8")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
