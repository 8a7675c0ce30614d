"""What every recommender does: one suite for those of Whence and for one's own."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whence.data import Interactions
from whence.errors import (
    DataError,
    FileFormatError,
    NotFittedError,
    OutputExistsError,
    ParameterError,
    WhenceError,
)
from whence.evaluation import make_queries
from whence.models.base import Recommender
from whence.models.files import load_model
from whence.testing._asserting import expect, expect_close, expect_equal, expect_error
from whence.testing.examples import (
    Pair,
    example_baskets,
    example_ratings,
    example_sessions,
    other_frames,
)
from whence.testing.parameters import check_configurable, clone

_EXAMPLES: dict[str, Callable[[], Pair]] = {
    "baskets": example_baskets,
    "users": example_ratings,
    "sessions": example_sessions,
}


def check_recommender(model: Recommender, *, saves: bool = True) -> None:
    """Check a recommender against the protocol, for each kind of data that it learns from.

    Parameters
    ----------
    model : Recommender
        Not fitted, with parameters that suit small data: 25 sessions of 12 items. It is not
        changed.
    saves : bool, default True
        Whether it can be saved and loaded.

    Raises
    ------
    AssertionError
        With one sentence that names the class and what it should do.

    Examples
    --------
    >>> import whence
    >>> check_recommender(whence.ItemKNN(k=5))
    """
    check_configurable(model)
    _check_unfitted(model)
    kinds = ("users",) if model.asks == "users" else model.kinds
    for kind in kinds:
        train, validation = _EXAMPLES[kind]()
        suite = _Suite(model, train, validation)
        suite.check_lists()
        suite.check_scores()
        suite.check_ids_of_any_type()
        suite.check_relabelling_and_row_order()
        suite.check_bad_input()
        suite.check_subsets_keep_numbers()
        if saves:
            with tempfile.TemporaryDirectory() as folder:
                suite.check_saving(Path(folder))


def _check_unfitted(model: Recommender) -> None:
    name = type(model).__name__
    expect_error(
        lambda: clone(model).recommend([1]), NotFittedError, f"{name}.recommend before fit"
    )
    expect("fitted" not in repr(model), f"repr of an unfitted {name} must not say fitted.")


class _Suite:
    """The checks on one kind of data."""

    def __init__(self, model: Recommender, train: pl.DataFrame, validation: pl.DataFrame) -> None:
        self.model, self.train, self.validation = model, train, validation
        self.name = type(model).__name__

    def fitted(self, table: Any = None) -> Recommender:
        """A new model with the same parameters, fitted."""
        new: Recommender = clone(self.model)
        return new.fit(self.train if table is None else table)

    def asked(self, model: Recommender, table: pl.DataFrame | None = None) -> list[Any]:
        """Queries in the caller's ids."""
        table = self.train if table is None else table
        if model.train_.kind == "baskets" or model.asks == "users":
            return table["user_id"].unique(maintain_order=True).to_list()[:5]
        items = table["item_id"].to_list()
        return [items[:1], items[1:4], items[3:9]]

    def check_lists(self) -> None:
        """Lists hold known items once each, best first, whatever the number of threads."""
        name, model = self.name, clone(self.model)
        expect(model.fit(self.train) is model, f"{name}.fit must return the model.")
        known = set(self.train["item_id"].to_list())
        lists, scores = model.recommend(self.asked(model), k=4)
        for items, values in zip(lists, scores):
            expect(len(items) == len(values) <= 4, f"{name} must recommend at most k items.")
            distinct = set(items.tolist())
            expect(len(distinct) == len(items), f"{name} must recommend no item twice.")
            expect(distinct <= known, f"{name} must recommend items of the training data only.")
            expect((np.diff(values) <= 0).all(), f"{name} must recommend the best items first.")
            expect((values > model.floor).all(), f"{name} must recommend nothing at its floor.")
        one_list, one_scores = model.recommend(self.asked(model)[1], k=4)
        expect_equal(one_list, lists[1], f"{name}: one query alone must get its list among many")
        # Products of matrices round differently in batches of another size.
        rtol = 0.0 if model.floor == 0 else 1e-5
        expect_close(one_scores, scores[1], f"{name}: scores of one query alone", rtol=rtol)
        queries = make_queries(model, self.validation)
        wanted, again = model.recommend_codes(queries, 5), self.fitted()
        for threads in (1, 2, 4):
            found = again.recommend_codes(queries, 5, threads=threads)
            for one, other in zip(found, wanted):
                expect_equal(one, other, f"{name} fitted again, {threads} threads")

    def check_scores(self) -> None:
        """Lists are the best scores above the floor, ties by item number."""
        name, model = self.name, self.fitted()
        queries = make_queries(model, self.validation)
        scores = model.score_codes(queries)
        shape = (len(queries), model.n_items)
        expect(scores.shape == shape, f"{name}.score_codes must have the shape {shape}.")
        codes, values = model.recommend_codes(queries, model.n_items)
        for row, items, best in zip(scores, codes, values):
            order = np.argsort(-row, kind="stable")
            order = order[row[order] > model.floor]
            expect_equal(items[: len(order)], order, f"{name}: lists by score, ties by number")
            expect((items[len(order) :] == -1).all(), f"{name}: lists must be padded with -1.")
            expect_close(best[: len(order)], row[order], f"{name}: scores of a list", rtol=1e-12)
        some = model.vocabulary.items.to_list()[:3]
        asked = self.asked(model)
        found, wanted = model.score(asked, items=some), model.score(asked)[:, :3]
        expect_equal(found, wanted, f"{name}.score of some items")

    def check_ids_of_any_type(self) -> None:
        """Ids come back as they were given: text, categories, large integers; any data frame."""
        name, train, plain = self.name, self.train, self.fitted()
        text = train.with_columns(item_id=pl.format("id-{}", "item_id"))
        for table in (text, text.with_columns(pl.col("item_id").cast(pl.Categorical))):
            model = self.fitted(table)
            items, _ = model.recommend(self.asked(model, table), k=3)
            texts = all(isinstance(item, str) for row in items for item in row)
            expect(texts, f"{name} must recommend ids as they were given, text as text.")
        large = train.with_columns(item_id=pl.col("item_id").cast(pl.Int64) + 2**60)
        model = self.fitted(large)
        items, _ = model.recommend(self.asked(model, large), k=3)
        same, _ = plain.recommend(self.asked(plain), k=3)
        for row, wanted in zip(items, same):
            expect_equal(row - 2**60, wanted, f"{name} with large ids")
        for other in other_frames(train):
            found = self.fitted(other).vocabulary.items.to_list()
            wanted = plain.vocabulary.items.to_list()
            expect(found == wanted, f"{name} must number items alike for every data frame.")

    def check_relabelling_and_row_order(self) -> None:
        """Other names, and another order of rows with distinct moments, change nothing."""
        rng = np.random.default_rng(5)
        plain = self.fitted()
        names = {i: f"n{rng.integers(10**9)}-{i}" for i in range(-1, 60)}

        def renamed(table: pl.DataFrame) -> pl.DataFrame:
            return table.with_columns(item_id=pl.col("item_id").replace_strict(names))

        wanted = plain.recommend_codes(make_queries(plain, self.validation), 5)

        def compare(model: Recommender, table: pl.DataFrame, what: str) -> None:
            found = model.recommend_codes(make_queries(model, table), 5)
            for one, other in zip(found, wanted):
                expect_equal(one, other, f"{self.name} with {what}")

        compare(self.fitted(renamed(self.train)), renamed(self.validation), "other names of items")
        if plain.train_.columns.time is not None:
            shuffled = self.train.sample(fraction=1, shuffle=True, seed=2)
            compare(self.fitted(shuffled), self.validation, "its rows in another order")

    def check_saving(self, folder: Path) -> None:
        """A saved model is loaded as it was; what cannot be loaded is refused."""
        name, model = self.name, self.fitted()
        path = model.save(folder / "model.whence")
        loaders: list[Callable[[Path], Recommender]] = [load_model, type(model).load]
        for load in loaders:
            loaded = load(path)
            expect(type(loaded) is type(model), f"A saved {name} must be loaded as a {name}.")
            expect(loaded.params == model.params, f"A saved {name} must keep its parameters.")
            queries = make_queries(loaded, self.validation)
            found, wanted = (one.recommend_codes(queries, 5)[0] for one in (loaded, model))
            expect_equal(found, wanted, f"{name} loaded from a file")
        expect_error(lambda: model.save(path), OutputExistsError, f"Saving a {name} over a file")
        model.save(path, overwrite=True)
        path.write_bytes(path.read_bytes()[:100])
        expect_error(lambda: load_model(path), FileFormatError, f"A truncated {name}")
        left = [one.name for one in folder.iterdir()]
        expect(left == [path.name], f"Saving a {name} must leave no other files behind.")

    def check_bad_input(self) -> None:
        """What cannot be answered is refused in one sentence, of a type of `whence.errors`."""
        name, train, model = self.name, self.train, self.fitted()
        asked = self.asked(model)
        text = train.with_columns(item_id=pl.format("{}", "item_id"))
        nulls = train.with_columns(item_id=pl.lit(None, pl.Int64))
        cases: list[tuple[Callable[[], Any], type[WhenceError], str]] = [
            (lambda: model.recommend(asked, k=0), ParameterError, "k=0"),
            (lambda: model.score(asked, items=[10**9]), DataError, "an unknown item"),
            (lambda: self.fitted(train.drop("item_id")), WhenceError, "data without items"),
            (lambda: self.fitted(nulls), DataError, "items that are null"),
            (lambda: self.fitted(train.clear()), DataError, "data without rows"),
            (lambda: make_queries(model, text), DataError, "ids of another type"),
        ]
        for call, kind, what in cases:
            expect_error(call, kind, f"{name}: {what}")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            items, _ = model.recommend(asked, k=10**6)
        longest = max(len(one) for one in items)
        expect(longest <= model.n_items, f"{name} must recommend each item at most once.")
        expect(
            any("catalogue" in str(one.message) for one in told),
            f"{name} must warn where more items are wanted than there are.",
        )

    def check_subsets_keep_numbers(self) -> None:
        """Refitting on a part leaves numbering and queries as they are, and unlearns the rest."""
        name, data = self.name, Interactions.from_frame(self.train)
        full = self.fitted(data)
        gone = data.vocabulary.sources.to_list()[:4]
        part = self.fitted(data.without(gone))
        same = part.vocabulary.items.equals(full.vocabulary.items)
        expect(same, f"{name} fitted on a part must keep the numbers of the items.")
        alone = self.fitted(self.train.filter(~pl.col(data.columns.source).is_in(gone)))
        known = set(alone.vocabulary.items.to_list())
        codes, _ = part.recommend_codes(make_queries(full, self.validation), full.n_items)
        for row in codes:
            items = set(part.vocabulary.items.gather(row[row >= 0]).to_list())
            expect(items <= known, f"{name} must not recommend items of sources it did not see.")
