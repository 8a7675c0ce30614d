"""Numbers by id, for items of further data too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from whence.data.interactions import Interactions
from whence.data.vocabulary import Vocabulary


def numbered_by_id(interactions: Interactions, others: Iterable[Interactions]) -> Interactions:
    """Return the same rows, with items numbered by their ids, those of other data among them.

    A neighbour model then takes an item that it has never seen for one that no session has, and
    breaks ties by id.

    Parameters
    ----------
    interactions : Interactions
    others : iterable of Interactions
        Whose items are numbered, too.

    Raises
    ------
    DataError
        If the ids are of different types.
    """
    vocabulary = interactions.vocabulary
    for other in others:
        vocabulary = vocabulary.with_items(other.vocabulary.items)
    order = vocabulary.items.arg_sort()
    number = np.empty(len(order), dtype=np.int32)
    number[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    return replace(
        interactions,
        vocabulary=Vocabulary(vocabulary.items.gather(order), vocabulary.sources),
        item_codes=number[interactions.item_codes],
    )
