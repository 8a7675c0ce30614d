"""Splits of histories for experiments: the last shares of each user's rows, asked one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions
from whence.errors import DataError, check_float
from whence.evaluation import Queries, make_queries


@dataclass(frozen=True)
class Asked:
    """Training data, and queries for the next of every later row.

    Attributes
    ----------
    train : Interactions
        The first rows of each user.
    validation, test : Queries
        One query per row of the last but one and of the last share: the target is the row's item,
        the history all rows of the user before it.
    is_planted : bool [n_sources]
        Users of the training data that were added to it.
    """

    train: Interactions
    validation: Queries
    test: Queries
    is_planted: npt.NDArray[np.bool_]


def split_shares(
    data: Interactions,
    validation: float = 0.1,
    test: float = 0.1,
    *,
    extra: Interactions | None = None,
) -> Asked:
    """Split each user's rows by their order in time.

    Parameters
    ----------
    data : Interactions
        Users with their items.
    validation, test : float
        Shares of each user's rows, rounded down; without a validation share there are no
        validation queries.
    extra : Interactions, optional
        Further users, all of whose rows are training data (planted noise).

    Raises
    ------
    DataError
        If a share leaves no query.
    """
    check_float("validation", validation, minimum=0.0, maximum=0.5)
    check_float("test", test, minimum=0.0, maximum=0.5)
    counts = np.diff(data.sequences.offsets)
    n_test = (counts * test).astype(np.int64)
    n_validation = (counts * validation).astype(np.int64)
    source = np.repeat(np.arange(data.n_sources), counts)
    place = np.arange(len(source)) - data.sequences.offsets[source]
    is_train = place < (counts - n_test - n_validation)[source]
    mask = np.zeros(data.n_rows, dtype=np.bool_)
    mask[data.sequences.rows[is_train]] = True
    train = data.keep_rows(mask)
    if extra is not None:
        frame = pl.concat([train.frame, extra.frame.select(train.frame.columns)])
        arguments: dict[str, Any] = dict(train.columns.as_arguments())
        train = Interactions.from_frame(frame, **arguments)
    else:
        train = train.rebuild()
    train = train.with_tables(items=data.item_table, users=data.user_table)
    queries = make_queries(train, data, protocol="prefixes", target="next")
    # A query stands at each place but the first of a user; its target is the row at that place.
    owner = np.repeat(np.arange(data.n_sources), np.maximum(counts - 1, 0))
    position = queries.ids["position"].to_numpy()
    is_test = position >= (counts - n_test)[owner]
    is_validation = ~is_test & (position >= (counts - n_test - n_validation)[owner])
    for name, share, chosen in (
        ("test", test, is_test),
        ("validation", validation, is_validation),
    ):
        if share and not chosen.any():
            raise DataError(
                f"The {name} share leaves no row: every user has too few; give a larger share or "
                "longer histories."
            )
    real = data.vocabulary.source_codes(train.vocabulary.sources) >= 0
    return Asked(
        train,
        queries.take(np.flatnonzero(is_validation)),
        queries.take(np.flatnonzero(is_test)),
        ~real,
    )


def in_order(data: Interactions) -> float:
    """Share of neighbouring rows of a user, in the order of the table, that are in time order."""
    if data.columns.time is None:
        return 1.0
    frame = data.frame.select(user=data.columns.source, time=data.columns.time)
    steps = frame.select(
        later=(pl.col("time").diff() >= 0).over("user", mapping_strategy="group_to_rows")
    )["later"].drop_nulls()
    return 1.0 if steps.is_empty() else float(steps.cast(pl.Float64).mean())  # type: ignore[arg-type]


def planted_users(data: Interactions, share: float, seed: int) -> Interactions:
    """Users whose items are drawn at random from the catalogue, as long as real ones.

    Parameters
    ----------
    data : Interactions
        Lengths and times are taken from its users.
    share : float
        Number of planted users over that of real ones.
    seed : int

    Returns
    -------
    Interactions
        With the columns of `data`; user ids beyond the largest, or with the prefix ``planted-``.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 0xB07]))
    n = max(1, round(share * data.n_sources))
    chosen = rng.choice(data.n_sources, n, replace=False)
    offsets, rows = data.sequences.offsets, data.sequences.rows
    taken = np.concatenate([rows[offsets[c] : offsets[c + 1]] for c in chosen])
    owner = np.repeat(np.arange(n), (offsets[1:] - offsets[:-1])[chosen])
    frame = data.frame[taken]
    ids = data.source_ids
    if ids.dtype.is_integer():
        first = int(ids.max()) + 1  # type: ignore[arg-type]
        names = pl.Series(first + owner).cast(ids.dtype)
    else:
        names = pl.Series([f"planted-{k}" for k in owner])
    arguments: dict[str, Any] = dict(data.columns.as_arguments())
    items = data.item_ids.gather(rng.integers(0, data.n_items, len(taken)))
    return Interactions.from_frame(
        frame.with_columns(
            names.alias(data.columns.source),
            items.alias(data.columns.item),
        ),
        **arguments,
    )


def in_order_of_the_table(data: Interactions) -> Interactions:
    """The same rows with their number in the table as their time."""
    name = data.columns.time or "order"
    arguments: dict[str, Any] = {**data.columns.as_arguments(), "time": name}
    frame = data.frame.with_columns(pl.Series(name, np.arange(data.n_rows)))
    return Interactions.from_frame(frame, **arguments).with_tables(
        items=data.item_table, users=data.user_table
    )
