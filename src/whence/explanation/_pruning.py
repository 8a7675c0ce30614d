"""Temporal coalition pruning: the oldest events that do not matter, as one player."""

from __future__ import annotations

import numpy as np

from whence.explanation._games import Game
from whence.explanation._players import pruned_players


def pruned(game: Game, tolerance: float) -> Game:
    """The game with the oldest players that do not matter as one player, if there are some.

    For each place the players before it and those from it on are two players. From the oldest on
    players are joined as long as the Shapley value of what is joined stays within `tolerance` times
    ``|v(all) - v(none)|``: the first place beyond it ends the search, even if later shares cancel
    the one that went beyond, since what is joined is not seen any more. Two values per place are
    asked, whose states share their beginnings.

    References
    ----------
    Bento, Saleiro, Cruz, Figueiredo and Bizarro. TimeSHAP: explaining recurrent models through
    sequence perturbations. KDD 2021 (with a tolerance that is absolute).
    """
    n = game.n
    if n < 3:
        return game
    older = np.tri(n - 1, n, dtype=np.bool_)  # row t: players 0 to t
    values = game.values(np.concatenate([older, ~older]))
    alone, rest = values[: n - 1], values[n - 1 :]
    share = ((alone - game.nothing) + (game.everything - rest)) / 2
    beyond = np.abs(share) > tolerance * abs(game.gap)
    joined = int(beyond.argmax()) if beyond.any() else n - 1
    if joined < 2:
        return game
    return game.with_players(pruned_players(game.players, n - joined))
