"""`forget`: a fitted model without what some of its training data taught it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whence._html import ShownAsText
from whence.curation.forgetting.audit import Audit, audit
from whence.curation.forgetting.certificate import Certificate
from whence.curation.forgetting.gone import Gone, Mask, asked_for, listed
from whence.curation.forgetting.ways import check_can_forget, without
from whence.data import Interactions
from whence.engines import Run, reporter, settled
from whence.errors import ParameterError, check_int


@dataclass(frozen=True)
class Forgotten(ShownAsText):
    """A model that has forgotten rows of its training data.

    Attributes
    ----------
    model : recommender
        Its training data are those that are left, as `Interactions.without` leaves them.
    certificate : Certificate
        How near it is to a model fitted on these.
    n_rows, n_sources : int
        Rows that were forgotten, and users or sessions that nothing is left of.
    seconds : float
        That it took.
    original : recommender
        The model as it was.
    gone : Gone
        The rows, in the data that the model was fitted on.
    """

    model: Any
    certificate: Certificate
    n_rows: int
    n_sources: int
    seconds: float
    original: Any = field(repr=False)
    gone: Gone = field(repr=False)

    def __repr__(self) -> str:
        source = "sessions" if self.gone.train.columns.user is None else "users"
        return (
            f"<Forgotten: {self.n_rows:,} rows, {self.n_sources:,} {source}, "
            f"{self.seconds:.2f} s; {self.certificate.text}>"
        )

    def audit(
        self,
        test: Any = None,
        *,
        metric: Any = "ndcg@10",
        retrain: Callable[[Interactions, int | None], Any] | None = None,
        max_sources: int = 500,
        run: Run | None = None,
    ) -> Audit:
        """Measure how near the model is to one that never saw the rows, by training such a one.

        Parameters
        ----------
        test : Interactions or data frame, optional
            Data that no model has seen, to compare forgotten rows with, and for the metric.
        metric : str or Metric
            Measured on the test data.
        retrain : callable, optional
            ``retrain(train, seed)`` fits a model on what is left; by default one with the same
            parameters and no validation data, at its optimum if the original is.
        max_sources : int
            Users or sessions whose scores are compared, evenly spread over all.
        run : Run, optional
            How the work is done.

        Returns
        -------
        Audit
            Figures with intervals, beside those of the model that has not forgotten, and of one
            trained from another start: what lies within the distance between two starts
            nobody can tell from training afresh.
        """
        return audit(self, test, metric=metric, retrain=retrain, max_sources=max_sources, run=run)


def forget(
    model: Any,
    rows: Any = None,
    *,
    users: Any = None,
    sessions: Any = None,
    epochs: int = 0,
    repeated: int = 1,
    in_place: bool = False,
    run: Run | None = None,
) -> Forgotten:
    """Take rows of the training data out of what a fitted model has learned.

    A user withdraws, or a spammer is found: the model that is served must lose their data, at
    less than the cost of training afresh. How, and how well, depends on the model:

    - `VMISKNN`, `TIFUKNN`, `ItemKNN`, `MarkovChain`, `Popularity`: counts, lists and vectors are
      taken away; the result is the model fitted on what is left, bit for bit.
    - `EASE`: downdates of its inverse, equal but for rounding errors.
    - `ALS`: solves for the users and items from where they are, three times in turn.
    - `BiasedMF` and `BPRMF` at their optimum (see `to_optimum`): descent to the optimum of what is
      left, with a bound on the distance to it.
    - Networks, and factor models that were stopped before: embeddings that only forgotten rows
      have trained take their initial values again, and all else moves by one Gauss-Newton step;
      then `epochs` of training on what is left. Only an audit tells how much is left.

    Parameters
    ----------
    model : fitted recommender
        It is left as it is, unless `in_place` is set.
    rows : array or table, optional
        Rows of ``model.train_.frame``: their numbers, one truth value for each, or a table with
        the columns of source and item (and basket and time, if it has them), of which all rows
        that agree are forgotten.
    users, sessions : sequence of ids, optional
        Whose rows are forgotten.
    epochs : int, default 0
        Of networks: epochs of training on what is left, after the step.
    repeated : int, default 1
        Serve the request as so many, one after another, as a stream of requests would be.
    in_place : bool, default False
        Change the model itself, at the very end.
    run : Run, optional
        How the work is done.

    Returns
    -------
    Forgotten
        With the model, and a certificate.

    Raises
    ------
    UnsupportedError
        If the model cannot forget.
    DataError
        If an id or a row is unknown or forgotten already, or nothing would be left.
    ParameterError
        If not one of rows, users and sessions is given, or a number is out of range.

    Examples
    --------
    >>> import polars as pl, whence
    >>> clicks = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": ["a", "b", "a", "c", "b"]})
    >>> model = whence.Popularity().fit(clicks)
    >>> forgotten = whence.forget(model, users=[2])
    >>> forgotten.certificate.kind, forgotten.model.counts_.tolist()
    ('exact', [1, 2, 0])
    """
    gone = checked(model, rows, users, sessions, epochs=epochs, repeated=repeated)
    run = settled(run, model)
    requests = _requests(gone, repeated)
    started = time.perf_counter()
    changed, certificate = model, Certificate("exact")
    kept = np.ones(len(gone.mask), dtype=np.bool_)
    with reporter(run.progress, "Forgetting") as report:
        for number, mask in enumerate(requests):
            # Rows are numbered by what the requests before have left of the data.
            now = gone if repeated == 1 else Gone(changed.train_, mask[kept])
            changed, certificate = without(changed, now, epochs, run)
            kept &= ~mask
            report(number + 1, len(requests), "requests")
    seconds = time.perf_counter() - started
    original = model
    if in_place:
        original = copy.copy(model)
        model.__dict__.update(changed.__dict__)
        changed = model
    return Forgotten(changed, certificate, gone.n_rows, len(gone.emptied), seconds, original, gone)


def checked(
    model: Any,
    rows: Any = None,
    users: Any = None,
    sessions: Any = None,
    *,
    epochs: int = 0,
    repeated: int = 1,
) -> Gone:
    """Return the rows that `forget` would take, after all that can be refused before."""
    check_int("epochs", epochs, minimum=0)
    check_int("repeated", repeated, minimum=1)
    check_can_forget(model, epochs)
    model._check_fitted()
    gone = asked_for(model, rows, users, sessions)
    _requests(gone, repeated)
    return gone


def _requests(gone: Gone, n: int) -> list[Mask]:
    """Rows of each of n requests, masks [n_rows]: whole sources, or rows of one."""
    if n == 1:
        return [gone.mask]
    rows = np.flatnonzero(gone.mask)
    codes = np.empty(gone.train.n_rows, dtype=np.int64)
    codes[gone.train.rows] = gone.train.source_codes
    _, number = np.unique(codes[rows], return_inverse=True)
    if number.max() == 0:
        number = np.arange(len(rows))
    if n > number.max() + 1:
        raise ParameterError(
            f"repeated={n} is more than the {number.max() + 1} there are to be forgotten one "
            "after another; choose a smaller number."
        )
    part = number * n // (number.max() + 1)
    return [listed(rows[part == which], len(gone.mask)) for which in range(n)]
