"""Time, memory and error of explanations of a recurrent recommender.

Run ``python benchmarks/explanation.py``; it prints tables, and with ``--write`` puts them into
``benchmarks/EXPLANATION_RESULTS.md``. A GRU4Rec (hidden 64, embedding 64) is trained for two epochs
on ML-1M at ``WHENCE_DATA`` or ``../shared/data``, or on generated sessions with ``--generated`` or
where ML-1M is absent. ``--model FILE`` takes a saved one. ``--timeshap PYTHON`` is an interpreter
with TimeSHAP, shap 0.42 and torch, which is then timed beside, on the same model, the same frozen
items and the same masking. One thread; CPU seconds, which on a busy machine can be trusted more
than wall seconds.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch

import whence
from whence.explanation import explain, explain_many
from whence.explanation.fidelity import relative_l2

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))
TIMESHAP = ROOT / "benchmarks" / "explanation_timeshap.py"
RESULTS = ROOT / "benchmarks" / "EXPLANATION_RESULTS.md"
SEEDS = range(5)
WIDE = {"k": 10, "tolerance": 0}


def cpu_seconds(work, runs):
    """Median CPU seconds after one run that is not counted, and the last result."""
    result = work()
    seconds = []
    for _ in range(runs):
        started = time.process_time()
        result = work()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds), result


def trained(arguments):
    """The model, and histories of at least 50 events."""
    if arguments.model:
        model = whence.load_model(arguments.model)
    else:
        model = whence.GRU4Rec(
            embedding_dim=64, hidden_dim=64, epochs=2, batch_size=256, learning_rate=3e-3,
            loss="sampled_cross_entropy",
        ).fit(sessions(arguments.generated))  # fmt: skip
    sequences, ids = model.train_.sequences, model.vocabulary.items.to_list()
    windows = zip(sequences.offsets[:-1], sequences.offsets[1:])
    return model, [
        [ids[code] for code in sequences.items[start : start + 50]]
        for start, end in windows
        if end - start >= 50
    ]


def sessions(generated):
    """ML-1M in order of time, or sessions over as many items."""
    path = DATA / "ml-1m" / "ml-1m.inter.gz"
    if generated or not path.exists():
        return whence.make_sessions(
            n_sessions=4000, n_items=3706, mean_length=60.0, n_clusters=100, seed=1
        ).train
    frame = pl.read_csv(gzip.decompress(path.read_bytes()), separator="\t")
    frame = frame.rename({name: name.partition(":")[0] for name in frame.columns})
    frame = frame.select("user_id", "item_id", pl.col("order").alias("timestamp"))
    return whence.Interactions.from_frame(frame, user="user_id")


def exact_table(model, histories, timeshap):
    """Exact values of short histories, and TimeSHAP on the longest of them."""
    rows = []
    for n in (12, 16, 20):
        for masking in ("remove", "pad"):
            history = histories[0][:n]
            runs = 21 if n == 12 else 5
            whole, found = cpu_seconds(
                lambda h=history, m=masking: explain(model, h, masking=m, method="exact"), runs
            )
            alone, _ = cpu_seconds(lambda f=found: _again(f), runs)
            gap = found.value_all - found.value_nothing
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            rows.append(
                f"| {n} | {masking} | {alone:.4f} | {whole:.4f} | {peak:.0f} "
                f"| {abs(found.scores.sum() - gap):.0e} |"
            )
            if timeshap and masking == "pad" and n == 20:
                (theirs,) = asked_of_timeshap(found, model, timeshap, [32_000], SEEDS[:3])
                rows.append(
                    f"| {n} | {masking}, TimeSHAP, 32,000 samples | | {theirs['seconds']:.4f} | "
                    f"| relative L2 error {theirs['error']:.4f} |"
                )
    return [
        "## Exact",
        "",
        "| events | masking | values and shares, CPU s | `explain`, CPU s | peak memory of the "
        "process, MB | Σ − (v(all) − v(none)) |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


def _again(explanation):
    """The game alone: no encoding, no freezing, no record."""
    from whence.explanation._exact import exact

    return exact(explanation.problem.game)


def estimates_table(model, histories, timeshap):
    """Error of estimates of 50 events against a long run."""
    popular = int(np.bincount(model.train_.item_codes).argmax())
    item = model.vocabulary.items.to_list()[popular]
    rows = []
    for name, masking in (("pad", "pad"), ("fixed item", ("item", item)), ("remove", "remove")):
        for number, history in enumerate(histories[:2]):
            reference = explain(
                model, history, masking=masking, method="permutation", seed=10_000,
                budget=3_200_000, **WIDE,
            )  # fmt: skip
            doubt = np.linalg.norm(reference.std_errors) / np.linalg.norm(reference.scores)
            rows += _methods(model, history, name, masking, number, reference, doubt)
            if timeshap and masking != "remove":
                rows += _timeshap(reference, model, masking, name, number, timeshap)
    return [
        "## 50 events",
        "",
        "Root mean square over 5 seeds of the relative L2 error, against a run of 3,200,000 "
        "coalitions whose own relative error is given.",
        "",
        "| masking | history | method | coalitions | CPU s | relative L2 error | within 2 SE | "
        "error of the reference |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]


def _methods(model, history, name, masking, number, reference, doubt):
    for label, method, budget in (
        ("permutation", "permutation", 25_000),
        ("permutation", "permutation", 300_000),
        ("kernel", "kernel", 16_000),
    ):
        errors, covered, seconds = [], [], []
        for seed in SEEDS:
            started = time.process_time()
            found = explain(
                model, history, masking=masking, method=method, budget=budget, seed=seed, **WIDE
            )
            seconds.append(time.process_time() - started)
            errors.append(relative_l2(found.scores, reference.scores))
            off = np.abs(found.scores - reference.scores)
            both = np.hypot(found.std_errors, reference.std_errors)
            covered.append(np.mean(off <= 2 * both))
        yield (
            f"| {name} | {number + 1} | {label} | {found.metadata['params']['n_coalitions']:,} "
            f"| {statistics.median(seconds):.3f} | {np.sqrt(np.mean(np.square(errors))):.4f} "
            f"| {np.mean(covered):.2f} | {doubt:.4f} |"
        )


def _timeshap(reference, model, masking, name, number, python):
    """TimeSHAP, and permutations with as many coalitions as its error takes."""
    history = reference.problem.history.items
    for theirs in asked_of_timeshap(reference, model, python, (1000, 32_000), SEEDS):
        yield (
            f"| {name} | {number + 1} | TimeSHAP, {theirs['samples']:,} samples "
            f"| {theirs['rows']:,} | {theirs['seconds']:.3f} | {theirs['error']:.4f} | | |"
        )
    budget, error = 12_500, np.inf
    while error > theirs["error"] and budget < 10**6:
        budget, errors, seconds = round(1.3 * budget), [], []
        for seed in SEEDS:
            started = time.process_time()
            found = explain(
                model, history, masking=masking, method="permutation", budget=budget, seed=seed,
                **WIDE,
            )  # fmt: skip
            seconds.append(time.process_time() - started)
            errors.append(relative_l2(found.scores, reference.scores))
        error = np.sqrt(np.mean(np.square(errors)))
    ours = statistics.median(seconds)
    yield (
        f"| {name} | {number + 1} | permutation, at its error "
        f"| {found.metadata['params']['n_coalitions']:,} | {ours:.3f} | {error:.4f} "
        f"| {theirs['seconds'] / ours:.0f} times less | |"
    )


def asked_of_timeshap(reference, model, python, samples, seeds):
    """TimeSHAP on the same value, with the same stand-in for masked events."""
    problem, gru = reference.problem, model.module_.gru
    weight, bias = problem.asker.cell.head(problem.frozen)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder) / "value.npz"
        np.savez(
            path, embedding=model.module_.embedding.weight, weight_ih=gru.weight_ih_l0,
            weight_hh=gru.weight_hh_l0, head=weight.mean(dim=1), bias=bias.mean(),
            tokens=problem.history.tokens, baseline=problem.game.off[0, :1],
        )  # fmt: skip
        for n_samples in samples:
            done = subprocess.run(
                [python, TIMESHAP, path, str(n_samples), *map(str, seeds)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            found = json.loads(done.stdout.splitlines()[-1])
            errors = [relative_l2(phi, reference.scores) for phi in found["phi"]]
            yield {
                "samples": n_samples,
                "rows": found["rows"][0],
                "seconds": statistics.median(found["seconds"]),
                "error": np.sqrt(np.mean(np.square(errors))),
            }


class Featured:
    """A GRU over events of three features, of which only the protocol is known."""

    def __init__(self, n_items=3706, dim=64):
        torch.manual_seed(0)
        self.items, self.hours = torch.randn(n_items, dim) * 0.3, torch.randn(24, dim) * 0.3
        self.stars, self.head = torch.randn(dim) * 0.3, torch.randn(dim, n_items)
        self.cell = torch.nn.GRUCell(dim, dim).requires_grad_(False)

    def initial_state(self, n):
        """Zeros."""
        return torch.zeros(n, len(self.stars))

    def step(self, state, events):
        """One step of the GRU."""
        stars = torch.tensor([[event["stars"] - 3] for event in events])
        inputs = self.items[[event["item"] for event in events]]
        inputs = inputs + self.hours[[event["hour"] for event in events]] + stars * self.stars
        return self.cell(inputs, state)

    def scores_from_state(self, state):
        """All items."""
        return state @ self.head

    def scores(self, histories):
        """Of whole histories."""
        found = []
        for history in histories:
            state = self.initial_state(1)
            for event in history:
                state = self.step(state, [event])
            found.append(self.scores_from_state(state)[0])
        return torch.stack(found)


def features_table(model, histories):
    """Events, features and cells of a network of three features, 50 events."""
    rng, network = np.random.default_rng(0), Featured()
    columns = rng.integers(0, 3706, 50), rng.integers(0, 24, 50), rng.integers(1, 6, 50)
    history = [
        {"item": int(item), "hour": int(hour), "stars": float(stars)}
        for item, hour, stars in zip(*columns)
    ]
    typical = {"item": 1, "hour": 12, "stars": 3.0}
    rows = []
    for label, asked in (
        ("event", {}),
        ("feature", {"level": "feature"}),
        ("cell, top 5 events and 3 features", {"level": "cell", "cells": ("top", 5, 3)}),
    ):
        seconds, found = cpu_seconds(
            lambda a=asked: explain(network, history, masking=("item", typical), **a), 3
        )
        rows.append(
            f"| {label} | {len(found)} | {found.metadata['method']} "
            f"| {found.metadata['n_values']:,} | {seconds:.2f} |"
        )
    return [
        "## Three features",
        "",
        "A GRU of 64 over 50 events of three features, that offers steps; to standard errors of 2% "
        "of the whole, or exact.",
        "",
        "| level | players | method | coalitions | CPU s |",
        "|---|---|---|---|---|",
        *rows,
    ]


def many_table(model, histories):
    """A thousand users."""
    few = [history[:20] for history in histories[:1000]]
    wall, cpu = time.perf_counter(), time.process_time()
    found = explain_many(model, few, method="permutation", tolerance=0.05, threads=2)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    reached = np.mean([one.metadata["stopped"] == "tolerance" for one in found])
    worst = np.mean(
        [one.std_errors.max() / abs(one.value_all - one.value_nothing) for one in found]
    )
    return [
        "## Many",
        "",
        "| histories | events | wall s, 2 threads | CPU s | at 5% | mean of the largest SE over "
        "v(all) − v(none) |",
        "|---|---|---|---|---|---|",
        f"| {len(found):,} | 20 | {wall:.1f} | {cpu:.1f} | {reached:.1%} | {worst:.1%} |",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--generated", action="store_true")
    parser.add_argument("--model")
    parser.add_argument("--timeshap", metavar="PYTHON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, histories = trained(arguments)
    lines = [
        "# Explanations: results",
        "",
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch "
        f"{torch.__version__}, one thread; GRU4Rec with hidden 64, embedding 64 and "
        f"{model.n_items:,} items.",
        "",
    ]
    for table, more in (
        (exact_table, (arguments.timeshap,)),
        (estimates_table, (arguments.timeshap,)),
        (features_table, ()),
        (many_table, ()),
    ):
        part = table(model, histories, *more)
        print(*part, "", sep="\n", flush=True)
        lines += [*part, ""]
    if arguments.write:
        RESULTS.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
