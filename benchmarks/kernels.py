"""CPU seconds of the compiled loops in two source trees, run in turn.

Run ``python benchmarks/kernels.py BEFORE AFTER`` with two checkouts and the data sets at
``WHENCE_DATA`` or ``../shared/data``. Every round runs each tree once, in a process of its own
and on one thread; of each measurement the least and the median over all rounds and repetitions
are printed, and whether the values have the same bits. ``--write`` puts the table into
``benchmarks/KERNEL_RESULTS.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))


def values_of(model, metric):
    """A function that gives the value of a metric for each query."""
    import whence

    def values(queries):
        return whence.evaluate(model, queries, metric, threads=1).per_query[metric].to_numpy()

    return values


def part(queries):
    """Every fourth query: as many as are needed to see a difference."""
    import numpy as np

    return queries.take(np.arange(0, len(queries), 4))


def sessions():
    """Queries of the RSC15 sample, and measurements: a function of queries that gives an array."""
    import whence

    folder = DATA / "rsc15-100k"
    train = whence.read_interactions(folder / "train.csv")
    valid = whence.read_interactions(folder / "valid.csv")
    listed = set((folder / "sustainable.csv").read_text().split()[1:])
    items = train.frame["item_id"].unique().to_list()
    sustainable = [item for item in items if str(item) in listed]
    model = whence.VMISKNN(k=100, m=500).fit(train)
    queries = part(whence.make_queries(model, valid))
    fixed = {"tolerance": 0, "allocation": "uniform", "threads": 1}

    def scores(method):
        return lambda queries: method.attribute(model, queries).scores

    def sampled(kind, metric, permutations, **options):
        return scores(kind(metric, max_permutations=permutations, **fixed, **options))

    return queries, {
        "evaluate, mrr@20": values_of(model, "mrr@20"),
        "Shapley, mrr@20": sampled(whence.Shapley, "mrr@20", 40),
        "Shapley, ndcg@20": sampled(whence.Shapley, "ndcg@20", 20),
        "Shapley, map@20": sampled(whence.Shapley, "map@20", 20),
        "Shapley, sustainablemrr@20": sampled(
            whence.Shapley, "sustainablemrr@20", 10, sustainable_items=sustainable
        ),
        "Shapley, mrr@20, all candidates": sampled(
            whence.Shapley, "mrr@20", 4, candidates="all", exact=0
        ),
        "Beta Shapley, mrr@20": sampled(whence.BetaShapley, "mrr@20", 40),
        "Banzhaf, mrr@20": sampled(whence.Banzhaf, "mrr@20", 4),
        "leave-one-out, sessions": scores(whence.LeaveOneOut("mrr@20", threads=1)),
        "leave-one-out, items": scores(whence.LeaveOneOut("mrr@20", by="item", threads=1)),
        "leave-one-out, clicks": scores(whence.LeaveOneOut("mrr@20", by="interaction", threads=1)),
    }


def baskets():
    """Queries of the TaFeng sample, and measurements."""
    import whence

    folder = DATA / "tafeng-1k"
    train = whence.read_interactions(folder / "train.csv")
    valid = whence.read_interactions(folder / "valid.csv")
    model = whence.TIFUKNN().fit(train)
    near = whence.TIFUKNN(similarity="euclidean").fit(train)
    queries = part(whence.make_queries(model, valid))
    fixed = {"tolerance": 0, "allocation": "uniform", "threads": 1}

    def scores(method, of=model):
        return lambda queries: method.attribute(of, queries).scores

    def sampled(kind, permutations, **options):
        return scores(kind("ndcg@20", max_permutations=permutations, **fixed, **options))

    return queries, {
        "evaluate, ndcg@20": values_of(model, "ndcg@20"),
        "Shapley, ndcg@20": sampled(whence.Shapley, 40),
        "Shapley, ndcg@20, users as players": sampled(whence.Shapley, 20, own="player"),
        "Beta Shapley, ndcg@20": sampled(whence.BetaShapley, 40),
        "Banzhaf, ndcg@20": sampled(whence.Banzhaf, 4),
        "leave-one-out, users": scores(whence.LeaveOneOut("ndcg@20", threads=1)),
        "leave-one-out, items": scores(whence.LeaveOneOut("ndcg@20", by="item", threads=1)),
        "leave-one-out, items, euclidean": scores(
            whence.LeaveOneOut("ndcg@20", by="item", threads=1), near
        ),
        "leave-one-out, interactions": scores(
            whence.LeaveOneOut("ndcg@20", by="interaction", threads=1)
        ),
    }


SETS = {"RSC15": sessions, "TaFeng": baskets}


def measure(only, match, repeats):
    """Seconds of each measurement, and a digest of what it gave."""
    facts = {}
    for data, make in SETS.items():
        if not any(wanted in data for wanted in only):
            continue
        queries, works = make()
        for name, work in works.items():
            if match not in name:
                continue
            work(queries.block(0, 8))  # loading is not counted
            seconds = []
            for _ in range(repeats):
                start = time.process_time()
                values = work(queries)
                seconds.append(time.process_time() - start)
            digest = hashlib.sha256(values.tobytes()).hexdigest()[:16]
            facts[f"{data}: {name}"] = (seconds, digest)
    return facts


COLD = {
    "RSC15: first Shapley of a process": (
        "f = {data!r} + '/rsc15-100k';"
        "m = whence.VMISKNN(k=100, m=500).fit(whence.read_interactions(f + '/train.csv'));"
        "v = whence.read_interactions(f + '/valid.csv');"
        "whence.Shapley(tolerance=0.2, threads=1).attribute(m, v)"
    ),
    "TaFeng: first Shapley of a process": (
        "f = {data!r} + '/tafeng-1k';"
        "m = whence.TIFUKNN().fit(whence.read_interactions(f + '/train.csv'));"
        "v = whence.read_interactions(f + '/valid.csv');"
        "whence.Shapley('ndcg@20', tolerance=0.2, threads=1).attribute(m, v)"
    ),
    "RSC15: first leave-one-out of a process": (
        "f = {data!r} + '/rsc15-100k';"
        "m = whence.VMISKNN(k=100, m=500).fit(whence.read_interactions(f + '/train.csv'));"
        "v = whence.read_interactions(f + '/valid.csv');"
        "whence.LeaveOneOut(threads=1).attribute(m, v)"
    ),
}


def environment(tree, **more):
    return {
        **os.environ,
        **more,
        "PYTHONPATH": str(Path(tree).resolve() / "src"),
        "POLARS_MAX_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "WHENCE_DATA": str(DATA),
    }


def cold(tree, code):
    """CPU seconds of a process; one of 0.1.0 finds nothing compiled."""
    with tempfile.TemporaryDirectory() as cache:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        program = "import whence;" + code.format(data=str(DATA))
        here = environment(tree, NUMBA_CACHE_DIR=cache)
        subprocess.run([sys.executable, "-c", program], check=True, env=here)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(arguments):
    trees = {"before": arguments.trees[0], "after": arguments.trees[1]}
    seconds = {which: {} for which in trees}
    digests = {which: {} for which in trees}
    for _ in range(arguments.rounds):
        for which, tree in trees.items():
            command = [sys.executable, __file__, "--measure", *arguments.only]
            command += ["--match", arguments.match, "--repeats", str(arguments.repeats)]
            here = environment(tree)
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=here).stdout
            for name, (times, digest) in json.loads(output.splitlines()[-1]).items():
                seconds[which].setdefault(name, []).extend(times)
                digests[which][name] = digest
            print(which, json.dumps(seconds[which]), file=sys.stderr, flush=True)
    for name, code in COLD.items():
        if any(wanted in name for wanted in arguments.only):
            for _ in range(arguments.cold):
                for which, tree in trees.items():
                    seconds[which].setdefault(name, []).append(cold(tree, code))
                    print(which, name, seconds[which][name][-1], file=sys.stderr, flush=True)
    return seconds, digests


def table(seconds, digests):
    lines = [
        "| what | least before | after | | median before | after | | same bits |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, before in seconds["before"].items():
        after = seconds["after"][name]
        cells = [name]
        for of in (min, statistics.median):
            change = of(after) / of(before) - 1
            cells += [f"{of(before):.3f}", f"{of(after):.3f}", f"{change:+.1%}"]
        same = digests["before"].get(name) == digests["after"].get(name)
        cells.append("" if name not in digests["before"] else "yes" if same else "no")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trees", nargs="*", metavar="TREE", help="two checkouts of Whence")
    parser.add_argument("--measure", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--match", default="", help="only measurements with this in their name")
    parser.add_argument("--rounds", type=int, default=4, help="processes of each tree")
    parser.add_argument("--repeats", type=int, default=3, help="measurements in each process")
    parser.add_argument("--cold", type=int, default=3, help="processes of the first values")
    parser.add_argument("--write", action="store_true", help="write KERNEL_RESULTS.md")
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure, arguments.match, arguments.repeats)))
        return
    if len(arguments.trees) != 2:
        parser.error("give two checkouts: the one before and the one after a change")
    lines = table(*compare(arguments))
    print("\n".join(lines))
    if arguments.write:
        import numpy

        text = [
            "## Compiled loops, before and after",
            "",
            "`python benchmarks/kernels.py BEFORE AFTER --write`, where BEFORE is a checkout of "
            "0.1.0 and AFTER one of this version. CPU seconds on one thread, processes of both in "
            f"turn: {arguments.rounds} of each with {arguments.repeats} measurements in each, and "
            f"{arguments.cold} of the first values of a process, where 0.1.0 compiles. Other "
            f"work ran on the machine. NumPy {numpy.__version__}.",
            "",
            *lines,
        ]
        Path(__file__).with_name("KERNEL_RESULTS.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
