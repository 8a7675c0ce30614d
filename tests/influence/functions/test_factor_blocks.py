"""Fast Influence Analysis, predictions, metrics and sources, against the full computation."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from small_ratings import MODELS, ratings

import whence
from whence.errors import DataError, UnsupportedError
from whence.influence.functions import InfluenceFunction, ask, descend, objective_of, to_optimum
from whence.influence.functions.outcomes import soft_metric


@pytest.fixture(scope="module")
def fitted():
    train, valid = ratings()
    models = {n: to_optimum(make().fit(train), tolerance=1e-10) for n, make in MODELS.items()}
    return models, valid


def by_dense_blocks(model, valid):
    """V by the definition: the full Hessian's rows and columns of one user and its items."""
    objective, question = objective_of(model), ask(model, valid)
    hessian, layout = objective.hessian().matrix(), objective.layout
    gradients = objective.example_gradients(np.arange(objective.n_examples))
    out = np.zeros((len(question), objective.n_examples))
    terms, slope, query = question.terms(objective, np.arange(len(question)))
    for n in range(len(terms)):
        rows = [terms.user[n], layout.n_users + terms.item[n]]
        if terms.other[n] >= 0:
            rows.append(layout.n_users + terms.other[n])
        block = np.concatenate([row * layout.width + np.arange(layout.width) for row in rows])
        one = terms.__class__(*(getattr(terms, name)[n : n + 1] for name in (
            "user", "item", "other", "target", "weight", "example")), terms.kind, 1)  # fmt: skip
        way = objective.sum_of_slopes(one, slope[n : n + 1])[block]
        solved = np.linalg.solve(hessian[np.ix_(block, block)], way)
        out[query[n]] -= gradients[:, block] @ solved / objective.n_terms
    return out


@pytest.mark.parametrize("name", MODELS)
def test_block_is_the_hessian_of_one_user_and_its_items(fitted, name):
    models, valid = fitted
    V = InfluenceFunction(solver="block", by="example").matrix(models[name], valid)
    np.testing.assert_allclose(V, by_dense_blocks(models[name], valid), atol=1e-12)
    mean = InfluenceFunction(solver="block").attribute(models[name], valid)
    rows = models[name].train_.rows
    np.testing.assert_allclose(mean.scores[rows], V.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("solver", ["cg", "block", "dot"])
def test_own_influence_is_the_part_of_the_matrix(fitted, solver):
    models, valid = fitted
    model, method = models["squared"], InfluenceFunction(solver=solver)
    V, own = method.matrix(model, valid), method.own(model, valid)
    queries = ask(model, valid).ids["user"].to_list()
    users = model.train_.frame["user"].to_list()
    expected = [V[queries.index(u), s] if u in queries else 0.0 for s, u in enumerate(users)]
    np.testing.assert_allclose(own, expected, atol=1e-12)


@pytest.mark.parametrize("solver", ["exact", "cg", "block", "dot"])
def test_removals_and_sources_add_up(fitted, solver):
    models, valid = fitted
    model = models["squared"]
    V = InfluenceFunction(solver=solver, by="example", tolerance=1e-12).matrix(model, valid)
    method = InfluenceFunction(solver=solver, tolerance=1e-12)
    groups = [np.array([0]), np.array([1, 5, 9])]
    effects = method.effects(model, valid, groups)
    expected = np.array([-V[:, g].sum(axis=1) for g in groups]).T
    np.testing.assert_allclose(effects, expected, atol=1e-10)
    by_row = method.attribute(model, valid)
    for by in ("user", "item"):
        grouped = (
            InfluenceFunction(solver=solver, tolerance=1e-12, by=by).attribute(model, valid).frame
        )
        both = grouped.join(by_row.frame.group_by(by).agg(pl.col("score").sum()), on=by)
        np.testing.assert_allclose(both["score"], both["score_right"], atol=1e-12)
    first = by_row.for_query(0)
    np.testing.assert_allclose(first.scores[model.train_.rows], V[0], atol=1e-9)
    assert by_row.queries()["n_asked"].sum() == len(valid)


def test_values_are_written_and_read(fitted, tmp_path):
    models, valid = fitted
    method = whence.InfluenceFunction(solver="cg", layers=["users", "items"])
    for number, values in enumerate((
        method.attribute(models["bpr"], valid),
        method.attribute(models["bpr"], valid).for_query(1),
        InfluenceFunction().explain_prediction(models["squared"], 4, 103),
    )):  # fmt: skip
        values.save(tmp_path / f"{number}.parquet")
        again = type(values).load(tmp_path / f"{number}.parquet")
        assert again.frame.equals(values.frame)
        assert again.metadata == values.metadata
        assert again.metadata["method"] == "influence-function"
        assert again.metadata["params"]["solver"] == "cg"
    assert again.metadata["user"] == 4


def test_harmful_rows_are_pruned(fitted):
    models, valid = fitted
    values = InfluenceFunction().attribute(models["squared"], valid)
    left = values.prune(models["squared"].train_, n=3)
    assert len(left) == models["squared"].train_.n_rows - 3
    assert values.opponents(0, n=2)["score"].is_sorted()
    assert repr(values).startswith("<Influence: Influence functions of")


def test_threads_and_solving_together_make_no_difference(fitted):
    models, valid = fitted
    one = InfluenceFunction(solver="cg").matrix(models["bpr"], valid)
    two = InfluenceFunction(solver="cg", threads=2).matrix(models["bpr"], valid)
    np.testing.assert_array_equal(one, two)


def test_twins_have_equal_influence():
    train, valid = ratings()
    twice = pl.concat([train, train.filter(pl.col("user") == 3)])
    model = to_optimum(MODELS["squared"]().fit(twice), tolerance=1e-9)
    frame = InfluenceFunction(solver="cg", tolerance=1e-10).attribute(model, valid).frame
    pairs = frame.filter(pl.col("user") == 3).group_by("item").agg(pl.col("score"))
    for twins in pairs["score"]:
        assert twins[0] == pytest.approx(twins[1], abs=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_explained_prediction_is_the_slope_of_retraining(fitted, name):
    model = fitted[0][name]
    objective = objective_of(model)
    explained = InfluenceFunction(solver="exact").explain_prediction(model, 4, 103)
    assert set(explained.frame["user"]) == {4}
    whole = InfluenceFunction(solver="exact").explain_prediction(model, 4, 103, own=False)
    assert len(whole) == model.train_.n_rows
    user = model.vocabulary.source_codes([4])[0]
    item = model.vocabulary.item_codes([103])[0]
    row = int(explained.top(1)["row"][0])
    example = int(np.flatnonzero(model.train_.rows == row)[0])
    values = []
    for sign in (1, -1):
        weights = np.ones(objective.n_examples)
        weights[example] += sign * 1e-3
        moved, _ = descend(objective.weighted(weights), tolerance=1e-10, warm=True)
        values.append(float(moved.scores(np.array([user]), np.array([item]))[0]))
    assert explained.scores.max() == pytest.approx((values[0] - values[1]) / 2e-3, rel=1e-3)
    assert whole.metadata["prediction"] == pytest.approx(np.mean(values), abs=1e-4)
    blocks = InfluenceFunction(solver="block").explain_prediction(model, 4, 103, own=False).frame
    touched = (blocks["user"] == 4) | (blocks["item"] == 103)
    if name == "squared":
        assert (blocks.filter(~touched)["score"] == 0).all()
    assert (blocks.filter(touched)["score"] != 0).all()


@pytest.mark.parametrize("metric", ["ndcg", "mrr"])
def test_soft_metric_has_its_gradient_and_limit(metric):
    rng = np.random.default_rng(3)
    scores, relevant = rng.normal(size=12), np.array([2, 7])
    candidates = np.array([0, 1, 2, 4, 5, 7, 8, 11])
    value, gradient = soft_metric(scores, relevant, candidates, metric, 0.5)
    for i in range(12):
        up, down = scores.copy(), scores.copy()
        up[i], down[i] = up[i] + 1e-6, down[i] - 1e-6
        slope = [soft_metric(s, relevant, candidates, metric, 0.5)[0] for s in (up, down)]
        assert gradient[i] == pytest.approx((slope[0] - slope[1]) / 2e-6, abs=1e-8)
    hard, _ = soft_metric(scores, relevant, candidates, metric, 1e-9)
    ranks = [1 + int((scores[candidates] > scores[r]).sum()) for r in relevant]
    best = 1 + 1 / np.log2(3)
    exact = {
        "ndcg": sum(1 / np.log2(1 + r) for r in ranks) / best,
        "mrr": np.mean([1 / r for r in ranks]),
    }
    assert hard == pytest.approx(exact[metric])
    assert 0 < value < 1


@pytest.mark.parametrize("metric", ["ndcg", "mrr"])
def test_influence_on_a_metric_is_the_slope_of_retraining(fitted, metric):
    models, valid = fitted
    model = models["bpr"]
    objective = objective_of(model)
    question = ask(model, valid, outcome=metric)
    V = InfluenceFunction(solver="exact", outcome=metric, by="example").matrix(model, valid)
    for s in (0, 11, 23):
        values = []
        for sign in (1, -1):
            weights = np.ones(objective.n_examples)
            weights[s] += sign * 1e-3
            moved, _ = descend(objective.weighted(weights), tolerance=1e-10, warm=True)
            values.append(question.values(moved))
        slope = (values[0] - values[1]) / 2e-3
        np.testing.assert_allclose(V[:, s], slope, rtol=1e-3, atol=1e-6)
    mean = InfluenceFunction(solver="cg", outcome=metric).attribute(model, valid)
    np.testing.assert_allclose(mean.scores[model.train_.rows], V.mean(axis=0), atol=1e-6)


def test_blocks_are_of_predictions_only(fitted):
    models, valid = fitted
    with pytest.raises(UnsupportedError, match="outcome='loss'"):
        InfluenceFunction(solver="block", outcome="ndcg").attribute(models["bpr"], valid)
    with pytest.raises(DataError, match="item 999 is not in"):
        InfluenceFunction().explain_prediction(models["bpr"], 4, 999)
