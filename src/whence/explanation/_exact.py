"""Exact Shapley values: every coalition's value."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError
from whence.explanation._estimates import Estimate, shapley_values
from whence.explanation._games import Game

FloatArray = npt.NDArray[np.float64]

# Players up to which "auto" is exact, and up to which "exact" is willing.
AUTO = {"recurrent": 20, "others": 14}
MOST = {"recurrent": 24, "others": 18}


def exact(game: Game) -> Estimate:
    """Shapley values of all players from all 2**n coalitions.

    Raises
    ------
    ParameterError
        If there are too many players.
    """
    most = MOST["recurrent" if game.in_steps else "others"]
    if game.n > most:
        raise ParameterError(
            f"method='exact' would need 2**{game.n} answers for {game.n} players; at most {most} "
            "are possible here, so use method='permutation', or prune= or groups= for fewer."
        )
    values = all_values(game)
    # Of the same game, whatever the order in which a product of matrices adds up.
    values[0], values[-1] = game.nothing, game.everything
    return Estimate(shapley_values(values), details={"n_coalitions": len(values)})


def all_values(game: Game) -> FloatArray:
    """Values float64 [2**n] of all coalitions, by the bits of their numbers."""
    if game.in_steps and game.players.in_order() == game.n:
        return tail_values(game, None, game.n)[:, 0]
    n = game.n
    values = np.empty(1 << n)
    step = 1 << min(n, 14)
    for start in range(0, 1 << n, step):
        numbers = np.arange(start, start + step)
        kept = (numbers[:, None] >> np.arange(n)) & 1
        values[start : start + step] = game.values(kept.astype(np.bool_))
    return values


def tail_values(game: Game, kept: npt.NDArray[np.bool_] | None, tail: int) -> FloatArray:
    """Values of all coalitions of the last players, joined to coalitions of the others.

    Only of recurrent models, and where the last players come one after another: the states after
    the others are computed once, and a trie grows from each.

    Parameters
    ----------
    game : Game
    kept : bool [U, n - tail] or None
        Coalitions of the others; None where there are no others.
    tail : int

    Returns
    -------
    float64 [2**tail, U]
    """
    from whence.explanation._trie import expand, states_of

    members = game.players.members
    owner = game.players.owner
    first = len(owner) - int(np.isin(owner, np.arange(game.n - tail, game.n)).sum())
    places = [member.tolist() for member in members[game.n - tail :]]
    total: FloatArray | None = None
    with game.asker.quiet():
        for steps in game.steps:
            if kept is None:
                start, back = steps.cell.initial(1), np.zeros(1, dtype=np.int64)
            else:
                start, back = states_of(steps, kept[:, owner[:first]])
            found = expand(steps, places, start, game.state_value)
            total = found if total is None else total + found
    assert total is not None
    game.checked(total)
    if len(game.steps) > 1:
        total /= len(game.steps)
    return total if kept is None else total[:, back]
