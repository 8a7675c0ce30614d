"""The opponents experiment on MovieLens: python benchmarks/opponents.py DATA [--planted 0.1].

DATA is a file or folder of ratings. Prints the table of arms; with ``--folder`` it can be broken
off and goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time

import whence
from whence.experiments import OpponentsExperiment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--protocol", choices=("honest", "original"), default="honest")
    parser.add_argument("--planted", type=float, default=0.0)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder")
    parser.add_argument("--max-queries", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--arms", nargs="+")
    parser.add_argument("--metrics", nargs="+")
    chosen = parser.parse_args()
    seeds = tuple(range(chosen.seeds))
    names = ("n", "planted", "max_queries", "epochs", "arms", "metrics")
    changes = {name: value for name in names if (value := getattr(chosen, name)) is not None}
    if chosen.protocol == "original":
        experiment = OpponentsExperiment.original(seeds=seeds, **changes)
    else:
        experiment = OpponentsExperiment(seeds=seeds, **changes)
    started = time.perf_counter()

    def tell(done: float, total: float, message: str) -> None:
        print(
            f"{time.perf_counter() - started:7.0f} s  {done:.0f}/{total:.0f}  {message}", flush=True
        )

    data = whence.read_interactions(chosen.data)
    resume = chosen.folder is not None
    run = whence.Run(folder=chosen.folder, resume=resume, progress=tell)
    result = experiment.run(data, run=run)
    print(result.to_markdown())
    print(result.settings)


if __name__ == "__main__":
    main()
