"""Gauss-Newton influence against the matrix itself, built from derivatives of the scores."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
import torch
from small_ratings import ratings

from whence import BPRMF, GRU4Rec, Interactions, LSTMRec, NeuMF, SASRec, WideDeep
from whence.errors import UnsupportedError
from whence.influence.functions import InfluenceFunction, ask, objective_of
from whence.influence.functions.modules import ModuleObjective
from whence.influence.functions.solvers import SOLVERS, Settings
from whence.models.adapters import TorchModel
from whence.models.matrix.mf import BiasedMF

FIT = {"epochs": 3, "weight_decay": 0.02, "learning_rate": 0.05}
SMALL = {"embedding_dim": 4, "max_length": 5, **FIT}


class Product(torch.nn.Module):
    """A score for each pair of a user and an item."""

    def __init__(self, n_users, n_items):
        super().__init__()
        self.users = torch.nn.Embedding(n_users, 2)
        self.items = torch.nn.Embedding(n_items, 2)

    def forward(self, users, items):
        return (self.users(users) * torch.tanh(self.items(items))).sum(1)


def product(**options):
    return TorchModel(
        lambda train: Product(train.n_sources, train.n_items), takes="pairs", **FIT, **options
    )


def of_pairs(model, batch):
    positive, others = model._scores_of_batch(batch)
    return torch.cat([positive.unsqueeze(1), others], dim=1)


def of_windows(model, batch):
    states = model._states(batch["items"], batch["length"], batch.get("features"))
    target = batch["target"]
    if target.dim() == 1:
        chosen = states[torch.arange(len(states)), batch["length"] - 1]
    else:
        owner, place = (target >= 0).nonzero(as_tuple=True)
        chosen = states[owner, place]
        target = target[owner, place]
    if "negatives" not in batch:
        return model.module_.item_scores(chosen)
    asked = torch.cat([target.unsqueeze(1), batch["negatives"][owner, place]], dim=1)
    return model.module_.scores_of(chosen, asked)


def of_module(model, batch):
    return model._way.scores(model.module_, batch["user"], batch["item"])


def logistic(scores):
    """Of independent labels: diag p(1 - p)."""
    p = torch.sigmoid(scores)
    return torch.diag_embed(p * (1 - p))


def softmax(scores):
    p = torch.softmax(scores, dim=1)
    return torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)


def ranking(scores):
    """Of -mean_j log σ(s⁺ - s_j⁻)."""
    n = scores.shape[1] - 1
    out = torch.zeros(len(scores), n + 1, n + 1, dtype=scores.dtype)
    for j in range(1, n + 1):
        way = torch.zeros(n + 1, dtype=scores.dtype)
        way[0], way[j] = 1.0, -1.0
        p = torch.sigmoid(scores[:, 0] - scores[:, j])
        out += (p * (1 - p) / n).reshape(-1, 1, 1) * torch.outer(way, way)
    return out


def squared(scores):
    return torch.full((len(scores), 1, 1), 2.0, dtype=scores.dtype)


CASES = {
    "neumf": (
        lambda: NeuMF(gmf_dim=2, mlp_dim=2, layers=(3,), n_negatives=2, **FIT), of_pairs, logistic,
    ),
    "widedeep": (lambda: WideDeep(embedding_dim=2, layers=(3,), **FIT), of_pairs, logistic),
    "bpr": (lambda: BPRMF(embedding_dim=2, n_negatives=2, **FIT), of_pairs, ranking),
    "lstm": (lambda: LSTMRec(hidden_dim=3, **SMALL), of_windows, softmax),
    "gru": (lambda: GRU4Rec(hidden_dim=3, **SMALL), of_windows, softmax),
    "features": (
        lambda: GRU4Rec(
            hidden_dim=3, item_features=["kind"], context_features=["rating"], **SMALL
        ),
        of_windows, softmax,
    ),
    "sasrec": (lambda: SASRec(loss="bce", n_negatives=2, **SMALL), of_windows, logistic),
    "sampled": (
        lambda: GRU4Rec(hidden_dim=3, loss="sampled_cross_entropy", n_negatives=2, **SMALL),
        of_windows, softmax,
    ),
    "torch": (lambda: product(loss="squared_error"), of_module, squared),
}  # fmt: skip


def fitted_cases():
    kinds = pl.DataFrame({"item": range(100, 106), "kind": ["x", "y", "x|y", "", "z", "z"]})
    train = Interactions.from_frame(ratings(n_users=6, n_items=6)[0]).with_tables(items=kinds)
    return {name: make().fit(train) for name, (make, _, _) in CASES.items()}


@pytest.fixture(scope="module")
def fitted():
    return fitted_cases()


def explicit(model, scores_of, bend):
    """(1/Z) Σ Jᵀ C J + ρ I, and a model with a module in double precision."""
    objective = ModuleObjective.of(model, epoch=0, layers="all")
    parameters = objective.placed()
    batch = objective.batch(np.arange(objective.n_examples))
    # Rectifiers in place, and attention, have no second derivatives to speak of here.
    scores = scores_of(objective.model, batch)
    rows = [
        torch.cat([
            torch.zeros_like(p).reshape(-1) if g is None else g.reshape(-1)
            for g, p in zip(
                torch.autograd.grad(one, parameters, retain_graph=True, allow_unused=True),
                parameters,
            )
        ])
        for one in scores.reshape(-1)
    ]  # fmt: skip
    jacobian = torch.stack(rows).reshape(len(scores), -1, len(objective.theta))
    bent = (bend(scores).detach() @ jacobian).flatten(0, 1)
    matrix = (jacobian.flatten(0, 1).T @ bent).numpy()
    return objective, matrix / objective.n_terms + objective.ridge * np.eye(len(matrix))


@pytest.mark.parametrize("name", CASES)
def test_products_are_those_of_the_matrix(fitted, name):
    objective, matrix = explicit(fitted[name], *CASES[name][1:])
    ways = np.random.default_rng(0).normal(size=(3, len(matrix)))
    products = ways @ matrix
    ours = objective.gauss_newton(0.1).apply(ways) - 0.1 * ways
    np.testing.assert_allclose(ours, products, atol=1e-12)
    assert np.linalg.eigvalsh(matrix)[0] > 0
    # In single precision the same, to its rounding errors.
    rough = ModuleObjective.of(fitted[name], epoch=0, layers="all", precision="float32")
    rounded = rough.gauss_newton().apply(ways)
    np.testing.assert_allclose(rounded, products, atol=1e-5 * np.abs(products).max())


@pytest.mark.parametrize("name", ["bpr", "squared", "logistic"])
def test_formulas_of_factor_models_are_the_same(name):
    train = ratings()[0]
    model = {
        "bpr": lambda: BPRMF(embedding_dim=2, n_negatives=2, **FIT),
        "squared": lambda: BiasedMF(embedding_dim=2, **FIT),
        "logistic": lambda: BiasedMF(embedding_dim=2, loss="logistic", n_negatives=2, **FIT),
    }[name]().fit(train)
    ours = objective_of(model).gauss_newton(0.1)
    theirs = ModuleObjective.of(model, epoch=0, layers="all").gauss_newton(0.1)
    question = ask(model, ratings()[1])
    method = InfluenceFunction(solver="ggn", damping=1.0, tolerance=1e-10, max_iterations=500)
    scores = [
        method.work_on(model, None, objective=one.objective, question=question).mean()
        for one in (ours, theirs)
    ]
    assert np.abs(scores[0]).max() > 0
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-9)


@pytest.mark.parametrize("name", ["neumf", "lstm"])
def test_influence_is_the_formula(fitted, name):
    model, valid = fitted[name], ratings(n_users=6, n_items=6)[1]
    objective, matrix = explicit(model, *CASES[name][1:])
    method = InfluenceFunction(
        solver="ggn", by="example", damping=1.0, tolerance=1e-10, max_iterations=500,
        precision="float64",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = method.attribute(model, valid)
        V = method.matrix(model, valid)
    question = ask(model, valid)
    gradients = question.gradients(objective, np.arange(len(question)))
    each = objective.example_gradients(np.arange(objective.n_examples))
    matrix += 1.0 * np.eye(len(matrix))
    expected = -gradients @ np.linalg.solve(matrix, each.T) / objective.n_terms
    np.testing.assert_allclose(V, expected, atol=1e-9)
    np.testing.assert_allclose(values.scores, expected.mean(axis=0), atol=1e-9)
    assert values.metadata["params"]["solver"] == "ggn"
    assert values.metadata["residual"] <= 1e-10


def test_halves_are_the_means_of_both_halves_of_the_queries(fitted, tmp_path):
    model, valid = fitted["neumf"], ratings(n_users=6, n_items=6)[1]
    method = InfluenceFunction(
        solver="ggn", damping=1.0, tolerance=1e-10, precision="float64", max_iterations=99
    )
    values, V = method.attribute(model, valid), method.matrix(model, valid)
    shares = method.work_on(model, valid).halves()
    np.testing.assert_allclose(values.halves, shares @ V, atol=1e-9)
    assert ((shares > 0).sum(axis=0) == 1).all()
    counts = (shares > 0).sum(axis=1)
    assert abs(counts[0] - counts[1]) <= 1
    r = np.corrcoef(*values.halves)[0, 1]
    assert values.metadata["reliability"] == pytest.approx(2 * r / (1 + r) if r > 0 else r)
    values.save(tmp_path / "values.parquet")
    again = type(values).load(tmp_path / "values.parquet")
    np.testing.assert_array_equal(again.halves, values.halves)
    one = valid.filter(valid["user"] == valid["user"][0])
    alone = method.attribute(model, one)
    assert alone.metadata["reliability"] is None
    assert alone.halves.shape == (1, len(alone))


def test_networks_get_gauss_newton_and_factor_models_the_hessian(fitted):
    valid = ratings(n_users=6, n_items=6)[1]
    found = InfluenceFunction().attribute(fitted["gru"], valid).metadata["params"]
    assert (found["solver"], found["damping"], found["max_iterations"]) == ("ggn", 1e-4, 15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = InfluenceFunction().attribute(fitted["bpr"], valid).metadata["params"]
    assert (found["solver"], found["damping"], found["max_iterations"]) == ("cg", 0.0, 1000)
    assert "ggn" in SOLVERS
    assert Settings.of("ggn", damping=None, tolerance=0.5).tolerance == 0.5


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: GRU4Rec(loss="bpr_max", n_negatives=2, **SMALL), "'bpr_max' of GRU4Rec is no con"),
        (lambda: product(loss=lambda s, y: (s - y).abs().sum(1)), "TorchModel is none of bce"),
    ],
)
def test_losses_that_are_not_known_to_be_convex_are_refused(make, match):
    train, valid = ratings(n_users=6, n_items=6)
    model = make().fit(train)
    with pytest.raises(UnsupportedError, match=match):
        InfluenceFunction(solver="ggn").attribute(model, valid)
    about = InfluenceFunction().attribute(model, valid).metadata
    assert (about["params"]["solver"], about["fisher"]) == ("ekfac", "empirical")


def test_a_loss_of_parameters_beside_the_scores_is_refused(fitted):
    class Penalised(NeuMF):
        def example_loss(self, batch):
            return super().example_loss(batch) + self.module_.gmf_users.weight.square().sum()

    train, valid = ratings(n_users=6, n_items=6)
    model = Penalised(gmf_dim=2, mlp_dim=2, layers=(3,), **FIT).fit(train)
    with pytest.raises(UnsupportedError, match="other ways than by its scores"):
        InfluenceFunction(solver="ggn").attribute(model, valid)
