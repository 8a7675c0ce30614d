"""What would mislead is counted, said or refused: one rule for what was seen, shares, protocols."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import polars as pl
import pytest
from dense import Dense, by_user, random_users

from whence import (
    BPRMF,
    EASE,
    VMISKNN,
    GRU4Rec,
    Interactions,
    ItemKNN,
    LeaveOneOut,
    MarkovChain,
    Popularity,
    RetrainingLeaveOneOut,
    Shapley,
    compare,
    evaluate,
    make_queries,
    make_sessions,
)
from whence.errors import DataError, DataWarning, ParameterError, WhenceError
from whence.evaluation.cautions import count_seen_targets


def sessions(lists, start=0):
    rows = [
        (start + s, item, 100 * s + j) for s, row in enumerate(lists) for j, item in enumerate(row)
    ]
    return pl.DataFrame(rows, schema=["session_id", "item_id", "timestamp"], orient="row")


def heard(call):
    """Result and the warnings about data."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = call()
    return found, [str(w.message) for w in caught if issubclass(w.category, DataWarning)]


def naive_seen(queries):
    """Targets in the history; of beginnings of sessions the next item alone."""
    seen = total = 0
    for q in range(len(queries)):
        history = queries.history_items[queries.history_start[q] : queries.history_end[q]]
        wanted = queries.target_items[queries.target_start[q] : queries.target_end[q]]
        wanted = wanted[:1] if queries.kind == "sessions" else wanted
        seen += int(np.isin(wanted, history).sum())
        total += len(wanted)
    return seen, total


class TestSeen:
    LOOPS = sessions([["a", "b", "a", "b", "c"], ["b", "a", "b"], ["c", "a", "c"]])

    @pytest.mark.parametrize(
        "make",
        [
            ItemKNN,
            Popularity,
            MarkovChain,
            lambda: EASE(l2=1.0),
            lambda: GRU4Rec(embedding_dim=4, hidden_dim=4, epochs=1),
        ],
    )
    def test_one_rule_for_all_models(self, make):
        users = self.LOOPS.rename({"session_id": "user_id"})
        asked = [("sessions", self.LOOPS, None), ("users", users, users)]
        for kind, train, data in asked:
            model = make().fit(train)
            call = partial(evaluate, model, train if data is None else data, "mrr@2")
            found, said = heard(call)
            assert found.exclude_seen == (kind == "users")
            assert any("cannot be found" in line for line in said) == (kind == "users")
            assert found.protocol == ("users" if kind == "users" else "prefixes")
        # All targets are rows of training: nothing can be found where they are left out.
        assert float(found) == 0.0
        assert found.n_seen_targets == found.n_targets == len(users)

    def test_users_are_users_whatever_the_protocol(self):
        users = self.LOOPS.rename({"session_id": "user_id"})
        model = ItemKNN().fit(users)
        new = users.with_columns(pl.col("user_id") + 10)
        for data in (users, new):  # known users, and new ones, asked as prefixes
            found = evaluate(model, data, "mrr@2", protocol="prefixes")
            assert found.exclude_seen
        assert evaluate(model, pl.concat([new, users[:1]]), "mrr@2").exclude_seen

    def test_a_comparison_of_two_rules_is_warned_of(self):
        a, b = (
            evaluate(MarkovChain(exclude_seen=one).fit(self.LOOPS), self.LOOPS, "mrr@2")
            for one in (True, False)
        )
        with pytest.warns(DataWarning, match="leaves out what was seen and the other does not"):
            compare(a, b)

    def test_a_session_that_comes_back_is_found(self):
        model = MarkovChain().fit(self.LOOPS)
        found, said = heard(lambda: evaluate(model, self.LOOPS, "recall@2", target="next"))
        assert (found.n_seen_targets, found.n_targets) == (4, 8)
        assert float(found) > float(
            evaluate(
                MarkovChain(exclude_seen=True).fit(self.LOOPS),
                self.LOOPS,
                "recall@2",
                target="next",
            )
        )
        assert not said
        assert "4 of 8 targets seen before)" in repr(found)

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("kind", ["sessions", "users", "baskets"])
    def test_counts_agree_with_a_plain_loop(self, kind, seed):
        rng = np.random.default_rng(seed)
        rows = pl.DataFrame(
            {
                "user_id": rng.integers(0, 15, 120),
                "item_id": rng.integers(0, 9, 120),
                "basket_id": np.arange(120) // 3,
                "timestamp": np.arange(120),
            }
        )
        if kind == "sessions":
            rows = rows.rename({"user_id": "session_id"})
        rows = rows if kind == "baskets" else rows.drop("basket_id")
        train = Interactions.from_frame(rows[::2] if kind != "baskets" else rows[:70])
        data = (
            rows[1::2].with_columns(pl.col("item_id") + rng.integers(0, 2))
            if kind != "baskets"
            else rows[70:]
        )
        queries = make_queries(train, data)
        if kind == "baskets":
            sources = dict(train.frame.group_by("user_id").agg("item_id").iter_rows())
            wanted = [
                (item, user)
                for q, user in enumerate(queries.ids["user_id"])
                for item in queries.target_items[queries.target_start[q] : queries.target_end[q]]
            ]
            items = train.vocabulary.items
            expected = (
                sum(i >= 0 and items[int(i)] in sources.get(u, []) for i, u in wanted),
                len(wanted),
            )
        else:
            expected = naive_seen(queries)
        assert count_seen_targets(queries, train) == expected

    def test_a_few_seen_targets_are_counted_without_a_warning(self):
        test = by_user({u: ["i9" if u else "i5"] for u in range(20)} | {99: ["i9", "i8"]})
        both = by_user({u: [f"i{j}" for j in range(u % 3, 8)] for u in range(20)} | {77: ["i9"]})
        found, said = heard(lambda: evaluate(EASE(l2=1.0).fit(both), test, "recall@3"))
        assert found.n_seen_targets == 1
        assert not [line for line in said if "cannot be found" in line]
        assert "1 of 21 targets seen before, which cannot be found" in repr(found)

    def test_objects_of_others_are_not_judged(self):
        class Other:
            def recommend(self, queries, k):
                return [["a", "b"][:k] for _ in queries]

        found, said = heard(lambda: evaluate(Other(), self.LOOPS, "mrr@2", train=self.LOOPS))
        assert found.exclude_seen is None
        assert found.n_seen_targets == 4
        assert not said


class TestShares:
    def test_a_session_that_asks_much_is_named_and_counts_once_per_source(self):
        rng = np.random.default_rng(1)
        short = [list(rng.integers(0, 12, 4)) for _ in range(60)]
        train = sessions(short)
        model = ItemKNN().fit(train)
        _, said = heard(lambda: evaluate(model, sessions(short), "mrr@5"))
        assert not said
        bot = sessions([*short, list(rng.integers(0, 12, 100))])
        found, said = heard(lambda: evaluate(model, bot, "mrr@5"))
        assert len(said) == 1
        assert "session_id 60 asks 99 of the 279 queries (35%)" in said[0]
        alike, said = heard(lambda: evaluate(model, bot, ["mrr@5", "coverage@5"], per="session"))
        assert not said
        by_hand = found.per_query.group_by("session_id").agg(pl.col("mrr@5").mean())["mrr@5"]
        assert alike["mrr@5"] == pytest.approx(by_hand.mean())
        assert alike.std_error("mrr@5") == pytest.approx(by_hand.std() / np.sqrt(61))
        assert alike["coverage@5"] == evaluate(model, bot, "coverage@5")["coverage@5"]
        assert alike.per == "source"
        assert "mean over 61 sources" in repr(alike)
        few = evaluate(model, bot, "mrr@5", max_prefixes=3)
        assert few.n_queries == 61 * 3
        with pytest.raises(DataError, match="mean over sources"):
            compare(alike, evaluate(model, bot, "mrr@5"), "mrr@5")
        # Sources count alike in the comparison, too.
        other = evaluate(Popularity().fit(train), bot, "mrr@5", per="source")
        assert compare(alike, other, "mrr@5").difference == pytest.approx(
            alike["mrr@5"] - float(other)
        )

    def test_values_say_so_too(self):
        rng = np.random.default_rng(1)
        short = [list(rng.integers(0, 12, 4)) for _ in range(60)]
        model = VMISKNN(k=5, m=10).fit(sessions(short))
        bot = sessions([*short, list(rng.integers(0, 12, 100))])
        method = LeaveOneOut("mrr@5")
        values, said = heard(lambda: method.attribute(model, bot))
        assert len(said) == 1
        assert "max_prefixes= of make_queries limits it" in said[0]
        queries = make_queries(model, bot, max_prefixes=3)
        values, said = heard(lambda: method.attribute(model, queries))
        assert not said
        assert values.metadata["n_queries"] == 61 * 3

    def test_beginnings_are_spread_over_the_session(self):
        train = sessions([list(range(10))])
        asked = sessions([list(range(10)), [1, 2, 3], [4, 5]])
        queries = make_queries(Interactions.from_frame(train), asked, max_prefixes=3)
        assert queries.ids.rows() == [(0, 3), (0, 6), (0, 9), (1, 1), (1, 2), (2, 1)]
        whole = make_queries(Interactions.from_frame(train), asked)
        same = make_queries(Interactions.from_frame(train), asked, max_prefixes=99)
        assert same.ids.equals(whole.ids)
        last = make_queries(Interactions.from_frame(train), asked, max_prefixes=1)
        assert last.ids.rows() == [(0, 9), (1, 2), (2, 1)]
        assert last.target_items[last.target_start].tolist() == [9, 3, 5]
        with pytest.raises(ParameterError, match="max_prefixes"):
            make_queries(Interactions.from_frame(train), asked, max_prefixes=0)
        users = by_user({1: ["a", "b"], 2: ["b"]})
        with pytest.raises(ParameterError, match="max_prefixes= is how many beginnings"):
            make_queries(users, users, max_prefixes=2)

    def test_per_of_ratings_is_the_mean_over_users(self):
        class Constant:
            def predict(self, users, items):
                return [3.0] * len(users)

        table = pl.DataFrame(
            {"user_id": [1, 1, 1, 2], "item_id": [1, 2, 3, 1], "rating": [1.0, 3.0, 5.0, 2.0]}
        )
        found = evaluate(Constant(), table, ["rmse", "mae"], train=table, per="user")
        assert found["mae"] == pytest.approx((4 / 3 + 1) / 2)
        assert found["rmse"] == pytest.approx((np.sqrt(8 / 3) + 1) / 2)
        assert found.std_error("mae") == pytest.approx((4 / 3 - 1) / 2)

    def test_what_it_may_be(self):
        with pytest.raises(ParameterError, match="per must be one of"):
            evaluate(Popularity().fit(TestSeen.LOOPS), TestSeen.LOOPS, per="sesion")


class TestErrors:
    def test_they_cover_the_truth_with_repeated_sessions(self):
        """Intervals of two errors cover the mean over all sessions about 95 times in 100."""
        rng = np.random.default_rng(0)
        population = rng.random(4000)
        lengths = rng.integers(1, 9, 4000)
        truth = (population * lengths).sum() / lengths.sum()
        inside = 0
        for _ in range(400):
            drawn = rng.integers(0, 4000, 80)
            table = pl.DataFrame(
                {
                    "session_id": np.repeat(np.arange(80), lengths[drawn]),
                    "mrr@5": np.repeat(population[drawn], lengths[drawn]),
                }
            )
            found = evaluation_of(table)
            inside += abs(found["mrr@5"] - truth) < 1.96 * found.std_error("mrr@5")
        assert 365 <= inside <= 396

    def test_one_query_each_is_the_usual_error(self):
        values = np.random.default_rng(1).random(30)
        table = pl.DataFrame({"user_id": np.arange(30), "mrr@5": values})
        usual = values.std(ddof=1) / np.sqrt(30)
        assert evaluation_of(table).std_error("mrr@5") == pytest.approx(usual)
        assert evaluation_of(table[:1]).std_error("mrr@5") is None

    def test_sampled_negatives_are_clustered_by_user(self):
        train, test = random_users(3, n_users=30, n_items=40, strangers=False)
        scores = np.random.default_rng(2).random((train.n_sources, train.n_items))
        found = evaluate(Dense(train, scores), test, "mrr@5", negatives=5)
        by_hand = found.per_query.with_columns(pl.col("mrr@5") - pl.col("mrr@5").mean())
        sums = by_hand.group_by("user_id").agg(pl.col("mrr@5").sum())["mrr@5"].to_numpy()
        expected = np.sqrt(len(sums) / (len(sums) - 1) * (sums @ sums)) / len(by_hand)
        assert found.std_error("mrr@5") == pytest.approx(expected)


def evaluation_of(table):
    from whence.evaluation import Evaluation, parse_metric

    return Evaluation((parse_metric("mrr@5"),), table, len(table))


class TestProtocol:
    def test_new_users_are_asked_by_their_own_earlier_rows(self):
        train = by_user({0: ["a", "b"], 1: ["b", "c"], 2: ["c", "a"]})
        test = by_user({0: ["c"], 7: ["a", "b", "c"], 8: ["x", "b"], 9: ["a"]})
        queries = make_queries(train, test)
        assert queries.protocol == "users"
        assert (queries.n_new_users, queries.n_empty) == (2, 2)
        found = [
            (
                queries.history_items[queries.history_start[q] : queries.history_end[q]].tolist(),
                queries.target_items[queries.target_start[q] : queries.target_end[q]].tolist(),
            )
            for q in range(4)
        ]
        assert found == [([0, 1], [2]), ([0, 1], [2]), ([], [1]), ([], [0])]
        assert make_queries(train, test, target="next").n_new_users == 2

    def test_history_given_goes_before_their_own_rows(self):
        train = by_user({0: ["a", "b"], 1: ["b", "c"]})
        test = by_user({0: ["c"], 7: ["a", "b"]})
        queries = make_queries(train, test, history=by_user({7: ["c"]}))
        assert queries.n_new_users == 0
        assert queries.history_items[
            queries.history_start[1] : queries.history_end[1]
        ].tolist() == [2]
        assert (queries.target_end - queries.target_start).tolist() == [1, 2]

    def test_one_known_user_more_changes_little_and_is_said(self):
        rng = np.random.default_rng(0)
        users = {u: [f"i{i}" for i in rng.permutation(9)[:5]] for u in range(40)}
        train = by_user({u: items for u, items in users.items() if u < 20})
        new = {u: items for u, items in users.items() if u >= 20}
        model = Popularity(exclude_seen=False).fit(train)
        before, said = heard(lambda: evaluate(model, by_user(new), "recall@5"))
        assert before.protocol == "prefixes"
        assert not said
        after, said = heard(lambda: evaluate(model, by_user({**new, 0: ["i1"]}), "recall@5"))
        assert after.protocol == "users"
        assert (after.n_queries, after.n_new_users, after.n_empty) == (21, 20, 0)
        assert len(said) == 1
        assert "20 of the 21 users are unknown" in said[0]
        assert "protocol='prefixes'" in said[0]
        assert abs(after["recall@5"] - before["recall@5"]) < 0.15

    def test_models_of_numbers_have_no_answer_to_strangers(self):
        train = by_user({0: ["a", "b"], 1: ["b", "c"], 2: ["c", "a"]})
        test = by_user({0: ["c"], 7: ["a", "b", "c"]})
        found = evaluate(BPRMF(embedding_dim=2, epochs=1).fit(train), test, "recall@3")
        assert found.values().tolist() == [1.0, 0.0]

    def test_prefixes_without_history_of_known_users_are_pointed_out(self):
        train = by_user({u: ["a", "b", "c"] for u in range(6)})
        test = by_user({u: ["x", "a"] for u in range(6)} | {5: ["a", "b"]})
        model = VMISKNN().fit(train)
        found, said = heard(lambda: evaluate(model, test, "recall@3", protocol="prefixes"))
        assert found.protocol == "prefixes"
        assert any("protocol='users'" in line for line in said)


class TestAnswerable:
    TRAIN = sessions([["a", "b"], ["b", "c"], ["a", "c"]])

    def test_nothing_shared_is_refused(self):
        model = ItemKNN().fit(self.TRAIN)
        other = sessions([["x", "y"], ["z", "x"]], start=10)
        for call in (
            lambda: evaluate(model, other, "mrr@3"),
            lambda: make_queries(model, other),
            lambda: GRU4Rec(embedding_dim=4, epochs=1).fit(self.TRAIN, validation=other),
        ):
            with pytest.raises(DataError, match="such as 'a' there, and such as 'x' here"):
                call()
        users = by_user({1: ["a", "b"], 2: ["b"]})
        with pytest.raises(DataError, match="shares no item"):
            evaluate(EASE(l2=1.0).fit(users), by_user({1: ["x"], 2: ["y"]}), "mrr@1")

    def test_queries_are_looked_at_too(self):
        model = ItemKNN().fit(self.TRAIN)
        queries = make_queries(model, sessions([["a", "b"], ["x", "a"]], start=10))
        with pytest.raises(DataError, match="None of the 1 queries"):
            evaluate(model, queries.take([1]), "mrr@3")

    def test_values_refuse_what_shares_nothing(self):
        model = VMISKNN(k=5, m=10).fit(self.TRAIN)
        other = sessions([["x", "y"], ["z", "x"]], start=10)
        for method in (Shapley("mrr@3"), LeaveOneOut("mrr@3"), RetrainingLeaveOneOut("mrr@3")):
            with pytest.raises(DataError, match="None of the 2 queries"):
                method.attribute(model, other)

    def test_from_half_on_it_is_said(self):
        model = ItemKNN().fit(self.TRAIN)
        _, said = heard(lambda: make_queries(model, sessions([["a", "b"], ["x", "a"]], start=10)))
        assert said == [
            "Nothing is known of 1 of the 2 queries, which count with the value 0: the training "
            "data does not know the items that they begin with; check that both use the same ids."
        ]
        data = sessions([["a", "b"], ["b", "a"], ["x", "a"]], start=10)
        assert heard(lambda: make_queries(model, data))[1] == []
        _, said = heard(lambda: make_queries(model, sessions([["a", "x"]], start=10)))
        assert "None of the 1 items to be found" in said[0]


class TestItems:
    def test_lists_hold_the_eligible_alone(self):
        train, test = random_users(5, n_users=20)
        scores = np.random.default_rng(3).random((train.n_sources, train.n_items))
        model = Dense(train, scores)
        some = train.vocabulary.items.to_list()[::2]
        found = evaluate(model, test, ["recall@3", "mrr@3", "coverage@3"], items=[*some, "new"])
        assert found.n_eligible == len(some)
        closed = scores.copy()
        closed[:, 1::2] = -np.inf
        expected = evaluate(Dense(train, closed), test, ["recall@3", "mrr@3"])
        assert found["recall@3"] == expected["recall@3"]
        assert found["mrr@3"] == expected["mrr@3"]
        assert 0 < found["coverage@3"] <= 1
        with pytest.raises(DataError, match="other items"):
            compare(found, expected, "mrr@3")

    @pytest.mark.parametrize("make", [ItemKNN, Popularity, lambda: EASE(l2=2.0), VMISKNN])
    def test_recommend_among_some(self, make):
        data = make_sessions(n_sessions=80, n_items=40, n_clusters=8, seed=2)
        model = make().fit(data.train)
        some = model.vocabulary.items.to_list()[::3]
        history = model.vocabulary.items.to_list()[:2]
        items, scores = model.recommend(history, k=5, items=[*some, -1])
        whole, values = model.recommend(history, k=model.n_items)
        kept = np.isin(whole, some)
        assert items.tolist() == whole[kept][:5].tolist()
        np.testing.assert_allclose(scores, values[kept][:5])
        first = evaluate(model, data.validation, "mrr@5", items=some).per_query["mrr@5"]
        asked = make_queries(model, data.validation)
        for q in (0, 3):
            listed = model.recommend(asked.take([q]), k=5, items=some)[0][0].tolist()
            target = model.vocabulary.items[int(asked.target_items[asked.target_start[q]])]
            expected = 1 / (listed.index(target) + 1) if target in listed else 0.0
            assert first[q] == pytest.approx(expected)

    def test_what_does_not_go_together(self):
        train, test = random_users(5)
        model = EASE(l2=1.0).fit(train)
        with pytest.raises(ParameterError, match="items= and negatives="):
            evaluate(model, test, "mrr@3", items=["i0"], negatives=2)
        with pytest.raises(ParameterError, match="'auc' is of the ranking of all items"):
            evaluate(model, test, "auc", items=["i0"])
        with pytest.raises(DataError, match="None of the 1 items"):
            model.recommend(["i0"], k=2, items=["nothing"])
        with pytest.raises(ParameterError, match="items must be a list of ids, not 'i0'"):
            evaluate(model, test, "mrr@3", items="i0")

    def test_targets_that_may_not_be_recommended_are_told(self):
        train, test = random_users(5)
        _, said = heard(
            lambda: evaluate(EASE(l2=1.0).fit(train), test, "mrr@3", items=["i0", "i1"])
        )
        assert any("not among the items that may be recommended" in line for line in said)


@pytest.mark.parametrize("asked", ["tea", b"tea", None, 5, [["tea"], "cup"]])
def test_a_text_is_no_list_of_its_letters(asked):
    clicks = sessions([["tea", "cup"], ["cup", "jug"], ["t", "e"], ["e", "a"]])
    model = ItemKNN().fit(clicks)
    for ask in (lambda: model.recommend(asked, k=2), lambda: model.score(asked)):
        with pytest.raises(DataError, match="A history is a list of item ids"):
            ask()


def test_texts_in_other_places():
    model = ItemKNN().fit(sessions([["tea", "cup"], ["t", "e"]]))
    for call in (
        lambda: model.fold_in("tea"),
        lambda: model.fold_in(["tea"]),
        lambda: model.score(["tea"], items="tea"),
        lambda: model.user_queries("01"),
        lambda: model.recommend(["tea"], k=2, items="tea"),
    ):
        with pytest.raises(WhenceError, match="list of"):
            call()
    carts = pl.DataFrame({"user_id": [1, 1], "basket_id": [1, 2], "item_id": ["tea", "t"]})
    with pytest.raises(DataError, match="not 'tea'"):
        Popularity().fit(carts).fold_in([["tea", "t"]])
    assert Popularity().fit(carts).recommend([1], k=1)[0][0].tolist() == ["tea"]
