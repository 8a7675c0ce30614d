"""EK-FAC against its definition: explicit gradients, second moments and eigenvectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_ratings import ratings
from test_gauss_newton import FIT, fitted_cases, product

from whence.errors import UnsupportedError
from whence.influence.functions import InfluenceFunction, objective_of
from whence.influence.functions.kronecker import KroneckerFactors
from whence.influence.functions.labels import slopes_of_drawn_labels
from whence.influence.functions.modules import ModuleObjective
from whence.models.adapters import TorchModel
from whence.models.training import losses


class Layers(torch.nn.Module):
    """Two linear layers over embeddings, the first with a bias."""

    def __init__(self, n_users, n_items):
        super().__init__()
        self.users = torch.nn.Embedding(n_users, 2)
        self.items = torch.nn.Embedding(n_items, 2)
        self.hidden = torch.nn.Linear(4, 3)
        self.output = torch.nn.Linear(3, 1, bias=False)

    def forward(self, users, items):
        x = torch.cat([self.users(users), self.items(items)], dim=1)
        return self.output(torch.tanh(self.hidden(x)))[:, 0]


class Constant(torch.nn.Module):
    """Scores of all items that are the same for every history: one layer, one input."""

    def __init__(self, n_items):
        super().__init__()
        self.output = torch.nn.Linear(2, n_items, bias=False)
        self.register_buffer("input", torch.tensor([0.5, -1.5]))

    def forward(self, items, lengths):
        return self.output(self.input + 0.0 * lengths.unsqueeze(1))


def drawn_gradients(objective, seed):
    """∇ of each example with the labels that EK-FAC draws, [E, P], and the slopes drawn."""
    parameters = objective.placed()
    stream = np.random.SeedSequence([seed, 0]).generate_state(1)[0]
    generator = torch.Generator().manual_seed(int(stream))
    batch = objective.batch(np.arange(objective.n_examples))
    with losses.cut_at_scores() as cut:
        objective.model.example_loss(batch)
    slopes = slopes_of_drawn_labels(cut, generator)
    owner, rows = torch.arange(objective.n_examples), []
    if batch.get("target", owner).dim() == 2:
        owner = (batch["target"] >= 0).nonzero()[:, 0]
    for one in range(objective.n_examples):
        mine = owner == one
        total = sum((s[mine] * slope[mine]).sum() for s, slope in zip(cut.scores, slopes))
        found = torch.autograd.grad(total, parameters, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in found]))
    return torch.stack(rows), cut.scores, slopes


def test_layers_are_solved_along_the_axes_of_their_factors():
    train = ratings(n_users=6, n_items=6)[0]
    model = TorchModel(
        lambda data: Layers(data.n_sources, data.n_items), takes="pairs", loss="bce",
        n_negatives=2, **FIT,
    ).fit(train)  # fmt: skip
    objective = ModuleObjective.of(model, epoch=0, layers="all")
    factors = KroneckerFactors.of(objective, seed=3)
    assert factors.fisher == "model"
    module, seen = objective.model.module_, {}
    for name in ("hidden", "output"):
        module.get_submodule(name).register_forward_hook(
            lambda _, given, found, name=name: seen.update({name: (given[0], found)})
        )
    shapes = dict(zip(objective.names, (p.shape for p in objective.placed())))
    every, scores, slopes = drawn_gradients(objective, 3)
    columns = dict(
        zip(objective.names, torch.split(every, [s.numel() for s in shapes.values()], 1))
    )
    total = sum((s * slope).sum() for s, slope in zip(scores, slopes))
    inputs, hidden = seen["hidden"]
    of_inputs, of_hidden, of_output = torch.autograd.grad(
        total, [inputs, hidden, seen["output"][1]]
    )
    ones = torch.ones(len(inputs), 1, dtype=torch.float64)
    rng = np.random.default_rng(0)
    way = torch.from_numpy(rng.normal(size=len(objective.theta)))
    found = torch.from_numpy(factors.solve(way.numpy()[None], 0.1)[0])
    sizes = [shape.numel() for shape in shapes.values()]
    given, got = (dict(zip(shapes, torch.split(v, sizes))) for v in (way, found))

    def axes(side):
        return torch.linalg.eigh((side.T @ side).detach())[1]

    cases = {
        ("hidden.weight", "hidden.bias"): (of_hidden, torch.cat([inputs, ones], 1)),
        ("output.weight",): (of_output, seen["output"][0]),
        ("users.weight",): (None, of_inputs[:, :2]),
        ("items.weight",): (None, of_inputs[:, 2:]),
    }
    for names, (left, right) in cases.items():

        def joined(parts, names=names):
            rows = shapes[names[0]][0]
            return torch.cat([parts[n].reshape(*parts[n].shape[:-1], rows, -1) for n in names], -1)

        by_example, vector, solved = joined(columns), joined(given), joined(got)
        q_right = axes(right)
        q_left = torch.eye(len(vector), dtype=torch.float64) if left is None else axes(left)
        moments = (q_left.T @ by_example @ q_right).square().sum(0) / objective.n_terms
        back = (q_left.T @ vector @ q_right) / (moments + objective.ridge + 0.1)
        np.testing.assert_allclose(solved, q_left @ back @ q_right.T, atol=1e-10)


def test_one_layer_with_one_input_is_solved_exactly():
    train = ratings(n_users=6, n_items=6)[0]
    model = TorchModel(lambda data: Constant(data.n_items), **FIT).fit(train)
    objective = ModuleObjective.of(model, epoch=0, layers="all")
    every = drawn_gradients(objective, 5)[0]
    fisher = (every.T @ every).numpy() / objective.n_terms
    fisher += (objective.ridge + 0.1) * np.eye(len(fisher))
    ways = np.random.default_rng(0).normal(size=(3, len(fisher)))
    found = KroneckerFactors.of(objective, seed=5).solve(ways, 0.1)
    np.testing.assert_allclose(found, np.linalg.solve(fisher, ways.T).T, atol=1e-10)


@pytest.mark.parametrize("name", ["neumf", "widedeep", "bpr", "lstm", "gru", "sasrec", "sampled"])
def test_moments_are_those_of_the_gradients_of_examples(name, fitted_networks):
    """Along the axes found, whatever the layers; tied and repeated ones included."""
    objective = ModuleObjective.of(fitted_networks[name], epoch=0, layers="all")
    factors = KroneckerFactors.of(objective, seed=1)
    sizes = [p.numel() for p in objective.placed()]
    shapes = [p.shape for p in objective.placed()]
    seen = set()
    by_example = drawn_gradients(objective, 1)[0]
    for key, block in factors.blocks.items():
        seen |= set(key)
        eye = torch.eye(len(block.columns), dtype=torch.float64)
        np.testing.assert_allclose(block.columns.T @ block.columns, eye, atol=1e-10)
        parts = dict(zip(objective.names, torch.split(by_example, sizes, 1)))
        first = shapes[objective.names.index(key[0])][0]
        matrices = torch.cat([parts[n].reshape(objective.n_examples, first, -1) for n in key], 2)
        moments = block.turned(matrices).square().sum(0) / objective.n_terms
        np.testing.assert_allclose(block.moments, moments, atol=1e-12)
    assert seen == set(objective.names)


@pytest.fixture(scope="module")
def fitted_networks():
    return fitted_cases()


@pytest.mark.parametrize("name", losses.CONVEX)
def test_labels_are_drawn_with_the_curvature_of_the_loss(name):
    torch.manual_seed(0)
    count = 40_000
    positive, others = torch.randn(1, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    given = {
        "cross_entropy": (others, torch.tensor([1])),
        "squared_error": (positive, torch.tensor([0.3])),
    }.get(name, (positive, others))
    loss = getattr(losses, name)
    n_scores = 1 if name in ("cross_entropy", "squared_error") else 2
    sizes = [score.numel() for score in given[:n_scores]]

    def of_scores(vector):
        parts = torch.split(vector, sizes)
        shaped = [part.reshape(score.shape) for part, score in zip(parts, given)]
        return loss(*shaped, *given[n_scores:])[0]

    vector = torch.cat([score.reshape(-1) for score in given[:n_scores]])
    bend = torch.autograd.functional.hessian(of_scores, vector)
    many = [score.expand(count, *score.shape[1:]) for score in given]
    with losses.cut_at_scores() as cut:
        loss(*many)
    slopes = slopes_of_drawn_labels(cut, torch.Generator().manual_seed(1))
    drawn = torch.cat([slope.reshape(count, -1) for slope in slopes], 1)
    np.testing.assert_allclose(drawn.mean(0), 0.0, atol=0.03)
    np.testing.assert_allclose(drawn.T @ drawn / count, bend, atol=0.06)


def test_influence_by_factors(fitted_networks):
    train, valid = ratings(n_users=6, n_items=6)
    method = InfluenceFunction(solver="ekfac", by="example", precision="float64", seed=2)
    for name in ("neumf", "bpr"):
        model = fitted_networks[name]
        values, V = method.attribute(model, valid), method.matrix(model, valid)
        objective = ModuleObjective.of(model, epoch=0, layers="all")
        question = method.work_on(model, valid).question
        gradients = question.gradients(objective, np.arange(len(question)))
        solved = KroneckerFactors.of(objective, seed=2).solve(gradients, 1e-4)
        each = objective.example_gradients(np.arange(objective.n_examples))
        np.testing.assert_allclose(V, -solved @ each.T / objective.n_terms, atol=1e-12)
        np.testing.assert_allclose(values.scores, V.mean(axis=0), atol=1e-12)
        assert values.metadata["fisher"] == "model"
    odd = product(loss=lambda s, y: (s - y).abs().sum(1)).fit(train)
    assert method.attribute(odd, valid).metadata["fisher"] == "empirical"
    objective = objective_of(fitted_networks["neumf"]).weighted(np.full(len(train), 0.5))
    with pytest.raises(UnsupportedError, match="choose solver='ggn'"):
        KroneckerFactors.of(objective, seed=0)
    with pytest.raises(UnsupportedError, match="layer by layer"):
        method.work_on(
            None, None, objective=objective_of(fitted_networks["bpr"]), question=question
        ).mean()
