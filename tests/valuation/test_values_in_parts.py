"""Values of an evaluation set in parts: what is added and taken out is what it is by itself."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import whence
from whence.attribution.parts import part_seed
from whence.errors import OutputExistsError, ParameterError, UnsupportedError


@pytest.fixture(scope="module")
def data():
    return whence.make_sessions(300, n_items=120, n_clusters=8, n_validation=150, n_test=20, seed=4)


@pytest.fixture(scope="module")
def model(data):
    return whence.VMISKNN(k=40, m=80).fit(data.train)


@pytest.fixture(scope="module")
def days(data):
    """The validation sessions of three days, by name."""
    three = whence.split_random(data.validation, (0.5, 0.3, 0.2), seed=1)
    return {f"day {number}": part.rebuild() for number, part in enumerate(three)}


METHODS = [
    whence.LeaveOneOut("mrr@10"),
    whence.Shapley("ndcg@10", tolerance=0.3, exact=4, allocation="uniform"),
    whence.Shapley("mrr@10", tolerance=0.3, exact=4),
    whence.Banzhaf("mrr@10", tolerance=0.3, exact=4),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_window_that_moved_on_is_the_same_bits_as_valuing_its_parts_afresh(
    method, model, days, tmp_path
):
    first, second, third = days
    values = method.attribute_parts(model, {first: days[first], second: days[second]})
    values.save(tmp_path / "values.parquet")
    loaded = whence.Attribution.load(tmp_path / "values.parquet")
    moved = values.update(days[third], part=third, without=first)
    again = loaded.update(days[third], part=third, without=[first], model=model)
    afresh = method.attribute_parts(model, {second: days[second], third: days[third]})
    assert moved.frame.equals(afresh.frame)
    assert again.frame.equals(afresh.frame)
    assert moved.parts == again.parts == [second, third]
    for name in ("value_all", "value_nothing", "n_queries", "relative_error", "seed", "params"):
        assert moved.metadata[name] == afresh.metadata[name] == again.metadata[name]
    # and whatever the number of threads, also of values that went through a file
    one = method.attribute_parts(model, {second: days[second]}, run=whence.Run(threads=1))
    one.save(tmp_path / "one.parquet")
    one = whence.Attribution.load(tmp_path / "one.parquet")
    assert one.update(days[third], part=third, model=model).frame.equals(afresh.frame)


def test_leave_one_out_of_parts_is_that_of_all_queries(model, days, data):
    method = whence.LeaveOneOut("mrr@10")
    whole = method.attribute(model, data.validation)
    parts = method.attribute_parts(model, days)
    assert np.abs(parts.scores - whole.scores).max() < 1e-15
    for name in ("value_all", "value_nothing"):
        assert parts.metadata[name] == pytest.approx(whole.metadata[name], abs=1e-15)
    assert parts.metadata["n_queries"] == whole.metadata["n_queries"]


def test_sampled_values_of_parts_are_unbiased_and_say_how_precise_they_are(model, days, data):
    """Against values of all queries drawn much longer."""
    settings = {"tolerance": 0.0, "exact": 3, "allocation": "uniform"}
    exact = whence.Shapley("mrr@10", **{**settings, "exact": 12, "max_permutations": 1500})
    truth = exact.attribute(model, data.validation)
    method = whence.Shapley("mrr@10", **settings, max_permutations=40)
    values = method.attribute_parts(model, days)
    errors = values.std_errors
    shown = errors > 0
    deviations = (values.scores - truth.scores)[shown] / np.hypot(errors, truth.std_errors)[shown]
    assert 0.8 < np.sqrt(np.mean(deviations**2)) < 1.2
    assert values.metadata["relative_error"] == pytest.approx(
        errors.mean() / np.abs(values.scores).mean()
    )
    gain = values.metadata["value_all"] - values.metadata["value_nothing"]
    assert values.scores.sum() == pytest.approx(gain, abs=1e-12)
    counts = [method.attribute(model, part).frame["n_queries"].to_numpy() for part in days.values()]
    assert np.array_equal(values.frame["n_queries"].to_numpy(), sum(counts))


def test_values_of_one_evaluation_set_are_a_part_too(model, days):
    first, second, _ = days
    values = whence.LeaveOneOut("mrr@10").attribute(model, days[first])
    both = values.update(days[second])
    assert both.parts == ["1", "2"]
    assert both.update(without="2").frame.equals(values.update(without=()).frame)
    n = [part["n_queries"] for part in both.metadata["parts"]]
    other = whence.LeaveOneOut("mrr@10").attribute(model, days[second])
    mean = (values.scores * n[0] + other.scores * n[1]) / sum(n)
    assert np.array_equal(both.scores, mean)
    assert both.update(days[first], without="1").parts == ["2", "3"]
    assert "3,000" not in both.summary()


def test_baskets_have_own_values_in_parts():
    data = whence.make_baskets(80, n_items=100, n_clusters=5, seed=1)
    model = whence.TIFUKNN(k=10).fit(data.train)
    method = whence.Shapley("ndcg@10", own="player", tolerance=0.5, exact=4)
    values = method.attribute_parts(model, {"validation": data.validation})
    both = values.update(data.test, part="test")
    single = {
        name: method.attribute(model, part, run=whence.Run(seed=part_seed(42, name)))
        for name, part in (("validation", data.validation), ("test", data.test))
    }
    n = [len(whence.make_queries(model, part)) for part in (data.validation, data.test)]
    for name in ("score", "own_score"):
        one, other = (values.frame[name].to_numpy() for values in single.values())
        assert np.array_equal(both.frame[name].to_numpy(), (one * n[0] + other * n[1]) / sum(n))
    for name in ("std_error", "own_std_error"):
        one, other = (values.frame[name].to_numpy() for values in single.values())
        wanted = np.sqrt((one * n[0]) ** 2 + (other * n[1]) ** 2) / sum(n)
        assert both.frame[name].to_numpy() == pytest.approx(wanted, rel=1e-12)


def test_parts_that_are_done_are_not_valued_again(model, days, tmp_path, monkeypatch):
    method = whence.LeaveOneOut("mrr@10")
    whole = method.attribute_parts(model, days)
    attribute, asked = whence.LeaveOneOut.attribute, []

    def broken_off(self, model, data, *, run=None):
        asked.append(data)
        if len(asked) == 2:
            raise RuntimeError("power is gone")
        return attribute(self, model, data, run=run)

    monkeypatch.setattr(whence.LeaveOneOut, "attribute", broken_off)
    run = whence.Run(folder=tmp_path)
    with pytest.raises(RuntimeError):
        method.attribute_parts(model, days, run=run)
    with pytest.raises(OutputExistsError, match="unfinished"):
        method.attribute_parts(model, days, run=run)
    resumed = method.attribute_parts(model, days, run=run.changed(resume=True))
    assert resumed.frame.equals(whole.frame)
    assert [data is days["day 0"] for data in asked] == [True, False, False, False]
    assert not list(tmp_path.rglob("*"))


def test_what_does_not_add_up_is_refused(model, days, data, tmp_path):
    values = whence.Shapley("mrr@10", tolerance=0.5).attribute_parts(model, {"a": days["day 0"]})
    later = days["day 1"]
    values.save(tmp_path / "values.csv")
    values.save(tmp_path / "values.parquet")
    loaded = whence.Attribution.load(tmp_path / "values.parquet")
    other = whence.VMISKNN(k=40, m=80).fit(data.train.without([data.train.source_ids[0]]))
    for call, error, words in (
        (lambda: values.update(later, part="a"), ParameterError, "There is a part 'a' already"),
        (lambda: values.update(later, without="b"), ParameterError, "There is no part 'b'"),
        (lambda: values.update(without="a"), ParameterError, "Nothing would be left"),
        (lambda: values.update(later, part=3), ParameterError, "must be a text, not 3"),
        (lambda: loaded.update(later), ParameterError, "give it with model="),
        (lambda: loaded.update(later, model=other), ParameterError, "fitted on other data"),
        (
            lambda: loaded.update(later, model=whence.VMISKNN(k=9).fit(data.train)),
            ParameterError,
            "their model params",
        ),
        (
            lambda: whence.Attribution.load(tmp_path / "values.csv").update(later, model=model),
            UnsupportedError,
            "keep the values in a .parquet file",
        ),
        (
            lambda: whence.RandomValue().attribute(model, later).update(later, model=model),
            UnsupportedError,
            "do not add up",
        ),
        (
            lambda: whence.Shapley("mrr@10").attribute(model, later, previous=values),
            ParameterError,
            "several parts",
        ),
        (lambda: whence.LeaveOneOut().attribute_parts(model, {}), ParameterError, "must name one"),
        (lambda: values.for_query(0), UnsupportedError, "cannot look at single queries"),
    ):
        with pytest.raises(error, match=words):
            call()


def test_seeds_of_parts_differ():
    seeds = {part_seed(seed, name) for seed in (1, 2) for name in ("a", "b", "1 a")}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert pl.Series(sorted(seeds)).dtype == pl.Int64
