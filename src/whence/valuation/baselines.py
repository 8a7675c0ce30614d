"""Values that look at no metric: what every valuation has to beat."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution import Attribution, describe_run
from whence.data import Interactions
from whence.errors import NotFittedError, check_int
from whence.valuation.base import Valuation
from whence.valuation.sources import (
    Sources,
    identifying_columns,
    players_of_rows,
    resolve_sources,
)

FloatArray = npt.NDArray[np.float64]


class Baseline(Valuation):
    """Base of the values that depend on the training data alone.

    Parameters
    ----------
    by : str, optional
        Who is credited, as in `Valuation`.
    """

    fine = True

    def __init__(self, by: str | None = None) -> None:
        self.by = by

    def _check_params(self) -> None:
        """Nothing to check."""

    @abstractmethod
    def _scores(self, train: Interactions, sources: Sources) -> FloatArray:
        """Value of each source, float64 (n_sources,)."""

    def attribute(self, model: Any, validation: Any = None) -> Attribution:
        """Value the training data of a model.

        Parameters
        ----------
        model : fitted recommender or Interactions
            The training data is all that is looked at.
        validation : optional
            Not looked at; accepted so that a baseline can stand wherever another method does.

        Returns
        -------
        Attribution
            Columns: id and ``score``.

        Raises
        ------
        NotFittedError
            If the model has no training data.
        """
        started = time.perf_counter()
        self._check_params()
        train = model if isinstance(model, Interactions) else getattr(model, "train_", None)
        if not isinstance(train, Interactions):
            raise NotFittedError(
                f"{type(self).__name__} values the training data of a fitted model, but this "
                f"{type(model).__name__} has none; call model.fit(train) first, or give the "
                "training Interactions."
            )
        sources = resolve_sources(train, self.by, fine=self.fine)
        metadata = describe_run(
            self.method,
            by=sources.by,
            source=sources.name,
            model=None if model is train else model,
            params={name: value for name, value in self.params.items() if name != "by"},
            seed=getattr(self, "seed", None),
            train=train,
            validation=validation if isinstance(validation, Interactions) else None,
            elapsed_seconds=time.perf_counter() - started,
        )
        columns = {**identifying_columns(train, sources), "score": self._scores(train, sources)}
        table = pl.DataFrame({sources.name: sources.ids, **columns})
        return Attribution(table, source=sources.name, metadata=metadata, backend=train.backend)


class RandomValue(Baseline):
    """Independent uniform random values in [0, 1).

    Parameters
    ----------
    seed : int
        Of the random numbers.
    by : str, optional
        Who is credited, as in `Valuation`.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=200, seed=1)
    >>> values = whence.RandomValue(seed=7).attribute(data.train)
    >>> len(values) == data.train.n_sources
    True
    """

    method = "random"

    def __init__(self, seed: int = 42, by: str | None = None) -> None:
        super().__init__(by)
        self.seed = seed

    def _check_params(self) -> None:
        check_int("seed", self.seed, minimum=0)

    def _scores(self, train: Interactions, sources: Sources) -> FloatArray:
        return np.random.default_rng(self.seed).random(len(sources))


class LengthValue(Baseline):
    """The number of training interactions of a source."""

    method = "length"

    def _scores(self, train: Interactions, sources: Sources) -> FloatArray:
        lengths = np.bincount(players_of_rows(train, sources), minlength=len(sources))
        return lengths.astype(np.float64)


class PopularityValue(Baseline):
    """The mean popularity of a source's items.

    The popularity of an item is its number of training interactions; the mean is over the
    interactions of the source, and 0 where it has none.
    """

    method = "popularity"

    def _scores(self, train: Interactions, sources: Sources) -> FloatArray:
        players = players_of_rows(train, sources)
        counts = np.bincount(train.item_codes, minlength=train.n_items)
        popularity = np.empty(train.n_rows)
        popularity[train.rows] = counts[train.item_codes]
        lengths = np.bincount(players, minlength=len(sources))
        sums = np.bincount(players, weights=popularity, minlength=len(sources))
        return np.asarray(sums / np.maximum(lengths, 1))
