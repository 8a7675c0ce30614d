"""Splits of histories for experiments: the last shares of each user's rows, asked one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.curation.attacks import Attack
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
        Users or sessions of the training data that an attack added or changed.
    targets : polars.Series
        Ids of the items that the attack is about.
    """

    train: Interactions
    validation: Queries
    test: Queries
    is_planted: npt.NDArray[np.bool_]
    targets: pl.Series


def split_shares(
    data: Interactions,
    validation: float = 0.1,
    test: float = 0.1,
    *,
    attack: Attack | None = None,
) -> Asked:
    """Split each user's rows by their order in time.

    Parameters
    ----------
    data : Interactions
        Users with their items.
    validation, test : float
        Shares of each user's rows, rounded down; without a validation share there are no
        validation queries.
    attack : Attack, optional
        What is planted in the training data.

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
    train = train.rebuild().with_tables(items=data.item_table, users=data.user_table)
    corrupted, targets = train.source_ids[:0], train.item_ids[:0]
    if attack is not None:
        attacked = attack.plant(train)
        train, corrupted, targets = attacked.data, attacked.corrupted, attacked.targets
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
    return Asked(
        train,
        queries.take(np.flatnonzero(is_validation)),
        queries.take(np.flatnonzero(is_test)),
        train.source_ids.is_in(corrupted.implode()).to_numpy(),
        targets,
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


def in_order_of_the_table(data: Interactions) -> Interactions:
    """The same rows with their number in the table as their time."""
    name = data.columns.time or "order"
    arguments: dict[str, Any] = {**data.columns.as_arguments(), "time": name}
    frame = data.frame.with_columns(pl.Series(name, np.arange(data.n_rows)))
    return Interactions.from_frame(frame, **arguments).with_tables(
        items=data.item_table, users=data.user_table
    )
