"""Histories explained one after another: a job whose total is kept, and what is made of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from whence.attribution.record import describe_run, plain_values
from whence.engines import ListJob
from whence.explanation._estimates import Estimate
from whence.explanation._games import Game
from whence.explanation._players import Players
from whence.explanation._problems import Problem, solve
from whence.explanation._ways import WAYS, kind_of
from whence.explanation.result import Explanation, table_of


class Solved(NamedTuple):
    """What is known of one history after its game is solved, without the model.

    Attributes
    ----------
    way : str
        Of `WAYS`.
    estimate : Estimate
    everything, nothing : float
        Values of all players, and of none.
    n_values : int
        How often the model was asked.
    seconds : float
    players : Players, optional
        Where pruning has left others than those of the history.
    """

    way: str
    estimate: Estimate
    everything: float
    nothing: float
    n_values: int
    seconds: float
    players: Players | None = None


@dataclass(frozen=True)
class Solving(ListJob[int, Solved]):
    """Histories solved, each by itself: a shard is the number of one.

    Attributes
    ----------
    problems : sequence of Problem
    auto : mapping
        Players up to which "auto" is exact.
    """

    problems: Sequence[Problem]
    auto: Mapping[str, int]

    def run(self, shard: int) -> Solved:
        """Solve the game of one history, with its own stream of random numbers."""
        started, problem = time.perf_counter(), self.problems[shard]
        before = problem.game.counter.rows
        with problem.asker.quiet():
            game, way, estimate = solve(problem, shard, self.auto)
            everything, nothing = game.everything, game.nothing
        changed = game.players is not problem.game.players
        return Solved(
            way,
            estimate,
            everything,
            nothing,
            n_values=game.counter.rows - before,
            seconds=time.perf_counter() - started,
            players=game.players if changed else None,
        )

    def work(self, shard: int) -> float:
        """Sets of players, as far as all are asked."""
        game = self.problems[shard].game
        return float(2 ** min(game.n, self.auto[kind_of(game)]))

    def pack(self, total: list[Solved]) -> dict[str, Any]:
        """Shares, errors and interactions end to end, the rest as text."""
        flat: dict[str, list[Any]] = {"phi": [], "std_error": [], "interactions": []}
        rest = []
        for one in total:
            estimate, players = one.estimate, one.players
            for name, parts in flat.items():
                array = getattr(estimate, name)
                parts.append(np.empty(0) if array is None else np.ravel(array))
            rest.append([
                one.way, estimate.stopped, plain_values(estimate.details), one.everything,
                one.nothing, one.n_values, one.seconds,
                players and [players.owner.tolist(), players.labels, players.what, players.pruned],
            ])  # fmt: skip
        packed: dict[str, Any] = {"rest": json.dumps(rest)}
        for name, parts in flat.items():
            packed[name] = np.concatenate([np.empty(0), *parts])
            packed[f"{name} sizes"] = np.array([part.size for part in parts], dtype=np.int64)
        return packed

    def unpack(self, state: Any) -> list[Solved]:
        """What `pack` was given."""
        phis, errors, squares = (
            np.split(state[name], np.cumsum(state[f"{name} sizes"])[:-1])
            for name in ("phi", "std_error", "interactions")
        )
        total = []
        for phi, error, square, entry in zip(phis, errors, squares, json.loads(state["rest"])):
            way, stopped, details, everything, nothing, n_values, seconds, players = entry
            estimate = Estimate(
                phi,
                error if error.size else None,
                stopped,
                details,
                square.reshape(len(phi), -1) if square.size else None,
            )
            left = players and Players(np.array(players[0], dtype=np.int64), *players[1:])
            total.append(Solved(way, estimate, everything, nothing, n_values, seconds, left))
        return total


def explanation_of(problem: Problem, solved: Solved) -> Explanation:
    """The result of one history, with the record of all that was decided."""
    names, model = problem.titles, getattr(problem.asker, "model", None)
    settings, history, asker = problem.settings, problem.history, problem.asker
    estimate, way = solved.estimate, WAYS[solved.way]
    if solved.players is not None:
        problem = replace(problem, game=problem.game.with_players(solved.players))
    players = problem.game.players
    frozen = [
        {"item": item, **({"title": names.get(item)} if names else {}), "score": float(score)}
        for item, score in zip(
            (asker.item_ids[number] for number in problem.frozen), problem.frozen_scores
        )
    ]
    errors = estimate.std_error
    scale = float(np.abs(estimate.phi).mean())
    metadata = describe_run(
        solved.way,
        by=players.what,
        source=players.what,
        metric=problem.target.label,
        model=model,
        seed=settings.seed if way.draws else None,
        train=getattr(model, "train_", None),
        params={
            "k": settings.k,
            "tolerance": settings.tolerance,
            "budget": settings.budget,
            "prune": settings.prune,
            **estimate.details,
        },
        elapsed_seconds=solved.seconds,
        value_all=solved.everything,
        value_nothing=solved.nothing,
        stopped=estimate.stopped,
        relative_error=float(errors.mean() / scale) if errors is not None and scale else None,
        efficiency=way.is_shapley,
        is_shapley=way.is_shapley,
        title=way.title,
        masking=problem.masking.label,
        level=settings.level,
        items=frozen,
        n_events=len(history),
        n_given=history.n_given,
        n_cut=history.n_cut,
        unknown=history.unknown,
        n_pruned=_n_pruned(problem.game),
        n_values=solved.n_values,
    )
    return Explanation(
        table_of(problem, estimate.phi, errors, names),
        source=players.what,
        metadata=metadata,
        problem=problem,
        interactions=estimate.interactions,
    )


def _n_pruned(game: Game) -> int:
    """How many events pruning has joined; each may have several cells."""
    owner = game.players.owner
    return int(np.sum(owner == 0)) * len(game.history) // len(owner) if game.players.pruned else 0
