"""Shares of the events in the score of each recommended item, all items at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.errors import check_int
from whence.explanation._estimates import shapley_values
from whence.explanation._problems import Problem
from whence.explanation._targets import Scores

FloatArray = npt.NDArray[np.float64]

_EXACT = {True: 10, False: 7}  # events of which every set is asked, of recurrent models and others
_PAIRS = 24  # random orders with their reverses, beyond
STREAM = 0x62656361


def of_list(problem: Problem, recommended: Sequence[Any]) -> Problem:
    """The same history, with other items."""
    numbers = np.array([problem.asker.item_number(item) for item in recommended], dtype=np.int64)
    whole = np.ones((1, problem.game.n), dtype=np.bool_)
    scores = problem.game.with_scalar(Scores(numbers)).values(whole)[0]
    return replace(problem, frozen=numbers, frozen_scores=scores)


def reasons_of(problem: Problem, n: int = 1) -> pl.DataFrame:
    """The reasons of one history; see `Explanation.because`."""
    check_int("n", n, minimum=1)
    phi, errors = shares_by_item(problem, (problem.settings.seed, 0, STREAM))
    return reasons(problem, None, phi, errors, n).drop("history")


def shares_by_item(
    problem: Problem, seed: int | tuple[int, ...]
) -> tuple[FloatArray, FloatArray | None]:
    """Shapley values of the players in the score of each frozen item.

    Returns
    -------
    phi : float64 [n, k]
    std_error : float64 [n, k] or None
        None where every set was asked.
    """
    game = problem.game.with_scalar(Scores(problem.frozen))
    n = game.n
    with problem.asker.quiet():
        if n <= _EXACT[game.in_steps]:
            bits = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
            values = game.values(bits.astype(np.bool_))
            columns = [shapley_values(np.ascontiguousarray(column)) for column in values.T]
            return np.stack(columns, axis=1), None
        rng = np.random.default_rng(seed)
        orders = rng.permuted(np.tile(np.arange(n), (_PAIRS, 1)), axis=1)
        both = np.stack([orders, orders[:, ::-1]], axis=1).reshape(-1, n)
        rank = np.argsort(both, axis=1)
        kept = rank[:, None, :] < np.arange(n + 1)[None, :, None]
        values = game.values(kept.reshape(-1, n)).reshape(len(both), n + 1, -1)
    added = np.empty((len(both), n, values.shape[2]))
    np.put_along_axis(added, both[:, :, None], np.diff(values, axis=1), axis=1)
    pairs = added.reshape(_PAIRS, 2, n, -1).mean(axis=1)
    errors: FloatArray = pairs.std(axis=0, ddof=1) / np.sqrt(_PAIRS)
    return pairs.mean(axis=0), errors


def reasons(
    problem: Problem, name: Any, phi: FloatArray, errors: FloatArray | None, n: int
) -> pl.DataFrame:
    """Rows of one history: each recommended item with its strongest events."""
    titles, history, players = problem.titles, problem.history, problem.game.players
    rows = []
    for rank, (number, score) in enumerate(zip(problem.frozen, problem.frozen_scores)):
        item = problem.asker.item_ids[number]
        best = [int(row) for row in np.argsort(-phi[:, rank], kind="stable")[:n]]
        best = [row for row in best if phi[row, rank] > 0]
        for reason, row in enumerate(best or [None], 1):
            entry: dict[str, Any] = {"history": name, "rank": rank + 1, "item": item}
            if titles:
                entry["title"] = titles.get(item)
            entry |= {"score": float(score), "reason": None, "event": None, "because": None}
            if titles:
                entry["because_title"] = None
            entry |= {"share": None, "std_error": None}
            if row is not None:
                at = players.members[row][-1]
                single = players.what == "event"
                entry["reason"] = reason
                entry["event"] = int(history.positions[at])
                entry["because"] = history.items[at] if single else players.labels[row]
                if titles:
                    entry["because_title"] = titles.get(history.items[at]) if single else None
                entry["share"] = float(phi[row, rank])
                entry["std_error"] = 0.0 if errors is None else float(errors[row, rank])
            rows.append(entry)
    whole = {"reason": pl.Int64, "event": pl.Int64, "share": pl.Float64, "std_error": pl.Float64}
    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides=whole, strict=False)
