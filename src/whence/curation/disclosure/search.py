"""Strategies that retrain on their way: trust region, and mirror descent with several anchors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whence.curation.disclosure.strategies import FloatArray, Mask, flips

Anchored = Callable[[Mask], "Anchor"]


@dataclass(frozen=True)
class Anchor:
    """A strategy that was trained for.

    Attributes
    ----------
    mask : bool [N]
    quality : float
        Sum over the users of minus their validation loss, after retraining.
    values : float64 [N]
        V there: what the quality gains, to first order, by each interaction.
    """

    mask: Mask
    quality: float
    values: FloatArray

    def reward(self, beta: FloatArray, lam: float) -> float:
        """Quality less λ times the violation."""
        return self.quality - lam * float(beta[self.mask].sum())

    def guess(self, mask: Mask, beta: FloatArray, lam: float) -> float:
        """Reward of another strategy by the linear surrogate centred here."""
        change = mask.astype(np.float64) - self.mask
        return self.quality + float(change @ self.values) - lam * float(beta[mask].sum())


@dataclass
class Found:
    """A strategy that was searched for, and the way to it."""

    anchor: Anchor
    path: list[dict[str, Any]] = field(default_factory=list)


def trust_region(
    start: Mask, anchored: Anchored, beta: FloatArray, lam: float, *, delta: float, rounds: int
) -> Found:
    """Change a strategy step by step, each step confirmed by retraining.

    Parameters
    ----------
    start : bool [N]
    anchored : callable
        Trains for a strategy.
    beta, lam
    delta : float
        Share of the interactions that a step may change at first; halved when a step is refused.
    rounds : int
        Steps tried.

    Returns
    -------
    Found
        Never of a smaller reward on the validation data than the start.
    """
    here = anchored(start)
    found = Found(here, [_entry(0, here, beta, lam, 0, True)])
    for number in range(1, rounds + 1):
        most = int(delta * len(beta))
        if most < 1:
            break
        changed, gain = flips(here.mask, here.values, beta, lam, most)
        if not len(changed) or gain <= 0:
            break
        mask = here.mask.copy()
        mask[changed] = ~mask[changed]
        there = anchored(mask)
        accepted = there.reward(beta, lam) > here.reward(beta, lam)
        found.path.append(_entry(number, there, beta, lam, len(changed), accepted))
        if accepted:
            here = there
        else:
            delta /= 2
    found.anchor = here
    return found


def mirror(
    anchored: Anchored,
    beta: FloatArray,
    lam: float,
    *,
    anchors: int,
    rounds: int,
    rate: float,
    rng: np.random.Generator,
) -> Found:
    """Entropic mirror descent over the probabilities of disclosure, one for each interaction.

    The reward of a strategy is guessed from the nearest of several anchors by Hamming distance.
    Each round draws a strategy from the probabilities, takes the surrogate's slope at its nearest
    anchor, and moves the log odds along it. Probabilities are independent of each other, so that
    N numbers stand for the distribution over 2^N strategies.

    Parameters
    ----------
    anchored, beta, lam
        As in `trust_region`.
    anchors : int
        Everything, and random strategies of evenly spaced shares.
    rounds : int
    rate : float
        Step in log odds for a slope of one standard deviation.
    rng : numpy.random.Generator

    Returns
    -------
    Found
        What is more likely disclosed than not; trained for, once more.
    """
    count = len(beta)
    shares = np.linspace(1.0, 0.0, anchors, endpoint=False)
    trained = [anchored(rng.permutation(count) < round(share * count)) for share in shares]
    masks = np.array([anchor.mask for anchor in trained])
    odds = np.zeros(count)
    for _ in range(rounds):
        drawn = rng.random(count) < 1.0 / (1.0 + np.exp(-odds))
        nearest = trained[int(np.argmin((masks != drawn).sum(axis=1)))]
        slope = nearest.values - lam * beta
        size = float(slope.std()) or 1.0
        odds = np.clip(odds + rate * slope / size, -30.0, 30.0)
    last = anchored(odds > 0)
    path = [_entry(k, a, beta, lam, 0, True) for k, a in enumerate([*trained, last])]
    return Found(last, path)


def _entry(
    number: int, anchor: Anchor, beta: FloatArray, lam: float, changed: int, accepted: bool
) -> dict[str, Any]:
    return {
        "round": number,
        "n": int(anchor.mask.sum()),
        "changed": changed,
        "quality": anchor.quality,
        "reward": anchor.reward(beta, lam),
        "accepted": accepted,
    }
