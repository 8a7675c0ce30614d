"""Losses, each a small function from scores to one value per example.

Shapes: B examples, n negatives each, V items. No function reduces over examples, because every
attribution needs the loss of each one.

With `cut_at_scores` a loss can be looked at as a function of its scores, apart from the network
that makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "CONVEX",
    "Cut",
    "bce",
    "bpr",
    "bpr_max",
    "cross_entropy",
    "cut_at_scores",
    "sampled_cross_entropy",
    "squared_error",
]

CONVEX = ("bce", "bpr", "cross_entropy", "sampled_cross_entropy", "squared_error")
"""Losses that are convex functions of their scores."""
P = ParamSpec("P")


@dataclass
class Cut:
    """Where losses were cut off from what makes their scores.

    Attributes
    ----------
    names : list of str
        The losses that were called, usually one.
    scores : list of Tensor
        As the network made them.
    leaves : list of Tensor
        The same numbers, which the losses were given instead: they require a gradient, and what
        comes back to them goes no further.
    """

    names: list[str] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)
    leaves: list[Tensor] = field(default_factory=list)


_cut: ContextVar[Cut | None] = ContextVar("cut", default=None)


@contextmanager
def cut_at_scores() -> Iterator[Cut]:
    """Cut the losses called inside from their scores, which are collected."""
    cut = Cut()
    token = _cut.set(cut)
    try:
        yield cut
    finally:
        _cut.reset(token)


def _of_scores(count: int) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """A loss whose first `count` arguments are scores."""

    def decorate(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
        @wraps(loss)
        def called(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            cut = _cut.get()
            if any(isinstance(one, Tensor) and one.dtype == torch.bfloat16 for one in args):
                # Only products are in 16 bits, no exponentials and sums.
                whole = (one.float() if isinstance(one, Tensor) else one for one in args[:count])
                args = (*whole, *args[count:])  # type: ignore[assignment]
            if cut is not None:
                scores: list[Tensor] = list(args[:count])  # type: ignore[arg-type]
                leaves = [score.detach().requires_grad_() for score in scores]
                cut.names.append(loss.__name__)
                cut.scores += scores
                cut.leaves += leaves
                args = (*leaves, *args[count:])  # type: ignore[assignment]
            return loss(*args, **kwargs)

        return called

    return decorate


@_of_scores(2)
def bce(positive: Tensor, negatives: Tensor) -> Tensor:
    """Binary cross-entropy of a positive and its negatives, summed over them.

    ``-log σ(s⁺) - Σ_j log(1 - σ(s_j⁻))``: the log loss of He et al., eq. 7.

    Parameters
    ----------
    positive : Tensor [B]
        Scores (logits).
    negatives : Tensor [B, n]

    Returns
    -------
    Tensor [B]

    References
    ----------
    -  He, Liao, Zhang, Nie, Hu and Chua. Neural collaborative filtering. WWW 2017.
    """
    return functional.softplus(-positive) + functional.softplus(negatives).sum(1)


@_of_scores(2)
def bpr(positive: Tensor, negatives: Tensor) -> Tensor:
    """Bayesian personalised ranking, mean over the negatives.

    ``-(1/n) Σ_j log σ(s⁺ - s_j⁻)``: Rendle et al., the criterion BPR-Opt without its prior.

    Parameters
    ----------
    positive : Tensor [B]
    negatives : Tensor [B, n]

    Returns
    -------
    Tensor [B]

    References
    ----------
    -  Rendle, Freudenthaler, Gantner and Schmidt-Thieme. BPR: Bayesian personalized ranking
       from implicit feedback. UAI 2009.
    """
    return functional.softplus(negatives - positive.unsqueeze(1)).mean(1)


@_of_scores(2)
def bpr_max(positive: Tensor, negatives: Tensor, regularisation: float = 1.0) -> Tensor:
    """BPR over negatives weighted by their softmax, with its score regularisation.

    ``-log Σ_j p_j σ(s⁺ - s_j⁻) + λ Σ_j p_j (s_j⁻)²`` with p = softmax(s⁻): Hidasi and
    Karatzoglou, eq. 10.

    Parameters
    ----------
    positive : Tensor [B]
    negatives : Tensor [B, n]
    regularisation : float
        λ.

    Returns
    -------
    Tensor [B]

    References
    ----------
    -  Hidasi and Karatzoglou. Recurrent neural networks with top-k gains for session-based
       recommendations. CIKM 2018.
    """
    log_weight = functional.log_softmax(negatives, dim=1)
    log_win = functional.logsigmoid(positive.unsqueeze(1) - negatives)
    penalty = (log_weight.exp() * negatives.square()).sum(1)
    return -torch.logsumexp(log_weight + log_win, dim=1) + regularisation * penalty


@_of_scores(1)
def cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the softmax over all items.

    Parameters
    ----------
    scores : Tensor [B, V]
    targets : int64 Tensor [B]

    Returns
    -------
    Tensor [B]
    """
    return functional.cross_entropy(scores, targets, reduction="none")


@_of_scores(2)
def sampled_cross_entropy(
    positive: Tensor, negatives: Tensor, log_expected: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Cross-entropy of the softmax over the positive and its negatives.

    Parameters
    ----------
    positive : Tensor [B]
    negatives : Tensor [B, n]
    log_expected : (Tensor [B], Tensor [B, n]), optional
        Logarithm of how often the sampler draws the positive and the negatives, subtracted from
        the scores so that the loss is a consistent estimate of the full one (Bengio and Senécal
        2008). Not needed for uniform negatives, where it cancels.

    Returns
    -------
    Tensor [B]
    """
    if log_expected is not None:
        positive = positive - log_expected[0]
        negatives = negatives - log_expected[1]
    return torch.logsumexp(torch.cat([positive.unsqueeze(1), negatives], dim=1), 1) - positive


@_of_scores(1)
def squared_error(predicted: Tensor, rating: Tensor) -> Tensor:
    """Squared difference of predicted and given rating.

    Parameters
    ----------
    predicted, rating : Tensor [B]

    Returns
    -------
    Tensor [B]
    """
    return (predicted - rating).square()
