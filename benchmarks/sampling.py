"""Squared error of sampled Shapley values for the CPU time they take, of two source trees.

    python benchmarks/sampling.py BEFORE AFTER [--permutations 100] [--reference 10000] [--seeds 4]

BEFORE and AFTER are checkouts; the data sets are at ``WHENCE_DATA`` or ``../shared/data``. Every
tree draws values with several seeds, in processes of its own, on one thread and in turn; their
squared errors are those against a long run of AFTER. As the squared error falls as the inverse of
the time, the product of both is what one pays for precision. ``--write`` puts the table into
``benchmarks/SAMPLING_RESULTS.md``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))
MEASURE = """
import sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
import whence
data, name, metric, permutations, first, seeds, target = sys.argv[1:]
train = whence.read_interactions(f"{data}/{name}/train.csv")
valid = whence.read_interactions(f"{data}/{name}/valid.csv")
model = whence.TIFUKNN() if name.startswith("tafeng") else whence.VMISKNN(k=100, m=500)
model.fit(train)
queries = whence.make_queries(model, valid)
known = {"sustainable_items": train.vocabulary.items.to_list()[::5]} if "st" in metric else {}
def draw(seed, permutations, queries=queries):
    method = whence.Shapley(
        metric, tolerance=0, max_permutations=permutations, seed=seed, threads=1, **known)
    return method.attribute(model, queries)
draw(0, 40, queries.take(range(0, len(queries), 50)))  # loading is not counted
rows, times, errors = [], [], []
for seed in range(int(first), int(first) + int(seeds)):
    began = time.process_time()
    values = draw(seed, int(permutations))
    times.append(time.process_time() - began)
    rows.append(values.scores)
    errors.append(np.mean(values.frame["std_error"].to_numpy() ** 2))
np.savez(target, scores=rows, times=times, told=errors)
"""
QUESTIONS = (("rsc15-100k", "mrr@20"), ("rsc15-100k", "ndcg@20"), ("tafeng-1k", "ndcg@20"))


def drawn(tree, question, permutations, first, seeds):
    """Values by seed, CPU seconds of each, and the squared errors told by standard errors."""
    environment = {
        **os.environ, "PYTHONPATH": str(tree.resolve() / "src"), "POLARS_MAX_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "drawn.npz"
        numbers = [str(number) for number in (permutations, first, seeds)]
        command = [sys.executable, "-c", MEASURE, str(DATA), *question, *numbers, str(target)]
        subprocess.run(command, env=environment, check=True)
        with np.load(target) as found:
            return found["scores"], found["times"], found["told"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--permutations", type=int, default=100)
    parser.add_argument(
        "--reference", type=int, default=10_000, help="permutations of the long run"
    )
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", default="", help="questions with this in them")
    parser.add_argument("--write", action="store_true", help="write SAMPLING_RESULTS.md")
    wanted = parser.parse_args()
    lines = [
        "| question | | RMS error / mean abs. value | the same by standard errors | CPU s | "
        "error² × CPU s, before = 1 |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for question in QUESTIONS:
        if wanted.only not in " ".join(question):
            continue
        long, _, _ = drawn(wanted.after, question, wanted.reference, 1, 1)
        size, first = np.abs(long[0]).mean(), None
        for name, tree in (("before", wanted.before), ("after", wanted.after)):
            scores, times, told = drawn(tree, question, wanted.permutations, 100, wanted.seeds)
            error, time = np.mean((scores - long[0]) ** 2), float(np.median(times))
            first = first or error * time
            lines.append(
                f"| {question[0]}, {question[1]} | {name} | {np.sqrt(error) / size:.3f} | "
                f"{np.sqrt(told.mean()) / size:.3f} | {time:.2f} | {error * time / first:.3f} |"
            )
            print(lines[-1], flush=True)
    if wanted.write:
        text = [
            "## Precision for the time it takes",
            "",
            f"`python benchmarks/sampling.py BEFORE AFTER --write`: Shapley values of "
            f"{wanted.permutations} permutations, mean of {wanted.seeds} seeds, against a run of "
            f"{wanted.reference:,}. CPU seconds on one thread. Other work ran on the machine.",
            "",
            *lines,
        ]
        Path(__file__).with_name("SAMPLING_RESULTS.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
