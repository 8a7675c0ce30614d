"""Terms of the losses of factor models, as flat arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[Any]]

SQUARED, LOGISTIC = 0, 1
"""Kinds of losses, by the numbers that the kernels know."""


@dataclass(frozen=True)
class Terms:
    """Terms of losses, sorted by user: φ of a score or of a difference of two.

    Attributes
    ----------
    user, item, other : int64 [T]
        ``x = s(user, item) - s(user, other)``; without the second score where `other` is -1.
    target : float64 [T]
        What x is compared with: a rating, or a label from 0 to 1.
    weight : float64 [T]
        Share of the term in its example.
    example : int64 [T]
    kind : int
        `SQUARED`, ``(x - y)²``, or `LOGISTIC`, ``log(1 + exp(x)) - y x``.
    n_examples : int
    """

    user: IntArray
    item: IntArray
    other: IntArray
    target: FloatArray
    weight: FloatArray
    example: IntArray
    kind: int
    n_examples: int

    @classmethod
    def sorted(
        cls,
        user: IntArray,
        item: IntArray,
        other: IntArray,
        target: FloatArray,
        weight: FloatArray,
        example: IntArray,
        kind: int,
        n_examples: int,
    ) -> Terms:
        """Terms in any order, sorted by user and then as they came."""
        order = np.argsort(user, kind="stable")
        u, i, j = (np.ascontiguousarray(a[order], dtype=np.int64) for a in (user, item, other))
        return cls(
            u,
            i,
            j,
            np.ascontiguousarray(target[order], dtype=np.float64),
            np.ascontiguousarray(weight[order], dtype=np.float64),
            np.ascontiguousarray(example[order], dtype=np.int64),
            kind,
            n_examples,
        )

    @classmethod
    def single(cls, user: int, item: int) -> Terms:
        """The term whose x is one score."""
        u, i, none, zero = (np.array([v], dtype=np.int64) for v in (user, item, -1, 0))
        return cls(u, i, none, np.zeros(1), np.ones(1), zero, SQUARED, 1)

    def __len__(self) -> int:
        return len(self.user)

    def of_examples(self, numbers: IntArray) -> Terms:
        """Terms of some examples, which are numbered anew in the order given."""
        place = np.full(self.n_examples, -1, dtype=np.int64)
        place[numbers] = np.arange(len(numbers))
        kept = np.flatnonzero(place[self.example] >= 0)
        return Terms(
            self.user[kept],
            self.item[kept],
            self.other[kept],
            self.target[kept],
            self.weight[kept],
            place[self.example[kept]],
            self.kind,
            len(numbers),
        )


def terms_of(arrays: Arrays, loss: str) -> Terms:
    """Terms of the losses of some examples of a factor model."""
    user, item = arrays["user"], arrays["item"]
    n, example = len(user), np.arange(len(user))
    nobody = np.full(n, -1, dtype=np.int64)
    if loss in ("squared", "labels"):
        kind = SQUARED if loss == "squared" else LOGISTIC
        return Terms.sorted(user, item, nobody, arrays["rating"], np.ones(n), example, kind, n)
    negatives = arrays["negatives"]
    count = negatives.shape[1]
    again, others = np.repeat(user, count), negatives.ravel()
    if loss == "bpr":
        return Terms.sorted(
            again, np.repeat(item, count), others, np.ones(n * count),
            np.full(n * count, 1.0 / count), np.repeat(example, count), LOGISTIC, n,
        )  # fmt: skip
    return Terms.sorted(
        np.concatenate([user, again]),
        np.concatenate([item, others]),
        np.full(n * (count + 1), -1, dtype=np.int64),
        np.concatenate([np.ones(n), np.zeros(n * count)]),
        np.ones(n * (count + 1)),
        np.concatenate([example, np.repeat(example, count)]),
        LOGISTIC,
        n,
    )
