"""What experiments that remove sources share: orders, data without some, and how is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from whence.data import Interactions
from whence.data.vocabulary import as_ids
from whence.engines import identity_of
from whence.errors import DataError
from whence.evaluation import Queries, evaluate, parse_metric, queries_for
from whence.experiments.valuing import (
    IntArray,
    Makes,
    Valued,
    sources_of,
)
from whence.models.identity import model_identity, told_apart

NOTHING, RANDOM = "nothing", "random"
_SPOKEN = {
    ("most", "length"): "longest first",
    ("least", "length"): "shortest first",
    ("most", "popularity"): "most popular first",
    ("least", "popularity"): "least popular first",
}


@dataclass(frozen=True)
class Ranking:
    """An order in which sources are removed.

    Attributes
    ----------
    method : str
        That values them.
    first : {"most", "least"}
        Which values go first.
    metric : str
        That the values are of, where several are shared out.
    """

    method: str
    first: Literal["most", "least"] = "least"
    metric: str = ""

    @property
    def name(self) -> str:
        """For tables and pictures."""
        if self.method == RANDOM:
            return RANDOM
        said = _SPOKEN.get((self.first, self.method), f"{self.first} {self.method} first")
        return f"{said}, {self.metric}" if self.metric else said


@dataclass(frozen=True)
class Measures:
    """Metrics, and how they are measured.

    Attributes
    ----------
    metrics : tuple of str
        Canonical names.
    options : dict
        Of `evaluate` and of the methods that share out a metric.
    threads : int or None
    """

    metrics: tuple[str, ...]
    options: dict[str, Any]
    threads: int | None = None

    @classmethod
    def of(cls, metrics: Sequence[str], sustainable_items: Any, weight: float) -> Measures:
        """Check the names of metrics, and that they have what they need.

        Raises
        ------
        MetricError
            If one is unknown, or needs sustainable items and there are none.
        """
        options: dict[str, Any] = {"sustainability_weight": weight}
        if sustainable_items is not None:
            options["sustainable_items"] = as_ids(sustainable_items)
        names = [parse_metric(one, **options).name for one in metrics]
        return cls(tuple(dict.fromkeys(names)), options)

    def measured(self, model: Any, asked: Queries) -> dict[str, Any]:
        """Measure a model.

        Returns
        -------
        dict
            ``scores``; ``sums``, float64 [n_metrics, n_askers], the sum over the queries of each
            session or user that asks; ``of_lists``, the metrics of all lists together, whose
            sums are as if every query had the value of all.
        """
        found = evaluate(model, asked, list(self.metrics), threads=self.threads, **self.options)
        sums = [
            np.bincount(
                found.sources,
                weights=np.full(len(asked), found[name])
                if name in found.aggregates
                else found.values(name),
            )
            for name in self.metrics
        ]
        return {
            "scores": dict(found.scores),
            "sums": np.stack(sums),
            "of_lists": list(found.aggregates),
        }


def askers_of(queries: Queries) -> IntArray:
    """Number of queries of each session or user that asks, in the order of ``Measures.sums``."""
    codes = queries.ids.to_series(0).rank("dense").to_numpy().astype(np.int64) - 1
    return np.bincount(codes)


def order_of(ranking: Ranking, values: Sequence[Valued], seed: int, n: int) -> IntArray:
    """Numbers of the sources in the order in which they are removed, equal ones at random.

    Parameters
    ----------
    ranking : Ranking
    values : sequence of Valued
        That has those of the ranking.
    seed : int
        Of the random order.
    n : int
        Number of sources.
    """
    ties = np.random.Generator(np.random.PCG64([seed, n])).permutation(n)
    if ranking.method == RANDOM:
        return ties
    own = next(
        one
        for one in values
        if one.seed == seed
        and one.method == ranking.method
        and (not ranking.metric or one.metric == ranking.metric)
    )
    sign = 1.0 if ranking.first == "least" else -1.0
    return np.lexsort((ties, sign * own.scores))


@dataclass(frozen=True)
class Removal:
    """Training data, and whose rows are taken away.

    Attributes
    ----------
    train : Interactions
    of_rows : int64 [n_rows]
        Number of the source of each row of the table.
    n : int
        Number of sources.
    """

    train: Interactions
    of_rows: IntArray
    n: int

    @classmethod
    def of(cls, train: Interactions, by: str | None) -> Removal:
        """Without anything taken away yet."""
        _, ids, of_rows = sources_of(train, by)
        return cls(train, of_rows, len(ids))

    def n_of(self, share: float) -> int:
        """Number of sources that are a share of all, rounded down."""
        # A hair is added so that 0.07 of 100 sources is 7 of them in binary arithmetic, too.
        return int(share * self.n + 1e-9)

    def first(self, order: IntArray, share: float, of: str = "sources") -> IntArray:
        """The first sources of an order that are a share of all sources, or have one of all rows.

        Both are rounded down, so that no more than the share is removed.
        """
        if of == "sources":
            return order[: self.n_of(share)]
        rows = np.cumsum(np.bincount(self.of_rows, minlength=self.n)[order])
        return order[: np.searchsorted(rows, share * len(self.of_rows) + 1e-9, side="right")]

    def without(self, gone: IntArray) -> Interactions:
        """The rows of the others.

        Raises
        ------
        DataError
            If there is none.
        """
        keep = np.ones(self.n, dtype=np.bool_)
        keep[gone] = False
        left = self.train.keep_rows(keep[self.of_rows])
        if not left.n_rows:
            raise DataError("Nothing would be left of the training data; remove smaller shares.")
        return left


@dataclass(frozen=True)
class Refitting:
    """Models fitted to what is left when some sources are removed.

    Attributes
    ----------
    made : callable
    removal : Removal
    measures : Measures
    orders : dict
        Of each seed and name of an order the numbers of the sources.
    """

    made: Makes
    removal: Removal
    measures: Measures
    orders: Mapping[tuple[int, str], IntArray]

    def refitted(
        self, seed: int, name: str, share: float, gone: IntArray
    ) -> tuple[Any, dict[str, Any]]:
        """The model without some sources, and what was removed, as columns of a table."""
        row = {"seed": seed, "order": name, "share": share, "n_removed": len(gone)}
        row["n_rows_removed"] = int(np.isin(self.removal.of_rows, gone).sum())
        return self.made(seed).fit(self.removal.without(gone)), row


def divided(data: Queries, share: float, seed: int) -> tuple[Queries, Queries]:
    """Divide the sessions or users that ask at random, each with all its queries.

    Parameters
    ----------
    data : Queries
    share : float
        Of the sessions or users that go into the first part.
    seed : int

    Raises
    ------
    DataError
        If only one asks.
    """
    codes = data.ids.to_series(0).rank("dense").to_numpy().astype(np.int64) - 1
    n = int(codes.max(initial=-1)) + 1
    if n < 2:
        raise DataError("One session or user asks all queries, so that they cannot be divided.")
    chosen = np.zeros(n, dtype=np.bool_)
    first = np.random.Generator(np.random.PCG64([seed, n, 7])).permutation(n)
    chosen[first[: min(max(round(share * n), 1), n - 1)]] = True
    mask = chosen[codes]
    return data.take(np.flatnonzero(mask)), data.take(np.flatnonzero(~mask))


def taken(model: Any, data: Any) -> Interactions:
    """Training data, in the numbers that the model has of items and sources."""
    kinds: Sequence[str] = getattr(model, "kinds", ())
    wanted = kinds[0] if len(kinds) == 1 else None
    train = Interactions.from_frame(data, kind=wanted)
    return model._numbered(train) if hasattr(model, "_numbered") else train


def queries_of(model: Any, train: Interactions, data: Any) -> Queries:
    """Queries, or those that data ask of a model that is not fitted yet."""
    if isinstance(data, Queries):
        return data
    return queries_for(model, train, data, protocol=getattr(model, "protocol", None))


def asked_identity(queries: Queries) -> str:
    """A short text that stands for queries."""
    return identity_of(told_apart(vars(queries)))


def identity(
    kind: str, experiment: Any, model: Any, train: Interactions, *asked: Queries
) -> dict[str, Any]:
    """What decides the results of an experiment."""
    params = {k: v for k, v in experiment.params.items() if k not in ("model", "sustainable_items")}
    return {
        "work": kind,
        "model": model_identity(model),
        "data": train.fingerprint,
        "asked": [asked_identity(one) for one in asked],
        **{name: told_apart(value) for name, value in params.items()},
        "sustainable_items": told_apart(experiment.sustainable_items),
    }


def made_for(model: Makes | None, seed: int, train: Any) -> tuple[Makes, Any, Interactions]:
    """How models are made, one that is not fitted, and the training data in its numbers.

    Parameters
    ----------
    model : callable or None
        With None, the neighbours of the kind of data.
    seed : int
    train : Interactions or table
    """
    from whence.models import TIFUKNN, VMISKNN, ItemKNN

    if model is None:
        data = Interactions.from_frame(train)
        kind: Any = TIFUKNN if data.kind == "baskets" else ItemKNN if data.by_user else VMISKNN

        def usual(seed: int) -> Any:
            return kind()

        return usual, kind(), taken(kind(), data)
    made = model(seed)
    return model, made, taken(made, train)
