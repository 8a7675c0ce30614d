"""Which values find planted users in a network, and is it better without them?

Run ``python benchmarks/corruption.py --folder FOLDER [--seeds 10] [--gradients 3] [--write]`` with
MovieLens 100K at ``WHENCE_DATA`` or ``../shared/data``. Each attack and seed is one
`whence.CorruptionExperiment`, kept in the folder once it is done, and may be in a process of its
own (``--only SEED``); ``--gradients`` is the number of seeds for which values by gradients, which
take longer, are computed, too (``--only-gradients SEED``). With ``--write`` the tables become
``benchmarks/CORRUPTION_RESULTS.md``.

A `GRU4Rec` with 32 units over the last 20 films, 6 epochs (the experiment's own model), of the
ratings without their values; 94 planted users beside the 943 real ones, or 94 of these shuffled.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import polars as pl

import whence
from whence.experiments.corruption_results import CONTROLS, CorruptionResult

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).with_name("CORRUPTION_RESULTS.md")
ATTACKS = ("bandwagon", "shuffled", "popularity", "segment", "uniform")
HEAD = """# Planted users in a network: found, and cleaned

Made by `python benchmarks/corruption.py --write`: MovieLens 100K without the values of its ratings,
a `GRU4Rec` with 32 units over the last 20 films, 6 epochs; 94 planted users beside the 943 real
ones, or 94 of these shuffled. Average precision of the lowest values; length and popularity by the
better of both directions, which nobody could know. The share left out is chosen on validation
queries, nothing among the choices; metrics are of test queries. Intervals are 95%, over seeds,
differences in pairs."""
PARTS = {
    "losses": {
        "methods": (*CONTROLS, "trimmed-loss", "information-gain", "order-gain"),
        "clean": ("random", "trimmed-loss", "order-gain"), "shares": (0.1, 0.2),
    },
    "gradients": {
        "methods": ("self-influence", "tracin", "every-step", "replay", "influence"), "clean": (),
    },
}  # fmt: skip


def films():
    """MovieLens 100K without the values of its ratings."""
    rows = whence.read_interactions(DATA / "ml-100k" / "u.data")
    return whence.Interactions.from_frame(rows.frame.select("user_id", "item_id", "timestamp"))


def measured(data, folder, part, seed, attack):
    """The experiment with one attack and one seed, kept in the folder."""
    path = folder / f"{part}-{attack}-{seed}.parquet"
    if path.exists():
        return
    experiment = whence.CorruptionExperiment(
        attacks=(attack,), seeds=(seed,), max_queries=1000, **PARTS[part]
    )
    began = time.process_time()
    kept = path.with_suffix("")
    kept.mkdir(parents=True, exist_ok=True)
    found = experiment.run(data, run=whence.Run(folder=kept, resume=True))
    found.rows.write_parquet(path)
    print(f"{path.stem}: {time.process_time() - began:.0f} CPU seconds", flush=True)


def rows_of(folder, part):
    """What is there, of all attacks and seeds."""
    paths = sorted(folder.glob(f"{part}-*.parquet"))
    return pl.concat([pl.read_parquet(path) for path in paths], how="diagonal_relaxed")


def tables(folder):
    """Markdown of losses and controls over all seeds, and of gradients over theirs."""
    order = {kind: number for number, kind in enumerate(ATTACKS)}
    rows = rows_of(folder, "losses")
    rows = rows.sort(pl.col("attack").replace_strict(order), "seed", maintain_order=True)
    counts = rows.group_by("attack", maintain_order=True).agg(pl.col("seed").n_unique())
    seeds = ", ".join(f"{kind} {count}" for kind, count in counts.iter_rows())
    parts = [
        f"Seeds of the attack and of the model: {seeds}. 9,596 test queries.",
        CorruptionResult(rows, {"metrics": ("mrr@100", "recall@10")}).to_markdown(),
    ]
    if list(folder.glob("gradients-*.parquet")):
        values = rows_of(folder, "gradients")
        values = values.filter(pl.col("method").is_in(PARTS["gradients"]["methods"]))
        asked = values.select("attack", "seed").unique()
        controls = rows.filter(pl.col("method").is_in(CONTROLS))
        controls = controls.join(asked, on=["attack", "seed"], how="semi", maintain_order="left")
        both = pl.concat([controls, values], how="diagonal_relaxed")
        parts += [
            "Values by gradients, for 1,000 validation queries, three checkpoints, "
            f"{values['seed'].n_unique()} seeds:",
            CorruptionResult(both, {"metrics": ()}).to_markdown(),
        ]
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("corruption"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--gradients", type=int, default=3)
    parser.add_argument("--attack", action="append", choices=ATTACKS)
    parser.add_argument("--only", type=int)
    parser.add_argument("--only-gradients", type=int)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    data = films()
    alone = given.only is not None or given.only_gradients is not None
    seeds = {
        "losses": [given.only] if given.only is not None else range(given.seeds),
        "gradients": [given.only_gradients]
        if given.only_gradients is not None
        else range(given.gradients),
    }
    wanted = {
        "losses": given.only is not None or not alone,
        "gradients": given.only_gradients is not None or not alone,
    }
    for part in PARTS:
        for seed in seeds[part] if wanted[part] else ():
            for attack in given.attack or ATTACKS:
                measured(data, given.folder, part, seed, attack)
    if not alone:
        text = tables(given.folder)
        print(text)
        if given.write:
            RESULTS.write_text(f"{HEAD}\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
