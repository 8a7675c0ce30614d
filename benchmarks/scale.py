"""How time and memory grow with the clicks and with the queries: generated data, and Diginetica.

    python benchmarks/scale.py FOLDER [--sizes 1e6 1e7 3e7] [--tenth 1e6 1e7]
    python benchmarks/scale.py FOLDER --write

FOLDER keeps the generated files and what is measured, a line each in ``scale.jsonl``; what is
there is not measured again, so that it can be broken off. Every measurement is a process of its
own: its CPU seconds, and the most memory that it held. Diginetica is read from ``WHENCE_DATA`` or
``../shared/data`` where it is there. ``--write`` puts the tables into
``benchmarks/SCALE_RESULTS.md`` and the plot into ``docs/images/scale.png``.
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
DIGINETICA = "diginetica"
TASKS = ("whole", "queries", "tenth")
QUERIES = (3_125, 6_250, 12_500, 25_000, 50_000, 100_000)
FEWEST = 12_500  # from which slopes are taken
N_LEFT_OUT = 100_000  # queries of the leave-one-out values, and of those to 10%
N_VALIDATION = 140_000  # clicks, of which come 100,000 queries and more
PIECE = 540  # seconds of wall clock after which sampling is broken off, to go on
K, M = 100, 500


def generated(folder, size):
    """Files of training and validation clicks."""
    import polars as pl

    import whence

    train, valid = folder / f"train-{size}.parquet", folder / f"valid-{size}.parquet"
    if not valid.exists():
        whole = folder / f"whole-{size}.parquet"
        whence.generate_file(whole, "diginetica", size + N_VALIDATION, seed=1, overwrite=True)
        rows = pl.scan_parquet(whole).with_row_index("row")
        # The last sessions are the validation, whole.
        late = rows.filter(pl.col("row") >= size).select(pl.col("session_id").unique())
        late = late.collect()["session_id"].implode()
        last = pl.col("session_id").is_in(late)
        rows.filter(~last).drop("row").sink_parquet(train)
        rows.filter(last).drop("row").sink_parquet(valid)
        whole.unlink()
    return train, valid


def files_of(folder, name):
    """Training and validation clicks of a data set."""
    if name == DIGINETICA:
        return DATA / "diginetica/train_sessions.txt.gz", DATA / "diginetica/test_sessions.txt.gz"
    return generated(folder, int(name))


def resident():
    """Bytes that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Clock:
    """Notes CPU seconds, wall seconds and memory of what is done in between."""

    def __init__(self):
        self.found = {}
        self.again()

    def again(self):
        """Begin anew."""
        self.began = time.process_time(), time.monotonic()

    def note(self, name):
        """Note what was used since the last note."""
        cpu, wall = time.process_time() - self.began[0], time.monotonic() - self.began[1]
        self.found[name] = {"cpu": cpu, "wall": wall, "resident": resident()}
        self.again()


def warmed():
    """Whence, loaded whole."""
    import whence

    data = whence.make_sessions(60, n_validation=20, n_test=2, n_items=120, seed=1)
    model = whence.VMISKNN(k=K, m=M).fit(data.train)
    whence.evaluate(model, data.validation, "mrr@20")
    whence.LeaveOneOut("mrr@20").attribute(model, data.validation)
    whence.Shapley("mrr@20", exact=2).attribute(model, data.validation)
    return whence


def some(queries, n):
    """The first queries, of the sizes that are asked."""
    import numpy as np

    return queries.take(np.arange(min(n, len(queries))))


def measure(folder, name, task, threads):
    """Do one task; print what it took as JSON."""
    import warnings

    warnings.simplefilter("ignore")
    whence = warmed()
    train, valid = files_of(folder, name)
    clock, base = Clock(), resident()
    data = whence.read_interactions(train, side_tables=False)
    clock.note("read")
    model = whence.VMISKNN(k=K, m=M).fit(data)
    clock.note("fit")
    queries = whence.make_queries(model, whence.read_interactions(valid))
    found = clock.found
    facts = {"clicks": data.n_rows, "sources": data.n_sources, "items": data.n_items}
    facts["n_queries"] = len(queries)
    clock.note("queries")
    run = whence.Run(threads=threads)
    if task == "whole":
        result = whence.evaluate(model, some(queries, 10_000), "mrr@20", threads=threads)
        facts["mrr"] = float(result)
        clock.note("evaluate")
        whence.LeaveOneOut("mrr@20").attribute(model, some(queries, N_LEFT_OUT), run=run)
        clock.note("leave one out")
    elif task == "queries":
        for n in QUERIES:
            method = whence.Shapley("mrr@20", tolerance=0, max_permutations=10)
            method.allocation = "uniform"
            clock.again()
            method.attribute(model, some(queries, n), run=run)
            clock.note(f"shapley {n}")
    else:
        last = time.monotonic() + PIECE

        def stop(*_):
            if time.monotonic() > last:
                raise KeyboardInterrupt

        method = whence.Shapley("mrr@20", tolerance=0.1, max_permutations=5000)
        run = run.changed(folder=folder / f"tenth-{name}", resume=True, progress=stop)
        values = method.attribute(model, some(queries, N_LEFT_OUT), run=run)
        clock.note("tenth")
        keys = ("stopped", "relative_error", "mean_permutations", "n_exact_queries")
        facts |= {key: values.metadata[key] for key in keys}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"name": name, "task": task, "base": base, "peak": peak, **facts, **found}))


def measured(folder):
    """What was measured before, by name and task; pieces of one task are added up."""
    path, found = folder / "scale.jsonl", {}
    for line in path.read_text().splitlines() if path.exists() else []:
        entry = json.loads(line)
        key = entry["name"], entry["task"]
        if key in found and found[key].get("stopped") == "interrupted":
            for kind in ("cpu", "wall"):
                entry["tenth"][kind] += found[key]["tenth"][kind]
            entry["peak"] = max(entry["peak"], found[key]["peak"])
        found[key] = entry
    return found


def drive(folder, names, tasks, tenth, threads):
    """Measure what is not measured yet, each in a process of its own."""
    for name in names:
        for task in tasks:
            if task == "tenth" and name not in tenth:
                continue
            while True:
                before = measured(folder).get((name, task))
                if before and before.get("stopped") != "interrupted":
                    break
                files_of(folder, name)
                command = [sys.executable, __file__, str(folder), "--measure", name, task]
                done = subprocess.run(
                    [*command, "--threads", str(threads)], stdout=subprocess.PIPE, text=True,
                    check=True,
                )  # fmt: skip
                with (folder / "scale.jsonl").open("a") as file:
                    file.write(done.stdout.splitlines()[-1] + "\n")
                print(done.stdout.splitlines()[-1][:400], flush=True)


def slope(xs, ys):
    """Of log y against log x, by least squares, and its standard error."""
    import numpy as np

    x, y = np.log(xs), np.log(ys)
    x, y = x - x.mean(), y - y.mean()
    found = float((x * y).sum() / (x * x).sum())
    rest = float(np.square(y - found * x).sum()) / max(len(x) - 2, 1)
    return found, float(np.sqrt(rest / (x * x).sum()))


HEAD = """# Scale

Written by `benchmarks/scale.py`. Clicks are generated like Diginetica's, in 30 days; Diginetica is
itself. VMIS-kNN with k = {K}, m = {M}, mrr@20. CPU seconds of a machine that does other work;
10,000 queries are evaluated, 100,000 are of the leave-one-out values.
Memory in GB is that held afterwards beyond what Whence holds without data, and the most of all.

| clicks | sessions | items | read | fit | evaluate | leave-one-out | read, GB | and fitted | most |
|---|---|---|---|---|---|---|---|---|---|"""
SHAPLEY = """
Shapley, 10 permutations of every query (`allocation="uniform"`): CPU seconds by the number of
queries, the first of a model's calls with the fewest; the slope of log time against log queries
from 12,500 queries on, with its standard error; and the time as so much for a query and so much for
a call, from the same.
"""
TENTH = """
Shapley with 100,000 queries to 10% (the mean standard error, of the mean |value|); where it was
broken off before, the last column has what 10% would take, as errors fall with the root of time:

| clicks | CPU seconds | permutations | error reached | most memory, GB | CPU seconds to 10% |
|---|---|---|---|---|---|"""


def write(folder):
    """The tables and the plot."""
    found = measured(folder)
    names = list(dict.fromkeys(name for name, _ in found))
    names.sort(key=lambda name: (name == DIGINETICA, found[name, "whole"]["clicks"]))
    gigabytes = 1e9
    lines = [HEAD.format(K=K, M=M)]
    for name in names:
        entry = found[name, "whole"]
        parts = ("read", "fit", "evaluate", "leave one out")
        seconds = [f"{entry[part]['cpu']:.1f}" for part in parts]
        held = [(entry[part]["resident"] - entry["base"]) / gigabytes for part in ("read", "fit")]
        label = f"{entry['clicks']:,}" + (" (Diginetica)" if name == DIGINETICA else "")
        cells = [label, f"{entry['sources']:,}", f"{entry['items']:,}", *seconds]
        cells += [f"{one:.2f}" for one in (*held, entry["peak"] / gigabytes)]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        SHAPLEY,
        "| clicks | "
        + " | ".join(f"{n:,}" for n in QUERIES)
        + " | slope | ms a query | s a call |",
        "|---|" + "---|" * (len(QUERIES) + 3),
    ]
    for name in names:
        entry = found.get((name, "queries"))
        if entry:
            seconds = [entry[f"shapley {n}"]["cpu"] for n in QUERIES]
            asked = [min(n, entry.get("n_queries", n)) for n in QUERIES]
            many = QUERIES.index(FEWEST)
            steepness, error = slope(asked[many:], seconds[many:])
            each = (seconds[-1] - seconds[many]) / (asked[-1] - asked[many])
            cells = [f"{one:.1f}" for one in seconds]
            if asked[-1] < QUERIES[-1]:
                cells[-1] += f" (of {asked[-1]:,})"
            cells = [f"{entry['clicks']:,}", *cells]
            cells += [f"{steepness:.2f} ± {error:.2f}", f"{1e3 * each:.3f}"]
            cells += [f"{max(seconds[-1] - each * asked[-1], 0.0):.1f}"]
            lines.append(f"| {' | '.join(cells)} |")
    made = [name for name in names if name != DIGINETICA]
    if len(made) > 2:
        sizes = [found[name, "whole"]["clicks"] for name in made]
        parts = [("read", "whole"), ("fit", "whole"), ("leave one out", "whole")]
        parts += [(f"shapley {QUERIES[-1]}", "queries")]
        said = []
        for part, task in parts:
            if all((name, task) in found for name in made):
                steepness, error = slope(sizes, [found[name, task][part]["cpu"] for name in made])
                said.append(f"{part.replace(' 100000', '')} {steepness:.2f} ± {error:.2f}")
        lines += ["", f"Against the clicks, queries fixed, the slopes are: {'; '.join(said)}."]
    if any(task == "tenth" for _, task in found):
        lines.append(TENTH)
    for name in names:
        entry = found.get((name, "tenth"))
        if entry:
            lines.append(
                f"| {entry['clicks']:,} | {entry['tenth']['cpu']:,.0f} | "
                f"{entry['mean_permutations']:,.0f} | {entry['relative_error']:.1%} | "
                f"{entry['peak'] / gigabytes:.1f} | "
                f"{entry['tenth']['cpu'] * max(entry['relative_error'] / 0.1, 1.0) ** 2:,.0f} |"
            )
    (ROOT / "benchmarks" / "SCALE_RESULTS.md").write_text("\n".join(lines) + "\n")
    plot(found, made)


def plot(found, made):
    """CPU seconds against clicks, and against queries."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from whence.plots.style import STYLE

    with mpl.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        clicks = [found[name, "whole"]["clicks"] for name in made]
        for part, words in (
            ("read", "read"), ("fit", "fit"), ("leave one out", "leave-one-out, 100,000 queries"),
        ):  # fmt: skip
            left.plot(clicks, [found[n, "whole"][part]["cpu"] for n in made], "o-", label=words)
        for name in made:
            if (name, "queries") in found:
                entry = found[name, "queries"]
                times = [entry[f"shapley {n}"]["cpu"] for n in QUERIES]
                words = f"{entry['clicks'] / 1e6:.0f} million clicks"
                right.plot(QUERIES, times, "o-", label=words)
        left.set_xlabel("clicks")
        right.set_xlabel("queries")
        right.set_title("Shapley, 10 permutations")
        left.set_title("Reading, fitting, leaving one out")
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylabel("CPU seconds")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
            axes.legend()
        right.set_yticks([1, 2, 5, 10, 20, 50])
        left.set_xticks(clicks, [f"{one / 1e6:.0f} million" for one in clicks])
        right.set_xticks(QUERIES, [f"{n:,}" for n in QUERIES])
        figure.savefig(ROOT / "docs" / "images" / "scale.png", dpi=150)
        plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", nargs="*", type=float, default=[1e6, 1e7, 3e7])
    parser.add_argument("--tenth", nargs="*", type=float, default=[1e6, 1e7])
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=TASKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "TASK"))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.measure:
        measure(given.folder, *given.measure, given.threads)
    elif given.write:
        write(given.folder)
    else:
        names = [str(int(size)) for size in given.sizes]
        if (DATA / "diginetica").is_dir():
            names.append(DIGINETICA)
        drive(
            given.folder,
            names,
            given.tasks,
            [str(int(size)) for size in given.tenth],
            given.threads,
        )


if __name__ == "__main__":
    main()
