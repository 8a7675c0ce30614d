"""Labels drawn from a model, by which the Fisher matrix is the Gauss-Newton matrix on average."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from whence.models.training.losses import Cut

Draw = Callable[[list[Tensor], torch.Generator], list[Tensor]]


def slopes_of_drawn_labels(cut: Cut, generator: torch.Generator) -> list[Tensor]:
    """Derivatives of losses by their scores, with labels that the model itself is likely to give.

    They are random with mean 0, and their covariance is the matrix of second derivatives of the
    loss by its scores.

    Parameters
    ----------
    cut : Cut
        Losses of `CONVEX` alone.
    generator : torch.Generator

    Returns
    -------
    list of Tensor
        Shaped as ``cut.scores``.
    """
    found: list[Tensor] = []
    for name in cut.names:
        draw, count = _DRAWS[name]
        leaves = [leaf.detach() for leaf in cut.leaves[len(found) : len(found) + count]]
        found += draw(leaves, generator)
    return found


def _bce(scores: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """σ(s) - y of each label."""
    return [_label(torch.sigmoid(one), generator) for one in scores]


def _bpr(scores: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Which of two is ranked first, for each of n pairs of which the loss is the mean."""
    positive, negatives = scores
    slopes = _label(torch.sigmoid(negatives - positive.unsqueeze(1)), generator)
    slopes = slopes / negatives.shape[1] ** 0.5
    return [-slopes.sum(1), slopes]


def _cross_entropy(scores: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """softmax(s) less 1 at the item drawn."""
    slopes = torch.softmax(scores[0], dim=1)
    drawn = torch.multinomial(slopes, 1, generator=generator)
    return [slopes.scatter_add(1, drawn, -torch.ones_like(drawn, dtype=slopes.dtype))]


def _sampled_cross_entropy(scores: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """The same over the positive and its negatives."""
    joined = torch.cat([scores[0].unsqueeze(1), scores[1]], dim=1)
    (slopes,) = _cross_entropy([joined], generator)
    return [slopes[:, 0], slopes[:, 1:]]


def _squared_error(scores: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Normal, of variance 2: that of an error of variance 1/2, twice."""
    noise = torch.randn(scores[0].shape, generator=generator, dtype=scores[0].dtype)
    return [noise * 2.0**0.5]


def _label(likely: Tensor, generator: torch.Generator) -> Tensor:
    """Probabilities less labels of 0 and 1."""
    return likely - torch.bernoulli(likely, generator=generator)


_DRAWS: dict[str, tuple[Draw, int]] = {
    "bce": (_bce, 2),
    "bpr": (_bpr, 2),
    "cross_entropy": (_cross_entropy, 1),
    "sampled_cross_entropy": (_sampled_cross_entropy, 2),
    "squared_error": (_squared_error, 1),
}
