from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from whence.attribution import Attribution
from whence.curation import detection_curve, detection_report, find_corrupted
from whence.errors import DataError, ParameterError


def attribution(scores, errors=None, backend="polars"):
    table = pl.DataFrame({"session_id": [f"s{i}" for i in range(len(scores))], "score": scores})
    if errors is not None:
        table = table.with_columns(std_error=pl.Series(errors))
    return Attribution(
        table.with_columns(pl.col("score").cast(pl.Float64)),
        source="session_id",
        metadata={"by": "session"},
        backend=backend,
    )


def ids(mask):
    return [f"s{i}" for i, corrupted in enumerate(mask) if corrupted]


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30).filter(
        lambda pairs: 0 < sum(truth for _, truth in pairs) < len(pairs)
    )
)
def test_agrees_with_scikit_learn(pairs):
    scores, truth = zip(*pairs, strict=True)
    report = detection_report({"x": attribution(scores)}, ids(truth))
    suspicion = -np.asarray(scores)
    assert report["auc"][0] == pytest.approx(roc_auc_score(truth, suspicion))
    expected = average_precision_score(truth, suspicion)
    assert report["average_precision"][0] == pytest.approx(expected)


@given(
    st.lists(st.tuples(st.integers(-1, 1), st.booleans()), min_size=2, max_size=7).filter(
        lambda pairs: 0 < sum(truth for _, truth in pairs) < len(pairs)
    ),
    st.integers(1, 2),
)
@settings(max_examples=25, deadline=None)
def test_ties_count_by_their_expectation(pairs, n):
    scores, truth = (np.asarray(part) for part in zip(*pairs, strict=True))
    report = detection_report({"x": attribution(scores)}, ids(truth), n=n)
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(4000):
        shuffled = rng.permutation(len(scores))
        order = shuffled[np.argsort(scores[shuffled], kind="stable")]
        hits.append(truth[order[:n]].sum())
    assert report["precision"][0] == pytest.approx(np.mean(hits) / n, abs=0.06)
    assert report["recall"][0] == pytest.approx(np.mean(hits) / truth.sum(), abs=0.12)


def test_a_perfect_and_a_reversed_ranking():
    truth = ids([1, 1, 0, 0, 0])
    good, bad = attribution([-2, -1, 0, 1, 2]), attribution([2, 1, 0, -1, -2])
    report = detection_report(
        {"good": good, "bad": bad, "turned": bad}, truth, highest_first=["turned"]
    )
    assert report["precision"].to_list() == [1.0, 0.0, 1.0]
    assert report["auc"].to_list() == [1.0, 0.0, 1.0]
    assert report["n_inspected"].to_list() == [2, 2, 2]


def test_report_refuses_what_it_cannot_judge():
    values = {"x": attribution([1, 2, 3])}
    with pytest.raises(DataError, match="some that are not"):
        detection_report(values, [])
    with pytest.raises(DataError, match="some that are not"):
        detection_report(values, ["s0", "s1", "s2"])
    with pytest.raises(DataError, match="'s9'"):
        detection_report(values, ["s0", "s9"])
    with pytest.raises(DataError, match="cast"):
        detection_report(values, [0, 1])
    with pytest.raises(ParameterError, match="none of the rankings"):
        detection_report(values, ["s0"], highest_first=["y"])
    with pytest.raises(ParameterError):
        detection_report({}, ["s0"])
    with pytest.raises(ParameterError):
        detection_report(values, ["s0"], n=4)


def test_curve_ends_with_everything_found():
    rng = np.random.default_rng(1)
    values = {name: attribution(rng.normal(size=500)) for name in ("a", "b")}
    truth = ids(rng.random(500) < 0.1)
    curve = detection_curve(values, truth, points=50)
    for name in values:
        part = curve.filter(pl.col("ranking") == name)
        assert 50 <= part.height <= 51
        assert part["recall"].is_sorted()
        assert part["recall"][-1] == pytest.approx(1.0)
        assert part["precision"][-1] == pytest.approx(len(truth) / 500)
        report = detection_report(values, truth).filter(pl.col("ranking") == name)
        at = part.filter(pl.col("n_inspected") == len(truth))
        assert at["recall"][0] == pytest.approx(report["recall"][0])


def test_find_corrupted_lists_the_lowest():
    values = attribution([0.1, -0.3, -0.2, 0.0], [0.01, 0.2, 0.01, 0.0], backend="pandas")
    sure = find_corrupted(values)
    assert isinstance(sure, pd.DataFrame)
    assert sure["session_id"].tolist() == ["s2"]
    half = find_corrupted(values, ["s1", "s3"], fraction=0.5)
    assert half["session_id"].tolist() == ["s1", "s2"]
    assert half["rank"].tolist() == [1, 2]
    assert half["corrupted"].tolist() == [True, False]
    assert find_corrupted(values, n=1)["session_id"].tolist() == ["s1"]
    with pytest.raises(ParameterError):
        find_corrupted(values, n=1, fraction=0.5)
