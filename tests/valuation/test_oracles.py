"""Every semivalue and leave-one-out value against enumeration with refitting."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import (
    METRICS,
    RefittedGame,
    banzhaf_weight,
    beta_weight,
    random_baskets,
    random_sessions,
    semivalue,
    shapley_weight,
)

from whence import TIFUKNN, VMISKNN, Banzhaf, BetaShapley, Interactions, LeaveOneOut, Shapley

N = 7
EVERYONE = (1 << N) - 1


def session_game(seed, k, m, idf=False):
    rng = np.random.default_rng(seed)
    train = Interactions.from_frame(random_sessions(rng, N, 6))
    valid = random_sessions(rng, 5, 7, longest=4, first_id=100)  # item 6 may be unknown
    model = VMISKNN(k=k, m=m, idf=idf).fit(train)
    return RefittedGame(model, valid, sustainable=train.vocabulary.items.to_list()[:2]), valid


def basket_game(seed, k, **params):
    rng = np.random.default_rng(seed)
    train = Interactions.from_frame(random_baskets(rng, N, 8))
    valid = random_baskets(rng, N + 1, 9, most_baskets=1, first_basket=100)
    model = TIFUKNN(k=k, m=3, **params).fit(train)
    return RefittedGame(model, valid, sustainable=train.vocabulary.items.to_list()[:3]), valid


SESSION_GAMES = {
    "competition": (session_game, {"seed": 1, "k": 2, "m": 4}),
    "all fit": (session_game, {"seed": 2, "k": 7, "m": 7}),
    "one neighbour": (session_game, {"seed": 3, "k": 1, "m": 3}),
    "pool only": (session_game, {"seed": 4, "k": 3, "m": 3}),
}
BASKET_GAMES = {
    "neighbours matter": (basket_game, {"seed": 5, "k": 3, "alpha": 0.3}),
    "all fit": (basket_game, {"seed": 6, "k": 10, "alpha": 0.7}),
    "only neighbours": (basket_game, {"seed": 7, "k": 2, "alpha": 0.0}),
    "only own": (basket_game, {"seed": 8, "k": 2, "alpha": 1.0}),
    "euclidean": (basket_game, {"seed": 9, "k": 2, "alpha": 0.4, "similarity": "euclidean"}),
    "paper": (basket_game, {"seed": 10, "k": 3, "alpha": 0.2, "grouping": "paper"}),
}
GAMES = {f"sessions, {n}": g for n, g in SESSION_GAMES.items()} | {
    f"baskets, {n}": g for n, g in BASKET_GAMES.items()
}


@pytest.fixture(scope="module", params=GAMES, ids=list(GAMES))
def game(request):
    make, arguments = GAMES[request.param]
    return make(**arguments)


def expected(game, metric, candidates, weight, own="given"):
    """Mean over queries of the semivalues of each query's game, by its definition."""
    table = game.values(metric)
    n_queries = table.shape[1]
    score, own_score = np.zeros(game.n), np.zeros(game.n)
    for query in range(n_queries):
        user = game.own(query)
        if game.train.kind == "baskets" and user < 0:
            continue
        fixed = candidates == "fixed"
        players = game.candidates(query) if fixed else [p for p in range(game.n) if p != user]
        given = 0 if user < 0 or own == "player" else 1 << user
        if own == "player":
            players = [*players, user]

        def value(coalition, query=query, given=given):
            return table[given | sum(1 << p for p in coalition), query]

        for player, credit in semivalue(value, players, weight).items():
            (own_score if player == user else score)[player] += credit / n_queries
    return score, own_score


@pytest.mark.parametrize("candidates", ["fixed", "all"])
def test_shapley_is_the_enumerated_value_for_every_metric(game, candidates):
    game, valid = game
    for metric in METRICS:
        method = Shapley(
            metric, candidates=candidates, exact=20, sustainable_items=game.sustainable
        )
        values = method.attribute(game.model, valid)
        want, _ = expected(game, metric, candidates, shapley_weight)
        np.testing.assert_allclose(values.scores, want, atol=1e-12, err_msg=metric)
        facts = values.metadata
        np.testing.assert_allclose(
            values.scores.sum(), facts["value_all"] - facts["value_nothing"], atol=1e-12
        )
        np.testing.assert_allclose(
            facts["value_all"], game.values(metric)[EVERYONE].mean(), atol=1e-12
        )


@pytest.mark.parametrize(
    ("make", "weight"),
    [
        (Banzhaf, banzhaf_weight),
        (lambda metric, **a: BetaShapley(metric, alpha=4, beta=1, **a), beta_weight(4, 1)),
        (lambda metric, **a: BetaShapley(metric, alpha=1, beta=2.5, **a), beta_weight(1, 2.5)),
    ],
    ids=["banzhaf", "beta(4, 1)", "beta(1, 2.5)"],
)
def test_other_semivalues_are_the_enumerated_values(game, make, weight):
    game, valid = game
    for metric in ("mrr@3", "sustainablendcg@3"):
        for candidates in ("fixed", "all"):
            method = make(
                metric, candidates=candidates, exact=20, sustainable_items=game.sustainable
            )
            values = method.attribute(game.model, valid)
            want, _ = expected(game, metric, candidates, weight)
            np.testing.assert_allclose(values.scores, want, atol=1e-12)


def test_a_user_may_be_a_player_in_their_own_query(game):
    game, valid = game
    if game.train.kind != "baskets":
        pytest.skip("sessions have no own history")
    for make, weight in ((Shapley, shapley_weight), (Banzhaf, banzhaf_weight)):
        for candidates in ("fixed", "all"):
            method = make("ndcg@3", own="player", exact=20, candidates=candidates)
            values = method.attribute(game.model, valid)
            score, own_score = expected(game, "ndcg@3", candidates, weight, own="player")
            np.testing.assert_allclose(values.scores, score, atol=1e-12)
            np.testing.assert_allclose(values.frame["own_score"], own_score, atol=1e-12)


@pytest.mark.parametrize("candidates", ["fixed", "all"])
def test_sampling_agrees_with_enumeration(game, candidates):
    """The walks over permutations and subsets, with nothing enumerated."""
    game, valid = game
    for metric in ("mrr@3", "ndcg@3", "map@3", "sustainablemrr@3"):
        for make in (Shapley, Banzhaf):
            arguments = {"candidates": candidates, "sustainable_items": game.sustainable}
            exact = make(metric, exact=20, **arguments).attribute(game.model, valid)
            drawn = make(
                metric, exact=0, tolerance=0, max_permutations=2000, seed=3, **arguments
            ).attribute(game.model, valid)
            errors = drawn.frame["std_error"].to_numpy()
            assert (np.abs(drawn.scores - exact.scores) <= 5 * errors + 1e-9).all()
            assert errors.max() < 0.02


def test_leave_one_out_is_what_refitting_gives(game):
    game, valid = game
    for metric in METRICS:
        table = game.values(metric).mean(axis=1)
        values = LeaveOneOut(metric, sustainable_items=game.sustainable).attribute(
            game.model, valid
        )
        want = [table[EVERYONE] - table[EVERYONE & ~(1 << source)] for source in range(N)]
        np.testing.assert_allclose(values.totals, want, atol=1e-12, err_msg=metric)


def test_groups_are_players(game):
    game, valid = game
    labels = np.arange(N) % 3
    table = game.train.frame
    column = game.train.columns.source
    by_id = dict(zip(game.train.vocabulary.sources.to_list(), labels.tolist()))
    import polars as pl

    grouped = table.with_columns(pl.col(column).replace_strict(by_id).alias("origin"))
    model = type(game.model)(**game.model.params).fit(Interactions.from_frame(grouped))
    for metric in ("mrr@3", "ndcg@3"):
        values = Shapley(metric, by="origin", candidates="all", exact=20).attribute(model, valid)
        found = dict(zip(values.ids.to_list(), values.scores))
        coalitions = game.values(metric)
        want = np.zeros(3)
        for query in range(coalitions.shape[1]):
            user = game.own(query)
            if game.train.kind == "baskets" and user < 0:
                continue
            given = 0 if user < 0 else 1 << user

            def value(groups, query=query, given=given, coalitions=coalitions):
                mask = sum(1 << s for s in range(N) if labels[s] in groups)
                return coalitions[given | mask, query]

            for group, credit in semivalue(value, [0, 1, 2], shapley_weight).items():
                want[group] += credit / coalitions.shape[1]
        for group in range(3):
            np.testing.assert_allclose(found[group], want[group], atol=1e-12)
        table_mean = coalitions.mean(axis=1)
        left = LeaveOneOut(metric, by="origin").attribute(model, valid)
        totals = dict(zip(left.ids.to_list(), left.totals))
        for group in range(3):
            mask = sum(1 << s for s in range(N) if labels[s] != group)
            np.testing.assert_allclose(
                totals[group], table_mean[EVERYONE] - table_mean[mask], atol=1e-12
            )


def test_query_values_add_up_to_the_values(game):
    game, valid = game
    for exact in (0, 20):
        method = Shapley("mrr@3", exact=exact, tolerance=0, max_permutations=20)
        values = method.attribute(game.model, valid)
        total = dict.fromkeys(values.ids.to_list(), 0.0)
        for query in range(len(game.queries)):
            part = values.for_query(query)
            for source, score in zip(part.ids.to_list(), part.scores):
                total[source] += score / len(game.queries)
        np.testing.assert_allclose(list(total.values()), values.scores, atol=1e-12)


@pytest.mark.parametrize(("k", "m"), [(7, 7), (2, 4)])
def test_idf_weights_are_those_of_the_full_data(k, m):
    """Sums in fixed point rank like the model's own; the weights stay when sessions leave."""
    game, valid = session_game(11, k, m, idf=True)
    values = Shapley("mrr@3", exact=20).attribute(game.model, valid)
    facts = values.metadata
    full = game.values("mrr@3")[EVERYONE].mean()
    np.testing.assert_allclose(facts["value_all"], full, atol=1e-12)
    np.testing.assert_allclose(values.scores.sum(), full, atol=1e-12)
