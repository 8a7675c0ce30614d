"""The removal experiment: what becomes of a model as ever more of its training data are removed?

Sources are removed in several orders: of the highest values first, of the lowest first, the longest
first, at random. The values are for validation data; the model that was fitted on the rest is
measured on validation and on test data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import polars as pl

from whence.engines import Checkpoints, Job, Run, settled
from whence.engines import run as run_job
from whence.errors import ParameterError
from whence.evaluation import Queries
from whence.experiments.intervals import paired
from whence.experiments.removal_results import RemovalResult
from whence.experiments.removing import (
    NOTHING,
    RANDOM,
    Measures,
    Ranking,
    Removal,
    askers_of,
    divided,
    identity,
    made_for,
    order_of,
    queries_of,
)
from whence.experiments.valuing import (
    FloatArray,
    IntArray,
    Makes,
    build_method,
    check_methods,
    sources_of,
    values_of,
    values_table,
)
from whence.parameters import Configurable, NonNegative, PositiveInt, Seed, Share

First = Literal["most", "least"]
HELD_OUT_SEED = 7


class RemovalExperiment(Configurable):
    """Remove ever more sources in several orders, fit again, and measure.

    Parameters
    ----------
    model : callable, optional
        ``model(seed)`` makes the model, not yet fitted. By default `VMISKNN`, of baskets `TIFUKNN`,
        of users with items `ItemKNN`.
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
    by : str, optional
        What is removed: sessions or users by default, or each "item".
    metrics : sequence of str
        What is measured; the first is what the values are of.
    seeds : sequence of int
        Of models, values and random orders.
    tolerance : float, optional
        Of the methods that draw, in place of their own.
    sustainable_items : sequence of ids, optional
        For the metrics that count them.
    sustainability_weight : float
        Of sustainable items in such metrics.

    Notes
    -----
    Equal values are in a random order, another for each seed. Queries, numbers of items and ties
    stay those of all the training data, so that the removal alone makes a difference. A user whose
    baskets are removed has no history either, so that their own query is answered by nothing.
    """

    model: Makes | None = None
    methods: Sequence[str] = ("shapley", "loo", "length", "random")
    first: Sequence[First] = ("most", "least")
    up_to: Share = 0.2
    steps: PositiveInt = 20
    of: Literal["sources", "rows"] = "sources"
    by: str | None = None
    metrics: Sequence[str] = ("mrr@20",)
    seeds: Sequence[Seed] = (0, 1, 2)
    tolerance: NonNegative | None = None
    sustainable_items: Any = None
    sustainability_weight: NonNegative = 0.2

    def _check_params(self) -> None:
        super()._check_params()
        for name in ("methods", "first", "seeds", "metrics"):
            if not getattr(self, name):
                raise ParameterError(f"{name} is empty; give at least one.")
        if not 0 < self.up_to < 1:
            raise ParameterError(
                f"up_to must be above 0 and below 1, as something has to be removed and something "
                f"left, not {self.up_to}."
            )
        check_methods(self.methods)
        self._measures()

    def _measures(self) -> Measures:
        return Measures.of(self.metrics, self.sustainable_items, self.sustainability_weight)

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
        measures = self._measures()
        made, model, train = made_for(self.model, int(self.seeds[0]), train)
        for name in self.methods:
            self._build(measures, name)._check_params()
            self._build(measures, name).check_model(model)
        sources_of(train, self.by)
        parts = {"validation": queries_of(model, train, validation)}
        if test is None:
            parts["validation"], parts["test"] = divided(parts["validation"], 0.5, HELD_OUT_SEED)
        else:
            parts["test"] = queries_of(model, train, test)
        rankings = self._rankings()
        removal = Removal.of(train, self.by)
        valued = [one for one in self.methods if one != RANDOM]
        with Checkpoints(run, identity("removal", self, model, train, *parts.values())) as kept:
            values = values_of(
                [(int(seed), name, measures.metrics[0]) for seed in self.seeds for name in valued],
                made, train, lambda seed: parts["validation"],
                partial(_named_method, self, measures), run, kept, self.by,
            )  # fmt: skip
            orders = {
                (int(seed), one.name): order_of(one, values, int(seed), removal.n)
                for seed in self.seeds
                for one in rankings
            }
            shares = tuple(float(self.up_to * k / self.steps) for k in range(self.steps + 1))
            how = replace(measures, threads=run.threads)
            job = _Curves(made, removal, parts, how, orders, shares, self.of)
            work = [
                (int(seed), name, step)
                for seed in self.seeds
                for name in (NOTHING, *(one.name for one in rankings))
                for step in ((0,) if name == NOTHING else range(1, self.steps + 1))
            ]
            found = run_job(job, work, run, message="fitting again", kept=kept, stage="curves")
        table = values_table(values, train, self.by)
        counts = askers_of(parts["test"])
        settings = {
            "model": f"{type(model).__name__}",
            "metrics": list(measures.metrics),
            "up_to": self.up_to,
            "of": self.of,
            "n_sources": removal.n,
            "n_test_queries": len(parts["test"]),
            "n_test_askers": len(counts),
            "held_out": test is None,
            "orders": [one.name for one in rankings],
        }
        areas = _areas(found, self.seeds, rankings, self.steps, measures.metrics, counts)
        return RemovalResult(pl.DataFrame(found["rows"]), areas, table, settings)

    def _build(self, measures: Measures, name: str, metric: str | None = None) -> Any:
        return build_method(
            name, metric or measures.metrics[0], measures.options, by=self.by,
            tolerance=self.tolerance,
        )  # fmt: skip

    def _rankings(self) -> list[Ranking]:
        found = [
            Ranking(name, first)
            for name in self.methods
            for first in (self.first if name != RANDOM else ("least",))
        ]
        return list(dict.fromkeys(found))


def _named_method(experiment: RemovalExperiment, measures: Measures, name: str, metric: str) -> Any:
    return experiment._build(measures, name, metric)


Curve = tuple[int, str, int]


@dataclass(frozen=True)
class _Curves(Job[Curve, dict[str, Any], dict[str, Any]]):
    """What is measured along each order; a shard is a seed, an order and a step.

    Attributes
    ----------
    made : callable
    removal : Removal
    parts : dict of str to Queries
    measures : Measures
    orders : dict
        Of each seed and name of an order the numbers of the sources.
    shares : tuple of float
        That are removed, 0 first.
    of : str
    """

    alone = True

    made: Callable[[int], Any]
    removal: Removal
    parts: Mapping[str, Queries]
    measures: Measures
    orders: Mapping[tuple[int, str], IntArray]
    shares: tuple[float, ...]
    of: str
    _base: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def run(self, shard: Curve) -> dict[str, Any]:
        """Remove, fit and measure."""
        seed, name, step = shard
        gone = np.arange(0)
        if step:
            gone = self.removal.first(self.orders[seed, name], self.shares[step], self.of)
        model = self.made(seed).fit(self.removal.without(gone))
        found = {part: self.measures.measured(model, asked) for part, asked in self.parts.items()}
        own = {"seed": seed, "order": name, "share": self.shares[step], "n_removed": len(gone)}
        own["n_rows_removed"] = int(np.isin(self.removal.of_rows, gone).sum())
        return {
            "key": f"{seed} {name}",
            "weight": self._weight(step),
            "sums": found["test"]["sums"],
            "of_lists": found["test"]["of_lists"],
            "rows": [{**own, "data": part, **one["scores"]} for part, one in found.items()],
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


def _areas(
    found: Mapping[str, Any],
    seeds: Sequence[int],
    rankings: Sequence[Ranking],
    steps: int,
    metrics: Sequence[str],
    counts: IntArray,
) -> pl.DataFrame:
    """Mean heights between curves on test data, with their intervals."""

    def of(name: str, number: int) -> FloatArray:
        return np.stack([found["areas"][f"{int(seed)} {name}"][number] for seed in seeds])

    rows = []
    for one in rankings:
        for number, metric in enumerate(metrics):
            row: dict[str, Any] = {"order": one.name, "metric": metric}
            own = of(one.name, number)
            # The point where nothing is removed is in both curves and cancels.
            of_lists = metric in found["of_lists"]
            change = own - (1 - 0.5 / steps) * of(NOTHING, number)
            row |= paired("change", change, counts, of_lists=of_lists)
            if one.method != RANDOM and any(other.method == RANDOM for other in rankings):
                above = own - of(RANDOM, number)
                row |= paired("above_random", above, counts, of_lists=of_lists)
            rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)
