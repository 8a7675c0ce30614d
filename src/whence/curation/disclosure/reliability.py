"""What is to be expected of influences on a network, from two halves of the validation data.

Most of an influence on a network is chance, of the few validation rows and of the run. Influences
on two halves of the validation data agree as far as they are more than that: their correlation r,
stepped up to both halves by the formula of Spearman and Brown, 2r / (1 + r), is the part of their
variance that other data would show again, and by this reliability they are shrunk towards their
mean. Means over the rows of an item or of a user average much of the chance away, so that each of
the three parts of an influence, that of its item, of its user and the rest, has one of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.errors import DataError
from whence.influence.functions import Question
from whence.influence.reliability import reliability

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SWEEPS = 4


@dataclass(frozen=True)
class Reliability:
    """How far influences would agree with those on as many other validation data, from 0 to 1.

    Attributes
    ----------
    item, user, rest : float
        Of the means of items, of the means of users, and of what is left of each influence.
    """

    item: float
    user: float
    rest: float


def split_by_means(
    values: FloatArray, users: IntArray, items: IntArray
) -> tuple[float, FloatArray]:
    """Mean, and the parts of each value above it: of its item, of its user, and the rest.

    The two means are fitted together, by turns (backfitting), as films that a busy user rates are
    other films than those of the others.

    Parameters
    ----------
    values : float64 [N]
    users, items : int64 [N]

    Returns
    -------
    mean : float
    parts : float64 [3, N]
        They add up to ``values - mean``.
    """
    mean = float(values.mean()) if len(values) else 0.0
    of_item, of_user = np.zeros(len(values)), np.zeros(len(values))
    for _ in range(_SWEEPS):
        of_item = _means(values - mean - of_user, items)
        of_user = _means(values - mean - of_item, users)
    return mean, np.stack([of_item, of_user, values - mean - of_item - of_user])


def shrunk(halves: FloatArray, users: IntArray, items: IntArray) -> tuple[FloatArray, Reliability]:
    """What is to be expected of values that were measured on two halves.

    Parameters
    ----------
    halves : float64 [2, N]
    users, items : int64 [N]

    Returns
    -------
    values : float64 [N]
        The mean of both, with each of its parts shrunk by its reliability.
    reliability : Reliability
    """
    means, parts = zip(*(split_by_means(half, users, items) for half in halves))
    found = [max(0.0, reliability(np.stack(both)) or 0.0) for both in zip(*parts)]
    values: FloatArray = 0.5 * (sum(means) + np.array(found) @ (parts[0] + parts[1]))
    return values, Reliability(*found)


def in_halves(question: Question, rng: np.random.Generator) -> tuple[Question, FloatArray]:
    """The question of two halves of the validation rows, drawn, and shares in their means.

    Of a metric, a half has half of the items that are to be found, and the others are not ranked.

    Returns
    -------
    question : Question
        That of the first half, and then of the second; users without rows in one are left out.
    shares : float64 [2, Q]
        Of each query in the mean over the users of each half.
    """
    first = rng.permutation(int(question.starts[-1])) % 2 == 0
    a, b = _part_of(question, first), _part_of(question, ~first)
    both = replace(
        question,
        ids=pl.concat([a.ids, b.ids]),
        sources=np.concatenate([a.sources, b.sources]),
        starts=np.concatenate([a.starts, a.starts[-1] + b.starts[1:]]),
        arrays={name: np.concatenate([a.arrays[name], b.arrays[name]]) for name in a.arrays},
        relevant=np.concatenate([a.relevant, b.relevant]),
        closed=a.closed + b.closed,
    )
    shares = np.zeros((2, len(both)))
    shares[0, : len(a)], shares[1, len(a) :] = 1.0 / len(a), 1.0 / len(b)
    return both, shares


def _part_of(question: Question, mask: npt.NDArray[np.bool_]) -> Question:
    sizes = np.add.reduceat(mask.astype(np.int64), question.starts[:-1])
    asked = np.flatnonzero(sizes)
    if not len(asked):
        raise DataError(
            "The validation data have a single row that can be asked, so that they cannot be "
            "halved to see how reliable influences are; give more validation data, or "
            "calibrate=False."
        )
    closed = [
        np.union1d(question.closed[q], question.relevant[window][~mask[window]])
        for q in (asked if question.closed else ())
        for window in [slice(question.starts[q], question.starts[q + 1])]
    ]
    return replace(
        question,
        ids=question.ids[asked],
        sources=question.sources[asked],
        starts=np.concatenate(([0], np.cumsum(sizes[asked]))),
        arrays={name: array[mask] for name, array in question.arrays.items()},
        relevant=question.relevant[mask] if len(question.relevant) else question.relevant,
        closed=closed,
    )


def _means(values: FloatArray, groups: IntArray) -> FloatArray:
    """Mean of the group of each value, float64 [N]."""
    if not len(values):
        return values
    counts = np.maximum(np.bincount(groups), 1)
    means: FloatArray = (np.bincount(groups, weights=values) / counts)[groups]
    return means
