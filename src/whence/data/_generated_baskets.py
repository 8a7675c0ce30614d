"""How generated histories of baskets come about, the clean and the corrupted ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

from whence.data._catalogue import Catalogue

IntArray = NDArray[np.int64]

_FAVOURITES = 8  # items that a user buys again and again
_ELSEWHERE = 0.05  # of purchases are outside the two clusters of interest
_COPIES = 10  # of one duplicated history
_PUSHED = 3  # items that all bots push
_ATTACKED = 4  # clusters, the most popular ones, whose buyers the corrupted users resemble


def histories(
    n_baskets: IntArray,
    mean_size: float,
    repeat: float,
    catalogue: Catalogue,
    generator: Generator,
) -> pl.DataFrame:
    """Draw the baskets of clean users.

    Returns
    -------
    polars.DataFrame
        Columns ``user``, ``basket`` and ``item``, all int64 numbers from 0, in order.
    """
    n_users = len(n_baskets)
    interests = np.stack([catalogue.clusters(n_users, generator) for _ in range(2)], axis=1)
    basket_user = np.repeat(np.arange(n_users), n_baskets)
    basket = np.arange(len(basket_user)) - (np.cumsum(n_baskets) - n_baskets)[basket_user]
    size = 1 + generator.poisson(mean_size - 1.0, len(basket_user))
    user, basket = np.repeat(basket_user, size), np.repeat(basket, size)

    def of_interest(users: IntArray) -> IntArray:
        # Twice as often from the first of the two clusters as from the second.
        which = (generator.random(len(users)) < 1 / 3).astype(np.int64)
        return catalogue.popular(interests[users, which], generator)

    favourites = of_interest(np.repeat(np.arange(n_users), _FAVOURITES)).reshape(n_users, -1)
    draw = generator.random(len(user))
    item = np.select(
        [draw < repeat, draw >= 1.0 - _ELSEWHERE],
        [
            favourites[user, generator.integers(_FAVOURITES, size=len(user))],
            catalogue.anywhere(len(user), generator),
        ],
        of_interest(user),
    )
    return pl.DataFrame({"user": user, "basket": basket, "item": item})


def corrupted_histories(
    n: int,
    kinds: Sequence[str],
    mean_baskets: float,
    mean_size: float,
    catalogue: Catalogue,
    generator: Generator,
) -> tuple[pl.DataFrame, list[str]]:
    """Draw n corrupted users in equal parts of each kind, and their labels.

    Returns
    -------
    histories : polars.DataFrame
        As from `histories`.
    labels : list of str
        The kind of each user.
    """
    pushed = generator.choice(catalogue.n_items, size=_PUSHED, replace=False)
    size = max(2, round(mean_size))
    n_baskets = max(2, round(mean_baskets))
    users: list[list[IntArray]] = []
    labels: list[str] = []
    template: list[IntArray] = []

    def popular(cluster: int, n_items: int) -> IntArray:
        return catalogue.popular(np.full(n_items, cluster), generator)

    for number in range(n):
        kind = kinds[number % len(kinds)]
        bait = int(generator.integers(min(_ATTACKED, catalogue.n_clusters)))
        if kind == "shuffled":
            noise = generator.integers(catalogue.n_items, size=(n_baskets - 1, size))
            baskets = [popular(bait, size), *noise]
        elif kind == "bot":
            baskets = [np.concatenate([popular(bait, size), pushed]) for _ in range(n_baskets)]
        else:
            if number // len(kinds) % _COPIES == 0:
                junk = generator.integers(catalogue.n_items, size=_PUSHED)
                template = [np.concatenate([popular(bait, size), junk]) for _ in range(n_baskets)]
            baskets = [basket[generator.random(len(basket)) < 0.9] for basket in template]
        users.append([basket for basket in baskets if len(basket)])
        labels.append(kind)
    flat = [basket for baskets in users for basket in baskets]
    sizes = np.array([len(basket) for basket in flat], dtype=np.int64)
    user = np.repeat(np.arange(n), [len(baskets) for baskets in users])
    number_of = np.array([i for baskets in users for i in range(len(baskets))], dtype=np.int64)
    frame = pl.DataFrame(
        {
            "user": np.repeat(user, sizes),
            "basket": np.repeat(number_of, sizes),
            "item": np.concatenate(flat) if flat else np.empty(0, dtype=np.int64),
        }
    )
    return frame, labels
