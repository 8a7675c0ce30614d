"""Losses, each a small function from scores to one value per example.

Shapes: B examples, n negatives each, V items. No function reduces over examples, because every
attribution needs the loss of each one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "bce",
    "bpr",
    "bpr_max",
    "cross_entropy",
    "sampled_cross_entropy",
    "squared_error",
]


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
