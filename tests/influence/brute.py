"""Influence by its definition: automatic differentiation of one example at a time, in float64."""

from __future__ import annotations

import copy

import numpy as np
import torch

from whence.models.training.checkpoints import duplicate


def gradient(model, batch, number, names=None):
    """Gradient of the loss of one example of a batch, by parameter, as one vector."""
    one = {
        k: (v.double() if v.is_floating_point() else v)[number : number + 1]
        for k, v in batch.items()
    }
    named = dict(model.module_.named_parameters())
    chosen = [named[name] for name in (names or named)]
    (loss,) = model.example_loss(one)
    found = torch.autograd.grad(loss, chosen, materialize_grads=True)
    return torch.cat([part.flatten() for part in found]).numpy()


def gradients(model, examples, n, epoch=None, names=None):
    """Gradients of examples, float64 [n, parameters]."""
    numbers = np.arange(n)
    batch = examples.batch(numbers) if epoch is None else examples.batch(numbers, epoch)
    return np.stack([gradient(model, batch, i, names) for i in range(n)])


def at(model, state=None):
    """A copy of a model in float64, with other parameters perhaps."""
    other = copy.copy(model)
    other.module_ = duplicate(model.module_)
    if state is not None:
        other.module_.load_state_dict(state)
    other.module_ = other.module_.double().eval()
    return other


def tracin(model, queries, names=None, cosine=False, scale=None):
    """Scores of all pairs at the model's checkpoints, float64 [n, Q]."""
    total, rates = 0.0, sum(c.learning_rate for c in model.checkpoints_)
    for checkpoint in model.checkpoints_:
        here = at(model, checkpoint.module)
        epoch = max(checkpoint.epoch - 1, 0)
        train = gradients(here, model.examples_, len(model.examples_), epoch, names)
        asked = gradients(here, queries, len(queries), None, names)
        if scale is not None:
            train = train * scale(checkpoint)
        if cosine:
            train, asked = (g / np.linalg.norm(g, axis=1, keepdims=True) for g in (train, asked))
        total = total + checkpoint.learning_rate / (rates if cosine else 1.0) * train @ asked.T
    return total


def close(got, want, tolerance):
    """Assert that scores agree, relative to the largest."""
    want = np.asarray(want)
    assert np.isfinite(got).all()
    assert np.abs(np.asarray(got) - want).max() <= tolerance * np.abs(want).max()
