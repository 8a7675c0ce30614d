"""Cheap attributions that are not Shapley values, and are labelled so."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from whence.errors import UnsupportedError
from whence.explanation._estimates import Estimate
from whence.explanation._games import Game

if TYPE_CHECKING:
    from torch import Tensor

    from whence.explanation._neural import SequentialAsker

_PER_BATCH = 1 << 12


def occlusion(game: Game) -> Estimate:
    """What the value loses when a player alone is masked; the shares need not add up."""
    kept = ~np.eye(game.n, dtype=np.bool_)
    return Estimate(game.everything - game.values(kept), details={"n_coalitions": game.n})


def integrated_gradients(game: Game, n_steps: int) -> Estimate:
    """Gradient along the straight line from the masked to the real embeddings, times the distance.

    The shares of the events add up to ``v(all) - v(none)`` up to the error of the midpoint rule.

    References
    ----------
    Sundararajan, Taly and Yan. Axiomatic attribution for deep networks. ICML 2017.

    Raises
    ------
    UnsupportedError
        If the model is no network of Whence over items, the value has no gradient, or there is no
        embedding to start from.
    """
    asker = game.asker
    if not asker.has_embeddings:
        raise UnsupportedError(
            f"Integrated gradients need a network with item embeddings, which {asker.name} is not; "
            "use method='permutation' or 'occlusion'."
        )
    if game.off is None:
        raise UnsupportedError(
            "Integrated gradients need something to start from in the place of each event, and "
            "masking='remove' leaves nothing there; use masking='pad', ('item', id) or "
            "'mean_embedding'."
        )
    if game.scalar.kind in ("metric", "rank"):
        raise UnsupportedError(
            "A ranking metric has no gradient; use target='mean', ('item', id) or "
            "('log_probability', id) with integrated gradients, or another method."
        )
    per_event = np.mean([_along_the_line(game, off, n_steps) for off in game.off], axis=0)
    owner, n = game.players.owner, game.n
    phi = np.bincount(owner, weights=per_event, minlength=n).astype(np.float64)
    return Estimate(
        phi, details={"n_steps": n_steps, "completeness_error": float(phi.sum() - game.gap)}
    )


def _along_the_line(game: Game, off: np.ndarray, n_steps: int) -> np.ndarray:
    import torch

    from whence.explanation._askers import quiet_modules

    asker = cast("SequentialAsker", game.asker)
    length = len(game.history)
    end = asker.vectors(game.history.tokens, game.history)
    start = asker.vectors(off, game.history)
    size = max(1, _PER_BATCH // length)
    with quiet_modules([asker.module]), torch.inference_mode(False), torch.enable_grad(), \
            torch.backends.cudnn.flags(enabled=False):  # fmt: skip
        start, end = start.clone(), end.clone()
        total = torch.zeros_like(end)
        for begin in range(0, n_steps, size):
            number = torch.arange(begin, min(begin + size, n_steps), device=end.device)
            share = ((number + 0.5) / n_steps)[:, None, None]
            rows = (start + share * (end - start)).flatten(0, 1).requires_grad_(True)
            windows = torch.arange(len(rows), device=end.device).view(len(number), length)
            lengths = torch.full((len(number),), length, device=end.device)
            items = None if game.scalar.items is None else torch.from_numpy(game.scalar.items)
            scores = asker.answer(windows, lengths, items, rows)
            (gradient,) = torch.autograd.grad(_scalar(game, scores).sum(), rows)
            total += gradient.view(len(number), length, -1).sum(0)
        shares = ((end - start) * total / n_steps).sum(dim=1)
    found: np.ndarray = shares.double().cpu().numpy()
    return found


def _scalar(game: Game, scores: Tensor) -> Tensor:
    import torch

    scalar = game.scalar
    if scalar.weights is not None:
        return scores @ torch.from_numpy(scalar.weights).to(scores)
    return torch.log_softmax(scores, dim=1)[:, scalar.number]
