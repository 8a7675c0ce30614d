"""compare(): the difference, its interval and its p-value."""

import itertools

import numpy as np
import polars as pl
import pytest
from scipy import stats

from whence.errors import DataError, MetricError, ParameterError
from whence.evaluation import Evaluation, compare, parse_metric


def evaluation(values, sessions=None, name="mrr@20", **options):
    ids = pl.DataFrame({"session": sessions or list(range(len(values)))})
    metric = parse_metric(name, **options).for_kind("sessions")
    per_query = ids.with_columns(pl.Series(name, np.asarray(values, dtype=float)))
    return Evaluation((metric,), per_query, len(values))


def two(n=300, shift=0.05, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.random(n)
    return evaluation(base + shift + 0.3 * rng.standard_normal(n)), evaluation(base)


class TestStatistics:
    def test_difference_of_means(self):
        a, b = two()
        result = compare(a, b)
        assert result.metric == "mrr@20"
        assert (result.value_a, result.value_b) == (float(a), float(b))
        assert result.difference == pytest.approx(float(a) - float(b), abs=1e-12)
        assert result.low < result.difference < result.high
        swapped = compare(b, a)
        assert swapped.difference == pytest.approx(-result.difference, abs=1e-12)
        assert swapped.p_value == pytest.approx(result.p_value, abs=0.02)

    def test_interval_agrees_with_scipy(self):
        a, b = two()
        d = a.values() - b.values()
        theirs = stats.bootstrap((d,), np.mean, method="percentile", random_state=1)
        ours = compare(a, b)
        se = d.std() / np.sqrt(len(d))
        assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.1 * se)
        assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.1 * se)

    def test_p_value_agrees_with_scipy(self):
        a, b = two(shift=0.03)
        d = a.values() - b.values()
        theirs = stats.permutation_test(
            (d,), np.sum, permutation_type="samples", n_resamples=5000, rng=1
        )
        ours = compare(a, b)
        assert 0.01 < ours.p_value < 0.5
        assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.02)

    def test_p_value_is_exact_for_few_differences(self):
        d = np.array([0.5, -0.25, 0.3, 0.2, 0.1, 0.0, 0.0])
        signs = np.array(list(itertools.product([1, -1], repeat=len(d))))
        expected = np.mean(np.abs(signs @ d) >= abs(d.sum()) - 1e-12)
        result = compare(evaluation(d + 0.5), evaluation(np.full(7, 0.5)))
        assert result.p_value == pytest.approx(expected, abs=1e-15)

    def test_p_value_is_never_zero(self):
        result = compare(evaluation(np.ones(200)), evaluation(np.zeros(200)), n=99)
        assert result.p_value == 0.01

    def test_the_same_evaluation(self):
        a, _ = two()
        result = compare(a, a)
        assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)

    def test_under_no_difference_p_is_uniform_and_the_interval_covers(self):
        rng = np.random.default_rng(5)
        results = []
        for _ in range(300):
            d = rng.standard_normal(40)
            results.append(compare(evaluation(d), evaluation(np.zeros(40)), n=400))
        p = np.array([result.p_value for result in results])
        covered = np.mean([result.low <= 0 <= result.high for result in results])
        assert stats.kstest(p, "uniform").pvalue > 0.001
        assert 0.88 < covered < 0.98


class TestGroups:
    def test_queries_of_a_session_count_as_one(self):
        rng = np.random.default_rng(2)
        effect = np.repeat(rng.standard_normal(30), 10)
        sessions = np.repeat(np.arange(30), 10).tolist()
        a, b = evaluation(effect, sessions), evaluation(np.zeros(300), sessions)
        grouped, alone = compare(a, b), compare(a, b, by=None)
        assert (grouped.n_groups, alone.n_groups, grouped.n_queries) == (30, 300, 300)
        ratio = (grouped.high - grouped.low) / (alone.high - alone.low)
        assert ratio == pytest.approx(np.sqrt(10), rel=0.15)
        assert compare(a, b, by="session") == grouped

    def test_groups_of_one_are_the_queries(self):
        a, b = two()
        assert compare(a, b) == compare(a, b, by=None)

    def test_unknown_column(self):
        with pytest.raises(ParameterError, match="choose 'source', None or one of session"):
            compare(*two(), by="user")


class TestDeterminism:
    def test_by_seed(self):
        a, b = two(shift=0.03)
        assert compare(a, b, seed=3) == compare(a, b, seed=3)
        assert compare(a, b, seed=3) != compare(a, b, seed=4)

    def test_resamples_do_not_depend_on_their_number(self):
        from whence._native import bootstrap_means

        d, ones = np.arange(10.0), np.ones(10)
        many = bootstrap_means(d, ones, np.uint64(1), 50)
        assert np.array_equal(many[:20], bootstrap_means(d, ones, np.uint64(1), 20))
        assert len(np.unique(many)) > 20


class TestPresentation:
    def test_repr_and_frame(self):
        result = compare(*two())
        assert "95% interval [" in repr(result)
        assert "p = " in repr(result)
        frame = result.to_frame()
        assert frame.shape == (1, 10)
        assert frame["difference"][0] == result.difference


class TestBadInput:
    def test_other_queries(self):
        a, b = two(), two(n=200)
        with pytest.raises(DataError, match="same validation data"):
            compare(a[0], b[0])
        with pytest.raises(DataError, match="not of the same queries"):
            compare(evaluation([1, 0], [1, 2]), evaluation([1, 0], [2, 1]))

    def test_metrics(self):
        a = evaluation([1, 0])
        with pytest.raises(MetricError, match="was not evaluated"):
            compare(a, a, "ndcg@20")
        with pytest.raises(MetricError, match="0 metrics in common"):
            compare(a, evaluation([1, 0], name="ndcg@20"))
        with pytest.raises(MetricError, match="differently"):
            compare(a, evaluation([1, 0], relevant="any"))
        assert compare(a, a, "MRR@20").metric == "mrr@20"

    def test_parameters(self):
        a, b = two(n=20)
        with pytest.raises(ParameterError, match="two Evaluations, not float"):
            compare(a, 0.5)
        for options in ({"n": 0}, {"seed": -1}, {"confidence": 1.5}):
            with pytest.raises(ParameterError, match=next(iter(options))):
                compare(a, b, **options)
