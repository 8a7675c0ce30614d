"""Standard errors, stopping, interruption, resuming, threads: what sampling promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles import random_baskets, random_sessions

from whence import (
    TIFUKNN,
    VMISKNN,
    Attribution,
    Banzhaf,
    BetaShapley,
    LeaveOneOut,
    Shapley,
    make_sessions,
)
from whence.engines import Run
from whence.errors import (
    ArgumentError,
    DataWarning,
    MetricError,
    NotFittedError,
    ParameterError,
    UnsupportedError,
)
from whence.valuation import rounds
from whence.valuation.forecasts import Forecast
from whence.valuation.rounds import Estimate, cut


@pytest.fixture(scope="module")
def data():
    return make_sessions(n_sessions=400, n_validation=120, n_test=10, seed=4)


@pytest.fixture(scope="module")
def model(data):
    return VMISKNN(k=30, m=80).fit(data.train)


@pytest.fixture(scope="module")
def basket_model():
    rng = np.random.default_rng(0)
    return TIFUKNN(k=10, m=3, alpha=0.4).fit(random_baskets(rng, 40, 30))


@pytest.fixture(scope="module")
def basket_valid():
    rng = np.random.default_rng(1)
    return random_baskets(rng, 40, 30, most_baskets=1, first_basket=500)


@pytest.mark.parametrize("make", [Shapley, BetaShapley, Banzhaf])
def test_the_same_numbers_for_any_number_of_threads(make, model, data, basket_model, basket_valid):
    for fitted, valid in ((model, data.validation), (basket_model, basket_valid)):
        runs = [
            make("mrr@5", tolerance=0, max_permutations=20, threads=threads).attribute(
                fitted, valid
            )
            for threads in (1, 2, 4)
        ]
        for run in runs[1:]:
            assert run.frame.equals(runs[0].frame)


def test_leave_one_out_does_not_depend_on_threads(model, data):
    frames = [
        LeaveOneOut("ndcg@5", threads=threads).attribute(model, data.validation).frame
        for threads in (1, 2, 4)
    ]
    assert frames[0].equals(frames[1])
    assert frames[0].equals(frames[2])


@pytest.mark.parametrize("metric", ["mrr@5", "ndcg@5"])
def test_intervals_cover_the_truth(metric, model, data):
    """Over seeds, about 95% of the true values lie within two standard errors."""
    truth = Shapley(metric, tolerance=0, max_permutations=6000, seed=1).attribute(
        model, data.validation
    )
    hits, ratios = [], []
    for seed in range(100, 112):
        drawn = Shapley(metric, tolerance=0, max_permutations=160, seed=seed).attribute(
            model, data.validation
        )
        errors = drawn.frame["std_error"].to_numpy()
        moving = errors > 0
        off = np.abs(drawn.scores - truth.scores)[moving]
        hits.append(np.mean(off <= 2 * errors[moving]))
        ratios.append(np.mean(off**2) / np.mean(errors[moving] ** 2))
    assert 0.90 <= np.mean(hits) <= 0.99
    assert 0.8 <= np.mean(ratios) <= 1.25


def test_more_permutations_are_more_precise_and_tolerance_stops(model, data):
    few = Shapley(tolerance=0, max_permutations=10).attribute(model, data.validation)
    many = Shapley(tolerance=0, max_permutations=160).attribute(model, data.validation)
    assert many.metadata["relative_error"] < 0.5 * few.metadata["relative_error"]
    stopped = Shapley(tolerance=0.2, max_permutations=10_000).attribute(model, data.validation)
    assert stopped.metadata["stopped"] == "tolerance"
    assert stopped.metadata["relative_error"] <= 0.2
    assert stopped.metadata["mean_permutations"] < 1000


def test_budget_by_variance_beats_a_uniform_one(model, data):
    truth = Shapley(tolerance=0, max_permutations=6000, seed=1).attribute(model, data.validation)

    def error(**options):
        runs = [
            Shapley(tolerance=0, max_permutations=60, seed=seed, **options)
            .attribute(model, data.validation)
            .scores
            for seed in range(200, 206)
        ]
        return np.mean([(run - truth.scores) ** 2 for run in runs])

    assert error(allocation="variance") < 0.9 * error(allocation="uniform")


@pytest.mark.parametrize("metric", ["mrr@5", "map@5", "ndcg@5", "sustainablendcg@5"])
def test_readings_and_walks_have_the_same_mean(metric, model, data):
    """Groups of one make the players join one by one, where contributions are read otherwise."""
    import polars as pl

    column = data.train.columns.source
    table = data.train.frame.with_columns(pl.col(column).alias("copy"))
    sustainable = data.train.vocabulary.items.to_list()[::3]
    options = {"tolerance": 0, "sustainable_items": sustainable, "exact": 0}
    for k, m in ((30, 80), (3, 20), (40, 40)):
        one = VMISKNN(k=k, m=m).fit(data.train)
        read = Shapley(metric, max_permutations=800, seed=1, **options).attribute(
            one, data.validation
        )
        twin = VMISKNN(k=k, m=m).fit(table)
        method = Shapley(metric, by="copy", max_permutations=200, seed=2, **options)
        walked = method.attribute(twin, data.validation)
        assert walked.scores.sum() == pytest.approx(read.scores.sum(), abs=1e-12)
        variances = [run.frame["std_error"].to_numpy() ** 2 for run in (read, walked)]
        assert variances[0].mean() < 0.3 * variances[1].mean()
        known = variances[0] + variances[1]
        off = (read.scores - walked.scores)[known > 0]
        assert 0.7 < np.mean(off**2 / known[known > 0]) < 1.4
        assert (off**2 <= 36 * known[known > 0]).all()


class Interrupting:
    """Progress that presses Ctrl-C when so many rounds have been begun."""

    def __init__(self, rounds):
        self.rounds, self.begun = rounds, 0

    def __call__(self, done, total, message):
        self.begun += done == 0
        if self.begun == self.rounds and done > 0:
            raise KeyboardInterrupt


def test_interrupted_sampling_gives_what_it_has(model, data, tmp_path):
    method = Shapley(tolerance=0.001, max_permutations=400)
    values = method.attribute(model, data.validation, run=Run(progress=Interrupting(3)))
    assert values.metadata["stopped"] == "interrupted"
    assert (values.frame["std_error"].to_numpy() >= 0).all()
    gain = values.metadata["value_all"] - values.metadata["value_nothing"]
    assert values.scores.sum() == pytest.approx(gain, abs=1e-9)

    resumed = method.attribute(model, data.validation, previous=values)
    unbroken = method.attribute(model, data.validation)
    np.testing.assert_array_equal(resumed.scores, unbroken.scores)
    np.testing.assert_array_equal(resumed.frame["std_error"], unbroken.frame["std_error"])

    # With a folder the round that was broken off is kept, too.
    kept = Run(folder=tmp_path, progress=Interrupting(3))
    values = method.attribute(model, data.validation, run=kept)
    assert values.metadata["stopped"] == "interrupted"
    names = {path.stem for path in (tmp_path / "unfinished").glob("*.npz")}
    assert names == {"estimate", "round-2"}
    again = Run(folder=tmp_path, resume=True)
    assert method.attribute(model, data.validation, run=again).frame.equals(unbroken.frame)
    assert not list(tmp_path.iterdir())


def test_nothing_to_give_means_the_interruption_is_passed_on(model, data):
    with pytest.raises(KeyboardInterrupt):
        Shapley().attribute(model, data.validation, run=Run(progress=Interrupting(1)))


def test_resuming_from_a_file_goes_on_where_it_stopped(model, data, tmp_path):
    first = Shapley(tolerance=0, max_permutations=50).attribute(model, data.validation)
    loaded = Attribution.load(first.save(tmp_path / "values.parquet"))
    more = Shapley(tolerance=0, max_permutations=200).attribute(
        model, data.validation, previous=loaded
    )
    assert more.metadata["mean_permutations"] > first.metadata["mean_permutations"]
    assert more.metadata["relative_error"] < first.metadata["relative_error"]
    for other in (Shapley("ndcg@20"), Shapley(seed=7), Shapley(candidates="all")):
        with pytest.raises(ParameterError, match="cannot be resumed"):
            other.attribute(model, data.validation, previous=loaded)


def test_progress_is_reported(model, data):
    seen, records = [], []
    run = Run(progress=lambda *told: seen.append(told), callbacks=[records.append])
    Shapley(tolerance=0.02).attribute(model, data.validation, run=run)
    assert seen[0][2] == "first round"
    assert "% of the mean |value|, " in seen[-1][2]
    assert [record["round"] for record in records] == list(range(1, len(records) + 1))


@pytest.mark.parametrize("allocation", ["variance", "uniform"])
def test_after_the_first_round_it_is_known_what_comes(allocation, model, data):
    """When sampling will stop, why, and how precise the values will be, by the end of it."""
    for tolerance, permutations in ((0.02, 100_000), (0.001, 1200), (0, 1200)):
        if allocation == "uniform" and tolerance == 0:
            continue  # all in one round
        records = []
        method = Shapley(tolerance=tolerance, max_permutations=permutations, allocation=allocation)
        values = method.attribute(model, data.validation, run=Run(callbacks=[records.append]))
        first, facts = records[0]["forecast"], values.metadata
        assert first["stopped"] == facts["stopped"]
        assert first["relative_error"] == pytest.approx(facts["relative_error"], rel=0.15)
        assert first["seconds"] is None or 0 <= first["seconds"] < 60


def test_durations_are_said_in_words():
    said = [str(Forecast(s, 0.1, "tolerance")) for s in (0.3, 42.0, 89.0, 250.0, 9000.0, 3e5)]
    assert said == [
        "less than a second to 10%", "about 42 seconds to 10%", "about 89 seconds to 10%",
        "about 4 minutes to 10%", "about 2 hours to 10%", "about 3 days to 10%",
    ]  # fmt: skip
    allowed = str(Forecast(float("nan"), 0.123, "max_permutations"))
    assert allowed == "unknown time to 12%, which is what the permutations allowed will give"


def test_twins_are_worth_the_same_and_strangers_nothing():
    rng = np.random.default_rng(3)
    import polars as pl

    table = random_sessions(rng, 10, 6)
    twin = table.filter(pl.col("session_id") == "s3")
    strange = pl.DataFrame({"session_id": ["x", "x"], "item_id": [98, 99], "timestamp": [5, 6]})
    both = pl.concat([table, twin.with_columns(session_id=pl.lit("twin")), strange])
    model = VMISKNN(k=12, m=12).fit(both)
    values = Shapley("mrr@3", exact=12).attribute(model, random_sessions(rng, 8, 6, first_id=50))
    by_id = dict(zip(values.ids.to_list(), values.scores))
    assert by_id["twin"] == pytest.approx(by_id["s3"], abs=1e-12)
    assert by_id["x"] == 0.0


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Shapley("mmr@20"), "mrr"),
        (Shapley("mrr"), "@"),
        (Shapley("mrr@0"), "0"),
        (Shapley("st@20"), "sustainable"),
        (Shapley("sustainablemrr@20", sustainable_items=[-5]), "[Nn]one of the"),
        (Shapley(tolerance=-1), "tolerance"),
        (Shapley(max_permutations=0), "max_permutations"),
        (Shapley(candidates="some"), "candidates"),
        (Shapley(by="colour"), "colour"),
        (Shapley(threads=0), "threads"),
        (BetaShapley(alpha=0), "alpha"),
    ],
)
def test_bad_arguments_get_a_sentence(method, message, model, data):
    with pytest.raises((ParameterError, ValueError), match=message):
        method.attribute(model, data.validation)


@pytest.mark.parametrize("metric", ["mrr", "ndcg", "recall", "map", "hitrate", "precision"])
@pytest.mark.parametrize("method", [Shapley, LeaveOneOut])
def test_lists_longer_than_the_catalogue_are_as_long_as_it(method, metric, model, data):
    n_items = data.train.n_items
    whole = method(f"{metric}@{n_items}").attribute(model, data.validation)
    with pytest.warns(DataWarning, match="no list is that long"):
        longer = method(f"{metric}@{2 * n_items}").attribute(model, data.validation)
    share = 2.0 if metric == "precision" else 1.0  # of places in the list
    np.testing.assert_allclose(share * longer.scores, whole.scores, rtol=0, atol=1e-15)
    with pytest.raises(MetricError, match="at most"):
        method(f"{metric}@{10**30}").attribute(model, data.validation)


@pytest.mark.parametrize("method", [Shapley, BetaShapley, Banzhaf, LeaveOneOut])
def test_only_the_metric_is_given_by_its_place(method):
    with pytest.raises(ArgumentError, match="by name, apart from metric"):
        method("mrr@20", 0.05)


def test_more_neighbours_than_candidates_are_all_of_them(data):
    with pytest.warns(DataWarning, match="all candidates are neighbours"):
        model = VMISKNN(k=50, m=5).fit(data.train)
    same = VMISKNN(k=5, m=5).fit(data.train)
    for method in (Shapley("mrr@20", seed=1), LeaveOneOut("mrr@20")):
        found, wanted = (method.attribute(one, data.validation).scores for one in (model, same))
        np.testing.assert_array_equal(found, wanted)


def test_a_model_without_games_or_training_data_is_refused(data):
    from whence import Popularity

    with pytest.raises(UnsupportedError, match="Retraining"):
        Shapley().attribute(Popularity().fit(data.train), data.validation)
    with pytest.raises(NotFittedError, match="fit"):
        Shapley().attribute(VMISKNN(), data.validation)


def test_many_queries_are_cut_into_more_blocks():
    """For the processors of a cluster; results of up to 131,072 queries keep their bits."""
    sizes = {n: len(cut(np.ones(n))) for n in (1, 64, 2048, 131_072, 1_000_000, 2**24)}
    assert sizes == {1: 1, 64: 2, 2048: 64, 131_072: 64, 1_000_000: 488, 2**24: 4096}


def test_rounds_grow_with_the_work_done(monkeypatch):
    """What is known is as after each round; their number grows with the logarithm of the work."""
    monkeypatch.setattr(rounds, "_MOST_WORK", 1.0)
    estimate = Estimate.nothing(3, 4)
    spent = []
    for _ in range(12):
        share = rounds.next_units(estimate, 1e9, 2, 0.0, False) if spent else ([2] * 4, 8.0)
        units = np.asarray(share[0])
        estimate = replace(
            estimate,
            drawn=estimate.drawn + units,
            work=estimate.work + units * 100.0,
            units=[*estimate.units, units.astype(np.int32)],
            weights=[*estimate.weights, share[1]],
        )
        spent.append(float(estimate.work.sum()))
    steps = np.diff(spent) / spent[:-1]
    assert (steps[:3] <= 1.0).all()
    assert (steps[-3:] <= 0.3).all()
    assert (steps[-3:] >= 0.2).all()
    again = Estimate.from_state(estimate.to_state(), 3, 4)
    np.testing.assert_array_equal(again.drawn, np.sum(estimate.units, axis=0))
    np.testing.assert_array_equal(again.drawn, estimate.drawn)


@pytest.mark.parametrize("make", [Shapley, LeaveOneOut])
def test_a_block_keeps_those_it_meets(make, model, data):
    """Blocks add up to the whole, and hold nothing of the sources that they do not meet."""
    from whence import make_queries
    from whence.valuation.leave_one_out import LeaveOut
    from whence.valuation.rounds import Round

    seen = []

    def kept(cls):
        run = cls.run
        return lambda job, shard: seen.append(run(job, shard)) or seen[-1]

    queries = make_queries(model, data.validation)
    method = make("mrr@5", threads=1)
    with pytest.MonkeyPatch.context() as patch:
        for cls in (Round, LeaveOut):
            patch.setattr(cls, "run", kept(cls))
        values = method.attribute(model, queries)
    total = np.zeros(len(values))
    for part in seen:
        assert len(np.unique(part.cells)) == len(part.cells)
        total[part.cells // 2] += np.abs(part.by_cell["exact"]) + part.appearances
    assert (total[values.scores != 0] > 0).all()
    assert any(len(part.cells) < len(values) for part in seen)
