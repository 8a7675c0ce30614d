"""NeuMF on MovieLens 1M, all users: train, influence, mask, retrain, compare.

The way of the published code for user-controllable disclosure (IFRQE), with a test set of its own,
controls of the same size, and several seeds. From the root of the repository::

    python examples/disclosure_neumf.py data/ml-1m/ml-1m.inter.gz --output disclosed

Influence here is the product of gradients of all parameters (``solver="dot"``): a network with
rectifiers is at no optimum, so that there is no Hessian to invert. It says which interactions pull
the model the way the validation data do, not by how much; ``--calibrate`` measures by retraining
how much of it is to be believed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import polars as pl

import whence
from whence.curation.disclosure import paired_differences
from whence.errors import DataWarning

METRICS = ["hitrate@10", "ndcg@10"]
CONTROLS = ("threshold", "random", "influence_only")


def main() -> None:
    """Run as many seeds as are asked for, and print tables."""
    options = read_options()
    warnings.simplefilter("ignore", DataWarning)
    data = whence.read_interactions(options.data)
    if options.users:
        first = data.frame[data.columns.user].unique(maintain_order=True).head(options.users)
        keep = data.frame[data.columns.user].is_in(first.implode())
        data = data.keep_rows(keep.to_numpy()).rebuild()
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        rows += one_seed(data, seed, options)
        runs = pl.DataFrame(rows, infer_schema_length=None)
        runs.write_csv(options.output / "runs.csv")
    show(runs)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="Users with their films.")
    parser.add_argument("--output", type=Path, default=Path("disclosed"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--share", type=float, default=1.0, help="λ as a multiple of lam_ref.")
    parser.add_argument(
        "--calibrate", action="store_true", help="Retrain to see what influences are worth."
    )
    parser.add_argument("--users", type=int, help="The first users only.")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def one_seed(
    data: whence.Interactions, seed: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Everything from the split to the scores of retrained models."""
    train, validation, test = whence.split_rows(data, (0.6, 0.2, 0.2), seed=seed)
    clock = Clock(f"seed {seed}")
    model = whence.NeuMF(
        gmf_dim=8, mlp_dim=16, layers=(16, 8), n_negatives=2, batch_size=8192, learning_rate=5e-3,
        epochs=options.epochs, seed=seed,
    ).fit(train)  # fmt: skip
    clock.tell(f"trained on {train}")

    beta = whence.simulate_willingness(train, seed=seed)
    influence = whence.InfluenceFunction(solver="dot")
    asked = whence.Disclosure(influence=influence, calibrate=options.calibrate, seed=seed).pose(
        model, validation, willingness=beta
    )
    asked = asked.at(options.share * (asked.lam_ref or 0.0))
    clock.tell(f"influence of all interactions, lam = {asked.lam:.3g}, {asked.calibration}")

    social = asked.solve("social")
    plans = {("social", "", ""): social}
    for name in ("all", "none"):
        plans[name, "", ""] = asked.solve(name)
    for name in CONTROLS:
        plans[name, "number", "social"] = asked.solve(name, n=social.n_disclosed)
        plans[name, "violation", "social"] = asked.solve(name, wv=social.violation)
    if seed == 0:
        social.save(options.output / "plan.parquet", overwrite=True)
        masked = options.output / "masked.inter"
        whence.write_interactions(social.apply(train), masked, overwrite=True)

    rows = []
    for (strategy, matched, to), plan in plans.items():
        retrained = asked.retrained(plan, seed)
        by_user = asked.quality(retrained, test)
        quality, violation = float(by_user.mean()), plan.violation / len(by_user)
        scores = whence.evaluate(retrained, test, METRICS).scores if plan.n_disclosed else {}
        rows.append(
            {
                "strategy": strategy,
                "matched": matched,
                "to": to,
                "seed": seed,
                "share": plan.share,
                "wv": violation,
                "quality": quality,
                "reward": quality - asked.lam * violation,
                **{metric: scores.get(metric) for metric in METRICS},
            }
        )
    clock.tell(f"{len(plans)} strategies retrained and measured")
    return rows


def show(runs: pl.DataFrame) -> None:
    """Print the means over the seeds, and how much better the strategy is than each other."""
    names = ["strategy", "matched", "to"]
    means = runs.group_by(names, maintain_order=True).agg(pl.exclude(*names, "seed").mean())
    with pl.Config(
        tbl_formatting="MARKDOWN", tbl_hide_column_data_types=True, tbl_rows=-1, tbl_cols=-1,
        tbl_hide_dataframe_shape=True, tbl_width_chars=200, float_precision=4,
    ):  # fmt: skip
        print(means.drop("to"))
        for measure in ("reward", *METRICS):
            known = runs.drop_nulls(measure)
            print(f"\n{measure} of social above:\n")
            print(paired_differences(known, measure).filter(strategy="social").drop("strategy"))


class Clock:
    """Says how many seconds of the processor each step took."""

    def __init__(self, name: str) -> None:
        self.name, self.last = name, time.process_time()

    def tell(self, what: str) -> None:
        """Print a step and its time since the last one."""
        now = time.process_time()
        print(f"{self.name}: {what}: {now - self.last:.1f} s", flush=True)
        self.last = now


if __name__ == "__main__":
    main()
