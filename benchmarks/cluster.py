"""What Ray costs and gains: time by 1 and 2 workers and by threads, memory of a further worker.

    python benchmarks/cluster.py [--sessions 20000] [--queries 4000] [--permutations 20]

Data Shapley values of VMIS-kNN on generated sessions, at a fixed number of permutations, so that
every run does the same work; the values are compared bit for bit. Times are of the second of two
runs, when processes and their modules are there. Processor seconds are of this process and of
Ray's workers together, and, as what a machine that does nothing else would take at least, of
this process and the worker with the most to do.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import whence
from whence.engines import Run
from whence.engines._sending import pack
from whence.engines.cluster import RayCluster  # noqa: F401 (which registers the engine)


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=4_000)
    parser.add_argument("--permutations", type=int, default=20)
    given = parser.parse_args()
    data = whence.make_sessions(
        n_sessions=given.sessions, n_validation=given.queries, n_items=5000, seed=1
    )
    model = whence.VMISKNN(k=100, m=500).fit(data.train)
    method = whence.Shapley(
        "mrr@20", tolerance=0, max_permutations=given.permutations, allocation="uniform", exact=0
    )
    print(f"{data.train.n_rows:,} clicks, {given.queries:,} sessions to be valued by")
    print("| worked by | seconds | processor seconds | in a row | MB of each worker alone |")
    print("|---|---|---|---|---|")
    values = []
    for name, run, workers in (
        ("1 thread", Run(threads=1), 0),
        ("2 threads", Run(threads=2), 0),
        ("Ray, 1 worker of 1 thread", Run(threads=1, engine="ray"), 1),
        ("Ray, 2 workers of 1 thread", Run(threads=1, engine="ray"), 2),
        ("Ray, 1 worker of 2 threads", Run(threads=2, engine="ray"), 2),
    ):
        if workers:
            _start(workers)
        found = _timed(lambda run=run: method.attribute(model, data.validation, run=run))
        seconds, here, others, result = found
        values.append(result.scores.tobytes())
        own = ", ".join(f"{one:.0f}" for one in _own_memory()) if workers else ""
        longest = here + max(others, default=0.0)
        print(
            f"| {name} | {seconds:.1f} | {here + sum(others):.2f} | {longest:.2f} | {own} |",
            flush=True,
        )
    print("The same bits:", len(set(values)) == 1)
    _sizes(model, data, method)


def _start(processors: int) -> None:
    """Ray on this machine, with so many processors."""
    from whence.engines import _connection as connections

    connections.disconnect()
    connections.thread_count = lambda threads: processors  # instead of all that there are
    connections.connected(None)


def _timed(work) -> tuple[float, float, list[float], whence.Attribution]:
    """Seconds, processor seconds of this process and of each worker, and the result."""
    work()
    began, here, others = time.perf_counter(), time.process_time(), _processor_seconds()
    found = work()
    seconds, here = time.perf_counter() - began, time.process_time() - here
    now = _processor_seconds()
    return seconds, here, [now[one] - others.get(one, 0.0) for one in now], found


def _workers() -> list[Path]:
    """Of /proc, the processes of Ray's workers."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if words.startswith((b"ray::ask", b"ray::IDLE")):
            found.append(place)
    return found


def _processor_seconds() -> dict[Path, float]:
    found = {}
    for place in _workers():
        fields = (place / "stat").read_text().rsplit(")", 1)[1].split()
        found[place] = (int(fields[11]) + int(fields[12])) / 100
    return found


def _own_memory() -> list[float]:
    """MB that each worker has for itself alone: what is shared with others is not its own."""
    found = []
    for place in _workers():
        lines = (place / "smaps_rollup").read_text().splitlines()
        sizes = {line.split(":")[0]: line.split() for line in lines[1:]}
        found.append(sum(int(sizes[name][1]) for name in ("Private_Clean", "Private_Dirty")) / 1024)
    return sorted(found)


def _sizes(model, data, method) -> None:
    """What is sent to each node once, and what comes back."""
    from whence.evaluation import make_queries, parse_metric
    from whence.valuation.families import make_games

    queries = make_queries(model, data.validation)
    games = make_games(model, queries, parse_metric("mrr@20"), "fixed", "Shapley")
    sent = sum(len(one) for one in pack(games))
    n = data.train.n_sources
    print(f"sent to each node: {sent / 1e6:.1f} MB, {sent / data.train.n_rows:.0f} bytes a click")
    print(f"from each shard: {n * 56 / 1e6:.2f} MB of sums at most ({n:,} sessions)")
    print(f"queries: {len(queries):,}, {np.diff(queries.history_start).mean():.1f} clicks long")


if __name__ == "__main__":
    main()
