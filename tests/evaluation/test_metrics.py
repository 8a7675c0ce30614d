"""Metrics: against ranx, a plain second implementation, answers by hand, and bad input."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.data import Vocabulary
from whence.errors import MetricError, ParameterError
from whence.evaluation import Metric, Queries, parse_metric
from whence.evaluation.metrics import values_from_ids, values_from_lists

RANKING = ["mrr", "hitrate", "precision", "recall", "f1", "ndcg", "map"]
IN_RANX = {
    "mrr": "mrr",
    "hitrate": "hit_rate",
    "precision": "precision",
    "recall": "recall",
    "f1": "f1",
    "ndcg": "ndcg",
    "map": "map",
}
N_ITEMS = 30
SUSTAINABLE = np.arange(N_ITEMS) % 3 == 0


def queries_of(targets, kind="baskets"):
    """Queries with these lists of target numbers, without histories."""
    lengths = np.array([len(wanted) for wanted in targets], dtype=np.int64)
    ends = np.cumsum(lengths)
    n = len(targets)
    return Queries(
        kind=kind,
        history_items=np.empty(0, dtype=np.int32),
        history_start=np.zeros(n, dtype=np.int64),
        history_end=np.zeros(n, dtype=np.int64),
        target_items=np.array([item for row in targets for item in row], dtype=np.int32),
        target_start=ends - lengths,
        target_end=ends,
        users=np.full(n, -1, dtype=np.int32),
        ids=pl.DataFrame({"query": np.arange(n)}),
    )


def padded(lists, width=None):
    width = width or max(1, max(len(row) for row in lists))
    block = np.full((len(lists), width), -1, dtype=np.int32)
    for row, items in zip(block, lists):
        row[: len(items)] = items[:width]
    return block


def value(name, items, targets, kind="baskets", **options):
    metric = parse_metric(name, **options)
    return values_from_lists(metric, padded([items]), queries_of([targets], kind), SUSTAINABLE)[0]


def random_cases(n=200, seed=0):
    """Lists and targets, among them empty and short lists, repeated and unknown targets."""
    rng = np.random.default_rng(seed)
    lists, targets = [], []
    for q in range(n):
        length = 0 if q % 10 == 0 else int(rng.integers(1, 13))
        lists.append(rng.permutation(N_ITEMS)[:length].tolist())
        wanted = rng.integers(-6, N_ITEMS, size=int(rng.integers(1, 16))).tolist()
        targets.append(wanted)
    return lists, targets


def naive(base, k, items, targets, first_only=False):
    """Textbook formula of one query; the second, independent implementation."""
    top = items[:k]
    relevant = {targets[0]} if first_only else set(targets)
    hits = [place for place, item in enumerate(top, 1) if item in relevant and item >= 0]
    if base == "mrr":
        return 1 / hits[0] if hits else 0.0
    if base == "hitrate":
        return float(bool(hits))
    precision, recall = len(hits) / k, len(hits) / len(relevant)
    if base == "precision":
        return precision
    if base == "recall":
        return recall
    if base == "f1":
        return 2 * precision * recall / (precision + recall) if hits else 0.0
    if base == "ndcg":
        ideal = sum(1 / math.log2(r + 1) for r in range(1, min(k, len(relevant)) + 1))
        return sum(1 / math.log2(r + 1) for r in hits) / ideal
    at_hits = [sum(h <= r for h in hits) / r for r in hits]
    return sum(at_hits) / min(k, len(relevant))


@pytest.fixture(scope="module")
def ranx_values():
    """Values of ranx for the random cases, by its own names, at several lengths."""
    lists, targets = random_cases()
    names = [f"{name}@{k}" for name in IN_RANX.values() for k in (1, 3, 10, 20)]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("_ranx_oracle.py"))],
        input=json.dumps({"lists": lists, "targets": targets, "metrics": names}),
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


class TestAgainstOthers:
    @pytest.mark.parametrize("k", [1, 3, 10, 20])
    @pytest.mark.parametrize("name", RANKING)
    def test_every_metric_agrees_with_ranx(self, ranx_values, name, k):
        lists, targets = random_cases()
        ours = values_from_lists(parse_metric(f"{name}@{k}"), padded(lists), queries_of(targets))
        theirs = np.array(ranx_values[f"{IN_RANX[name]}@{k}"])
        if name == "map":
            # ranx divides by the number of relevant items, we by what a list of K can hold.
            n = np.array([len(set(wanted)) for wanted in targets])
            theirs = theirs * n / np.minimum(k, n)
        assert 0 < theirs.mean() < 1
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("relevant", ["next", "any"])
    @pytest.mark.parametrize("k", [1, 4, 20])
    @pytest.mark.parametrize("name", RANKING)
    def test_every_metric_agrees_with_its_formula(self, name, k, relevant):
        lists, targets = random_cases(seed=1)
        metric = parse_metric(f"{name}@{k}", relevant=relevant)
        ours = values_from_lists(metric, padded(lists), queries_of(targets))
        first = relevant == "next" and name in ("mrr", "hitrate")
        expected = [naive(name, k, items, wanted, first) for items, wanted in zip(lists, targets)]
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize(
        ("name", "part"), [("sustainablemrr", "mrr"), ("sustainablendcg", "ndcg")]
    )
    @pytest.mark.parametrize("weight", [0.0, 0.2, 0.7, 1.0])
    def test_sustainable_metrics_are_weighted_sums(self, name, part, weight):
        lists, targets = random_cases(seed=2)
        name = f"sustainable{part}@5"
        metric = parse_metric(name, sustainable_items=[0], sustainability_weight=weight)
        ours = values_from_lists(metric, padded(lists), queries_of(targets), SUSTAINABLE)
        share = [sum(SUSTAINABLE[items[:5]]) / len(items[:5]) if items else 0 for items in lists]
        ranks = [naive(part, 5, items, wanted) for items, wanted in zip(lists, targets)]
        expected = (1 - weight) * np.array(ranks) + weight * np.array(share)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)

    def test_st_is_the_share_of_the_list_even_of_a_short_one(self):
        metric = parse_metric("st@4", sustainable_items=[0])
        lists = padded([[0, 1, 3, 4, 6], [0], [1, 2], []])
        ours = values_from_lists(metric, lists, queries_of([[1]] * 4), SUSTAINABLE)
        assert ours.tolist() == [0.5, 1.0, 0.0, 0.0]


class TestKnownAnswers:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("mrr@4", 1 / 2),
            ("hitrate@4", 1.0),
            ("hitrate@1", 0.0),
            ("precision@4", 2 / 4),
            ("recall@4", 2 / 3),
            ("f1@4", 2 * 2 / (4 + 3)),
            ("ndcg@4", (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / 2)),
            ("map@4", (1 / 2 + 2 / 4) / 3),
            ("map@2", (1 / 2) / 2),
            ("st@4", 1 / 4),
            ("sustainablemrr@4", 0.8 / 2 + 0.2 / 4),
        ],
    )
    def test_by_hand(self, name, expected):
        # Hits at ranks 2 and 4; three distinct targets, one of them unknown and one repeated.
        got = value(name, [1, 5, 2, 8], [5, 8, 5, -1], sustainable_items=[0])
        if name.startswith(("st", "sustainable")):
            got = value(name, [1, 5, 3, 8], [5, 8, 5, -1], sustainable_items=[0])
        assert got == pytest.approx(expected, abs=1e-15)

    def test_sessions_look_for_the_next_item_and_baskets_for_any(self):
        items, targets = [7, 4, 9], [9, 7]
        assert value("mrr@3", items, targets, "sessions") == pytest.approx(1 / 3)
        assert value("mrr@3", items, targets, "baskets") == 1.0
        assert value("mrr@3", items, targets, "sessions", relevant="any") == 1.0
        assert value("hitrate@2", items, targets, "sessions") == 0.0
        assert value("hitrate@2", items, targets, "baskets") == 1.0
        assert value("recall@3", items, targets, "sessions") == 1.0

    def test_an_unknown_next_item_cannot_be_hit(self):
        assert value("mrr@3", [1, 2, 3], [-1, 1], "sessions") == 0.0
        assert value("recall@3", [1, 2, 3], [-1, 1], "sessions") == 0.5

    def test_an_unknown_recommendation_takes_a_place(self):
        assert value("mrr@3", [-7, 2], [-7, 2]) == 0.5
        assert value("st@3", [-7, 3], [2], sustainable_items=[0]) == 0.5

    def test_a_repeated_recommendation_is_credited_once(self):
        assert value("recall@4", [2, 2, 2, 2], [2, 3]) == 0.5
        assert value("ndcg@4", [2, 2], [2]) == 1.0

    def test_only_the_first_k_count(self):
        assert value("recall@2", [1, 2, 3], [3]) == 0.0
        assert value("recall@9", [1, 2, 3], [3]) == 1.0
        assert value("recall@3", [1, -1, 3], [3]) == 0.0  # -1 ends the list

    def test_no_target_has_value_zero(self):
        for name in RANKING:
            assert value(f"{name}@5", [1, 2], []) == 0.0

    def test_long_lists_and_no_query(self):
        assert value("mrr@5000", list(range(29, -1, -1)), [0]) == pytest.approx(1 / 30)
        none = values_from_lists(parse_metric("mrr@5"), padded([[1]])[:0], queries_of([]))
        assert none.shape == (0,)


class TestProperties:
    cases = st.tuples(
        st.lists(st.integers(0, 9), max_size=8, unique=True),
        st.lists(st.integers(-3, 9), min_size=1, max_size=8),
        st.integers(1, 9),
    )

    @settings(max_examples=60, deadline=None)
    @given(case=cases, name=st.sampled_from([*RANKING, "st", "sustainablemrr", "sustainablendcg"]))
    def test_values_are_between_0_and_1(self, case, name):
        items, targets, k = case
        got = value(f"{name}@{k}", items, targets, sustainable_items=[0])
        assert 0.0 <= got <= 1.0 + 1e-12

    @settings(max_examples=60, deadline=None)
    @given(case=cases, name=st.sampled_from(RANKING), data=st.data())
    def test_moving_a_hit_up_never_lowers_the_value(self, case, name, data):
        items, targets, k = case
        hits = [place for place, item in enumerate(items) if place and item in targets]
        if not hits:
            return
        place = data.draw(st.sampled_from(hits))
        moved = list(items)
        moved[place - 1], moved[place] = moved[place], moved[place - 1]
        for kind in ("sessions", "baskets"):
            before = value(f"{name}@{k}", items, targets, kind)
            after = value(f"{name}@{k}", moved, targets, kind)
            if kind == "baskets" or name not in ("mrr", "hitrate") or items[place] == targets[0]:
                assert after >= before - 1e-12

    @settings(max_examples=40, deadline=None)
    @given(case=cases, name=st.sampled_from(RANKING))
    def test_the_targets_alone_are_a_perfect_list(self, case, name):
        _, targets, k = case
        known = list(dict.fromkeys(item for item in targets if item >= 0))
        if len(known) < len(set(targets)) or name in ("precision", "recall", "f1"):
            return
        assert value(f"{name}@{k}", known, targets) == pytest.approx(1.0)

    @settings(max_examples=40, deadline=None)
    @given(case=cases, name=st.sampled_from(RANKING))
    def test_gains_and_scale_say_the_same_as_the_lists(self, case, name):
        items, targets, k = case
        metric = parse_metric(f"{name}@{k}").for_kind("baskets")
        gains, hits = metric.gains(), [r for r, i in enumerate(items[:k], 1) if i in targets]
        if metric.mode == "average_precision":
            total = sum(i / r for i, r in enumerate(hits, 1))
        else:
            total = max(gains[hits], default=0.0) if metric.mode == "best" else gains[hits].sum()
        expected = metric.scale(np.array([len(set(targets))]))[0] * total
        assert value(f"{name}@{k}", items, targets) == pytest.approx(expected, abs=1e-12)


class TestNames:
    @pytest.mark.parametrize(
        ("given", "canonical"),
        [
            ("mrr@20", "mrr@20"),
            ("MRR@20", "mrr@20"),
            (" NDCG @ 5 ", "ndcg@5"),
            ("F1Score@3", "f1@3"),
            ("hit@10", "hitrate@10"),
            ("HitRate@10", "hitrate@10"),
            ("Hit@10", "hitrate@10"),
            ("hr@10", "hitrate@10"),
            ("ItemCoverage@5", "coverage@5"),
            ("GiniIndex@5", "gini@5"),
            ("AveragePopularity@5", "averagepopularity@5"),
        ],
    )
    def test_case_and_aliases(self, given, canonical):
        metric = parse_metric(given)
        assert metric.name == canonical
        assert f"{metric.base}@{metric.k}" == canonical

    @pytest.mark.parametrize(
        ("given", "canonical"),
        [("AUC", "auc"), ("gauc", "auc"), (" RMSE ", "rmse"), ("mae", "mae")],
    )
    def test_metrics_that_are_not_of_a_list(self, given, canonical):
        metric = parse_metric(given)
        assert (metric.name, metric.base, metric.k) == (canonical, canonical, 0)
        with pytest.raises(MetricError, match=f"write it '{canonical}'"):
            parse_metric(f"{given}@10")
        with pytest.raises(MetricError, match="get it from evaluate"):
            values_from_lists(metric, padded([[1]]), queries_of([[1]]))

    def test_sustainability_coverage_is_st(self):
        metric = parse_metric("SustainabilityCoverage@20", sustainable_items=[1])
        assert (metric.name, metric.mode, metric.rank_weight) == ("st@20", "none", 0.0)
        assert metric.sustainability_weight == 1.0

    def test_modes(self):
        assert parse_metric("map@5").mode == "average_precision"
        assert parse_metric("ndcg@5").mode == "additive"
        sessions = parse_metric("mrr@5").for_kind("sessions")
        assert (sessions.mode, sessions.first_only, sessions.relevant) == ("additive", True, "next")
        baskets = parse_metric("mrr@5").for_kind("baskets")
        assert (baskets.mode, baskets.first_only, baskets.relevant) == ("best", False, "any")
        fixed = parse_metric("hitrate@5", relevant="any").for_kind("sessions")
        assert (fixed.mode, fixed.first_only) == ("best", False)
        assert not parse_metric("recall@5").for_kind("sessions").first_only

    def test_weights(self):
        metric = parse_metric("sustainablendcg@5", sustainable_items=["a"])
        assert (metric.rank_weight, metric.sustainability_weight) == (0.8, 0.2)
        assert (metric.ranking, metric.sustainable_items) == ("ndcg", ("a",))

    def test_a_metric_is_returned_and_what_it_leaves_open_is_filled_in(self):
        metric = parse_metric("mrr@5")
        assert parse_metric(metric) is metric
        assert parse_metric(metric, relevant="any").relevant == "any"

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ("mmr@20", "Unknown metric 'mmr@20'. Did you mean 'mrr'?"),
            ("accuracy@20", "Choose one of mrr, hitrate"),
            ("rsme", "Did you mean 'rmse'?"),
            ("covrage@5", "Did you mean 'coverage'?"),
            ("coverage", "write it with '@K', such as 'coverage@20'"),
            ("mrr", "does not say how many recommendations count: write it with '@K'"),
            ("mrr@", "write it with '@K', such as 'mrr@20'"),
            ("mrr@x", "whole number after '@'"),
            ("mrr@2.5", "whole number after '@'"),
            ("mrr@0", "must be at least 1"),
            ("mrr@-3", "must be at least 1"),
            ("", "Unknown metric ''"),
            (20, "name such as 'mrr@20' or a function, not int"),
            (None, "not NoneType"),
            ("st@20", "needs to know which items are sustainable"),
            ("sustainablemrr@20", "sustainable_items=["),
        ],
    )
    def test_errors_say_what_to_do(self, given, words):
        with pytest.raises(MetricError) as caught:
            parse_metric(given)
        assert words in str(caught.value)

    def test_options_out_of_range(self):
        with pytest.raises(ParameterError, match="relevant must be one of"):
            parse_metric("mrr@20", relevant="all")
        with pytest.raises(ParameterError, match="sustainability_weight"):
            parse_metric("mrr@20", sustainability_weight=1.5)


class TestSustainableItems:
    vocabulary = Vocabulary(pl.Series([10, 20, 30]), pl.Series([1]))

    @pytest.mark.parametrize(
        "ids",
        [
            [30, 99],
            (30, 99),
            np.array([30, 99]),
            pl.Series([30, 99]),
            pd.Series([30, 99], dtype="int32"),
            pl.DataFrame({"item_id": [30, 99]}),
            pd.DataFrame({"item_id": [30, 99]}),
            pa.table({"item_id": [30, 99]}),
            (item for item in [30, 99]),
        ],
        ids=lambda ids: type(ids).__module__.split(".")[0] + "." + type(ids).__name__,
    )
    def test_any_list_of_ids(self, ids):
        metric = parse_metric("st@2", sustainable_items=ids)
        assert metric.sustainable_items == (30, 99)
        assert metric.sustainable_codes(self.vocabulary).tolist() == [False, False, True]

    def test_other_metrics_do_not_look(self):
        assert not parse_metric("mrr@2").sustainable_codes(self.vocabulary).any()

    @pytest.mark.parametrize(
        ("ids", "words"),
        [
            ([99], "None of the 1 sustainable items (such as 99) occurs in the training data"),
            (["30"], "The sustainable items cannot be looked up. Item ids are Int64"),
            ([30, "x"], "cannot be looked up"),
        ],
    )
    def test_no_known_item(self, ids, words):
        metric = parse_metric("st@2", sustainable_items=ids)
        with pytest.raises(MetricError) as caught:
            metric.sustainable_codes(self.vocabulary)
        assert words in str(caught.value)

    def test_unreadable_lists(self):
        for bad in ("30", 30):
            with pytest.raises(MetricError, match="must be a list of item ids"):
                parse_metric("st@2", sustainable_items=bad)
        with pytest.raises(MetricError, match="with at least one"):
            parse_metric("st@2", sustainable_items=[])
        with pytest.raises(MetricError, match="2 columns"):
            parse_metric("st@2", sustainable_items=pl.DataFrame({"a": [1], "b": [1]}))
        with pytest.raises(MetricError, match="sustainable"):
            Metric("st@2", "st", 2, "none").sustainable_codes(self.vocabulary)
        with pytest.raises(MetricError, match="sustainable"):
            values_from_lists(
                parse_metric("st@2", sustainable_items=[30]), padded([[1]]), queries_of([[1]])
            )


class TestCustom:
    def test_function_sees_ids_and_at_most_k(self):
        seen = []

        def overlap(recommended, targets):
            seen.append((list(recommended), list(targets)))
            return len(set(recommended) & set(targets))

        metric = Metric.custom(overlap, k=2)
        got = values_from_ids(metric, [["a", "b", "c"], []], [["b", "c", "b"], ["a"]])
        assert metric.name == "overlap@2"
        assert got.tolist() == [1.0, 0.0]
        assert seen == [(["a", "b"], ["b", "c", "b"]), ([], ["a"])]

    def test_parse_takes_a_function(self):
        metric = parse_metric(lambda recommended, targets: 0.0)
        assert (metric.name, metric.mode, metric.k) == ("custom@20", "custom", 20)
        assert not metric.gains().any()

    @pytest.mark.parametrize("bad", [None, math.nan, math.inf, "0.5x", [1, 2]])
    def test_value_must_be_a_finite_number(self, bad):
        with pytest.raises(MetricError, match="must return a finite number"):
            values_from_ids(Metric.custom(lambda r, t: bad), [[1]], [[1]])

    def test_wrong_use(self):
        with pytest.raises(MetricError, match="pass a callable"):
            Metric.custom("mrr@20")
        with pytest.raises(MetricError, match="at least 1"):
            Metric.custom(len, k=0)
        with pytest.raises(MetricError, match="whole number"):
            Metric.custom(len, k=2.0)
        with pytest.raises(MetricError, match="use values_from_ids"):
            values_from_lists(Metric.custom(len), padded([[1]]), queries_of([[1]]))
        with pytest.raises(MetricError, match="use values_from_lists"):
            values_from_ids(parse_metric("mrr@2"), [[1]], [[1]])
