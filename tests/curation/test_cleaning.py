"""Cleaning: what is listed as a copy or a bot, and removals that are explained and undone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

import whence
from whence.attribution import Attribution
from whence.curation import Attack, Cleaning, clean, find_bots, find_corrupted, find_duplicates
from whence.errors import DataError, FileFormatError, OutputExistsError, ParameterError


def values(scores, errors=None, ids=None):
    ids = np.arange(len(scores)) if ids is None else ids
    table = pl.DataFrame({"session_id": ids, "score": np.asarray(scores, dtype=float)})
    if errors is not None:
        table = table.with_columns(std_error=pl.Series(np.asarray(errors, dtype=float)))
    return Attribution(table, source="session_id", metadata={"by": "session", "metric": "mrr@20"})


@pytest.fixture(scope="module")
def made():
    return whence.make_sessions(n_sessions=400, n_validation=60, n_test=30, n_items=200, seed=2)


def test_beyond_doubt_is_what_holm_rejects():
    rng = np.random.default_rng(1)
    scores, errors = rng.normal(-1, 2, 60), rng.uniform(0.2, 1, 60)
    found = find_corrupted(values(scores, errors), level=0.05)
    p_values = stats.norm.cdf(scores / errors)
    rejected, left = set(), list(np.argsort(p_values))
    while left and p_values[left[0]] <= 0.05 / len(left):  # the procedure as it is defined
        rejected.add(left.pop(0))
    assert set(found["session_id"]) == rejected
    assert len(rejected) > 5
    assert (found["p_value"] <= 0.05).all()
    assert find_corrupted(values(scores, errors)).equals(found)
    assert set(find_corrupted(values([-1.0, 0.0, 1.0]))["session_id"]) == {0}


def test_of_values_that_are_zero_hardly_any_is_beyond_doubt():
    """The family-wise error rate: with noise alone, one table in twenty lists anything."""
    rng = np.random.default_rng(2)
    listed = [
        len(find_corrupted(values(rng.normal(0, 1, 50), np.ones(50)))) > 0 for _ in range(400)
    ]
    assert np.mean(listed) < 0.09


def test_the_level_excludes_other_amounts():
    with pytest.raises(ParameterError, match="level"):
        find_corrupted(values([-1.0, 1.0]), level=0.1, n=1)


def brute_duplicates(data, similarity, at_least):
    """Groups by comparing all pairs."""
    codes = [
        set(data.sequences.items[a:b].tolist())
        for a, b in zip(data.sequences.offsets, data.sequences.offsets[1:])
    ]
    group = list(range(len(codes)))

    def alike(a, b):
        return len(codes[a] & codes[b]) / len(codes[a] | codes[b])

    for b in range(len(codes)):
        for a in range(b):
            long = min(len(codes[a]), len(codes[b])) >= at_least
            if long and alike(a, b) >= similarity:
                old, new = max(group[a], group[b]), min(group[a], group[b])
                group = [new if one == old else one for one in group]
    return {
        (int(data.source_ids[b]), int(data.source_ids[group[b]]))
        for b in range(len(codes))
        if group[b] != b and alike(group[b], b) >= similarity
    }


def test_duplicates_are_those_of_all_pairs(made):
    data = Attack(kind="duplicated", share=0.1, seed=1).plant(made.train).data
    data = data.keep_sources(np.arange(data.n_sources) >= data.n_sources - 160).rebuild()
    wanted = brute_duplicates(data, 0.8, 4)
    found = find_duplicates(data, similarity=0.8)
    pairs = set(zip(found["session_id"].to_list(), found["copy_of"].to_list()))
    assert len(wanted) > 8
    assert len(pairs & wanted) >= 0.9 * len(wanted)
    assert len(pairs - wanted) <= 0.1 * len(wanted)
    assert find_duplicates(data).equals(find_duplicates(data))


def test_bots_are_found_by_length_repetition_and_time():
    rng = np.random.default_rng(0)

    def session(number, items, gaps):
        times = 1e6 * number + np.cumsum(gaps)
        return [(number, int(item), float(time)) for item, time in zip(items, times)]

    rows = []
    for number in range(100):
        n = int(rng.integers(2, 30))
        rows += session(number, rng.integers(0, 50, n), rng.exponential(30, n))
    rows += session(200, rng.integers(0, 50, 900), rng.exponential(30, 900))
    rows += session(201, [7 if k % 2 else k for k in range(20)], rng.exponential(30, 20))
    rows += session(202, range(20), np.full(20, 17.0))
    rows += session(203, range(20), rng.exponential(0.1, 20))
    frame = pl.DataFrame(rows, schema=["session_id", "item_id", "timestamp"], orient="row")
    found = find_bots(frame)
    said = dict(zip(found["session_id"], found["why"]))
    assert set(said) == {200, 201, 202, 203}
    assert "times the usual number" in said[200]
    assert "the same item in 50%" in said[201]
    assert said[202] == "rows at even intervals"
    assert "as fast as usual" in said[203]
    assert isinstance(find_bots(frame.to_pandas()), pd.DataFrame)


def test_kinds_are_shown_beside_values(made):
    attacked = Attack(kind="bot", share=0.05, seed=1).plant(made.train)
    ids = attacked.data.source_ids
    found = find_corrupted(values(np.arange(len(ids)), ids=ids), n=len(ids), data=attacked.data)
    kinds = dict(zip(found["session_id"], found["kind"]))
    bots = find_bots(attacked.data)
    for source, why in zip(bots["session_id"], bots["why"]):
        assert f"bot: {why}" in kinds[source]
    copies = find_duplicates(attacked.data)
    for source, why in zip(copies["session_id"], copies["why"]):
        assert f"duplicate: {why}" in kinds[source]
    assert "" in kinds.values()


def test_each_removal_is_explained_and_undone(made, tmp_path):
    data = Attack(kind="bot", share=0.05, seed=1).plant(made.train).data
    model = whence.VMISKNN(k=20, m=50).fit(data)
    worth = whence.LeaveOneOut("mrr@20").attribute(model, made.validation)
    cleaning = clean(
        data, worth, fraction=0.02, duplicates=True, bots=True, named=[data.source_ids[0]]
    )
    actions = cleaning.actions
    assert set(actions["reason"]) == {"named", "duplicate", "bot", "value"}
    assert actions["action"].to_list() == list(range(1, actions.height + 1))
    assert not actions["session_id"].is_duplicated().any()
    assert actions["n_rows"].sum() == cleaning.removed.height
    left = data.frame.filter(~pl.col("session_id").is_in(actions["session_id"].implode()))
    assert cleaning.data.equals(left)
    lowest = actions.filter(pl.col("reason") == "value").row(0, named=True)
    said = cleaning.explain(lowest["session_id"])
    assert "its value for mrr@20 is" in said
    assert f"{lowest['score']:.2e}" in said
    cleaning.save(tmp_path / "out")
    with pytest.raises(OutputExistsError):
        cleaning.save(tmp_path / "out")
    again = Cleaning.load(tmp_path / "out")
    some = actions["session_id"][::2].to_list()
    once = again.undo(some)
    assert once.data.equals(
        data.frame.filter(~pl.col("session_id").is_in(actions["session_id"][1::2].implode()))
    )
    assert once.undo().data.equals(data.frame)
    assert again.undo().data.equals(data.frame)
    assert "was not removed" in once.explain(str(some[0]))
    assert again.cleaned().equals(left)


def test_what_cannot_be_done_is_said(made, tmp_path):
    data = made.train
    with pytest.raises(ParameterError, match="Nothing says what to remove"):
        clean(data)
    with pytest.raises(DataError, match="not in column"):
        clean(data, named=[10**9])
    with pytest.raises(DataError, match="Nothing would be left"):
        clean(data, named=data.source_ids)
    with pytest.raises(DataError, match="that they were computed from"):
        clean(data, values([-1.0], ids=[10**9]))
    cleaning = clean(data, named=[data.source_ids[3]])
    with pytest.raises(DataError, match="nothing to undo"):
        cleaning.undo([data.source_ids[4]])
    with pytest.raises(DataError, match="never in the data"):
        cleaning.explain(10**9)
    with pytest.raises(DataError, match="is no id"):
        cleaning.explain("x")
    with pytest.raises(FileFormatError, match="whence clean"):
        Cleaning.load(tmp_path)
