"""What a disclosure does: one suite for its strategies."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence.engines import Run
from whence.errors import DataWarning, NotFittedError, ParameterError, WhenceError
from whence.testing._asserting import expect, expect_error, interrupting
from whence.testing.examples import example_ratings
from whence.testing.parameters import check_configurable, clone

if TYPE_CHECKING:
    from whence.curation import Disclosure, DisclosurePlan


def check_disclosure(disclosure: Disclosure) -> None:
    """Check a disclosure and its strategy, on a small factorisation and a small network.

    Parameters
    ----------
    disclosure : Disclosure
        With parameters that suit small data: 25 users. It is not changed.

    Raises
    ------
    AssertionError
        With one sentence that says what it should do.

    Examples
    --------
    >>> import whence
    >>> check_disclosure(whence.Disclosure(strategy="social", calibrate=False))
    """
    check_configurable(disclosure)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # about data of a handful of rows
        train, data = example_ratings(2)
        for model in _models(train):
            _Suite(disclosure, model, data).check()


def _models(train: Any) -> tuple[Any, Any]:
    """A factorisation at its optimum, and a network as its training left it."""
    from whence.influence import to_optimum
    from whence.models import BiasedMF, NeuMF

    factors = BiasedMF(embedding_dim=2, epochs=2, batch_size=16, weight_decay=0.1)
    network = NeuMF(gmf_dim=2, mlp_dim=2, layers=(2,), epochs=2, n_negatives=1, weight_decay=0.1)
    return to_optimum(factors.fit(train)), network.fit(train)


class _Suite:
    """The checks, with one model."""

    def __init__(self, disclosure: Disclosure, model: Any, data: Any) -> None:
        self.disclosure, self.model, self.data = disclosure, model, data
        self.name = f"Disclosure by {disclosure.strategy}, {type(model).__name__}"
        self.beta = np.linspace(0.0, 1.0, self.model.train_.n_rows)

    def solve(self, run: Run | None = None) -> DisclosurePlan:
        """The plan of a new disclosure with the same parameters."""
        new: Disclosure = clone(self.disclosure)
        return new.solve(self.model, self.data, willingness=self.beta, run=run)

    def check(self) -> None:
        """All of them."""
        plan = self.solve()
        rows = self.model.train_.frame
        expect(plan.disclosed.shape == (rows.height,), f"{self.name}: one decision for each row.")
        expect(plan.disclosed.dtype == np.bool_, f"{self.name}: a decision is yes or no.")
        kept = plan.apply(rows)
        expect(isinstance(kept, pl.DataFrame), f"{self.name}: apply gives back the kind of table.")
        expect(kept.equals(rows.filter(plan.disclosed)), f"{self.name}: apply keeps those rows.")
        for threads in (1, 2):
            self._same(self.solve(Run(threads=threads)), plan, "with other threads")
        with tempfile.TemporaryDirectory() as folder:
            for stop in range(1, 5):
                run = Run(folder=folder, progress=interrupting(stop), resume=stop > 1)
                try:
                    self.solve(run)
                except KeyboardInterrupt:
                    continue
            self._same(self.solve(Run(folder=folder, resume=True)), plan, "after an interruption")
            left = [path.name for path in Path(folder).rglob("*")]
            expect(not left, f"{self.name}: finished work leaves {left} behind.")
        self.check_bad_input()

    def check_bad_input(self) -> None:
        """What makes no sense is refused in one sentence, of a type of `whence.errors`."""
        new: Disclosure = clone(self.disclosure)
        unfitted: Any = clone(self.model)
        not_a_run: Any = "threads"
        for call, kind, what in (
            (
                lambda: new.solve(unfitted, self.data, willingness=self.beta),
                NotFittedError,
                "a model that is not fitted",
            ),
            (
                lambda: new.solve(self.model, self.data, willingness=self.beta[:-1]),
                WhenceError,
                "willingness of too few rows",
            ),
            (
                lambda: new.solve(self.model, self.data, willingness=self.beta + 0.5),
                WhenceError,
                "willingness above 1",
            ),
            (lambda: self.solve(not_a_run), ParameterError, "run='threads'"),
        ):
            expect_error(call, kind, f"{self.name}: {what}")

    def _same(self, found: DisclosurePlan, wanted: DisclosurePlan, what: str) -> None:
        same = np.array_equal(found.disclosed, wanted.disclosed)
        expect(same, f"{self.name} must choose the same {what}.")
