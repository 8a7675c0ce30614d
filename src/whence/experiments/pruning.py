"""The prune experiment: how much of the least valuable data to remove, and what that is worth.

The training data are valued for one part of the validation data. How much is removed, nothing at
all among the choices, is decided on the other part; what it is worth is seen on test data, beside
as many rows removed at random. With an aim, such as the share of sustainable items in the lists,
as much is removed as raises it most without lowering the first metric, and the whole frontier
between the two is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from whence.engines import Checkpoints, ListJob, Run, settled
from whence.engines import run as run_job
from whence.errors import ParameterError
from whence.evaluation import Queries, parse_metric
from whence.experiments.pruning_results import PruneResult, tables_of
from whence.experiments.removal import HELD_OUT_SEED
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
    IntArray,
    Makes,
    build_method,
    check_methods,
    sources_of,
    values_of,
    values_table,
)
from whence.parameters import Configurable, NonNegative, Seed, Share

SHARES = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


class PruneExperiment(Configurable):
    """Remove the least valuable share that a choice part prefers, and measure on test data.

    Parameters
    ----------
    model : callable, optional
        ``model(seed)`` makes the model, not yet fitted. By default `VMISKNN`, of baskets `TIFUKNN`,
        of users with items `ItemKNN`.
    methods : sequence of str
        That value the sources, by their names.
    shares : sequence of float
        Of the sources, to choose from, beside nothing at all.
    choice : float
        Share of the sessions or users in the validation data on which the choice is made; the
        values are for the others.
    by : str, optional
        What is removed: sessions or users by default, or each "item".
    metrics : sequence of str
        What is measured; the first decides how much is removed.
    values : sequence of str, optional
        Metrics that are shared out, each giving values of its own; the first of `metrics` by
        default, and with an aim that and the aim.
    aim : str, optional
        A metric that is to be raised, such as "st@20", of sustainable items. Then the choice is the
        share with the highest aim at which the first metric keeps `keep` of its value.
    keep : float
        Of the first metric on the choice part, with an aim.
    seeds : sequence of int
        Of models, values, the division of the validation data, and of what is random.
    tolerance : float, optional
        Of the methods that draw, in place of their own.
    sustainable_items : sequence of ids, optional
        For the metrics that count them.
    sustainability_weight : float
        Of sustainable items in such metrics.

    Notes
    -----
    Test data are looked at when everything is chosen; the choice does not depend on them.
    """

    model: Makes | None = None
    methods: Sequence[str] = ("shapley", "loo", "length")
    shares: Sequence[Share] = SHARES
    choice: Share = 0.5
    by: str | None = None
    metrics: Sequence[str] = ("mrr@20",)
    values: Sequence[str] | None = None
    aim: str | None = None
    keep: Share = 1.0
    seeds: Sequence[Seed] = (0, 1, 2)
    tolerance: NonNegative | None = None
    sustainable_items: Any = None
    sustainability_weight: NonNegative = 0.2

    def _check_params(self) -> None:
        super()._check_params()
        for name in ("methods", "shares", "seeds", "metrics"):
            if not getattr(self, name):
                raise ParameterError(f"{name} is empty; give at least one.")
        if not 0 < self.choice < 1:
            raise ParameterError(
                f"choice must be above 0 and below 1, as both parts need somebody who asks, not "
                f"{self.choice}."
            )
        if max(self.shares) >= 1:
            raise ParameterError("shares must be below 1, as something has to be left.")
        check_methods(self.methods)
        self._measures()

    def _measures(self) -> tuple[Measures, tuple[str, ...]]:
        """What is measured, and the metrics that are shared out."""
        items, weight = self.sustainable_items, self.sustainability_weight
        more = () if self.aim is None else (self.aim,)
        measures = Measures.of((*self.metrics, *more), items, weight)
        values = self.values or (self.metrics[0], *more)
        return measures, Measures.of(values, items, weight).metrics

    def run(
        self, train: Any, validation: Any, test: Any = None, *, run: Run | None = None
    ) -> PruneResult:
        """Run the experiment.

        Parameters
        ----------
        train : Interactions or table
        validation : Interactions, table or Queries
            What the values are for, and what the choice is made on.
        test : Interactions, table or Queries, optional
            If absent, half of the sessions or users that ask in the validation data are held out,
            drawn at random.
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
            If nothing would be left of the training data, or too few ask to divide them.
        """
        self._check_params()
        run = settled(run, self)
        measures, shared = self._measures()
        made, model, train = made_for(self.model, int(self.seeds[0]), train)
        rankings = [
            Ranking(name, metric=metric if self._has_metric(name) and len(shared) > 1 else "")
            for name in self.methods
            for metric in (shared if self._has_metric(name) else shared[:1])
        ]
        for one in rankings:
            method = self._build(measures, one.method, one.metric or shared[0])
            method._check_params()
            method.check_model(model)
        sources_of(train, self.by)
        asked = queries_of(model, train, validation)
        held_out = test is None
        if held_out:
            asked, tested = divided(asked, 0.5, HELD_OUT_SEED)
        else:
            tested = queries_of(model, train, test)
        parts = {int(seed): divided(asked, 1 - self.choice, int(seed)) for seed in self.seeds}
        removal = Removal.of(train, self.by)
        with Checkpoints(run, identity("pruning", self, model, train, asked, tested)) as kept:
            valued = [one for one in rankings if one.method != RANDOM]
            values = values_of(
                [(s, one.method, one.metric or shared[0]) for s in parts for one in valued],
                made, train, lambda seed: parts[seed][0],
                partial(_built, self, measures), run, kept, self.by,
            )  # fmt: skip
            orders = {
                (seed, one.name): order_of(one, values, seed, removal.n)
                for seed in parts
                for one in rankings
            }
            k = parse_metric(measures.metrics[-1], **measures.options).k
            fits = _Fits(
                made, removal, {seed: part[1] for seed, part in parts.items()},
                replace(measures, threads=run.threads), orders, 0, int(self.seeds[0]),
            )  # fmt: skip
            names = [one.name for one in rankings]
            shares = sorted({float(share) for share in self.shares if share > 0})
            work = [
                (seed, name, share)
                for seed in parts
                for name in (NOTHING, *names)
                for share in ((0.0,) if name == NOTHING else shares)
            ]
            chosen_on = run_job(fits, work, run, message="choosing", kept=kept, stage="choice")
            chosen = self._chosen(chosen_on, measures, names, parts)
            on_test = replace(fits, asked=dict.fromkeys(parts, tested), k=k, _base={})
            wanted = [
                (seed, name, share)
                for seed, name, share in work
                if name == NOTHING or self.aim is not None or share == chosen[seed, name]
            ]
            wanted += [(seed, f"{RANDOM} {name}", share) for (seed, name), share in chosen.items()]
            found = run_job(on_test, wanted, run, message="testing", kept=kept, stage="test")
        settings = {
            "model": type(model).__name__,
            "metrics": list(measures.metrics),
            "aim": None if self.aim is None else measures.metrics[-1],
            "n_sources": removal.n,
            "n_test_queries": len(tested),
            "n_test_askers": len(askers_of(tested)),
            "held_out": held_out,
            "orders": names,
        }
        tables = tables_of(
            chosen_on, found, chosen, names, measures.metrics, tested, train,
            measures.options.get("sustainable_items"),
        )  # fmt: skip
        return PruneResult(**tables, values=values_table(values, train, self.by), settings=settings)

    def _has_metric(self, name: str) -> bool:
        from whence.attribution import METHODS

        return "metric" in METHODS[name].parameter_types()

    def _build(self, measures: Measures, name: str, metric: str) -> Any:
        return build_method(name, metric, measures.options, by=self.by, tolerance=self.tolerance)

    def _chosen(
        self,
        measured: Sequence[Mapping[str, Any]],
        measures: Measures,
        names: Sequence[str],
        seeds: Mapping[int, Any],
    ) -> dict[tuple[int, str], float]:
        """The share that the choice part prefers, by seed and order; the smallest of equals."""
        first, aim = measures.metrics[0], measures.metrics[-1]
        chosen = {}
        for seed in seeds:
            own = [one for one in measured if one["seed"] == seed]
            base = next(one for one in own if one["order"] == NOTHING)
            for name in names:
                best = base
                for one in sorted(
                    (one for one in own if one["order"] == name), key=lambda one: one["share"]
                ):
                    if self.aim is None:
                        better = one["scores"][first] > best["scores"][first]
                    else:
                        better = (
                            one["scores"][first] >= self.keep * base["scores"][first]
                            and one["scores"][aim] > best["scores"][aim]
                        )
                    best = one if better else best
                chosen[seed, name] = float(best["share"])
        return chosen


def _built(experiment: PruneExperiment, measures: Measures, name: str, metric: str) -> Any:
    return experiment._build(measures, name, metric)


@dataclass(frozen=True)
class _Fits(ListJob[tuple[int, str, float], dict[str, Any]]):
    """Models fitted without a share, measured; a shard is a seed, an order and a share.

    Attributes
    ----------
    made : callable
    removal : Removal
    asked : dict of int to Queries
        By seed.
    measures : Measures
    orders : dict
        Of each seed and name of an order the numbers of the sources. "random" before the name
        stands for sources at random with as many rows.
    k : int
        Length of the lists that are kept; 0 for none.
    first : int
        The seed whose lists are kept.
    """

    alone = True

    made: Makes
    removal: Removal
    asked: Mapping[int, Queries]
    measures: Measures
    orders: Mapping[tuple[int, str], IntArray]
    k: int
    first: int
    _base: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def run(self, shard: tuple[int, str, float]) -> dict[str, Any]:
        """Remove, fit and measure."""
        seed, name, share = shard
        gone = self._gone(seed, name, share)
        model = self.made(seed).fit(self.removal.without(gone))
        found = self.measures.measured(model, self.asked[seed])
        rows = int(np.isin(self.removal.of_rows, gone).sum())
        part = {"seed": seed, "order": name, "share": share, "n_removed": len(gone), **found}
        part["n_rows_removed"] = rows
        if self.k and hasattr(model, "recommend_codes") and not name.startswith(f"{RANDOM} "):
            items, _ = model.recommend_codes(
                self.asked[seed], self.k, threads=self.measures.threads
            )
            listed = items[items >= 0]
            part["listed"] = np.bincount(listed, minlength=self.removal.train.n_items)
            if seed == self.first:
                part["lists"] = items
        return part

    def _gone(self, seed: int, name: str, share: float) -> IntArray:
        if name == NOTHING or not share:
            return np.arange(0)
        if not name.startswith(f"{RANDOM} "):
            return self.removal.first(self.orders[seed, name], share)
        gone = self._gone(seed, name.removeprefix(f"{RANDOM} "), share)
        rows = np.isin(self.removal.of_rows, gone).mean()
        order = order_of(Ranking(RANDOM), (), seed, self.removal.n)
        return self.removal.first(order, float(rows), of="rows")
