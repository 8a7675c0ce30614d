"""What every recommender of Whence must do: one suite, run over all of them by discovery."""

from __future__ import annotations

import inspect

import numpy as np
import polars as pl
import pytest
from oracles import random_baskets, random_sessions

import whence
from whence import Interactions, Recommender, make_queries
from whence.errors import DataError, FileFormatError, NotFittedError, ParameterError, WhenceError


def check_recommender(make, tmp_path):
    """Run every check on the models that ``make()`` returns, for each kind it learns from."""
    check_unfitted(make)
    model = make()
    kinds = ("users",) if model.asks == "users" else model.kinds
    for kind in kinds:
        train, valid = example(kind)
        check_lists(make, train, valid)
        check_scores(make, train, valid)
        check_ids_of_any_type(make, train)
        check_relabelling_and_row_order(make, train, valid)
        check_saving(make, train, valid, tmp_path / kind)
        check_bad_input(make, train)
        check_subsets_keep_numbers(make, train, valid)


def example(kind, seed=0):
    """Training and validation tables with many ties but distinct moments."""
    rng = np.random.default_rng(seed)
    if kind == "baskets":
        valid = random_baskets(rng, 14, 12, most_baskets=1, first_basket=500)
        return random_baskets(rng, 12, 12), valid
    train = random_sessions(rng, 25, 12)
    moments = rng.permutation(len(train)) * 10
    train = train.with_columns(timestamp=pl.Series(moments))
    valid = random_sessions(rng, 9, 13)
    if kind == "users":
        # Rated, and the users of validation are partly those of training.
        names = {"session_id": "user_id"}
        train = train.with_columns(rating=pl.Series(rng.integers(1, 6, len(train)))).rename(names)
        valid = valid.with_columns(rating=pl.Series(rng.integers(1, 6, len(valid)))).rename(names)
    return train, valid


def asked(model, train):
    """Queries in the caller's ids."""
    if model.train_.kind == "baskets" or model.asks == "users":
        return train["user_id"].unique(maintain_order=True).to_list()[:5]
    items = train["item_id"].to_list()
    return [items[:1], items[1:4], items[3:9]]


def check_unfitted(make):
    model = make()
    with pytest.raises(NotFittedError, match="fit"):
        model.recommend([1])
    assert repr(model).startswith(f"{type(model).__name__}(")
    assert "fitted" not in repr(model)


def check_lists(make, train, valid):
    model = make().fit(train)
    assert model.fit(train) is model
    known = set(train["item_id"].to_list())
    lists, scores = model.recommend(asked(model, train), k=4)
    for items, values in zip(lists, scores):
        assert len(items) == len(values) <= 4
        assert len(set(items.tolist())) == len(items)
        assert set(items.tolist()) <= known
        assert (np.diff(values) <= 0).all()
        assert (values > model.floor).all()
    one_list, one_scores = model.recommend(asked(model, train)[1], k=4)
    np.testing.assert_array_equal(one_list, lists[1])
    # Products of matrices round differently in batches of another size.
    np.testing.assert_allclose(one_scores, scores[1], rtol=0 if model.floor == 0 else 1e-5)
    queries = make_queries(model, valid)
    again = make().fit(train)
    for threads in (1, 2, 4):
        codes, values = again.recommend_codes(queries, 5, threads=threads)
        np.testing.assert_array_equal(codes, model.recommend_codes(queries, 5)[0])
        np.testing.assert_array_equal(values, model.recommend_codes(queries, 5)[1])


def check_scores(make, train, valid):
    """Lists are the best scores above the floor, ties by item number."""
    model = make().fit(train)
    queries = make_queries(model, valid)
    scores = model.score_codes(queries)
    assert scores.shape == (len(queries), model.n_items)
    codes, values = model.recommend_codes(queries, model.n_items)
    for row, items, best in zip(scores, codes, values):
        order = np.argsort(-row, kind="stable")
        order = order[row[order] > model.floor]
        np.testing.assert_array_equal(items[: len(order)], order)
        assert (items[len(order) :] == -1).all()
        np.testing.assert_allclose(best[: len(order)], row[order], rtol=1e-12)
    some = model.vocabulary.items.to_list()[:3]
    np.testing.assert_array_equal(
        model.score(asked(model, train), items=some), model.score(asked(model, train))[:, :3]
    )


def check_ids_of_any_type(make, train):
    source = train.columns[0]
    for cast in (
        lambda c: pl.format("id-{}", c),
        lambda c: pl.format("{}", c).cast(pl.Categorical),
    ):
        table = train.with_columns(item_id=cast(pl.col("item_id")))
        model = make().fit(table)
        history = asked(model, table)
        items, _ = model.recommend(history, k=3)
        assert all(isinstance(item, str) for row in items for item in row)
    large = train.with_columns(item_id=pl.col("item_id").cast(pl.Int64) + 2**60)
    model = make().fit(large)
    items, _ = model.recommend(asked(model, large), k=3)
    plain = make().fit(train)
    same, _ = plain.recommend(asked(plain, train), k=3)
    for row, want in zip(items, same):
        assert (row - 2**60).tolist() == want.tolist()
    for table in (train.to_pandas(), train.to_arrow()):
        other = make().fit(table)
        assert other.vocabulary.items.to_list() == plain.vocabulary.items.to_list()
        assert other.train_.columns.source == source


def check_relabelling_and_row_order(make, train, valid):
    """Other names and another order of rows with distinct moments change nothing."""
    rng = np.random.default_rng(5)
    plain = make().fit(train)
    names = {i: f"n{rng.integers(10**9)}-{i}" for i in range(-1, 60)}

    def renamed(table):
        return table.with_columns(item_id=pl.col("item_id").replace_strict(names))

    other = make().fit(renamed(train))
    queries = make_queries(plain, valid)
    codes, scores = plain.recommend_codes(queries, 5)
    for model, table in ((other, renamed(valid)), (plain, valid)):
        again = model.recommend_codes(make_queries(model, table), 5)
        np.testing.assert_array_equal(again[0], codes)
        np.testing.assert_array_equal(again[1], scores)
    if plain.train_.columns.time is not None:
        shuffled = make().fit(train.sample(fraction=1, shuffle=True, seed=2))
        again = shuffled.recommend_codes(make_queries(shuffled, valid), 5)
        np.testing.assert_array_equal(again[0], codes)
        np.testing.assert_array_equal(again[1], scores)


def check_saving(make, train, valid, folder):
    model = make().fit(train)
    path = model.save(folder / "model.parquet")
    for loaded in (whence.load_model(path), type(model).load(path)):
        assert type(loaded) is type(model)
        assert loaded.params == model.params
        queries = make_queries(loaded, valid)
        np.testing.assert_array_equal(
            loaded.recommend_codes(queries, 5)[0], model.recommend_codes(queries, 5)[0]
        )
    with pytest.raises(WhenceError, match="exists"):
        model.save(path)
    model.save(path, overwrite=True)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FileFormatError, match="truncated"):
        whence.load_model(path)
    train.write_parquet(folder / "other.parquet")
    with pytest.raises(FileFormatError, match="not a model"):
        whence.load_model(folder / "other.parquet")
    assert sorted(p.name for p in folder.iterdir()) == ["model.parquet", "other.parquet"]


def check_bad_input(make, train):
    model = make().fit(train)
    question = asked(model, train)
    with pytest.raises(ParameterError, match="catalogue"):
        model.recommend(question, k=10**6)
    with pytest.raises(ParameterError, match="k"):
        model.recommend(question, k=0)
    with pytest.raises(DataError, match="unknown to the model"):
        model.score(question, items=[10**9])
    with pytest.raises(WhenceError, match="item"):
        make().fit(train.drop("item_id"))
    with pytest.raises(DataError, match="null"):
        make().fit(train.with_columns(item_id=pl.lit(None, pl.Int64)))
    with pytest.raises(DataError, match=r"empty|no row"):
        make().fit(train.clear())
    with pytest.raises(DataError, match=r"type|strings|text|integer"):
        make_queries(model, train.with_columns(item_id=pl.format("{}", "item_id")))


def check_subsets_keep_numbers(make, train, valid):
    """Refitting on a part leaves numbering and queries as they are, and unlearns the rest."""
    data = Interactions.from_frame(train)
    full = make().fit(data)
    gone = data.vocabulary.sources.to_list()[:4]
    part = make().fit(data.without(gone))
    assert part.vocabulary.items.equals(full.vocabulary.items)
    queries = make_queries(full, valid)
    alone = make().fit(train.filter(~pl.col(data.columns.source).is_in(gone)))
    external = [
        set(part.vocabulary.items.gather(row[row >= 0]).to_list())
        for row in part.recommend_codes(queries, 30 if full.n_items > 30 else full.n_items)[0]
    ]
    known = set(alone.vocabulary.items.to_list())
    assert all(items <= known for items in external)


def all_recommenders():
    """Every public recommender of the package."""
    return sorted(
        {
            value
            for name in dir(whence.models)
            if isinstance(value := getattr(whence.models, name), type)
            and issubclass(value, Recommender)
            and not inspect.isabstract(value)
            # Adapters need a model of another library; their own tests give them one.
            and not value.__module__.startswith("whence.models.adapters")
        },
        key=lambda c: c.__name__,
    )
