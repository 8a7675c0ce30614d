"""The same rows with what sessions or users have in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from whence.data.interactions import Interactions


def shuffled(
    data: Interactions, chosen: npt.NDArray[np.bool_], generator: np.random.Generator
) -> Interactions:
    """Permute what some sources have over their own times.

    Parameters
    ----------
    data : Interactions
    chosen : bool [n_sources]
    generator : numpy.random.Generator

    Returns
    -------
    Interactions
        With the numbering of `data`. Each chosen source has the same rows at the same times, in
        random order; those of the others are where they were.
    """
    sequences = data.sequences
    owner = np.repeat(np.arange(data.n_sources), np.diff(sequences.offsets))
    keys = np.arange(data.n_rows) / data.n_rows
    keys[chosen[owner]] = generator.random(int(chosen[owner].sum()))
    order = np.lexsort((keys, owner))
    place = np.arange(data.n_rows)
    place[sequences.rows] = sequences.rows[order]
    stay = [name for name in (data.columns.source, data.columns.time) if name is not None]
    frame = data.frame[place].with_columns(data.frame[name] for name in stay)
    arguments: dict[str, Any] = dict(data.columns.as_arguments())
    return Interactions.from_frame(frame, vocabulary=data.vocabulary, **arguments)
