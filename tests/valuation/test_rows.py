"""Leave-one-out values of items and single rows against refitting, for every one of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from oracles import random_baskets, random_sessions

from whence import (
    TIFUKNN,
    VMISKNN,
    Interactions,
    LeaveOneOut,
    RetrainingLeaveOneOut,
    make_queries,
    read_interactions,
)
from whence.evaluation import parse_metric
from whence.evaluation.metrics import values_from_lists

METRICS = ("mrr@3", "ndcg@3", "st@3", "map@2", "sustainablemrr@1")


class Refitted:
    """The lists of a model without each row, or each item, by refitting on the rows left."""

    def __init__(self, model, valid, by):
        self.model, self.train = model, model.train_
        self.queries = make_queries(model, valid)
        self.sustainable = self.train.vocabulary.items.to_list()[:2]
        n, items = self.train.n_rows, self.train.frame[self.train.columns.item]
        if by == "interaction":
            gone = [np.arange(n) == row for row in range(n)]
        else:
            gone = [(items == item).to_numpy() for item in self.train.vocabulary.items]
        self.full = model.recommend_codes(self.queries, 3)[0]
        self.lists = [self._lists(~mask) for mask in gone]

    def _lists(self, kept):
        if not kept.any():
            return np.full_like(self.full, -1)
        model = type(self.model)(**self.model.params).fit(self.train.keep_rows(kept))
        return model.recommend_codes(self.queries, 3)[0]

    def values(self, metric):
        """What each query loses without each source; float64 (n, Q)."""
        metric = parse_metric(metric, sustainable_items=self.sustainable)
        mask = metric.sustainable_codes(self.model.vocabulary)

        def value(lists):
            return values_from_lists(metric, lists[:, : metric.k], self.queries, mask)

        return np.stack([value(self.full) - value(lists) for lists in self.lists])


def check(model, valid, metrics=METRICS, levels=("interaction", "item")):
    for by in levels:
        refitted = Refitted(model, valid, by)
        for metric in metrics:
            values = LeaveOneOut(
                metric, by=by, sustainable_items=refitted.sustainable
            ).attribute(model, refitted.queries)  # fmt: skip
            want = refitted.values(metric)
            np.testing.assert_allclose(
                values.totals, want.mean(axis=1), atol=1e-12, err_msg=f"{by}, {metric}"
            )
            assert len(values) == len(want)
    return refitted


def sessions(seed, n=14, n_items=7, **arguments):
    """Sessions with ties in time, equal rows, and single clicks."""
    rng = np.random.default_rng(seed)
    table = random_sessions(rng, n, n_items, **{"n_times": 9, **arguments})
    table = pl.concat([table, table.sample(4, seed=seed)])
    return Interactions.from_frame(table), random_sessions(rng, 5, n_items + 1, first_id=100)


def baskets(seed, n=8, n_items=9, **arguments):
    """Baskets with equal rows, and with single items that take their basket with them."""
    rng = np.random.default_rng(seed)
    table = random_baskets(rng, n, n_items, **arguments)
    table = pl.concat([table, table.sample(4, seed=seed)])
    valid = random_baskets(rng, n + 1, n_items + 1, most_baskets=1, first_basket=900)
    return Interactions.from_frame(table), valid


@pytest.mark.parametrize(("k", "m"), [(2, 4), (14, 14), (3, 3), (1, 5), (2, 9)])
def test_every_row_and_item_of_sessions(k, m):
    train, valid = sessions(k * m)
    check(VMISKNN(k=k, m=m).fit(train), valid)


@pytest.mark.parametrize(
    "params",
    [
        {"k": 2, "alpha": 0.3},
        {"k": 20, "alpha": 0.5},
        {"k": 1, "alpha": 0.0, "r_b": 0.0},
        {"k": 3, "alpha": 0.4, "similarity": "euclidean"},
        {"k": 2, "alpha": 0.2, "similarity": "euclidean", "grouping": "paper"},
    ],
    ids=str,
)
def test_every_row_and_item_of_baskets(params):
    train, valid = baskets(len(str(params)))
    check(TIFUKNN(m=3, **params).fit(train), valid)


def test_rows_without_timestamps():
    train, valid = sessions(5)
    train = Interactions.from_frame(train.frame.drop("timestamp"))
    check(VMISKNN(k=3, m=5).fit(train), valid, metrics=("mrr@3", "ndcg@3"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_many_candidates_move_back_in_time_at_once(seed):
    """Without a popular item, sessions that end with it change places among themselves, too."""
    rng = np.random.default_rng(seed)
    table = random_sessions(rng, 60, 8, longest=6, n_times=1000)
    table = table.with_columns(item_id=pl.col("item_id") ** 2 // 8)
    valid = random_sessions(rng, 8, 8, longest=6, first_id=100)
    model = VMISKNN(k=9, m=20).fit(table)
    check(model, valid, metrics=("ndcg@3", "map@3"), levels=("item",))


def test_lists_of_a_large_catalogue():
    """More items than are kept in front of the others."""
    train, valid = sessions(8, n=30, n_items=60, longest=9, n_times=100)
    check(VMISKNN(k=20, m=25).fit(train), valid, ("mrr@3", "ndcg@3"), ("item",))
    train, valid = baskets(8, n=12, n_items=70, largest=8)
    check(TIFUKNN(k=8, m=2, alpha=0.2).fit(train), valid, ("ndcg@3", "st@3"))


def test_a_neighbour_whose_items_fill_the_list_leaves():
    """What comes up from far down the list is found; here, from below 40 items of one user."""
    baskets_of = {
        "asked": [[0]],
        "full": [[0, *range(1, 41)]],
        "faint": [list(range(41, 81)), [0]],
        "other": [[0], [90], [91]],
    }
    rows = [
        (user, f"{place}", item)
        for user, baskets in baskets_of.items()
        for place, basket in enumerate(baskets)
        for item in basket
    ]
    table = pl.DataFrame(rows, schema=["user_id", "basket_id", "item_id"], orient="row")
    valid = pl.DataFrame({"user_id": ["asked"] * 2, "basket_id": ["9"] * 2, "item_id": [41, 43]})
    for k in (1, 2, 3):
        model = TIFUKNN(k=k, m=1, alpha=0.0, r_b=0.5).fit(table)
        check(model, valid, ("mrr@3", "ndcg@3"))


def test_users_with_nothing_but_the_same_item():
    table = pl.DataFrame({"user_id": list("abcde"), "basket_id": [1] * 5, "item_id": [7] * 4 + [8]})
    valid = table.with_columns(basket_id=pl.lit(2))
    for k in (1, 2, 9):
        check(TIFUKNN(k=k, m=2).fit(table), valid, ("mrr@1", "ndcg@2"))


def test_data_without_some_sources():
    train, valid = sessions(6)
    check(VMISKNN(k=2, m=5).fit(train.without(["s1", "s2"])), valid, ("ndcg@3",))
    train, valid = baskets(6)
    check(TIFUKNN(k=2, m=3).fit(train.without(["u1", "u2"])), valid, ("ndcg@3",))


@pytest.mark.parametrize("similarity", ["jaccard", "euclidean"])
def test_own_score_is_what_own_queries_lose(similarity):
    train, valid = baskets(7)
    model = TIFUKNN(k=2, m=3, alpha=0.5, similarity=similarity).fit(train)
    numbers = train.vocabulary
    for by in ("interaction", "item"):
        refitted = Refitted(model, valid, by)
        changes = refitted.values("ndcg@3")
        has = np.zeros((len(changes), train.n_sources + 1), dtype=bool)
        users = numbers.source_codes(train.frame["user_id"])
        if by == "interaction":
            has[np.arange(train.n_rows), users] = True
        else:
            has[numbers.item_codes(train.frame["item_id"]), users] = True
        own = has[:, refitted.queries.users]
        values = LeaveOneOut("ndcg@3", by=by).attribute(model, valid)
        for column, part in (("own_score", own), ("score", ~own)):
            want = (changes * part).mean(axis=1)
            np.testing.assert_allclose(values.frame[column], want, atol=1e-12)


@pytest.mark.parametrize("similarity", ["jaccard", "euclidean"])
def test_users_never_seen_keep_their_history(similarity):
    from dataclasses import replace

    train, _ = baskets(9)
    model = TIFUKNN(k=2, m=3, alpha=0.4, similarity=similarity).fit(train)
    ids = train.vocabulary.items.to_list()
    asked = model.fold_in([[ids[:2], ids[1:4]], [[ids[4]], [ids[0], ids[5]]], [ids[2:3]]])
    targets = np.array([1, 3, 2], dtype=np.int32)
    places = np.arange(3)
    queries = replace(
        asked, target_items=targets, target_start=places, target_end=places + 1
    )  # fmt: skip
    for by in ("interaction", "item"):
        fast = LeaveOneOut("mrr@4", by=by).attribute(model, queries)
        slow = RetrainingLeaveOneOut("mrr@4", by=by).attribute(model, queries)
        np.testing.assert_allclose(fast.scores, slow.scores, atol=1e-12)
        assert (fast.frame["own_score"] == 0).all()


def test_tables_say_which_row_and_item():
    train, valid = sessions(3)
    model = VMISKNN(k=2, m=4).fit(train)
    rows = LeaveOneOut("mrr@3", by="interaction").attribute(model, valid)
    assert rows.frame.columns == ["row", "session_id", "item_id", "score"]
    assert rows.ids.to_list() == list(range(train.n_rows))
    assert rows.frame["item_id"].equals(train.frame["item_id"])
    assert rows.noun == "interactions"
    kept = rows.prune(train, n=3)
    assert kept.frame.equals(train.frame[np.sort(rows.order()[3:])])
    items = LeaveOneOut("mrr@3", by="item").attribute(model, valid)
    assert items.frame.columns == ["item_id", "score"]
    assert items.ids.to_list() == train.vocabulary.items.to_list()
    worst = items.ids[int(items.order()[0])]
    assert worst not in items.prune(train, n=1).frame["item_id"]
    by_name = LeaveOneOut("mrr@3", by="item_id").attribute(model, valid)
    assert by_name.frame.equals(items.frame)


@pytest.mark.parametrize("kind", ["sessions", "baskets"])
def test_queries_add_up_and_threads_do_not_matter(kind):
    train, valid = (sessions if kind == "sessions" else baskets)(4)
    model = (VMISKNN(k=2, m=5) if kind == "sessions" else TIFUKNN(k=2, m=3)).fit(train)
    for by in ("interaction", "item"):
        values = LeaveOneOut("ndcg@3", by=by, threads=1).attribute(model, valid)
        again = LeaveOneOut("ndcg@3", by=by, threads=2).attribute(model, valid)
        assert values.frame.equals(again.frame)
        total = dict.fromkeys(values.ids.to_list(), 0.0)
        n_queries = values.metadata["n_queries"]
        for query in range(n_queries):
            part = values.for_query(query)
            for source, score in zip(part.ids.to_list(), part.totals):
                total[source] += score / n_queries
        np.testing.assert_allclose(list(total.values()), values.totals, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "model", "metric"),
    [
        ("rsc15-100k", VMISKNN(k=100, m=500), "mrr@20"),
        ("tafeng-1k", TIFUKNN(), "ndcg@20"),
        ("tafeng-1k", TIFUKNN(similarity="euclidean"), "ndcg@20"),
    ],
    ids=["rsc15", "tafeng", "tafeng euclidean"],
)
def test_real_samples(data_dir, folder, model, metric):
    model = type(model)(**model.params).fit(read_interactions(data_dir / folder / "train.csv"))
    queries = make_queries(model, read_interactions(data_dir / folder / "valid.csv"))
    rng = np.random.default_rng(0)
    for by in ("interaction", "item"):
        values = LeaveOneOut(metric, by=by).attribute(model, queries)
        strong = np.argsort(-np.abs(values.totals))[: len(values) // 4]
        picked = np.unique([*strong[:10], *rng.choice(strong, 10), *rng.choice(len(values), 10)])
        refitted = RetrainingLeaveOneOut(
            metric, by=by, sources=values.ids.gather(picked)
        ).attribute(model, queries)  # fmt: skip
        np.testing.assert_allclose(values.totals[picked], refitted.scores, atol=1e-12)
