"""What experiments that act on values share: fields, how they begin, values and orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from whence.engines import Checkpoints, Run
from whence.errors import ParameterError
from whence.evaluation import Queries
from whence.experiments.removing import (
    RANDOM,
    Measures,
    Ranking,
    Removal,
    askers_of,
    divided,
    made_for,
    order_of,
    queries_of,
)
from whence.experiments.valuing import (
    IntArray,
    Makes,
    Valued,
    build_method,
    check_methods,
    values_of,
    whose_values,
)
from whence.parameters import Configurable, NonNegative, Seed, Share

HELD_OUT_SEED = 7


def check_some(params: Mapping[str, Any], *names: str) -> None:
    """Refuse parameters that are empty lists.

    Raises
    ------
    ParameterError
        In that case.
    """
    for name in names:
        if params[name] is not None and not len(params[name]):
            raise ParameterError(f"{name} is empty; give at least one.")


def check_shares(name: str, shares: Sequence[float]) -> None:
    """Refuse shares that leave nothing, or of which none removes anything.

    Raises
    ------
    ParameterError
        In that case.
    """
    if max(shares) >= 1:
        raise ParameterError(f"{name} must be below 1, as something has to be left.")
    if max(shares) <= 0:
        raise ParameterError(f"{name} must be above 0, as something has to be removed.")


class ValuingExperiment(Configurable):
    """Base of experiments that value training data by several methods.

    Parameters
    ----------
    model : callable, optional
        ``model(seed)`` makes the model, not yet fitted. By default `VMISKNN`, of baskets `TIFUKNN`,
        of users with items `ItemKNN`.
    methods : sequence of str
        That value the training data, by their names.
    sustainable_items : sequence of ids, optional
        For the metrics that count them.
    sustainability_weight : float
        Of sustainable items in such metrics.
    """

    model: Makes | None = None
    methods: Sequence[str] = ("shapley", "loo")
    sustainable_items: Any = None
    sustainability_weight: NonNegative = 0.2

    def _check_params(self) -> None:
        super()._check_params()
        check_some(self.params, "methods")
        check_methods(self.methods)

    def _measures_of(self, metrics: Sequence[str]) -> Measures:
        return Measures.of(metrics, self.sustainable_items, self.sustainability_weight)


class RemovingExperiment(ValuingExperiment):
    """Base of experiments that remove training data by their values, and fit again.

    Parameters
    ----------
    by : str, optional
        What is removed: sessions or users by default, or each "item".
    metrics : sequence of str
        What is measured; the first is what the values are of.
    seeds : sequence of int
        Of models, values and what is random.
    tolerance : float, optional
        Of the methods that draw, in place of their own.
    """

    by: str | None = None
    metrics: Sequence[str] = ("mrr@20",)
    seeds: Sequence[Seed] = (0, 1, 2)
    tolerance: NonNegative | None = None

    def _check_params(self) -> None:
        super()._check_params()
        check_some(self.params, "seeds", "metrics")
        self._measures()

    def _measures(self) -> Measures:
        return self._measures_of(self.metrics)

    def _build(self, whose: str, name: str, metric: str) -> Any:
        """A method that values for a metric."""
        options = self._measures().options
        return build_method(name, metric, options, whose, tolerance=self.tolerance)

    def _begun(self, train: Any, validation: Any, test: Any, rankings: Sequence[Ranking]) -> Ground:
        """Read the data, and refuse what cannot be done before any work."""
        made, model, train = made_for(self.model, int(self.seeds[0]), train)
        measures, whose = self._measures(), whose_values(train, self.by)
        for one in rankings:
            method = self._build(whose, one.method, one.metric or measures.metrics[0])
            method._check_params()
            method.check_model(model)
        asked = queries_of(model, train, validation)
        if test is None:
            asked, tested = divided(asked, 0.5, HELD_OUT_SEED)
        else:
            tested = queries_of(model, train, test)
        removal = Removal.of(train, self.by)
        return Ground(made, model, removal, asked, tested, test is None, measures)

    def _orders(
        self,
        ground: Ground,
        rankings: Sequence[Ranking],
        asked: Callable[[int], Queries],
        run: Run,
        kept: Checkpoints,
    ) -> tuple[list[Valued], dict[tuple[int, str], IntArray]]:
        """Values by each seed, method and metric, and the orders that follow from them."""
        first, seeds = ground.measures.metrics[0], [int(seed) for seed in self.seeds]
        shards = [
            (seed, one.method, one.metric or first)
            for seed in seeds
            for one in rankings
            if one.method != RANDOM
        ]
        removal = ground.removal
        build = partial(self._build, whose_values(removal.train, self.by))
        values = values_of(
            list(dict.fromkeys(shards)), ground.made, removal.train, asked, build, run, kept,
            self.by,
        )  # fmt: skip
        orders = {
            (seed, one.name): order_of(one, values, seed, removal.n)
            for seed in seeds
            for one in rankings
        }
        return values, orders

    def _check_removes(self, removal: Removal, share: Share, name: str) -> None:
        """Refuse a largest share that is less than one source."""
        if not removal.n_of(share):
            raise ParameterError(
                f"{name} is {share:g}, which is less than one of {removal.n:,} sources; give more."
            )


@dataclass(frozen=True)
class Ground:
    """What an experiment that removes training data works on.

    Attributes
    ----------
    made : callable
        ``made(seed)`` is the model, not yet fitted.
    model : Recommender
        One that is not fitted.
    removal : Removal
        The training data.
    asked, tested : Queries
        That values are for, and that results are measured on.
    held_out : bool
        Whether the latter were held out of the validation data.
    measures : Measures
    """

    made: Makes
    model: Any
    removal: Removal
    asked: Queries
    tested: Queries
    held_out: bool
    measures: Measures

    def settings(self, rankings: Sequence[Ranking], **more: Any) -> dict[str, Any]:
        """What was run, for results."""
        return {
            "model": type(self.model).__name__,
            "metrics": list(self.measures.metrics),
            **more,
            "n_sources": self.removal.n,
            "n_test_queries": len(self.tested),
            "n_test_askers": len(askers_of(self.tested)),
            "held_out": self.held_out,
            "orders": [one.name for one in rankings],
        }
