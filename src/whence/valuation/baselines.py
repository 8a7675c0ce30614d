"""Values that look at no metric: what every valuation has to beat."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution import Attribution, Attributor, describe_run
from whence.data import Interactions
from whence.engines import Run, settled
from whence.errors import NotFittedError
from whence.parameters import Seed
from whence.valuation.sources import (
    Sources,
    identifying_columns,
    players_of_rows,
    resolve_sources,
)

FloatArray = npt.NDArray[np.float64]


class Baseline(Attributor):
    """Base of the values that depend on the training data alone.

    Parameters
    ----------
    by : str, optional
        Who is credited, as in `Valuation`.
    """

    by: str | None = None

    @abstractmethod
    def _scores(self, train: Interactions, sources: Sources, run: Run) -> FloatArray:
        """Value of each source, float64 (n_sources,)."""

    def attribute(self, model: Any, data: Any = None, *, run: Run | None = None) -> Attribution:
        """Value the training data of a model.

        Parameters
        ----------
        model : fitted recommender or Interactions
            The training data is all that is looked at.
        data : optional
            Not looked at; accepted so that a baseline can stand wherever another method does.
        run : Run, optional
            Its seed, in place of that of the method.

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
        run = settled(run, self)
        train = model if isinstance(model, Interactions) else getattr(model, "train_", None)
        if not isinstance(train, Interactions):
            raise NotFittedError(
                f"{type(self).__name__} values the training data of a fitted model, but this "
                f"{type(model).__name__} has none; call model.fit(train) first, or give the "
                "training Interactions."
            )
        sources = resolve_sources(train, self.by, fine=True)
        params = {name: value for name, value in self.params.items() if name != "by"}
        if "seed" in params:
            params["seed"] = run.seed
        metadata = describe_run(
            self.name,
            title=self.title,
            by=sources.by,
            source=sources.column,
            model=None if model is train else model,
            params=params,
            seed=params.get("seed"),
            train=train,
            validation=data if isinstance(data, Interactions) else None,
            elapsed_seconds=time.perf_counter() - started,
        )
        scores = self._scores(train, sources, run)
        columns = {**identifying_columns(train, sources), "score": scores}
        table = pl.DataFrame({sources.name: sources.ids, **columns})
        return Attribution(table, source=sources.name, metadata=metadata, backend=train.backend)


class RandomValue(Baseline, name="random", title="Random values"):
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

    seed: Seed = 42

    def _scores(self, train: Interactions, sources: Sources, run: Run) -> FloatArray:
        return np.random.default_rng(run.seed).random(len(sources))


class LengthValue(Baseline, name="length", title="Length"):
    """The number of training interactions of a source."""

    def _scores(self, train: Interactions, sources: Sources, run: Run) -> FloatArray:
        lengths = np.bincount(players_of_rows(train, sources), minlength=len(sources))
        return lengths.astype(np.float64)


class PopularityValue(Baseline, name="popularity", title="Popularity"):
    """The mean popularity of a source's items.

    The popularity of an item is its number of training interactions; the mean is over the
    interactions of the source, and 0 where it has none.
    """

    def _scores(self, train: Interactions, sources: Sources, run: Run) -> FloatArray:
        players = players_of_rows(train, sources)
        counts = np.bincount(train.item_codes, minlength=train.n_items)
        popularity = np.empty(train.n_rows)
        popularity[train.rows] = counts[train.item_codes]
        lengths = np.bincount(players, minlength=len(sources))
        sums = np.bincount(players, weights=popularity, minlength=len(sources))
        return np.asarray(sums / np.maximum(lengths, 1))
