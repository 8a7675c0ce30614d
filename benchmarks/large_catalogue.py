"""Training and TracIn with large catalogues: sampled and whole softmax, a million examples.

    python benchmarks/large_catalogue.py FOLDER [--tasks steps tracin quality precision]
    python benchmarks/large_catalogue.py FOLDER --write

FOLDER keeps what is measured, a line each in ``large.jsonl``; what is there is not measured again,
so that it can be broken off. Every measurement is a process of its own, with one thread. Quality
is measured on Diginetica, which is read from ``WHENCE_DATA`` or ``../shared/data``; everything
else on generated clicks. ``--write`` puts the tables into ``LARGE_CATALOGUE_RESULTS.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))
RESULTS = ROOT / "benchmarks" / "LARGE_CATALOGUE_RESULTS.md"
SAMPLED, WHOLE = "sampled_cross_entropy", "cross_entropy"
N_SESSIONS = 10_000
N_ITEMS = 20_000
EXAMPLES = {"LSTMRec": (30_000, 100_000, 300_000, 1_000_000), "GRU4Rec": (30_000, 100_000)}
QUALITY = [(WHOLE, 64, 3), (SAMPLED, 64, 3), (SAMPLED, 64, 6)]
N_LATEST = 12_000  # sessions of Diginetica that quality is measured on


def tasks():
    """Every measurement: its kind and its arguments."""
    for n_items in (20_000, 50_000, 100_000):
        for loss, n_negatives in ((SAMPLED, 64), (SAMPLED, 256), (WHOLE, 64)):
            yield "steps", [n_items, loss, n_negatives, "adam"]
    for name, sizes in EXAMPLES.items():
        for n in sizes:
            yield "tracin", [name, WHOLE, n]
    yield "tracin", ["LSTMRec", SAMPLED, 100_000]
    for one in QUALITY:
        yield "quality", list(one)
    for width in (64, 256):
        for kind in ("float32", "bfloat16"):
            yield "precision", [N_ITEMS, width, kind]


def clicks(n_items, n_sessions):
    """Sessions like Diginetica's in which every item of a catalogue occurs."""
    import numpy as np
    import polars as pl

    import whence

    data = whence.generate("diginetica", 6 * n_sessions, n_items=n_items, seed=1)
    # An item that was not drawn is in a session of its own, of which nothing is learned.
    known = data.frame.select("session_id", "item_id", "timestamp")
    missing = np.setdiff1d(np.arange(1, n_items + 1), known["item_id"].to_numpy())
    alone = pl.DataFrame({"session_id": missing + 10**9, "item_id": missing})
    alone = alone.with_columns(timestamp=pl.lit(0, known["timestamp"].dtype))
    return whence.Interactions.from_frame(pl.concat([known, alone.select(known.columns)]))


def steps(n_items, loss, n_negatives, optimizer):
    """CPU seconds of a step of 512 sessions."""
    import whence

    data = clicks(n_items, N_SESSIONS)
    model = whence.GRU4Rec(loss=loss, n_negatives=n_negatives, optimizer=optimizer, epochs=1)
    began = time.process_time()
    model.fit(data)
    taken = time.process_time() - began
    n_steps = model.history_[-1]["step"]
    return {"cpu": taken / n_steps, "n_steps": n_steps, "n_items": data.n_items}


def tracin(name, loss, n):
    """CPU seconds of one checkpoint of TracIn, summed over 1,000 queries."""
    import numpy as np
    from tracin import Numbered, untrained

    import whence

    per_session = 1.0 if name == "GRU4Rec" else 3.4
    data = clicks(N_ITEMS, int(1.25 * (n + 1000) / per_session))
    model = untrained(getattr(whence, name)(embedding_dim=64, hidden_dim=64, loss=loss), data.frame)
    whole = model.examples_
    assert len(whole) >= n + 1000
    queries = Numbered(whole, np.arange(n, n + 1000), epoch=7)
    model.examples_ = Numbered(whole, np.arange(n))
    method = whence.TracIn(checkpoints="final", learning_rate=1.0)
    method.attribute(model, Numbered(whole, np.arange(10), epoch=7))
    began = time.process_time(), time.monotonic()
    scores = method.attribute(model, queries, run=whence.Run(threads=1)).scores
    taken = time.process_time() - began[0]
    return {
        "cpu": taken,
        "wall": time.monotonic() - began[1],
        "finite": bool(np.isfinite(scores).all()),
    }


def quality(loss, n_negatives, epochs):
    """Metrics on the last day of Diginetica after training on the sessions before."""
    import numpy as np

    import whence

    train = whence.read_interactions(DATA / "diginetica/train_sessions.txt.gz")
    test = whence.read_interactions(DATA / "diginetica/test_sessions.txt.gz")
    train = train.keep_sources(train.recency >= train.n_sources - N_LATEST).rebuild()
    model = whence.GRU4Rec(loss=loss, n_negatives=n_negatives, epochs=epochs, batch_size=64)
    began = time.process_time()
    model.fit(train)
    taken = time.process_time() - began
    queries = whence.make_queries(model, test)
    queries = queries.take(np.arange(0, len(queries), max(1, len(queries) // 10_000)))
    result = whence.evaluate(model, queries, ["mrr@20", "recall@20"])
    errors = {name: result.std_error(name) for name in result.scores}
    facts = {"items": train.n_items, "queries": len(queries), "errors": errors}
    return {"cpu": taken, "scores": result.scores, **facts}


def precision(n_items, width, kind):
    """CPU seconds of a step with forward passes in 16 bits, by torch's automatic casting."""
    import torch

    import whence

    data = clicks(n_items, 3000)
    model = whence.GRU4Rec(embedding_dim=width, hidden_dim=width, epochs=1)
    usual = model._training_loss

    def cast(batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return usual(batch)

    if kind == "bfloat16":
        object.__setattr__(model, "_training_loss", cast)
    began = time.process_time()
    model.fit(data)
    taken = time.process_time() - began
    return {"cpu": taken / model.history_[-1]["step"], "loss": model.history_[-1]["loss"]}


def measured(folder):
    """What was measured before."""
    path, found = folder / "large.jsonl", {}
    for line in path.read_text().splitlines() if path.exists() else []:
        entry = json.loads(line)
        found[(entry["task"], *entry["arguments"])] = entry
    return found


def drive(folder, wanted):
    """Measure what is not measured yet."""
    for task, arguments in tasks():
        if task not in wanted or (task, *arguments) in measured(folder):
            continue
        command = [sys.executable, __file__, str(folder), "--measure", task, json.dumps(arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        with (folder / "large.jsonl").open("a") as file:
            file.write(done.stdout.splitlines()[-1] + "\n")
        print(done.stdout.splitlines()[-1], flush=True)


HEAD = """# Large catalogues

Made by `python benchmarks/large_catalogue.py`. CPU seconds of one thread of a machine that does
other work; each measurement is a process of its own.

## A step of training

GRU4Rec with its defaults, Adam, 512 sessions like Diginetica's (4.9 clicks each): the softmax over
all items, and over the next item and drawn ones.

| items | whole | 64 drawn | 256 drawn |
|---|---|---|---|"""
QUALITY_HEAD = """
## What it costs in quality

GRU4Rec, steps of 64 sessions, on the latest {n:,} sessions of Diginetica, of {items:,} items;
10,000 beginnings of later sessions, every item ranked, ± a standard error clustered by session.
One run each.

| loss | epochs | CPU s | mrr@20 | recall@20 |
|---|---|---|---|---|"""
TRACIN_HEAD = """
## TracIn of a million examples

Summed over 1,000 queries, one checkpoint, all parameters, {items:,} items; embedding 64, hidden 64,
clicks like Diginetica's. An example of LSTMRec is a window with its next item; of GRU4Rec, a whole
session with a next item at every place.

| model | loss | examples | CPU s | CPU ms an example | most memory, GB |
|---|---|---|---|---|---|"""
PRECISION_HEAD = """
## Forward passes in bfloat16

A step of GRU4Rec with the softmax over {items:,} items, in float32 and with torch's automatic
casting to bfloat16, on a processor that multiplies in it.

| embedding, hidden | float32, CPU s | bfloat16, CPU s | loss after 6 steps, float32 | bfloat16 |
|---|---|---|---|---|"""
NAMES = {WHOLE: "whole softmax", SAMPLED: "sampled softmax"}


def write(folder):
    """The tables."""
    found = measured(folder)
    lines = [HEAD]
    for n_items in (20_000, 50_000, 100_000):
        ways = ((WHOLE, 64), (SAMPLED, 64), (SAMPLED, 256))
        taken = [found[("steps", n_items, loss, n, "adam")]["cpu"] for loss, n in ways]
        lines.append(f"| {n_items:,} | " + " | ".join(f"{one:.2f}" for one in taken) + " |")
    rows = [found[("quality", *one)] for one in QUALITY if ("quality", *one) in found]
    if rows:
        lines.append(QUALITY_HEAD.format(n=N_LATEST, items=rows[0]["items"]))
    for row in rows:
        loss, n, epochs = row["arguments"]
        name = NAMES[loss] + (f", {n} drawn" if loss == SAMPLED else "")
        scores = [f"{row['scores'][k]:.4f} ± {row['errors'][k]:.4f}" for k in row["scores"]]
        lines.append(f"| {name} | {epochs} | {row['cpu']:.0f} | {' | '.join(scores)} |")
    lines.append(TRACIN_HEAD.format(items=N_ITEMS))
    for task, arguments in tasks():
        if task == "tracin" and ("tracin", *arguments) in found:
            (name, loss, n), row = arguments, found[("tracin", *arguments)]
            lines.append(
                f"| {name} | {NAMES[loss]} | {n:,} | {row['cpu']:.0f} | {1e3 * row['cpu'] / n:.2f} "
                f"| {row['peak'] / 1e9:.1f} |"
            )
    lines.append(PRECISION_HEAD.format(items=N_ITEMS))
    for width in (64, 256):
        ways = [found[("precision", N_ITEMS, width, kind)] for kind in ("float32", "bfloat16")]
        cells = [f"{one['cpu']:.2f}" for one in ways] + [f"{one['loss']:.5f}" for one in ways]
        lines.append(f"| {width} | {' | '.join(cells)} |")
    RESULTS.write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    kinds = {"steps": steps, "tracin": tracin, "quality": quality, "precision": precision}
    parser.add_argument("--tasks", nargs="*", choices=kinds, default=list(kinds))
    parser.add_argument("--measure", nargs=2, metavar=("TASK", "ARGUMENTS"))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.measure:
        import warnings

        warnings.simplefilter("ignore")
        task, arguments = given.measure[0], json.loads(given.measure[1])
        found = kinds[task](*arguments)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"task": task, "arguments": arguments, "peak": peak, **found}))
    elif given.write:
        write(given.folder)
    else:
        drive(given.folder, given.tasks)


if __name__ == "__main__":
    main()
