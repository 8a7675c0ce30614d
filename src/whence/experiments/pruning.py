"""The prune experiment: how much of the least valuable data to remove, and what that is worth.

The training data are valued for one part of the validation data. How much is removed, nothing at
all among the choices, is decided on the other part; what it is worth is seen on test data, beside
as many rows removed at random. With an aim, such as the share of sustainable items in the lists,
as much is removed as raises it most without lowering the first metric, and the whole frontier
between the two is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whence.engines import Checkpoints, ListJob, Run, settled
from whence.engines import run as run_job
from whence.errors import ParameterError
from whence.evaluation import Queries, parse_metric
from whence.experiments.acting import RemovingExperiment, check_shares, check_some
from whence.experiments.pruning_results import PruneResult, tables_of
from whence.experiments.removing import (
    NOTHING,
    RANDOM,
    Measures,
    Ranking,
    Refitting,
    divided,
    identity,
    order_of,
)
from whence.experiments.valuing import IntArray, values_table
from whence.parameters import Share

SHARES = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


class PruneExperiment(RemovingExperiment):
    """Remove the least valuable share that a choice part prefers, and measure on test data.

    Parameters
    ----------
    model, methods, sustainable_items, sustainability_weight, by, metrics, seeds, tolerance
        As in `RemovingExperiment`; the first metric decides how much is removed, and the seeds
        divide the validation data, too.
    shares : sequence of float
        Of the sources, to choose from, beside nothing at all.
    choice : float
        Share of the sessions or users in the validation data on which the choice is made; the
        values are for the others.
    values : sequence of str, optional
        Metrics that are shared out, each giving values of its own; the first of `metrics` by
        default, and with an aim that and the aim.
    aim : str, optional
        A metric that is to be raised, such as "st@20", of sustainable items. Then the choice is the
        share with the highest aim at which the first metric keeps `keep` of its value.
    keep : float
        Of the first metric on the choice part, with an aim.

    Notes
    -----
    Test data are looked at when everything is chosen; the choice does not depend on them.
    """

    methods: Sequence[str] = ("shapley", "loo", "length")
    shares: Sequence[Share] = SHARES
    choice: Share = 0.5
    values: Sequence[str] | None = None
    aim: str | None = None
    keep: Share = 1.0

    def _check_params(self) -> None:
        super()._check_params()
        check_some(self.params, "shares", "values")
        if not 0 < self.choice < 1:
            raise ParameterError(
                f"choice must be above 0 and below 1, as both parts need somebody who asks, not "
                f"{self.choice}."
            )
        check_shares("shares", self.shares)
        self._shared_out()

    def _measures(self) -> Measures:
        return self._measures_of((*self.metrics, *self._aims))

    @property
    def _aims(self) -> tuple[str, ...]:
        return () if self.aim is None else (self.aim,)

    def _shared_out(self) -> tuple[str, ...]:
        """The metrics that values are of."""
        return self._measures_of(self.values or (self.metrics[0], *self._aims)).metrics

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
        rankings = self._rankings()
        names = [one.name for one in rankings]
        ground = self._begun(train, validation, test, rankings)
        removal, measures, tested = ground.removal, ground.measures, ground.tested
        self._check_removes(removal, max(self.shares), "the largest of shares")
        seeds = [int(seed) for seed in self.seeds]
        parts = {seed: divided(ground.asked, 1 - self.choice, seed) for seed in seeds}
        work = identity("pruning", self, ground.model, removal.train, ground.asked, tested)
        with Checkpoints(run, work) as kept:
            values, orders = self._orders(ground, rankings, lambda seed: parts[seed][0], run, kept)
            how = replace(measures, threads=run.threads)
            asked = {seed: part[1] for seed, part in parts.items()}
            fits = _Fits(ground.made, removal, how, orders, asked, 0, seeds[0])
            shares = sorted({float(share) for share in self.shares if share > 0})
            points = [
                (seed, name, share)
                for seed in seeds
                for name in (NOTHING, *names)
                for share in ((0.0,) if name == NOTHING else shares)
            ]
            chosen_on = run_job(fits, points, run, message="choosing", kept=kept, stage="choice")
            chosen = self._chosen(chosen_on, measures, names, seeds)
            k = parse_metric(measures.metrics[-1], **measures.options).k
            on_test = replace(fits, asked=dict.fromkeys(seeds, tested), k=k)
            wanted = [
                (seed, name, share)
                for seed, name, share in points
                if name == NOTHING or self.aim is not None or share == chosen[seed, name]
            ]
            wanted += [(seed, f"{RANDOM} {name}", share) for (seed, name), share in chosen.items()]
            found = run_job(on_test, wanted, run, message="testing", kept=kept, stage="test")
        aim = None if self.aim is None else measures.metrics[-1]
        tables = tables_of(
            chosen_on, found, chosen, names, measures.metrics, tested, removal.train,
            measures.options.get("sustainable_items"),
        )  # fmt: skip
        return PruneResult(
            **tables,
            values=values_table(values, removal.train, self.by),
            settings=ground.settings(rankings, aim=aim),
        )

    def _rankings(self) -> list[Ranking]:
        """The orders: of methods that share out a metric one for each."""
        from whence.attribution import METHODS

        shared = self._shared_out()
        found = []
        for name in self.methods:
            has_metric = "metric" in METHODS[name].parameter_types() and len(shared) > 1
            found += [Ranking(name, metric=one) for one in (shared if has_metric else ("",))]
        return list(dict.fromkeys(found))

    def _chosen(
        self,
        measured: Sequence[Mapping[str, Any]],
        measures: Measures,
        names: Sequence[str],
        seeds: Sequence[int],
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


@dataclass(frozen=True)
class _Fits(Refitting, ListJob[tuple[int, str, float], dict[str, Any]]):
    """Models fitted without a share, measured; a shard is a seed, an order and a share.

    "random" before the name of an order stands for sources at random with as many rows.

    Attributes
    ----------
    asked : dict of int to Queries
        By seed.
    k : int
        Length of the lists that are kept; 0 for none.
    first : int
        The seed whose lists are kept.
    """

    alone = True

    asked: Mapping[int, Queries]
    k: int
    first: int

    def run(self, shard: tuple[int, str, float]) -> dict[str, Any]:
        """Remove, fit and measure."""
        seed, name, share = shard
        model, row = self.refitted(seed, name, share, self._gone(seed, name, share))
        part = {**row, **self.measures.measured(model, self.asked[seed])}
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
