"""Time and precision of the valuation of training data in sequential kNN recommenders.

Run ``python benchmarks/knn_valuation.py`` with the data sets at ``WHENCE_DATA`` or
``../shared/data``; it prints tables, of which ``benchmarks/RESULTS.md`` is put together.
``--illoominate PYTHON`` names an interpreter that has Illoominate installed, which is then timed
beside Whence. Wall and CPU seconds are medians; on a busy machine trust CPU seconds and ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import whence

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("WHENCE_DATA", ROOT.parent / "shared" / "data"))
METRICS = [
    "mrr@20", "hitrate@20", "precision@20", "recall@20", "f1@20", "ndcg@20", "map@20", "st@20",
    "sustainablemrr@20", "sustainablendcg@20",
]  # fmt: skip


def timed(work, runs=3):
    """Median wall and CPU seconds after one run that is not counted."""
    result = work()
    walls, cpus = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return result, statistics.median(walls), statistics.median(cpus)


def rsc15():
    folder = DATA / "rsc15-100k"
    train = whence.read_interactions(folder / "train.csv")
    valid = whence.read_interactions(folder / "valid.csv")
    items = whence.read_interactions(folder / "train.csv").frame["item_id"].unique()
    listed = set(Path(folder / "sustainable.csv").read_text().split()[1:])
    sustainable = [item for item in items.to_list() if str(item) in listed]
    return whence.VMISKNN(k=100, m=500).fit(train), valid, sustainable


def tafeng():
    folder = DATA / "tafeng-1k"
    train = whence.read_interactions(folder / "train.csv")
    return whence.TIFUKNN().fit(train), whence.read_interactions(folder / "valid.csv")


def speed(rows):
    model, valid, sustainable = rsc15()
    fixed = {"tolerance": 0, "max_permutations": 100, "allocation": "uniform"}
    _, wall, cpu = timed(lambda: whence.evaluate(model, valid, "mrr@20"))
    rows.append(("RSC15, evaluate", "mrr@20", wall, cpu, ""))
    for metric in METRICS:
        method = whence.Shapley(metric, sustainable_items=sustainable, **fixed)
        _, wall, cpu = timed(lambda method=method: method.attribute(model, valid))
        rows.append(("RSC15, Shapley, 100 permutations of all queries", metric, wall, cpu, ""))
    method = whence.Shapley("mrr@20", tolerance=0.1, max_permutations=100_000)
    values, wall, cpu = timed(lambda: method.attribute(model, valid))
    note = f"{values.metadata['mean_permutations']:.0f} permutations of a query on average"
    rows.append(("RSC15, Shapley to 10% standard error", "mrr@20", wall, cpu, note))
    loo = whence.LeaveOneOut("mrr@20")
    _, wall, cpu = timed(lambda: loo.attribute(model, valid), runs=7)
    rows.append(("RSC15, leave-one-out", "mrr@20", wall, cpu, ""))
    model, valid = tafeng()
    _, wall, cpu = timed(lambda: whence.evaluate(model, valid, "ndcg@20"))
    rows.append(("TaFeng, evaluate", "ndcg@20", wall, cpu, ""))
    method = whence.Shapley("ndcg@20", **fixed)
    _, wall, cpu = timed(lambda: method.attribute(model, valid))
    rows.append(("TaFeng, Shapley, 100 permutations of all users", "ndcg@20", wall, cpu, ""))
    method = whence.Shapley("ndcg@20", tolerance=0.1, max_permutations=100_000)
    values, wall, cpu = timed(lambda: method.attribute(model, valid))
    note = f"{values.metadata['mean_permutations']:.0f} permutations of a user on average"
    rows.append(("TaFeng, Shapley to 10% standard error", "ndcg@20", wall, cpu, note))
    loo = whence.LeaveOneOut("ndcg@20")
    _, wall, cpu = timed(lambda: loo.attribute(model, valid), runs=7)
    rows.append(("TaFeng, leave-one-out", "ndcg@20", wall, cpu, ""))


def shared_permutations(model, valid, n, seed):
    """KMC-Shapley's sampling by Whence's kernels: the same permutation for every query."""
    from whence.valuation import rounds
    from whence.valuation.families import make_games

    method = whence.Shapley("mrr@20", seed=seed, antithetic=False)
    question = method._ask(model, valid, None)
    games = make_games(model, question.queries, question.metric, "fixed", "Shapley")
    table = games.weigh(method, method.exact)
    estimate = rounds.Estimate.nothing(len(question.sources), len(question.queries))
    plan = method._plan(question, fresh=True)._replace(shared=True)
    units = np.full(len(question.queries), n // games.readings)
    sampler = rounds.Sampler(games, table, question.run)
    return sampler.draw(plan, estimate, units, None).values[:, 0]


def precision(lines):
    """Mean squared error against a long run, at the cost of 100 permutations of all queries."""
    model, valid, _ = rsc15()
    long = whence.Shapley("mrr@20", tolerance=0, max_permutations=10_000, seed=1)
    reference = long.attribute(model, valid)
    size = np.abs(reference.scores).mean()
    lines += [
        "",
        "## Precision at equal permutations",
        "",
        "RSC15, mrr@20, budget of 100 permutations of all queries; against a reference of 10,000 "
        f"(its own standard error is {reference.metadata['relative_error']:.1%} of the mean "
        "|value|). Root-mean-square error over the mean |value|, mean of 4 seeds.",
        "",
        "| sampling | RMS error / mean abs. value | MSE, shared = 1 | wall s | CPU s |",
        "|---|---|---|---|---|",
    ]
    options = {"tolerance": 0, "max_permutations": 100}
    schemes = {
        "one permutation shared by all queries (KMC-Shapley)": None,
        "independent for each query": {"antithetic": False, "allocation": "uniform"},
        "+ antithetic": {"antithetic": True, "allocation": "uniform"},
        "+ budget by variance (the default)": {"antithetic": True, "allocation": "variance"},
    }
    first = None
    for name, chosen in schemes.items():
        errors, walls, cpus = [], [], []
        for seed in range(11, 15):
            wall, cpu = time.perf_counter(), time.process_time()
            if chosen is None:
                scores = shared_permutations(model, valid, 100, seed)
            else:
                method = whence.Shapley("mrr@20", seed=seed, **options, **chosen)
                scores = method.attribute(model, valid).scores
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
            errors.append(np.mean((scores - reference.scores) ** 2))
        error = float(np.mean(errors))
        first = first or error
        lines.append(
            f"| {name} | {np.sqrt(error) / size:.3f} | {error / first:.3f} | "
            f"{np.median(walls):.2f} | {np.median(cpus):.2f} |"
        )


def diginetica(lines):
    """The whole data set, in a process of its own for its memory; linear in the queries."""
    lines += [
        "",
        "## Diginetica, whole",
        "",
        "186,670 training sessions, m = 500, k = 100, mrr@20; queries: first sessions of the "
        "test set, all prefixes.",
        "",
        "| test sessions | queries | Shapley to 10%: wall s | CPU s | leave-one-out: wall s | CPU s"
        " | peak memory MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for part in (4_000, 8_000, 15_963):
        facts = in_own_process("diginetica_part", part)
        lines.append(
            f"| {part:,} | {facts['queries']:,} | {facts['shapley'][0]:.1f} | "
            f"{facts['shapley'][1]:.1f} | {facts['loo'][0]:.1f} | {facts['loo'][1]:.1f} | "
            f"{facts['memory']:.0f} |"
        )


def diginetica_part(n_sessions):
    folder = DATA / "diginetica"
    train = whence.read_interactions(folder / "train_sessions.txt.gz")
    test = whence.read_interactions(folder / "test_sessions.txt.gz")
    test = test.keep_sources(np.arange(test.n_sources) < int(n_sessions))
    model = whence.VMISKNN(k=100, m=500).fit(train)
    queries = whence.make_queries(model, test)
    warm = whence.make_queries(model, test.keep_sources(np.arange(test.n_sources) < 50))
    facts = {"queries": len(queries)}
    for name, method in (
        ("shapley", whence.Shapley("mrr@20", tolerance=0.1, max_permutations=100_000)),
        ("loo", whence.LeaveOneOut("mrr@20")),
    ):
        method.attribute(model, warm)
        wall, cpu = time.perf_counter(), time.process_time()
        values = method.attribute(model, queries)
        facts[name] = (time.perf_counter() - wall, time.process_time() - cpu)
        facts[name + "_error"] = values.metadata["relative_error"]
    facts["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return facts


def error_by_work(lines):
    """Mean error and CPU seconds of small samples, on one thread, against a long run."""
    model, valid, _ = rsc15()
    options = {"tolerance": 0, "threads": 1}
    long = whence.Shapley("mrr@20", max_permutations=10_000, seed=1, **options)
    reference = long.attribute(model, valid).scores
    size = np.abs(reference).mean()
    lines += [
        "",
        "## Error by work",
        "",
        "RSC15, mrr@20, one thread, against 10,000 permutations; mean of 4 seeds.",
        "",
        "| permutations of a query, on average | mean error / mean abs. value | RMS error / mean "
        "abs. value | CPU s |",
        "|---|---|---|---|",
    ]
    for most in (16, 32, 64, 100):
        off, cpus = [], []
        for seed in range(11, 15):
            cpu = time.process_time()
            method = whence.Shapley("mrr@20", max_permutations=most, seed=seed, **options)
            values = method.attribute(model, valid)
            cpus.append(time.process_time() - cpu)
            off.append((values.scores - reference) / size)
        mean = np.mean(np.abs(off), axis=1).mean()
        root = np.sqrt(np.mean(np.square(off), axis=1)).mean()
        lines.append(
            f"| {values.metadata['mean_permutations']:.0f} | {mean:.3f} | {root:.3f} | "
            f"{np.median(cpus):.2f} |"
        )


def memory_of_threads(lines):
    """Peak memory and CPU seconds of values on 1 and on 32 threads, each in its own process."""
    lines += [
        "",
        "## Memory by threads",
        "",
        "A million generated clicks like Diginetica's, 20,000 more for the queries; the most "
        "that the process holds while it values, data and index included.",
        "",
        "| values | threads | MB | CPU s |",
        "|---|---|---|---|",
    ]
    for name in ("LeaveOneOut", "Shapley"):
        for threads in (1, 32):
            facts = in_own_process("memory_part", f"{name}:{threads}")
            lines.append(f"| {name} | {threads} | {facts['memory']:.0f} | {facts['cpu']:.2f} |")


def memory_part(asked):
    name, threads = asked.split(":")
    clicks = whence.generate("diginetica", 1_020_000, seed=1).frame
    late = clicks[1_000_000:]["session_id"].unique().implode()
    is_late = clicks["session_id"].is_in(late)
    model = whence.VMISKNN(k=100, m=500).fit(clicks.filter(~is_late))
    queries = whence.make_queries(model, clicks.filter(is_late))
    options = {"tolerance": 0, "max_permutations": 20} if name == "Shapley" else {}
    method = getattr(whence, name)("mrr@20", threads=int(threads), **options)
    method.attribute(model, queries.take(np.arange(10)))
    del clicks, is_late
    Path("/proc/self/clear_refs").write_text("5")  # what was held before does not count
    cpu = time.process_time()
    method.attribute(model, queries)
    cpu = time.process_time() - cpu
    status = Path("/proc/self/status").read_text()
    return {"memory": int(status.split("VmHWM:")[1].split()[0]) / 1024, "cpu": cpu}


def cold_start(lines):
    """First and second process on the RSC15 sample, imports and reading included."""
    code = (
        "import whence, time; t = time.perf_counter();"
        f"f = {str(DATA / 'rsc15-100k')!r};"
        "m = whence.VMISKNN(k=100, m=500).fit(whence.read_interactions(f + '/train.csv'));"
        "v = whence.read_interactions(f + '/valid.csv');"
        "whence.{method}.attribute(m, v)"
    )
    lines += ["", "## Starting up", "", "| process | wall s |", "|---|---|"]
    for title, method in (
        ("Shapley to 20% standard error", "Shapley(tolerance=0.2)"),
        ("leave-one-out", "LeaveOneOut()"),
    ):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code.replace("{method}", method)], check=True)
        lines.append(f"| {title} | {time.perf_counter() - start:.1f} |")


def peer(lines, interpreter):
    """Illoominate on the same data, in its own interpreter, by the same clock."""
    lines += [
        "",
        "## Illoominate beside it",
        "",
        "The same data and parameters; its Shapley values always take at least 100 permutations "
        "after a random score, so its time per permutation is (whole time) / 100 at most.",
        "",
        "| what | wall s | CPU s |",
        "|---|---|---|",
    ]
    script = Path(__file__).with_name("illoominate_timing.py")
    output = subprocess.run(
        [interpreter, str(script), str(DATA)], check=True, capture_output=True, text=True
    ).stdout
    for line in output.splitlines():
        if line.startswith("{"):
            facts = json.loads(line)
            lines.append(f"| {facts['what']} | {facts['wall']:.2f} | {facts['cpu']:.2f} |")


def in_own_process(function, argument):
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]);"
        "import knn_valuation as k; print(json.dumps(getattr(k, sys.argv[2])(sys.argv[3])))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), function, str(argument)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def machine():
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    import polars

    return (
        f"{model}, {len(os.sched_getaffinity(0))} threads, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, Polars {polars.__version__}, "
        f"Whence {whence.__version__}."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--illoominate", metavar="PYTHON", help="interpreter with Illoominate")
    parts = ["speed", "precision", "error", "memory", "diginetica", "cold", "peer"]
    parser.add_argument("--only", nargs="*", choices=parts)
    arguments = parser.parse_args()
    chosen = arguments.only or parts
    lines = ["# Results", "", machine(), ""]
    if "speed" in chosen:
        rows: list = []
        speed(rows)
        lines += ["## Speed", "", "| what | metric | wall s | CPU s | |"]
        lines += ["|---|---|---|---|---|"]
        lines += [f"| {w} | {m} | {a:.3f} | {b:.3f} | {n} |" for w, m, a, b, n in rows]
    if "precision" in chosen:
        precision(lines)
    if "error" in chosen:
        error_by_work(lines)
    if "memory" in chosen:
        memory_of_threads(lines)
    if "diginetica" in chosen:
        diginetica(lines)
    if "cold" in chosen:
        cold_start(lines)
    if "peer" in chosen and arguments.illoominate:
        peer(lines, arguments.illoominate)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
