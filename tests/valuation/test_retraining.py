"""Values by refitting: Whence's models as their own oracle, and models of others."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from oracles import RefittedGame, random_baskets, random_sessions, semivalue, shapley_weight

from whence import (
    TIFUKNN,
    VMISKNN,
    Interactions,
    LeaveOneOut,
    Popularity,
    RetrainingLeaveOneOut,
    RetrainingShapley,
    evaluate,
)
from whence.engines import Run
from whence.errors import DataError, NotFittedError, ParameterError, UnsupportedError

N = 6


def sessions(n=N):
    rng = np.random.default_rng(3)
    return random_sessions(rng, n, 6), random_sessions(rng, 5, 7, first_id=100)


def example(kind):
    if kind == "sessions":
        train, valid = sessions()
        return VMISKNN(k=2, m=4).fit(train), valid
    rng = np.random.default_rng(4)
    model = TIFUKNN(k=2, m=3, alpha=0.4).fit(random_baskets(rng, N, 8))
    return model, random_baskets(rng, N + 1, 9, most_baskets=1, first_basket=100)


@pytest.mark.parametrize("kind", ["sessions", "baskets"])
@pytest.mark.parametrize("by", [None, "item", "interaction"])
def test_leave_one_out_is_the_same_without_refitting(kind, by):
    model, valid = example(kind)
    slow = RetrainingLeaveOneOut("ndcg@3", by=by).attribute(model, valid)
    fast = LeaveOneOut("ndcg@3", by=by).attribute(model, valid)
    np.testing.assert_allclose(slow.scores, fast.totals, atol=1e-12)
    assert slow.ids.equals(fast.ids)
    assert slow.frame.columns == [c for c in fast.frame.columns if c != "own_score"]
    assert slow.metadata["value_all"] == pytest.approx(fast.metadata["value_all"])


@pytest.mark.parametrize("kind", ["sessions", "baskets"])
def test_shapley_is_the_enumerated_value(kind):
    model, valid = example(kind)
    game = RefittedGame(model, valid, sustainable=[])
    values = game.values("mrr@3").mean(axis=1)
    want = semivalue(lambda s: values[sum(1 << p for p in s)], list(range(N)), shapley_weight)
    found = RetrainingShapley("mrr@3").attribute(model, valid)
    np.testing.assert_allclose(found.scores, [want[p] for p in range(N)], atol=1e-12)
    assert found.metadata["stopped"] == "exact"
    assert found.metadata["n_fits"] == 2**N - 1
    assert found.metadata["value_nothing"] == 0
    assert (found.std_errors == 0).all()

    drawn = RetrainingShapley("mrr@3", max_permutations=9, tolerance=0).attribute(model, valid)
    assert drawn.metadata["stopped"] == "max_permutations"
    assert drawn.metadata["n_permutations"] == 9
    assert (np.abs(drawn.scores - found.scores) <= 5 * drawn.std_errors + 1e-12).all()
    assert drawn.scores.sum() == pytest.approx(values[-1])


def test_groups_rows_and_items_are_players():
    train, valid = sessions(4)
    table = train.with_columns(origin=pl.col("session_id").is_in(["s0", "s2"]))
    model = VMISKNN(k=2, m=3).fit(table)
    for by, n in (("origin", 2), ("item", train["item_id"].n_unique())):
        values = RetrainingShapley("mrr@3", by=by).attribute(model, valid)
        assert len(values) == n
        gain = values.metadata["value_all"] - values.metadata["value_nothing"]
        assert values.scores.sum() == pytest.approx(gain, abs=1e-12)
    rows = RetrainingShapley("mrr@3", by="interaction", max_permutations=2).attribute(model, valid)
    assert rows.frame.columns == ["row", "session_id", "item_id", "score", "std_error"]
    assert rows.frame["item_id"].equals(table["item_id"])


def test_stop_rule_seed_and_truncation():
    train, valid = sessions(12)
    model = VMISKNN(k=3, m=6).fit(train)
    loose = RetrainingShapley("mrr@3", tolerance=0.5).attribute(model, valid)
    assert loose.metadata["stopped"] == "tolerance"
    assert loose.metadata["relative_error"] <= 0.5
    assert loose.metadata["efficiency"]
    again = RetrainingShapley("mrr@3", tolerance=0.5).attribute(model, valid)
    assert loose.frame.equals(again.frame)
    other = RetrainingShapley("mrr@3", tolerance=0.5, seed=1).attribute(model, valid)
    assert not loose.frame.equals(other.frame)

    fits = [
        RetrainingShapley("mrr@3", max_permutations=5, truncation=t)
        .attribute(model, valid)
        .metadata["n_fits"]
        for t in (0.0, 0.5)
    ]
    assert fits[1] < fits[0]
    once = RetrainingShapley("mrr@3", max_permutations=1).attribute(model, valid)
    assert np.isnan(once.std_errors).all()
    assert once.metadata["relative_error"] is None
    with pytest.raises(ParameterError, match="truncation"):
        RetrainingShapley("mrr@3", truncation=2).attribute(model, valid)


class Counter:
    """A recommender of somebody else's: the most frequent items of a pandas-like table."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.fits = [0]

    def __deepcopy__(self, memo):
        twin = Counter(self.stop_after)
        twin.fits = self.fits  # counted together
        return twin

    def fit(self, table):
        if self.fits[0] == self.stop_after:
            raise KeyboardInterrupt
        self.fits[0] += 1
        self.asked_of = set(table["user_id"]) if "user_id" in table.columns else None
        counts = table.group_by("item_id", maintain_order=True).len()
        self.items = counts.sort("len", descending=True, maintain_order=True)["item_id"].to_list()

    def recommend(self, queries, k):
        if self.asked_of is not None:
            assert set(queries) <= self.asked_of
        return [self.items[:k] for _ in queries]


def test_any_object_with_fit_and_recommend():
    train, valid = sessions()
    # Where counts tie, the first in the table is first, as in Whence's numbering.
    train = train.sort("timestamp", maintain_order=True)
    theirs = RetrainingLeaveOneOut("mrr@3").attribute(Counter(), valid, train=train)
    ours = RetrainingLeaveOneOut("mrr@3").attribute(Popularity().fit(train), valid)
    full = Interactions.from_frame(train)
    assert theirs.metadata["value_all"] == pytest.approx(
        float(evaluate(Popularity().fit(full), valid, "mrr@3"))
    )
    assert theirs.ids.equals(ours.ids)
    assert theirs.metadata["model"] == "Counter"
    values = RetrainingShapley("mrr@3").attribute(Counter(), valid, train=train)
    assert values.scores.sum() == pytest.approx(values.metadata["value_all"])
    on_interactions = RetrainingLeaveOneOut("mrr@3").attribute(VMISKNN(k=2, m=4), valid, train=full)
    assert len(on_interactions) == N


def test_users_that_are_gone_are_not_asked_about():
    model, valid = example("baskets")
    values = RetrainingShapley("recall@3").attribute(Counter(), valid, train=model.train_.frame)
    assert values.metadata["stopped"] == "exact"
    assert values.metadata["value_nothing"] == 0


def test_interruption_keeps_what_is_known():
    train, valid = sessions()
    one_by_one = RetrainingLeaveOneOut("mrr@3").attribute(Counter(3), valid, train=train)
    assert one_by_one.metadata["stopped"] == "interrupted"
    assert one_by_one.ids.to_list() == Interactions.from_frame(train).source_ids.to_list()[:2]
    method = RetrainingShapley("mrr@3", by="interaction", max_permutations=3, tolerance=0)
    n = train.height
    values = method.attribute(Counter(2 * n), valid, train=train)
    assert values.metadata["stopped"] == "interrupted"
    assert values.metadata["n_permutations"] == 2
    for make in (RetrainingLeaveOneOut, RetrainingShapley):
        with pytest.raises(KeyboardInterrupt):
            make("mrr@3").attribute(Counter(0), valid, train=train)


def test_some_sources_only():
    model, valid = example("sessions")
    everyone = RetrainingLeaveOneOut("mrr@3").attribute(model, valid)
    some = RetrainingLeaveOneOut("mrr@3", sources=["s4", "s1"]).attribute(model, valid)
    rows = dict(everyone.frame.rows())
    assert dict(some.frame.rows()) == {s: rows[s] for s in ("s1", "s4")}
    with pytest.raises(DataError, match="'s77'"):
        RetrainingLeaveOneOut("mrr@3", sources=["s77"]).attribute(model, valid)


def test_progress_is_reported():
    model, valid = example("sessions")
    calls = []
    run = Run(progress=lambda *step: calls.append(step))
    RetrainingShapley("mrr@3").attribute(model, valid, run=run)
    assert len(calls) == 2**N + 1
    assert [done for done, *_ in calls] == list(range(2**N + 1))


def test_what_cannot_be_refitted():
    _, valid = sessions()
    for make in (RetrainingLeaveOneOut, RetrainingShapley):
        with pytest.raises(UnsupportedError, match="no method fit"):
            make().attribute(object(), valid)
        with pytest.raises(NotFittedError, match="train="):
            make().attribute(Counter(), valid)
