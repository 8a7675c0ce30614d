"""Losses of models that are trained by gradients, on forgotten rows and on rows never seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from whence.curation.forgetting.gone import IntArray, spread
from whence.errors import DataError
from whence.influence.queries import query_examples

if TYPE_CHECKING:
    from whence.curation.forgetting.forgetting import Forgotten

FloatArray = npt.NDArray[np.float64]

_BATCH = 512
_MOST_ROWS = 20_000


def forgotten_losses(
    model: Any, forgotten: Forgotten, most: int, threads: int | None
) -> tuple[FloatArray, IntArray]:
    """Loss of each example whose (last) row was forgotten, and its source, [n] each.

    The examples are those of the model before, whoever is asked: the same items, and the same
    negatives.
    """
    examples = forgotten.original.examples_
    rows, offsets = examples.rows(np.arange(len(examples)))
    numbers = np.flatnonzero(forgotten.gone.mask[rows[offsets[1:] - 1]])
    if len(numbers):
        numbers = numbers[spread(len(numbers), _MOST_ROWS)]
    batches = (
        examples.batch(numbers[start : start + _BATCH]) for start in range(0, len(numbers), _BATCH)
    )
    losses = _of(model, batches) / examples.n_terms(examples.keys[numbers])
    return losses, examples.sources(numbers)


def unseen_losses(
    model: Any, original: Any, test: Any, most: int, threads: int | None
) -> tuple[FloatArray, IntArray]:
    """Loss of each row of test data, and the number of its user or session, [n] each.

    Empty where the model has no loss of any, as of users who are all new to it.
    """
    try:
        asked = query_examples(original, test)
    except DataError:
        return np.empty(0), np.empty(0, dtype=np.int64)
    chosen = np.flatnonzero(spread(len(asked), _MOST_ROWS))
    batches = (
        asked.batch(chosen[start : start + _BATCH]) for start in range(0, len(chosen), _BATCH)
    )
    owner = asked.ids.to_series(0).rank("dense").to_numpy()
    return _of(model, batches), owner[chosen].astype(np.int64)


def _of(model: Any, batches: Any) -> FloatArray:
    model.module_.eval()
    parts = [np.empty(0)]
    dtype = next(model.module_.parameters()).dtype
    with torch.inference_mode():
        for batch in batches:
            typed = {
                name: part.to(dtype) if part.is_floating_point() else part
                for name, part in model._to_device(batch).items()
            }
            parts.append(model.example_loss(typed).double().cpu().numpy())
    losses: FloatArray = np.concatenate(parts)
    return losses
