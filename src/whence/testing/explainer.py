"""What every explanation of recommendations does: one suite for those of Whence and of others."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from whence.attribution import METHODS, Attributor
from whence.engines import Run
from whence.errors import DataError, FileFormatError, NotFittedError, ParameterError, WhenceError
from whence.explanation import Explanation, Explanations
from whence.models.base import Recommender
from whence.testing._asserting import expect, expect_close, expect_error, interrupting
from whence.testing.examples import example_sessions
from whence.testing.parameters import check_configurable, clone


def check_explainer(explainer: Attributor, model: Recommender | None = None) -> None:
    """Check a method that credits the events of a history against the protocol.

    Parameters
    ----------
    explainer : Attributor
        With parameters that suit small data: a short list (``k=3``). It is not changed.
    model : fitted Recommender, optional
        Of sessions; by default a small `VMISKNN`.

    Raises
    ------
    AssertionError
        With one sentence that names the class and what it should do.

    Examples
    --------
    >>> import whence
    >>> check_explainer(whence.Explainer(k=3))
    """
    from whence.models import VMISKNN

    check_configurable(explainer)
    name = type(explainer).__name__
    expect(METHODS.find(explainer.name) is type(explainer), f"{name} must be registered.")
    if model is None:
        model = VMISKNN(k=12, m=12).fit(example_sessions(2)[0])
    _Suite(explainer, model).check()


class _Suite:
    """The checks of an explainer on one model."""

    def __init__(self, explainer: Attributor, model: Recommender) -> None:
        self.explainer, self.model = explainer, model
        self.name = f"{type(explainer).__name__} on {type(model).__name__}"
        items = model.vocabulary.items.to_list()
        self.histories = {"a": items[:3], "b": items[1:6], "c": items[2:4], "d": items[:5]}

    def explain(self, data: Any, run: Run | None = None) -> Any:
        """Explain with a new explainer of the same parameters."""
        return clone(self.explainer).attribute(self.model, data, run=run)

    def check(self) -> None:
        """All of them."""
        many = self.explain(self.histories)
        expect(isinstance(many, Explanations), f"{self.name}: several histories, Explanations.")
        expect(many.ids == list(self.histories), f"{self.name}: histories keep their names.")
        for history, explanation in zip(self.histories.values(), many):
            self.check_one(history, explanation)
        self.check_determinism(many)
        self.check_resuming(many)
        self.check_saving(many[0])
        self.check_bad_input()

    def check_one(self, history: list[Any], explanation: Explanation) -> None:
        """A finite share for each event, adding up to what the whole history is worth."""
        expect(isinstance(explanation, Explanation), f"{self.name}: one history, an Explanation.")
        expect(len(explanation) <= len(history), f"{self.name}: a row for each event at most.")
        expect(np.isfinite(explanation.scores).all(), f"{self.name}: shares must be finite.")
        expect(explanation.items.height >= 1, f"{self.name}: what is explained must be named.")
        if explanation.metadata["efficiency"]:
            gain = explanation.value_all - explanation.value_nothing
            total = float(explanation.scores.sum())
            expect_close(total, gain, f"{self.name}: shares add up", rtol=0, atol=1e-6)

    def check_determinism(self, many: Explanations) -> None:
        """The same seed gives the same shares, whatever the number of threads."""
        for threads in (1, 2, 3):
            self._same(self.explain(self.histories, Run(threads=threads)), many, "other threads")
        if "seed" in self.explainer.params:
            seed = self.explainer.params["seed"] + 1
            found = self.explain(self.histories, Run(seed=seed))
            recorded = found[0].metadata["seed"] in (seed, None)
            expect(recorded, f"{self.name}: the seed of the run must be recorded.")

    def check_resuming(self, many: Explanations) -> None:
        """Broken off at any report of progress and resumed, the shares are the same bits."""
        with tempfile.TemporaryDirectory() as folder:
            for stop in range(1, 5):
                run = Run(folder=folder, progress=interrupting(stop), resume=stop > 1)
                try:
                    self.explain(self.histories, run)
                except KeyboardInterrupt:
                    continue
            found = self.explain(self.histories, Run(folder=folder, resume=True))
            self._same(found, many, "an interruption")
            left = [path.name for path in Path(folder).rglob("*")]
            expect(not left, f"{self.name}: finished work leaves {left} behind.")

    def check_saving(self, explanation: Explanation) -> None:
        """A saved explanation is loaded as it was; a damaged one is refused."""
        with tempfile.TemporaryDirectory() as folder:
            path = explanation.save(Path(folder) / "one.parquet")
            loaded = Explanation.load(path)
            expect(loaded.frame.equals(explanation.frame), f"{self.name}: the table loaded again.")
            expect(loaded.title == explanation.title, f"{self.name}: the title loaded again.")
            path.write_bytes(path.read_bytes()[:200])
            expect_error(lambda: Explanation.load(path), FileFormatError, "A truncated file")

    def check_bad_input(self) -> None:
        """What cannot be explained is refused in one sentence, of a type of `whence.errors`."""
        unfitted: Any = clone(self.model)
        history = self.histories["a"]
        expect_error(
            lambda: clone(self.explainer).attribute(unfitted, history),
            NotFittedError,
            f"{self.name}, not fitted",
        )
        not_a_run: Any = "threads"
        expect_error(
            lambda: self.explain(history, not_a_run), ParameterError, f"{self.name}, run='threads'"
        )
        for wrong, what in (([], "empty"), (["no such item"], "of unknown items alone")):
            expect_error(
                lambda wrong=wrong: self.explain(wrong),  # type: ignore[misc]
                (DataError, WhenceError),
                f"{self.name}, a history that is {what}",
            )

    def _same(self, found: Explanations, wanted: Explanations, what: str) -> None:
        same = found.to_frame().equals(wanted.to_frame())
        expect(same, f"{self.name} must give the same after {what}.")
