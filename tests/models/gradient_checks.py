"""Checks that every model with a loss per training example must pass."""

from __future__ import annotations

import numpy as np
import torch
from oracles import random_sessions

import whence
from whence import Interactions, make_queries
from whence.evaluation import user_queries


def rated_users(seed=1, n_users=25, n_items=12):
    """Users with ratings from 1 to 5, some items twice."""
    rng = np.random.default_rng(seed)
    table = random_sessions(rng, n_users, n_items).rename({"session_id": "user_id"})
    ratings = rng.integers(1, 6, len(table)).astype(float)
    return Interactions.from_frame(table.with_columns(rating=ratings))


def parameters(model):
    """State of the module as float64 arrays."""
    return {name: value.double().numpy() for name, value in model.module_.state_dict().items()}


def shaken(model, seed=0, scale=0.5):
    """The model with random parameters in float64, so that nothing is 0 by chance."""
    generator = torch.Generator().manual_seed(seed)
    module = model.module_.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(scale * noise)
    return model


def check_losses_of_examples(model):
    """The loss of an example does not depend on its batch, and the trained loss is their mean."""
    shaken(model)
    numbers = np.arange(len(model.examples_))
    whole = model.example_loss(model.examples_.batch(numbers, 3))
    assert whole.shape == (len(numbers),)
    for number in numbers[:: max(1, len(numbers) // 12)]:
        alone = model.example_loss(model.examples_.batch(np.array([number]), 3))
        torch.testing.assert_close(alone[0], whole[number], rtol=1e-9, atol=1e-11)
    backwards = model.example_loss(model.examples_.batch(numbers[::-1].copy(), 3))
    torch.testing.assert_close(backwards.flip(0), whole, rtol=1e-9, atol=1e-11)
    rows, offsets = model.examples_.rows(numbers)
    assert len(offsets) == len(numbers) + 1
    assert sorted(rows.tolist()) == list(range(model.train_.n_rows))


def check_training_loss(model):
    """The loss that training uses, and its gradient, are those of `example_loss`."""
    shaken(model)
    batch = model.examples_.batch(np.arange(len(model.examples_)), 1)
    found = []
    for loss in (model.example_loss, model._training_loss):
        model.module_.zero_grad()
        values = loss(batch)
        values.sum().backward()
        found.append((values, {n: p.grad for n, p in model.module_.named_parameters()}))
    torch.testing.assert_close(found[0][0], found[1][0])
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, msg=name)


def check_finite_differences(model, *, n_each=6, step=1e-6):
    """Gradients of the loss of single examples."""
    shaken(model)
    batch = model.examples_.batch(np.array([0, len(model.examples_) // 2]), 1)
    rng = np.random.default_rng(0)
    for number in range(2):
        model.module_.zero_grad()
        model.example_loss(batch)[number].backward()
        for name, parameter in model.module_.named_parameters():
            assert parameter.grad is not None, name
            flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
            nonzero = np.flatnonzero(gradient.numpy())
            places = rng.choice(len(flat), min(n_each, len(flat)), replace=False)
            for place in {*places.tolist(), *nonzero[:3].tolist()}:
                ends = []
                for sign in (1, -1):
                    flat[place] += sign * step
                    with torch.no_grad():
                        ends.append(float(model.example_loss(batch)[number]))
                    flat[place] -= sign * step
                slope = (ends[0] - ends[1]) / (2 * step)
                np.testing.assert_allclose(
                    float(gradient[place]), slope, rtol=1e-5, atol=1e-7, err_msg=name
                )


def check_second_derivatives(model):
    """A product with the Hessian agrees with the difference of two gradients."""
    shaken(model)
    batch = model.examples_.batch(np.arange(min(8, len(model.examples_))), 1)
    parameters = list(model.module_.parameters())
    generator = torch.Generator().manual_seed(3)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]

    def gradient(graph):
        total = model.example_loss(batch).sum()
        return torch.autograd.grad(total, parameters, create_graph=graph)

    along = sum((g * d).sum() for g, d in zip(gradient(True), direction))
    product = torch.autograd.grad(along, parameters, allow_unused=True)
    step, ends = 1e-5, []
    for sign in (1, -1):
        for p, d in zip(parameters, direction):
            p.data.add_(sign * step * d)
        ends.append(gradient(False))
        for p, d in zip(parameters, direction):
            p.data.sub_(sign * step * d)
    for got, high, low in zip(product, *ends):
        expected = (high - low) / (2 * step)
        got = torch.zeros_like(expected) if got is None else got
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def check_scores_are_those_of_pairs(make, train):
    """`score_codes` is the module applied pair by pair; seen items and strangers are left out."""
    model = make(exclude_seen=False).fit(train)
    queries = model.user_queries(train.source_ids)
    scores = model.score_codes(queries)
    assert scores.shape == (train.n_sources, train.n_items)
    for user in range(train.n_sources):
        for item in range(train.n_items):
            with torch.no_grad():
                pair = model.module_.scores_of(torch.tensor([user]), torch.tensor([[item]]))
            np.testing.assert_allclose(scores[user, item], pair.item(), rtol=2e-4, atol=1e-5)
    seen = np.zeros(scores.shape, dtype=bool)
    seen[train.source_codes, train.item_codes] = True
    masked = make().fit(train).score_codes(queries)
    assert (masked[seen] == -np.inf).all()
    np.testing.assert_array_equal(masked[~seen], scores[~seen])


def check_strangers(make, train, *, folds_in=False):
    """No recommendation for a user without rows in training, nor of an item without.

    Unless the model can fold in the history that a new user is asked with.
    """
    gone, rare = 0, int(train.item_codes[-1])
    keep = np.ones(train.n_rows, dtype=bool)
    keep[train.rows] = (train.source_codes != gone) & (train.item_codes != rare)
    part = train.keep_rows(keep)
    model = make().fit(part)
    some = train.source_ids[[gone, 1, 2]]
    scores = model.score_codes(model.user_queries(some))
    assert (scores[0] == -np.inf).all()
    assert (scores[:, rare] == -np.inf).all()
    assert np.isfinite(scores[1:]).any()
    unseen = rated_users(seed=9, n_users=4)
    renamed = Interactions.from_frame(
        unseen.frame.with_columns(user_id="new-" + unseen.frame["user_id"])
    )
    queries = make_queries(model, renamed, protocol="users", history=renamed)
    scores = model.score_codes(queries)
    assert (scores[:, rare] == -np.inf).all()
    assert np.isfinite(scores).any(axis=1).tolist() == [folds_in] * len(queries)
    nobody = user_queries(part, [-1], queries.ids[:1])
    assert (model.score_codes(nobody) == -np.inf).all()
    assert (model.recommend_codes(nobody, 3)[0] == -1).all()


def check_same_seed_and_saving(make, train, folder):
    """The same seed gives the same model, another seed another; a saved model scores alike."""
    model = make(seed=5).fit(train)
    queries = model.user_queries(train.source_ids)
    scores = model.score_codes(queries)
    np.testing.assert_array_equal(make(seed=5).fit(train).score_codes(queries), scores)
    assert not np.array_equal(make(seed=6).fit(train).score_codes(queries), scores)
    path = model.save(folder / "model.zip")
    for loaded in (whence.load_model(path), type(model).load(path)):
        np.testing.assert_array_equal(loaded.score_codes(queries), scores)
        assert loaded.params == model.params
        batch = loaded.examples_.batch(np.arange(3), 2)
        torch.testing.assert_close(loaded.example_loss(batch), model.example_loss(batch))
