"""Metrics of ranx, per query, from JSON on standard input to JSON on standard output.

Run as a process of its own with ``NUMBA_DISABLE_JIT=1``: ranx compiles for almost a minute, and
plain Python is quick enough for a few hundred lists.
"""

import json
import sys

from ranx import Qrels, Run, evaluate


def main() -> None:
    task = json.load(sys.stdin)
    qrels, run = {}, {}
    for q, (items, targets) in enumerate(zip(task["lists"], task["targets"])):
        key = f"{q:06}"  # ranx answers in the order of its sorted keys
        qrels[key] = {str(item): 1 for item in targets}
        # ranx has no empty lists: an item that is never relevant stands in for one.
        ranked = items or ["nothing"]
        run[key] = {str(item): float(len(ranked) - place) for place, item in enumerate(ranked)}
    names = task["metrics"]
    values = evaluate(Qrels(qrels), Run(run), names, return_mean=False)
    json.dump({name: values[name].tolist() for name in names}, sys.stdout)


if __name__ == "__main__":
    main()
