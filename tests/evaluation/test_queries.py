"""Queries of users: histories, targets, what is asked by default, and bad input."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from dense import Dense, by_user, random_users, table_of

from whence import Interactions, Popularity
from whence.errors import DataError, ParameterError
from whence.evaluation import Queries, evaluate, make_queries, user_queries

TRAIN = by_user({"u": ["a", "b"], "v": ["c"], "w": ["a", "c", "d"]})
TEST = table_of({"w": ["b", "x", "b"], "new": ["a"], "u": ["d", "y"]})


def named(queries, train):
    """Histories and targets in external ids."""
    items = train.vocabulary.items.to_list()
    strange = [] if queries.unknown_items is None else queries.unknown_items.to_list()
    name = [*items, *strange[::-1]]  # number -1 is the last, the first of the strangers
    return [
        (
            [name[i] for i in queries.history_items[hs:he]],
            [name[i] for i in queries.target_items[ts:te]],
        )
        for hs, he, ts, te in zip(
            queries.history_start, queries.history_end, queries.target_start, queries.target_end
        )
    ]


class TestUsers:
    def test_one_query_per_user(self):
        queries = make_queries(TRAIN, TEST)
        assert queries.kind == "users"
        assert queries.ids.rows() == [("w",), ("new",), ("u",)]
        assert queries.users.tolist() == [2, -1, 0]
        assert named(queries, TRAIN) == [
            (["a", "c", "d"], ["b", "x", "b"]),
            ([], ["a"]),
            (["a", "b"], ["d", "y"]),
        ]
        assert (queries.n_unknown_rows, queries.n_empty, queries.n_without_targets) == (2, 1, 1)
        assert queries.count_distinct_targets().tolist() == [2, 1, 2]

    def test_distinct_targets_of_any_windows(self):
        random = np.random.default_rng(0)
        for n in range(30):
            items = random.integers(-1, 6, n)
            start = random.integers(0, n + 1, 10)
            end = np.minimum(n, start + random.integers(0, 12, 10))
            windows = SimpleNamespace(target_items=items, target_start=start, target_end=end)
            found = Queries.count_distinct_targets(windows)
            sets = [set(items[a:b].tolist()) for a, b in zip(start, end)]
            assert found.tolist() == [len(one) for one in sets]

    def test_histories_are_not_copied(self):
        assert make_queries(TRAIN, TEST).history_items is TRAIN.sequences.items

    def test_drop_leaves_unknown_items_out(self):
        test = table_of({"w": ["x", "b"], "u": ["y"]})
        queries = make_queries(TRAIN, test, unknown="drop")
        assert named(queries, TRAIN) == [(["a", "c", "d"], ["b"])]
        assert (queries.n_unknown_rows, queries.n_without_targets) == (2, 2)

    def test_next(self):
        queries = make_queries(TRAIN, TEST, target="next")
        assert [targets for _, targets in named(queries, TRAIN)] == [["b"], ["a"], ["d"]]

    def test_history_follows_the_training_rows(self):
        later = table_of({"u": ["x", "c"], "new": ["d", "x"], "nobody": ["a"]})
        queries = make_queries(TRAIN, TEST, history=later)
        assert [history for history, _ in named(queries, TRAIN)] == [
            ["a", "c", "d"],
            ["d"],
            ["a", "b", "c"],
        ]
        assert queries.users.tolist() == [2, -1, 0]
        assert queries.n_empty == 0

    def test_order_is_that_of_time(self):
        table = pl.DataFrame(
            {"user_id": [1, 1, 1, 2], "item_id": ["a", "b", "c", "a"], "timestamp": [3, 1, 2, 0]}
        )
        train = Interactions.from_frame(table)
        queries = make_queries(train, table, history=table)
        assert named(queries, train)[1] == (["b", "c", "a"] * 2, ["b", "c", "a"])

    @pytest.mark.parametrize("with_history", [False, True])
    @pytest.mark.parametrize("seed", range(3))
    def test_agrees_with_a_plain_implementation(self, seed, with_history):
        train, test = random_users(seed)
        _, later = random_users(seed + 50)
        queries = make_queries(train, test, history=later if with_history else None)

        def rows(data, user):
            return data.frame.filter(pl.col("user_id") == user)["item_id"].to_list()

        known = set(train.vocabulary.items.to_list())
        expected = []
        for user in test.frame["user_id"].unique(maintain_order=True):
            history = rows(train, user) + (rows(later, user) if with_history else [])
            found = rows(test, user)
            if user not in train.vocabulary.sources and not history and len(found) > 1:
                history, found = found[:-1], found[-1:]  # asked by their own earlier rows
            expected.append(([i for i in history if i in known], found))
        assert named(queries, train) == expected
        targets = test.frame["item_id"].gather(queries.target_rows).to_list()
        windows = zip(queries.target_start, queries.target_end)
        assert [targets[a:b] for a, b in windows] == [wanted for _, wanted in expected]

    def test_any_table(self):
        queries = make_queries(TRAIN, pd.DataFrame(TEST.to_dict(as_series=False)))
        assert named(queries, TRAIN) == named(make_queries(TRAIN, TEST), TRAIN)

    def test_a_block_shares_the_items(self):
        queries = make_queries(TRAIN, TEST)
        block = queries.block(1, 3)
        assert named(block, TRAIN) == named(queries, TRAIN)[1:]
        assert block.ids.rows() == [("new",), ("u",)]
        assert block.target_items is queries.target_items
        assert block.is_empty.tolist() == [True, False]


class TestUserQueries:
    def test_windows_into_the_training_rows(self):
        queries = user_queries(TRAIN, [2, -1, 0], pl.DataFrame({"user_id": ["w", "?", "u"]}))
        assert [history for history, _ in named(queries, TRAIN)] == [
            ["a", "c", "d"],
            [],
            ["a", "b"],
        ]
        assert (queries.kind, queries.n_empty, len(queries.target_items)) == ("users", 1, 0)
        assert queries.history_items is TRAIN.sequences.items


class TestProtocol:
    def test_prefixes_where_no_user_is_known(self):
        assert make_queries(TRAIN, table_of({"new": ["a", "b"]})).kind == "sessions"

    def test_prefixes_of_sessions(self):
        table = TEST.rename({"user_id": "session_id"})
        train = Interactions.from_frame(TRAIN.frame.rename({"user_id": "session_id"}))
        assert make_queries(train, table).kind == "sessions"
        with pytest.raises(ParameterError, match="rows belong to users"):
            make_queries(train, table, protocol="users")

    def test_as_asked(self):
        assert make_queries(TRAIN, TEST, protocol="prefixes").kind == "sessions"
        assert make_queries(TRAIN, TEST, protocol="users").kind == "users"
        assert evaluate(Popularity().fit(TRAIN), TEST, "mrr@2", protocol="prefixes").n_queries == 3

    def test_as_the_model_asks(self):
        model = Dense(TRAIN, np.zeros((3, 4)))
        model.protocol = "prefixes"
        assert make_queries(model, TEST).kind == "sessions"
        assert make_queries(model, TEST, protocol="users").kind == "users"

    def test_baskets_are_asked_by_user(self):
        rows = pl.DataFrame({"user_id": [1, 1], "basket_id": [1, 2], "item_id": ["a", "b"]})
        train = Interactions.from_frame(rows)
        assert make_queries(train, rows, protocol="users").kind == "baskets"
        with pytest.raises(ParameterError, match="leave protocol out"):
            make_queries(train, rows, protocol="prefixes")

    def test_metrics_look_for_any_item_of_a_user(self):
        test = table_of({"u": ["d", "c"]})
        model = Popularity(exclude_seen=True).fit(TRAIN)
        result = evaluate(model, test, "mrr@2")
        assert (result.metrics[0].relevant, float(result)) == ("any", 1.0)


class TestForeign:
    def test_is_asked_users_or_histories(self):
        class Asked:
            def recommend(self, queries, k):
                self.queries = queries
                return [["b"]] * len(queries)

        model = Asked()
        result = evaluate(model, TEST, "hit@1", train=TRAIN)
        assert model.queries == ["w", "u"]
        assert result.values().tolist() == [1.0, 0.0, 0.0]
        model.asks = "histories"
        evaluate(model, TEST, "hit@1", train=TRAIN)
        assert model.queries == [["a", "c", "d"], ["a", "b"]]

    def test_without_training_data_targets_are_no_histories(self):
        class Asked:
            def recommend(self, queries, k):
                return [["b"]] * len(queries)

        assert evaluate(Asked(), TEST, "hit@1").n_queries == 3
        with pytest.raises(DataError, match="pass train="):
            evaluate(Asked(), TEST, "hit@1", protocol="users")


class TestBadInput:
    def test_no_user_is_known(self):
        with pytest.raises(DataError, match="None of the 1 users of the validation data"):
            make_queries(TRAIN, table_of({"new": ["a"]}), protocol="users")
        later = table_of({"new": ["b"]})
        queries = make_queries(TRAIN, table_of({"new": ["a"]}), protocol="users", history=later)
        assert named(queries, TRAIN) == [(["b"], ["a"])]

    def test_no_item_is_known(self):
        with pytest.raises(DataError, match="none of its items is known"):
            make_queries(TRAIN, table_of({"u": ["x"]}), unknown="drop")

    def test_history_is_of_users(self):
        with pytest.raises(ParameterError, match="history= is what is known of users"):
            make_queries(TRAIN, TEST, protocol="prefixes", history=TEST)
        with pytest.raises(DataError, match="rows that belong to users"):
            make_queries(TRAIN, TEST, history=TEST.rename({"user_id": "session_id"}))

    def test_protocol(self):
        with pytest.raises(ParameterError, match="Did you mean 'users'"):
            make_queries(TRAIN, TEST, protocol="user")
