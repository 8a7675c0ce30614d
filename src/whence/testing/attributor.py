"""What every method of attribution does: one suite for those of Whence and for one's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whence.attribution import METHODS, Attribution, Attributor
from whence.engines import Run
from whence.errors import (
    DataError,
    FileFormatError,
    NotFittedError,
    OutputExistsError,
    ParameterError,
    UnsupportedError,
    WhenceError,
)
from whence.models.base import Recommender
from whence.testing._asserting import expect, expect_close, expect_equal, expect_error, interrupting
from whence.testing.examples import example_baskets, example_ratings, example_sessions, other_frames
from whence.testing.parameters import check_configurable, clone

Example = tuple[Recommender, pl.DataFrame]


def check_attributor(
    method: Attributor, model: Recommender | None = None, data: pl.DataFrame | None = None
) -> None:
    """Check a method that credits training data against the protocol.

    Parameters
    ----------
    method : Attributor
        With parameters that suit small data, such as a metric of short lists. It is not changed.
    model : fitted Recommender, optional
        What it can attribute; by default small models of Whence, on sessions, baskets and
        ratings, as many as the method supports, but one at least.
    data : data frame, optional
        What the model is judged on; necessary where a model is given.

    Raises
    ------
    AssertionError
        With one sentence that names the class and what it should do.

    Examples
    --------
    >>> import whence
    >>> check_attributor(whence.LeaveOneOut("mrr@3"))
    """
    check_configurable(method)
    name = type(method).__name__
    expect(METHODS.find(method.name) is type(method), f"{name} must be registered under a name.")
    expect(bool(method.title), f"{name} must have a title for its values.")
    given = [(model, data)] if model is not None and data is not None else _examples()
    supported = 0
    for one, asked in given:
        try:
            values = clone(method).attribute(one, asked)
        except UnsupportedError:
            continue
        supported += 1
        _Suite(method, one, asked).check(values)
    expect(supported, f"{name} supports none of the models that it was tried on.")


def _examples() -> Iterator[Example]:
    """Small fitted models with a twin and a stranger among their sources, and what to ask."""
    from whence.models import EASE, TIFUKNN, VMISKNN

    train, asked = example_sessions(2, n_sessions=7, n_items=7)
    yield VMISKNN(k=12, m=12).fit(_with_twin(train, "session_id", "s3")), asked
    train, asked = example_baskets(2, n_users=7, n_items=8)
    asked = asked.filter(pl.col("user_id") != "u3")
    yield TIFUKNN(k=20, m=3, alpha=0.3).fit(_with_twin(train, "user_id", "u3")), asked
    train, asked = example_ratings(2, n_users=7, n_items=7)
    yield EASE().fit(train), asked
    try:
        from whence.models import BiasedMF, LSTMRec
    except UnsupportedError:  # without torch
        return
    small: dict[str, Any] = {"embedding_dim": 2, "epochs": 2, "batch_size": 16}
    train, asked = example_sessions(2, n_sessions=9, n_items=7)
    yield LSTMRec(hidden_dim=3, **small).fit(train, checkpoints=1), asked
    from whence.influence import to_optimum

    train, asked = example_ratings(2, n_users=9, n_items=7)
    yield to_optimum(BiasedMF(weight_decay=0.1, **small).fit(train, checkpoints=1)), asked


def _with_twin(table: pl.DataFrame, source: str, one: str) -> pl.DataFrame:
    """A table in which one source has a twin, and one shares nothing with the others."""
    again = table.filter(pl.col(source) == one).with_columns(pl.lit("twin").alias(source))
    strange = table.head(1).with_columns(pl.lit("x").alias(source), item_id=pl.lit(77))
    for name in ("basket_id", "timestamp"):
        if name in table.columns:
            highest = int(table[name].max())  # type: ignore[arg-type]
            again = again.with_columns(pl.col(name) + (300 if name == "basket_id" else 0))
            strange = strange.with_columns(pl.lit(highest + 900).alias(name))
    return pl.concat([table, again, strange.select(table.columns).cast(table.schema)])


class _Suite:
    """The checks of a method on one model."""

    def __init__(self, method: Attributor, model: Recommender, data: pl.DataFrame) -> None:
        self.method, self.model, self.data = method, model, data
        self.name = f"{type(method).__name__} on {type(model).__name__}"
        self.looks_at_data = "metric" in method.params or "outcome" in method.params

    def attribute(self, run: Run | None = None, **params: Any) -> Any:
        """Values of a new method with the same parameters."""
        return clone(self.method).set_params(**params).attribute(self.model, self.data, run=run)

    def check(self, values: Attribution) -> None:
        """All of them."""
        self.check_table(values)
        self.check_metadata(values)
        self.check_twin(values)
        self.check_determinism(values)
        self.check_resuming(values)
        self.check_data_frames(values)
        self.check_saving(values)
        self.check_pruning(values)
        self.check_bad_input()

    def check_table(self, values: Attribution) -> None:
        """One finite score for each source, by the caller's ids, and tables of the extremes."""
        expect(isinstance(values, Attribution), f"{self.name} must return an Attribution.")
        expect(len(values) > 0, f"{self.name} must have a row for each source.")
        expect(values.ids.n_unique() == len(values), f"{self.name}: each source has one row.")
        expect(np.isfinite(values.scores).all(), f"{self.name}: scores must be finite.")
        if values.std_errors is not None:
            expect((values.std_errors >= 0).all(), f"{self.name}: standard errors below 0.")
        expect(repr(values) and values.summary(), f"{self.name}: a result must describe itself.")
        best = pl.from_dataframe(values.top(3))
        of = dict(zip(values.ids.to_list(), values.totals.tolist()))
        found = [of[one] for one in best[values.source].to_list()]
        expect_equal(found, sorted(of.values(), reverse=True)[:3], f"{self.name}: top(3)")

    def check_metadata(self, values: Attribution) -> None:
        """The record says how the values came about."""
        facts, method = values.metadata, self.method
        expect(METHODS.find(facts["method"]) is type(method), f"{self.name}: metadata['method'].")
        expect(values.title == method.title, f"{self.name}: its values must carry its title.")
        expect(facts["model"] == type(self.model).__name__, f"{self.name}: metadata['model'].")
        unknown = set(facts["params"]) - set(method.params)
        expect(not unknown, f"{self.name}: metadata['params'] has {unknown}, which it lacks.")
        expect(facts["fingerprint"]["train"], f"{self.name}: the training data's fingerprint.")
        expect(facts["elapsed_seconds"] >= 0, f"{self.name}: metadata['elapsed_seconds'].")
        if facts["efficiency"]:
            gain = facts["value_all"] - facts["value_nothing"]
            sums = f"{self.name}: scores must add up to value_all - value_nothing"
            expect_close(values.scores.sum(), gain, sums, rtol=0, atol=1e-9)

    def check_twin(self, values: Attribution) -> None:
        """A source that shares nothing with the queries is worth 0; twins are worth the same."""
        ids = values.ids.to_list()
        if "twin" not in ids or "metric" not in self.method.params:
            return
        of = dict(zip(ids, values.totals))
        expect_close(of["x"], 0.0, f"{self.name}: a source without part", rtol=0, atol=1e-12)
        errors = values.total_errors
        slack = 1e-12 + (0.0 if errors is None else 6 * float(errors.max()))
        original = "u3" if "u3" in ids else "s3"
        expect_close(of["twin"], of[original], f"{self.name}: a twin", rtol=0, atol=slack)

    def check_determinism(self, values: Attribution) -> None:
        """The same seed gives the same values, whatever the number of threads."""
        for threads in (1, 2, 3):
            again = self.attribute(Run(threads=threads))
            self._same(again, values, f"{threads} threads")
        if "seed" in self.method.params:
            seed = self.method.params["seed"] + 1
            found = self.attribute(Run(seed=seed))
            wanted = self.attribute(seed=seed)
            self._same(found, wanted, "a seed of the run")
            # A closed form draws nothing.
            recorded = found.metadata["seed"] in (seed, None)
            expect(recorded, f"{self.name}: the seed of the run must be recorded.")

    def check_resuming(self, values: Attribution) -> None:
        """Broken off at any report of progress and resumed, the values are the same bits."""
        with tempfile.TemporaryDirectory() as folder:
            for stop in range(1, 8):
                run = Run(folder=folder, progress=interrupting(stop), resume=stop > 1)
                try:
                    self.attribute(run)
                except KeyboardInterrupt:
                    continue
            found = self.attribute(Run(folder=folder, resume=True))
            self._same(found, values, "an interruption")
            left = [str(path.name) for path in Path(folder).rglob("*")]
            expect(not left, f"{self.name}: finished work leaves {left} behind.")

    def check_data_frames(self, values: Attribution) -> None:
        """The table comes back as the kind of data frame that the model was fitted on."""
        expect(isinstance(values.to_frame(), pl.DataFrame), f"{self.name}: polars in, polars out.")
        table = self.model.train_.frame
        if "differentiable" in self.model.levels:
            return
        for other in other_frames(table):
            model = clone(self.model).fit(other)
            found = clone(self.method).attribute(model, self.data).to_frame()
            kinds = f"{type(other).__name__} in, {type(found).__name__} out"
            expect(type(found) is type(other), f"{self.name}: {kinds}.")

    def check_saving(self, values: Attribution) -> None:
        """Saved values are loaded as they were; damaged ones are refused."""
        with tempfile.TemporaryDirectory() as folder:
            path = values.save(Path(folder) / "values.parquet")
            loaded = Attribution.load(path)
            expect(loaded.frame.equals(values.frame), f"{self.name}: the table loaded again.")
            expect(loaded.metadata == values.metadata, f"{self.name}: the metadata loaded again.")
            expect(loaded.title == values.title, f"{self.name}: the title loaded again.")
            expect_error(lambda: values.save(path), OutputExistsError, "Saving over a file")
            path.write_bytes(path.read_bytes()[:200])
            expect_error(lambda: Attribution.load(path), FileFormatError, "A truncated file")

    def check_pruning(self, values: Attribution) -> None:
        """Pruning removes the sources of the lowest values and keeps the numbering."""
        train = self.model.train_
        if values.source != train.columns.source:
            return
        kept = values.prune(train, n=2)
        lowest = values.ids.gather(values.order()[:2]).to_list()
        left = set(kept.frame[train.columns.source].to_list())
        expect(left == set(values.ids.to_list()) - set(lowest), f"{self.name}: prune(n=2).")
        expect(kept.vocabulary.items.equals(train.vocabulary.items), "Pruning keeps numbers.")

    def check_bad_input(self) -> None:
        """What cannot be answered is refused in one sentence, of a type of `whence.errors`."""
        method, data = self.method, self.data
        unfitted = clone(self.model)
        expect_error(
            lambda: clone(method).attribute(unfitted, data),
            NotFittedError,
            f"{self.name}, not fitted",
        )
        not_a_run: Any = "threads"
        expect_error(
            lambda: clone(method).attribute(self.model, data, run=not_a_run),
            ParameterError,
            f"{self.name} with run='threads'",
        )
        if not self.looks_at_data:
            return
        text = data.with_columns(item_id=pl.format("{}", "item_id"))
        for wrong, what in ((data.drop("item_id"), "without items"), (text, "with other ids")):
            asked = wrong
            expect_error(
                lambda asked=asked: clone(method).attribute(self.model, asked),  # type: ignore[misc]
                (DataError, WhenceError),
                f"{self.name}, data {what}",
            )
        if "metric" in method.params:
            expect_error(
                lambda: self.attribute(metric="mrr"), WhenceError, f"{self.name}, metric without @K"
            )

    def _same(self, found: Attribution, wanted: Attribution, what: str) -> None:
        expect(found.frame.equals(wanted.frame), f"{self.name} must give the same after {what}.")
