"""What stands for a loss of models without one: the rank of an item after the items before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whence.curation.forgetting.gone import IntArray, spread
from whence.data import Interactions

if TYPE_CHECKING:
    from whence.curation.forgetting.forgetting import Forgotten

FloatArray = npt.NDArray[np.float64]


def forgotten_losses(
    model: Any, forgotten: Forgotten, most: int, threads: int | None
) -> tuple[FloatArray, IntArray]:
    """Share of the catalogue ranked before the last forgotten item of each source, [n] each.

    Asked with the other items of the source that were forgotten, as of somebody never seen.
    """
    gone = forgotten.gone
    return _ranks(model, gone.train.keep_rows(gone.mask), most, threads)


def unseen_losses(
    model: Any, original: Any, test: Any, most: int, threads: int | None
) -> tuple[FloatArray, IntArray]:
    """The same of the sessions or users of test data."""
    return _ranks(model, Interactions.from_frame(test), most, threads)


def _ranks(
    model: Any, data: Interactions, most: int, threads: int | None
) -> tuple[FloatArray, IntArray]:
    codes = model.vocabulary.item_codes(data.item_ids)[data.sequences.items]
    histories, targets, sources = [], [], []
    items = model.vocabulary.items
    for source in range(data.n_sources):
        own = codes[data.sequences.offsets[source] : data.sequences.offsets[source + 1]]
        own = own[own >= 0]
        if len(own) > 1 and own[-1] not in own[:-1]:
            histories.append(items.gather(own[:-1]).to_list())
            targets.append(own[-1])
            sources.append(source)
    if not histories:
        return np.empty(0), np.empty(0, dtype=np.int64)
    chosen = np.flatnonzero(spread(len(histories), most))
    asked = model.fold_in([histories[place] for place in chosen])
    scores = model.score_codes(asked, threads=threads).astype(np.float64)
    target = np.array(targets)[chosen]
    own_score = scores[np.arange(len(chosen)), target][:, None]
    ahead = (scores > own_score).sum(axis=1) + 0.5 * ((scores == own_score).sum(axis=1) - 1)
    return ahead / max(scores.shape[1] - 1, 1), np.array(sources)[chosen]
