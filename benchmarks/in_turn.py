"""Compare two versions of Whence, source tree against source tree, in turn in one run.

    python benchmarks/in_turn.py BEFORE AFTER DATA [--rounds 5] [--only NAME ...]

BEFORE and AFTER are checkouts; DATA is the folder of the public data sets. Each measurement is a
process of its own that does the work once to warm up (compiled kernels are kept on disk) and then
`--repeats` times; its figure is the least CPU time of these. The versions take turns, so that what
else runs on the machine meets both. Printed are the least and the median figure of each version
and the ratio of the least ones.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

PRELUDE = """
import sys, time, warnings
warnings.simplefilter("ignore")
import whence
data, repeats = sys.argv[1], int(sys.argv[2])
def clicks(n=None):
    train = whence.read_interactions(data + "/rsc15-100k/train.csv")
    valid = whence.read_interactions(data + "/rsc15-100k/valid.csv")
    if n is not None:
        keep = set(train.vocabulary.sources.to_list()[:n])
        frame = train.frame
        import polars as pl
        train = whence.Interactions.from_frame(
            frame.filter(pl.col(train.columns.source).is_in(list(keep))))
    return train, valid
def films():
    rows = whence.read_interactions(data + "/ml-100k/ml-100k.inter")
    return whence.split_leave_one_out(rows)[:2]
def baskets():
    folder = data + "/tafeng-1k/"
    return [whence.read_interactions(folder + name) for name in ("train.csv", "valid.csv")]
def listed(train):
    with open(data + "/rsc15-100k/sustainable.csv") as file:
        wanted = set(file.read().split()[1:])
    return [item for item in train.vocabulary.items.to_list() if str(item) in wanted]
FIXED = dict(tolerance=0, max_permutations=100, allocation="uniform", threads=1)
"""
MEASURE = """
work()
times = []
for _ in range(repeats):
    began = time.process_time()
    work()
    times.append(time.process_time() - began)
print(min(times))
"""
VALUES = """
train, valid = clicks()
model = whence.VMISKNN(k=100, m=500).fit(train)
queries = whence.make_queries(model, valid)
method = {method}
def work(): method.attribute(model, queries)
"""
SHAPLEY = "whence.Shapley('{metric}@20', **FIXED)"
SUSTAINABLE = "whence.Shapley('{metric}@20', sustainable_items=listed(train), **FIXED)"
TASKS = {
    **{
        f"100 permutations of RSC15, {metric}": VALUES.format(
            method=(SUSTAINABLE if metric[:2] in ("st", "su") else SHAPLEY).format(metric=metric)
        )
        for metric in (
            "mrr",
            "hitrate",
            "precision",
            "recall",
            "f1",
            "ndcg",
            "map",
            "st",
            "sustainablemrr",
            "sustainablendcg",
        )
    },
    "leave-one-out of RSC15, mrr": VALUES.format(method="whence.LeaveOneOut('mrr@20', threads=1)"),
    **{
        f"{name} of Ta-Feng, ndcg": VALUES.replace("clicks()", "baskets()")
        .replace("VMISKNN(k=100, m=500)", "TIFUKNN()")
        .format(method=method)
        for name, method in (
            ("100 permutations", SHAPLEY.format(metric="ndcg")),
            ("leave-one-out", "whence.LeaveOneOut('ndcg@20', threads=1)"),
        )
    },
    "read and index RSC15": "def work(): whence.VMISKNN(k=100, m=500).fit(clicks()[0])",
    "evaluate VMIS": """
train, valid = clicks()
model = whence.VMISKNN(k=100, m=500).fit(train)
queries = whence.make_queries(model, valid)
def work(): whence.evaluate(model, queries, ["mrr@20", "ndcg@20"])
""",
    "train GRU4Rec, an epoch": """
train, valid = clicks(3000)
def work(): whence.GRU4Rec(epochs=1, seed=1).fit(train)
""",
    "train BPRMF, two epochs": """
train, valid = films()
def work(): whence.BPRMF(epochs=2, seed=1).fit(train)
""",
    "TracIn, summed": """
train, valid = clicks(3000)
model = whence.LSTMRec(embedding_dim=32, hidden_dim=32, epochs=2, seed=1).fit(train, checkpoints=1)
queries = whence.make_queries(model, valid).take(range(100))
def work(): whence.TracIn(threads=1).attribute(model, queries)
""",
    "TracIn, lists of 100 queries": """
train, valid = clicks(3000)
model = whence.LSTMRec(embedding_dim=32, hidden_dim=32, epochs=2, seed=1).fit(train, checkpoints=1)
queries = whence.make_queries(model, valid).take(range(100))
def work(): whence.TracIn(threads=1).per_query(model, queries, n=10)
""",
    "influence by conjugate gradients": """
train, valid = films()
model = whence.to_optimum(whence.BiasedMF(embedding_dim=8, weight_decay=2e-4, epochs=3).fit(train))
def work(): whence.InfluenceFunction(solver="cg", threads=1).attribute(model, valid)
""",
    "explain 200 histories": """
train, valid = clicks(3000)
model = whence.GRU4Rec(epochs=1, seed=1).fit(train)
known = set(model.vocabulary.items.to_list())
sessions = valid.frame.group_by(valid.columns.source, maintain_order=True).agg(valid.columns.item)
found = [[i for i in items if i in known] for items in sessions[valid.columns.item].to_list()]
histories = [items for items in found if 3 <= len(items) <= 10][:200]
def work(): whence.explain_many(model, histories, threads=1)
""",
}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="parts of the names of the measurements")
    wanted = parser.parse_args()
    print("| what | before, least (median) | after, least (median) | after / before |")
    print("|---|---|---|---|")
    for name, task in TASKS.items():
        if wanted.only and not any(part in name for part in wanted.only):
            continue
        found: dict[Path, list[float]] = {wanted.before: [], wanted.after: []}
        for number in range(wanted.rounds):
            order = list(found) if number % 2 == 0 else list(found)[::-1]
            for tree in order:
                found[tree].append(measured(tree, task, wanted.data, wanted.repeats))
        cells = [f"{min(times):.3f} s ({statistics.median(times):.3f})" for times in found.values()]
        ratio = min(found[wanted.after]) / min(found[wanted.before])
        print(f"| {name} | {cells[0]} | {cells[1]} | {ratio:.2f} |", flush=True)


def measured(tree: Path, task: str, data: Path, repeats: int) -> float:
    """CPU seconds of one task in a process of its own."""
    environment = {
        **os.environ, "PYTHONPATH": str(tree.resolve() / "src"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-c", PRELUDE + task + MEASURE, str(data), str(repeats)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
