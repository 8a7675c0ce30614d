"""Temporal coalition pruning: the oldest events that do not matter, as one player."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from whence.explanation._games import Game
from whence.explanation._players import pruned_players

FloatArray = npt.NDArray[np.float64]


def joint_shares(game: Game) -> FloatArray:
    """Shapley value of the players up to each place, were they one player and the others another.

    Two values per place are asked, whose states share their beginnings.

    Returns
    -------
    float64 [n]
        Entry t is of players 0 to t; the last is the whole.
    """
    n = game.n
    older = np.tri(n - 1, n, dtype=np.bool_)  # row t: players 0 to t
    values = game.values(np.concatenate([older, ~older]))
    alone, rest = values[: n - 1], values[n - 1 :]
    share = ((alone - game.nothing) + (game.everything - rest)) / 2
    return np.append(share, game.gap)


def n_joined(shares: FloatArray, tolerance: float) -> int:
    """How many of the oldest players are joined, of those whose `joint_shares` are given.

    From the oldest on players are joined as long as the share of what is joined stays within
    `tolerance` times the whole: the first place beyond it ends the search, even if later shares
    cancel the one that went beyond, since what is joined is not seen any more. The latest player is
    never joined, and one player alone is not called joined.
    """
    beyond = np.abs(shares[:-1]) > tolerance * abs(shares[-1])
    joined = int(beyond.argmax()) if beyond.any() else len(shares) - 1
    return joined if joined >= 2 else 0


def pruned(game: Game, tolerance: float) -> Game:
    """The game with the oldest players that do not matter as one player, if there are some.

    References
    ----------
    Bento, Saleiro, Cruz, Figueiredo and Bizarro. TimeSHAP: explaining recurrent models through
    sequence perturbations. KDD 2021 (with a tolerance that is absolute).
    """
    if game.n < 3:
        return game
    joined = n_joined(joint_shares(game), tolerance)
    return game.with_players(pruned_players(game.players, game.n - joined)) if joined else game
