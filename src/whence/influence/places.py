"""The terms of the losses of examples, each about one target: what credit by target is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Batch = dict[str, Tensor]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Targets:
    """Rows of the training data that the terms of examples' losses are about.

    Attributes
    ----------
    rows : int64 [terms]
        By example and place.
    offsets : int64 [n + 1]
        Terms of the examples.
    """

    rows: IntArray
    offsets: IntArray

    @classmethod
    def of(cls, examples: Any, numbers: IntArray | None = None) -> Targets | None:
        """Find the targets of some examples, or of all; None where they are about no single row."""
        if not hasattr(examples, "targets"):
            return None
        found = examples.targets(np.arange(len(examples)) if numbers is None else numbers)
        return None if found is None else cls(*found)

    @property
    def single(self) -> bool:
        """Whether every example has one."""
        return len(self.rows) == len(self.offsets) - 1

    @property
    def counts(self) -> IntArray:
        """Terms of each example."""
        return np.diff(self.offsets)


def single_terms(batch: Batch) -> Batch:
    """One example for each term: the same window, with the target of one place only."""
    target = batch.get("target")
    if target is None or target.dim() != 2:
        return batch
    owner, place = (target >= 0).nonzero(as_tuple=True)
    alone = {name: tensor[owner] for name, tensor in batch.items()}
    alone["target"] = torch.full_like(target[owner], -1)
    number = torch.arange(len(owner))
    alone["target"][number, place] = target[owner, place]
    return alone
