"""The removal experiment: what becomes of a model as ever more of its training data are removed?

Sources are removed in several orders: of the highest values first, of the lowest first, the longest
first, at random. The values are for validation data; the model that was fitted on the rest is
measured on validation and on test data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from whence.engines import Checkpoints, Job, Run, settled
from whence.engines import run as run_job
from whence.errors import ParameterError
from whence.evaluation import Queries
from whence.experiments.acting import Ground, RemovingExperiment, check_some
from whence.experiments.intervals import paired
from whence.experiments.removal_results import RemovalResult
from whence.experiments.removing import NOTHING, RANDOM, Ranking, Refitting, askers_of, identity
from whence.experiments.valuing import FloatArray, values_table
from whence.parameters import PositiveInt, Share

First = Literal["most", "least"]


class RemovalExperiment(RemovingExperiment):
    """Remove ever more sources in several orders, fit again, and measure.

    Parameters
    ----------
    model, sustainable_items, sustainability_weight, by, metrics, seeds, tolerance
        As in `RemovingExperiment`.
    methods : sequence of str
        That value the sources, by their names; "length" and "popularity" look at the data alone,
        and "random" is an order without values.
    first : sequence of {"most", "least"}
        Which values are removed first; with "length", the longest or the shortest.
    up_to : float
        The largest share that is removed.
    steps : int
        Number of shares, evenly spaced from 0, which is measured too.
    of : {"sources", "rows"}
        What the shares are of. With "rows", every order, and chance, has lost as many rows at a
        step, so that an order cannot be ahead for the numbers of rows alone.

    Notes
    -----
    Equal values are in a random order, another for each seed. Queries, numbers of items and ties
    stay those of all the training data, so that the removal alone makes a difference. A user whose
    baskets are removed has no history either, so that their own query is answered by nothing.
    """

    methods: Sequence[str] = ("shapley", "loo", "length", "random")
    first: Sequence[First] = ("most", "least")
    up_to: Share = 0.2
    steps: PositiveInt = 20
    of: Literal["sources", "rows"] = "sources"

    def _check_params(self) -> None:
        super()._check_params()
        check_some(self.params, "first")
        if not 0 < self.up_to < 1:
            raise ParameterError(
                f"up_to must be above 0 and below 1, as something has to be removed and something "
                f"left, not {self.up_to}."
            )

    def run(
        self, train: Any, validation: Any, test: Any = None, *, run: Run | None = None
    ) -> RemovalResult:
        """Run the experiment.

        Parameters
        ----------
        train : Interactions or table
        validation : Interactions, table or Queries
            What the values are for.
        test : Interactions, table or Queries, optional
            What took no part in them. If absent, half of the sessions or users that ask in the
            validation data are held out, drawn at random.
        run : Run, optional
            How the work is done. With a folder, values and measurements are kept there.

        Raises
        ------
        ParameterError
            If a parameter is out of its range, or a method is unknown.
        MetricError
            If a metric is unknown, or lacks the sustainable items.
        UnsupportedError
            If a method cannot value the training data of the model.
        DataError
            If nothing would be left of the training data.
        """
        self._check_params()
        run = settled(run, self)
        rankings = self._rankings()
        ground = self._begun(train, validation, test, rankings)
        self._check_removes(ground.removal, self.up_to, "up_to")
        asked = {"validation": ground.asked, "test": ground.tested}
        train = ground.removal.train
        work = identity("removal", self, ground.model, train, *asked.values())
        with Checkpoints(run, work) as kept:
            values, orders = self._orders(ground, rankings, lambda seed: ground.asked, run, kept)
            shares = tuple(float(self.up_to * k / self.steps) for k in range(self.steps + 1))
            how = replace(ground.measures, threads=run.threads)
            job = _Curves(ground.made, ground.removal, how, orders, asked, shares, self.of)
            shards = [
                (int(seed), name, step)
                for seed in self.seeds
                for name in (NOTHING, *(one.name for one in rankings))
                for step in ((0,) if name == NOTHING else range(1, self.steps + 1))
            ]
            found = run_job(job, shards, run, message="fitting again", kept=kept, stage="curves")
        settings = ground.settings(rankings, up_to=self.up_to, of=self.of)
        areas = self._areas(found, rankings, ground)
        table = values_table(values, train, self.by)
        return RemovalResult(pl.DataFrame(found["rows"]), areas, table, settings)

    def _rankings(self) -> list[Ranking]:
        found = [
            Ranking(name, first)
            for name in self.methods
            for first in (self.first if name != RANDOM else ("least",))
        ]
        return list(dict.fromkeys(found))

    def _areas(
        self, found: Mapping[str, Any], rankings: Sequence[Ranking], ground: Ground
    ) -> pl.DataFrame:
        """Mean heights between curves on test data, with their intervals."""
        counts = askers_of(ground.tested)

        def of(name: str, number: int) -> FloatArray:
            return np.stack([found["areas"][f"{int(seed)} {name}"][number] for seed in self.seeds])

        rows = []
        for one in rankings:
            for number, metric in enumerate(ground.measures.metrics):
                row: dict[str, Any] = {"order": one.name, "metric": metric}
                own = of(one.name, number)
                # The point where nothing is removed is in both curves and cancels.
                of_lists = metric in found["of_lists"]
                change = own - (1 - 0.5 / self.steps) * of(NOTHING, number)
                row |= paired("change", change, counts, of_lists=of_lists)
                if one.method != RANDOM and any(other.method == RANDOM for other in rankings):
                    above = own - of(RANDOM, number)
                    row |= paired("above_random", above, counts, of_lists=of_lists)
                rows.append(row)
        return pl.DataFrame(rows, infer_schema_length=None)


Curve = tuple[int, str, int]


@dataclass(frozen=True)
class _Curves(Refitting, Job[Curve, dict[str, Any], dict[str, Any]]):
    """What is measured along each order; a shard is a seed, an order and a step.

    Attributes
    ----------
    asked : dict of str to Queries
        By set of data.
    shares : tuple of float
        That are removed, 0 first.
    of : str
    """

    alone = True

    asked: Mapping[str, Queries]
    shares: tuple[float, ...]
    of: str

    def run(self, shard: Curve) -> dict[str, Any]:
        """Remove, fit and measure."""
        seed, name, step = shard
        gone = np.arange(0)
        if step:
            gone = self.removal.first(self.orders[seed, name], self.shares[step], self.of)
        model, row = self.refitted(seed, name, self.shares[step], gone)
        found = {part: self.measures.measured(model, asked) for part, asked in self.asked.items()}
        return {
            "key": f"{seed} {name}",
            "weight": self._weight(step),
            "sums": found["test"]["sums"],
            "of_lists": found["test"]["of_lists"],
            "rows": [{**row, "data": part, **one["scores"]} for part, one in found.items()],
        }

    def start(self) -> dict[str, Any]:
        """Nothing is measured."""
        return {"rows": [], "areas": {}, "of_lists": []}

    def add(self, total: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
        """One more point, and what it adds to the area under its curve."""
        total["rows"] += part["rows"]
        total["of_lists"] = part["of_lists"]
        before = total["areas"].get(part["key"], 0.0)
        total["areas"][part["key"]] = before + part["weight"] * part["sums"]
        return total

    def _weight(self, step: int) -> float:
        """Of a point in the mean height of a curve (trapezoidal rule); 1 of nothing removed."""
        last = len(self.shares) - 1
        return 1.0 if step == 0 else (0.5 if step == last else 1.0) / last
