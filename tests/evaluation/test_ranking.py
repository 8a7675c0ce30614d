"""Rankings from scores: ties, whole catalogue, negatives, areas under the curve."""

import math

import numpy as np
import polars as pl
import pytest
from dense import Dense, by_user, naive_auc, naive_list, random_users, table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import dcg_score, roc_auc_score

from whence import ItemKNN, Popularity
from whence._native import best_candidates, best_lists, draw_negatives
from whence.errors import DataError, ParameterError, UnsupportedError
from whence.evaluation import compare, evaluate, make_queries, ranking
from whence.evaluation.negatives import DrawnNegatives

pytestmark = pytest.mark.filterwarnings("ignore:.*looks at 20 items:whence.errors.DataWarning")

NAMES = ["recall@3", "mrr@3", "ndcg@3", "hit@3", "precision@3"]


def tied(train, seed, values=3, dtype=np.float64):
    """Scores of a few values only, so that almost all tie."""
    shape = (train.n_sources, train.n_items)
    return np.random.default_rng(seed).integers(0, values, size=shape).astype(dtype)


def windows(rows):
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    ends = np.cumsum(lengths)
    return np.array([i for row in rows for i in row], dtype=np.int32), ends - lengths, ends


class TestOrder:
    @settings(max_examples=80, deadline=None)
    @given(
        scores=st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=12),
        targets=st.sets(st.integers(-2, 11), max_size=5),
        k=st.integers(1, 14),
        floor=st.sampled_from([-np.inf, 0.0]),
        dtype=st.sampled_from([np.float32, np.float64]),
    )
    def test_targets_come_last_among_equals(self, scores, targets, k, floor, dtype):
        targets = {t for t in targets if t < len(scores)}
        rows = np.array([scores, scores[::-1]], dtype=dtype)
        got = best_lists(rows, *windows([sorted(targets), []]), floor, k)
        for line, row, wanted in zip(got, rows, (targets, set())):
            expected = naive_list(row, wanted, floor, k)
            assert line.tolist() == expected + [-1] * (k - len(expected))

    @settings(max_examples=60, deadline=None)
    @given(
        scores=st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 2.0]), min_size=2, max_size=12),
        k=st.integers(0, 13),
        floor=st.sampled_from([-np.inf, 0.0]),
        data=st.data(),
    )
    def test_candidates_are_a_catalogue_of_their_own(self, scores, k, floor, data):
        target = data.draw(st.integers(-1, len(scores) - 1))
        others = sorted(set(range(len(scores))) - {target})
        chosen = data.draw(st.lists(st.sampled_from(others), unique=True))
        row = np.array(scores)
        lists, above = best_candidates(
            row[None], np.zeros(1, np.int64), np.array([target], np.int32), *windows([chosen]),
            floor, k,
        )  # fmt: skip
        among = [i for i in naive_list(row, {target}, floor, 99) if i == target or i in chosen]
        assert [i for i in lists[0] if i >= 0] == among[:k]
        own = max(row[target], floor) if target >= 0 else -np.inf
        rest = [max(row[i], floor) for i in chosen if max(row[i], floor) > -np.inf]
        assert above[0] == pytest.approx(naive_auc(row, [own], rest))

    def test_constant_scores_never_help(self):
        # With ties by item number alone, the user whose target is item 0 would get everything.
        train = by_user({"u": ["h"], "v": ["a", "b", "c", "d", "h"]})
        test = by_user({"u": ["a"]})
        result = evaluate(Dense(train, np.zeros((2, 5))), test, ["mrr@4", "hit@3", "auc"])
        assert result.scores == {"mrr@4": 0.25, "hitrate@3": 0.0, "auc": 0.5}


class TestCatalogue:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("seed", range(4))
    def test_metrics_agree_with_naive_formulas(self, seed, dtype):
        train, test = random_users(seed)
        model = Dense(train, tied(train, seed, dtype=dtype))
        result = evaluate(model, test, NAMES)
        queries = make_queries(model, test)
        for q, row in enumerate(model.score_codes(queries)):
            targets = queries.target_items[queries.target_start[q] : queries.target_end[q]]
            top = naive_list(row, set(targets.tolist()), -np.inf, 3)
            hits = [rank for rank, item in enumerate(top, 1) if item in targets]
            ideal = sum(1 / math.log2(r + 1) for r in range(1, min(3, len(targets)) + 1))
            expected = {
                "recall@3": len(hits) / len(targets),
                "mrr@3": 1 / hits[0] if hits else 0.0,
                "ndcg@3": sum(1 / math.log2(r + 1) for r in hits) / ideal,
                "hitrate@3": float(bool(hits)),
                "precision@3": len(hits) / 3,
            }
            assert result.per_query.row(q, named=True) == pytest.approx(
                {"user_id": queries.ids["user_id"][q], **expected}
            )

    def test_ndcg_and_auc_agree_with_scikit_learn(self):
        train, test = random_users(7, n_users=30, n_items=40, strangers=False)
        rng = np.random.default_rng(7)
        scores = rng.standard_normal((train.n_sources, train.n_items)).round(1)
        model = Dense(train, scores, exclude_seen=False)
        result = evaluate(model, test, ["ndcg@40", "auc"])
        # Without ties, which scikit-learn shares out, for the gains.
        places = rng.permuted(np.argsort(scores), axis=1).astype(float)
        distinct = Dense(train, places, exclude_seen=False)
        gains = evaluate(distinct, test, "ndcg@40")
        queries = make_queries(model, test)
        compared = 0
        for q in np.flatnonzero(queries.users >= 0):
            wanted = np.zeros(train.n_items)
            wanted[queries.target_items[queries.target_start[q] : queries.target_end[q]]] = 1
            row = distinct.table[queries.users[q]]
            ideal = dcg_score([wanted], [wanted])
            assert gains.values()[q] == pytest.approx(dcg_score([wanted], [row]) / ideal)
            area = roc_auc_score(wanted, scores[queries.users[q]])
            assert result.values("auc")[q] == pytest.approx(area)
            compared += 1
        assert compared > 20

    @pytest.mark.parametrize("floor", [-np.inf, 0.0])
    @pytest.mark.parametrize("seed", range(4))
    def test_auc_agrees_with_its_definition(self, seed, floor):
        train, test = random_users(seed)
        model = Dense(train, tied(train, seed, values=4) - (1.0 if floor == 0 else 0.0), floor)
        got = evaluate(model, test, "auc").values()
        queries = make_queries(model, test)
        expected = []
        for q, row in enumerate(np.maximum(model.score_codes(queries), floor)):
            seen = set(queries.history_items[queries.history_start[q] : queries.history_end[q]])
            targets = set(queries.target_items[queries.target_start[q] : queries.target_end[q]])
            allowed = [i for i in range(len(row)) if row[i] > -np.inf and i not in seen]
            scores = [row[t] if t >= 0 and t not in seen else -np.inf for t in targets]
            value = naive_auc(row, scores, [row[i] for i in allowed if i not in targets])
            expected.append(value if seen else 0.0)
        assert got == pytest.approx(expected)
        assert 0 < got.mean() < 1

    def test_models_with_a_floor_of_zero_keep_their_lists(self):
        train, test = random_users(3)
        model = Dense(train, tied(train, 3), floor=0.0)
        lists = model.recommend_codes(make_queries(model, test), 3)[0]
        got = evaluate(model, test, ["hit@1", "coverage@3"])
        queries = make_queries(model, test)
        hits = [
            lists[q, 0] in queries.target_items[queries.target_start[q] : queries.target_end[q]]
            for q in range(len(queries))
        ]
        assert got["hit@1"] == np.mean(hits)
        assert got["coverage@3"] == len(np.unique(lists[lists >= 0])) / train.n_items


class TestDeterminism:
    @pytest.mark.parametrize("negatives", [None, 4])
    def test_threads_and_blocks_do_not_matter(self, monkeypatch, negatives):
        train, test = random_users(5, n_users=40, n_items=30)
        model = Dense(train, tied(train, 5, values=6))
        options = {"metrics": ["mrr@5", "ndcg@5", "auc"], "negatives": negatives}
        whole = evaluate(model, test, **options)
        for threads in (1, 2, 4):
            monkeypatch.setattr(ranking, "_CHUNK", 3)
            assert evaluate(model, test, threads=threads, **options).per_query.equals(
                whole.per_query
            )
        monkeypatch.setattr(ranking, "BLOCK_BYTES", 8 * 30 * 7)
        model.asked.clear()
        assert evaluate(model, test, **options).per_query.equals(whole.per_query)
        assert max(model.asked) == 7

    def test_negatives_depend_on_the_seed_and_the_target_alone(self):
        train, test = random_users(6, n_users=40, n_items=30)
        queries = make_queries(train, test)
        drawn = DrawnNegatives.for_queries(queries, 5, train.n_items, 1, train)
        whole = drawn.of_targets(0, len(queries))[0].reshape(-1, 5)
        parts = [drawn.of_targets(q, q + 1)[0].reshape(-1, 5) for q in range(len(queries))]
        assert np.array_equal(np.concatenate(parts), whole)
        other = DrawnNegatives.for_queries(queries, 5, train.n_items, 2, train)
        assert not np.array_equal(other.of_targets(0, len(queries))[0].reshape(-1, 5), whole)


class TestNegatives:
    @pytest.mark.parametrize("n", [1, 3, 8, 9])
    def test_drawn_ones_are_distinct_and_allowed(self, n):
        train, test = random_users(8, n_items=20)
        queries = make_queries(train, test)
        drawn = DrawnNegatives.for_queries(queries, n, train.n_items, 3, train)
        items, start, end = drawn.of_targets(0, len(queries))
        owner = np.repeat(np.arange(len(queries)), queries.target_end - queries.target_start)
        assert len(start) == len(owner)
        for e, q in enumerate(owner):
            chosen = items[start[e] : end[e]].tolist()
            seen = queries.history_items[queries.history_start[q] : queries.history_end[q]]
            targets = queries.target_items[queries.target_start[q] : queries.target_end[q]]
            assert len(set(chosen)) == n
            assert not set(chosen) & {*seen.tolist(), *targets.tolist()}
            assert min(chosen) >= 0
            assert max(chosen) < train.n_items

    @pytest.mark.parametrize("n", [2, 7])
    def test_they_are_uniform(self, n):
        # Both ways of drawing: few of the items that are left, and most of them.
        excluded, many = np.array([3, 5, 3, -1], np.int32), 40_000
        drawn = draw_negatives(
            excluded, np.zeros(1, np.int64), np.array([4]), np.array([many]), 0, 12, n, np.uint64(9)
        )
        counts = np.bincount(drawn.ravel(), minlength=12)
        assert counts[[3, 5]].sum() == 0
        assert stats.chisquare(np.delete(counts, [3, 5])).pvalue > 1e-4
        pairs = np.bincount(drawn[:, 0] * 12 + drawn[:, 1], minlength=144).reshape(12, 12)
        inside = np.delete(np.delete(pairs, [3, 5], 0), [3, 5], 1)
        assert np.trace(inside) == 0
        assert stats.chisquare(inside[~np.eye(10, dtype=bool)]).pvalue > 1e-4

    @pytest.mark.parametrize("floor", [-np.inf, 0.0])
    def test_metrics_agree_with_the_rank_of_each_target(self, floor):
        train, test = random_users(9, n_items=20)
        model = Dense(train, tied(train, 9, values=5), floor)
        result = evaluate(model, test, ["mrr@5", "hit@2", "ndcg@5", "auc"], negatives=6, seed=4)
        queries = make_queries(model, test)
        drawn = DrawnNegatives.for_queries(queries, 6, train.n_items, 4, train)
        items, start, end = drawn.of_targets(0, len(queries))
        scores = model.score_codes(queries)
        e = 0
        for q in range(len(queries)):
            for target in queries.target_items[queries.target_start[q] : queries.target_end[q]]:
                own = scores[q, target] if target >= 0 else -np.inf
                others = scores[q, items[start[e] : end[e]]]
                rank = 1 + int((others >= own).sum()) if own > floor else math.inf
                row = result.per_query.row(e, named=True)
                assert row["mrr@5"] == (1 / rank if rank <= 5 else 0.0)
                assert row["hitrate@2"] == (rank <= 2)
                assert row["ndcg@5"] == (
                    pytest.approx(1 / math.log2(rank + 1)) if rank <= 5 else 0.0
                )
                if floor == -np.inf:
                    assert row["auc"] == pytest.approx(naive_auc(None, [own], others))
                e += 1
        assert (result.n_queries, result.negatives, result.seed) == (e, 6, 4)
        assert 0 < result["hit@2"] < 1

    def test_one_query_per_target_with_its_id(self):
        train = by_user({1: ["a", "b"], 2: ["c", "d", "e"], 3: ["f"]})
        test = by_user({1: ["c", "new"], 9: ["a"], 2: ["a"]})
        model = Dense(train, np.ones((3, 6)))
        result = evaluate(model, test, "hit@3", negatives=2)
        assert result.per_query.drop("hitrate@3").rows() == [
            (1, "c"), (1, "new"), (9, "a"), (2, "a")
        ]  # fmt: skip
        assert (result.n_queries, result.n_empty, result.n_without_targets) == (4, 1, 1)
        assert result.values().tolist() == [1.0, 0.0, 0.0, 1.0]
        assert evaluate(model, make_queries(model, test), "hit@3", negatives=2).per_query.equals(
            result.per_query
        )

    def test_neighbours_and_baskets_too(self):
        train, test = random_users(10, n_items=20)
        result = evaluate(Popularity().fit(train), test, ["hit@3", "auc"], negatives=5)
        assert 0 < result["hit@3"] < 1
        rows = {"user_id": [1, 1, 1, 2, 2], "basket_id": [1, 1, 2, 3, 3]}
        baskets = pl.DataFrame({**rows, "item_id": ["a", "b", "a", "c", "d"]})
        asked = pl.DataFrame({"user_id": [1, 1], "basket_id": [9, 9], "item_id": ["a", "c"]})
        result = evaluate(ItemKNN().fit(baskets), asked, "hit@1", negatives=1)
        # Of the items a to d, only d is neither in user 1's history nor a target.
        assert result.per_query["target"].to_list() == ["a", "c"]
        with pytest.raises(DataError, match="negatives=2 is more than there are: of the 4 items"):
            evaluate(ItemKNN().fit(baskets), asked, "hit@1", negatives=2)

    def test_given_with_the_data(self):
        train = by_user({1: ["a", "b", "c", "d", "e"], 2: ["a"]})
        scores = np.array([[0] * 5, [9, 1, 2, 3, 4]], dtype=float)
        lists = pl.Series([["b", "c", "b", "strange"], ["b", "e", "d"]])
        table = table_of({2: ["d", "c"]}).with_columns(neg_items=lists)
        model = Dense(train, scores)
        result = evaluate(model, table, ["mrr@3", "auc"], negatives="given")
        # d (3) is first of b (1), c (2); c (2) is third of b (1), e (4), d (3).
        assert result.values("mrr@3").tolist() == [1.0, 1 / 3]
        assert result.values("auc").tolist() == [1.0, pytest.approx(1 / 3)]
        assert (result.negatives, result.seed) == ("given", None)
        assert "given negatives" in repr(result)

    def test_given_ones_that_are_not_there(self):
        train, test = random_users(0)
        model = Dense(train, tied(train, 0))
        with pytest.raises(DataError, match="needs a column with a list of item ids"):
            evaluate(model, test, negatives="given")
        with pytest.raises(DataError, match="not in Queries"):
            evaluate(model, make_queries(model, test), negatives="given")
        holed = table_of({1: ["i0", "i1"]}).with_columns(neg_items=pl.Series([["i2"], []]))
        with pytest.raises(DataError, match="no negatives in row 1"):
            evaluate(model, holed, negatives="given")

    @pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "all"])
    def test_a_number_or_given(self, wrong):
        train, test = random_users(0)
        with pytest.raises(ParameterError, match="negatives must be"):
            evaluate(Dense(train, tied(train, 0)), test, negatives=wrong)

    def test_more_than_are_left(self):
        train, test = random_users(0)
        with pytest.raises(DataError, match=r"ask for at most \d+"):
            evaluate(Dense(train, tied(train, 0)), test, negatives=14)

    def test_other_negatives_are_not_compared(self):
        train, test = random_users(11, n_items=30)
        model = Dense(train, tied(train, 0))
        a, b = (evaluate(model, test, "mrr@5", negatives=5, seed=seed) for seed in (1, 2))
        assert compare(a, a).n_queries == len(a.per_query)
        with pytest.raises(DataError, match="against other items"):
            compare(a, b)
        with pytest.raises(DataError, match="against other items"):
            compare(a, evaluate(model, test, "mrr@5"))


class TestBadScores:
    def test_nan_names_the_model(self):
        train, test = random_users(1)
        scores = tied(train, 1)
        scores[train.vocabulary.sources.len() - 2, -1] = np.nan
        scores[:, -1] = np.nan
        with pytest.raises(DataError, match=r"Dense gave a score that is not a number \(NaN\)"):
            evaluate(Dense(train, scores, exclude_seen=False), test, "mrr@3")

    def test_shape(self):
        train, test = random_users(1)
        model = Dense(train, tied(train, 1))
        model.score_codes = lambda queries, threads=None: np.zeros((len(queries), 3))
        with pytest.raises(UnsupportedError, match="one column for each of 15 items"):
            evaluate(model, test, "mrr@3")

    def test_no_scores(self):
        class Lists:
            def recommend(self, users, k):
                return [["i1"]] * len(users)

        train, test = random_users(1)
        assert evaluate(Lists(), test, "mrr@3", train=train).n_queries > 3
        for options in ({"metrics": "auc"}, {"negatives": 3}):
            with pytest.raises(UnsupportedError, match="without the scores of all items"):
                evaluate(Lists(), test, train=train, **options)

    def test_whole_numbers_are_scores(self):
        train, test = random_users(2)
        scores = tied(train, 2).astype(np.int64)
        whole = Dense(train, scores, exclude_seen=False)
        real = Dense(train, scores.astype(float), exclude_seen=False)
        whole.floor = real.floor = -np.inf
        for model in (whole, real):
            queries = make_queries(model, test)
            model.score_codes = lambda asked, threads=None, t=model.table: t[asked.users]
        assert evaluate(whole, queries, NAMES).per_query.equals(
            evaluate(real, queries, NAMES).per_query
        )


class TestRealData:
    def test_popularity_on_ml_100k(self, data_dir):
        ratings = pl.read_csv(
            data_dir / "ml-100k" / "u.data",
            separator="\t",
            has_header=False,
            new_columns=["user_id", "item_id", "rating", "timestamp"],
        )
        rng = np.random.default_rng(0)
        held_out = pl.Series(rng.random(len(ratings)) < 0.1)
        train, test = ratings.filter(~held_out), ratings.filter(held_out)
        model = Popularity(exclude_seen=True).fit(train)
        result = evaluate(model, test, ["recall@10", "hit@10", "auc", "coverage@10", "gini@10"])
        # What the same baseline reaches in other toolkits, on random splits of one tenth.
        assert 0.08 < result["recall@10"] < 0.16
        assert 0.4 < result["hit@10"] < 0.65
        assert 0.8 < result["auc"] < 0.9
        assert result["coverage@10"] < 0.15
        assert result["gini@10"] > 0.95
        counts = train["item_id"].value_counts()
        scores = dict(zip(counts["item_id"].to_list(), counts["count"].to_list()))
        users = result.per_query.with_row_index().sample(20, seed=1)
        for row in users.iter_rows(named=True):
            seen = set(train.filter(pl.col("user_id") == row["user_id"])["item_id"].to_list())
            wanted = set(test.filter(pl.col("user_id") == row["user_id"])["item_id"].to_list())
            items = [i for i in scores if i not in seen]
            known = [i in wanted for i in items]
            area = roc_auc_score(known, [scores[i] for i in items])
            # A target that is in no training row is never ranked: it loses all its pairs.
            assert row["auc"] == pytest.approx(area * sum(known) / len(wanted))
        sampled = evaluate(model, test, ["hit@10", "auc"], negatives=99)
        assert sampled.n_queries == len(test)
        assert sampled["hit@10"] > 0.3
        one, three = (evaluate(model, test, "ndcg@10", threads=n) for n in (1, 3))
        assert one.per_query.equals(three.per_query)
