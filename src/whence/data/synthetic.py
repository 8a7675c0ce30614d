"""Generated sessions and baskets with planted truth: which of them are corrupted is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.random import Generator

from whence.data._catalogue import Catalogue
from whence.data._generated_baskets import corrupted_histories, histories
from whence.data._generated_sessions import (
    Flat,
    IntArray,
    corrupted_sequences,
    join,
    session_frame,
    starts_between,
)
from whence.data.interactions import Interactions
from whence.errors import ParameterError, check_float, check_int, did_you_mean

CORRUPTIONS = ("shuffled", "bot", "duplicated")
_TRAIN_DAYS, _VALIDATION_DAYS, _TEST_DAYS = 28, 7, 7


@dataclass(frozen=True, eq=False)
class Synthetic:
    """Generated data, and the truth about them.

    Attributes
    ----------
    train, validation, test : Interactions
        Only `train` has corrupted sources.
    corrupted : polars.Series
        Ids of the corrupted sessions or users, in ascending order.
    frame : polars.DataFrame
        The rows of `train.frame` with a further column ``corruption``: ``"none"``,
        ``"shuffled"``, ``"bot"`` or ``"duplicated"``.
    """

    train: Interactions
    validation: Interactions
    test: Interactions
    corrupted: pl.Series
    frame: pl.DataFrame


def make_sessions(
    n_sessions: int = 4000,
    *,
    n_items: int = 1000,
    n_clusters: int = 25,
    n_validation: int = 2000,
    n_test: int = 1000,
    corrupted: float = 0.05,
    kinds: Sequence[str] = CORRUPTIONS,
    mean_length: float = 5.0,
    wander: float = 0.05,
    recent: float = 0.5,
    seed: int = 0,
) -> Synthetic:
    """Generate sessions of clicks, some of the training sessions corrupted.

    Items belong to clusters, and within a cluster each item has a few usual successors: a clean
    session begins with a popular item of its cluster and follows them. Corrupted sessions are
    made to do harm: they have popular items, so that they match many queries; they are recent, so
    that a sample of the most recent sessions has them; and the rest of their items is of unrelated
    clusters, and is pushed up in the lists.

    Parameters
    ----------
    n_sessions : int, default 4000
        Training sessions, the corrupted ones included.
    n_items, n_clusters : int, default 1000 and 25
        Size of the catalogue and number of clusters of equal size (to one item).
    n_validation, n_test : int, default 2000 and 1000
        Clean sessions, of the week after training and of the week after that.
    corrupted : float, default 0.05
        Share of training sessions that are corrupted, from 0 to 0.9.
    kinds : sequence of {"shuffled", "bot", "duplicated"}, default all
        Kinds of corruption, in equal parts:

        - ``"shuffled"``: popular items of one or two clusters and items from the whole catalogue,
          in random order.
        - ``"bot"``: two to four times as long, popular items of all clusters between items from
          a short list that is pushed.
        - ``"duplicated"``: one such session that was recorded ten times or so, with small
          changes.
    mean_length : float, default 5
        Mean number of clicks of a clean session; the least is 2.
    wander : float, default 0.05
        Probability that a click is on some popular item of any cluster instead of a successor.
    recent : float, default 0.5
        Corrupted sessions are from this last share of the training period.
    seed : int, default 0

    Returns
    -------
    Synthetic
        With columns ``session_id``, ``item_id`` (integers without meaning) and ``timestamp``
        (integer seconds).

    Raises
    ------
    ParameterError
        A parameter is out of its range.
    """
    check_int("n_sessions", n_sessions, minimum=2)
    check_int("n_validation", n_validation, minimum=1)
    check_int("n_test", n_test, minimum=1)
    check_float("mean_length", mean_length, 2.0, 1000.0)
    check_float("wander", wander, 0.0, 1.0)
    check_float("recent", recent, 0.001, 1.0)
    n_bad, kinds = _check_corruption(n_sessions, corrupted, kinds)
    generator = _generator(seed)
    catalogue = Catalogue.make(n_items, n_clusters, generator)

    def clean(n: int, first_day: float, days: float) -> tuple[Flat, IntArray]:
        lengths = 2 + generator.geometric(1.0 / (mean_length - 1.0), n) - 1
        items = catalogue.walks(lengths, wander, generator)
        return (items, lengths), starts_between(n, first_day, days, generator)

    good, good_starts = clean(n_sessions - n_bad, 0.0, _TRAIN_DAYS)
    bad, labels = corrupted_sequences(n_bad, kinds, mean_length, catalogue, generator)
    first_bad = _TRAIN_DAYS * (1.0 - recent)
    bad_starts = starts_between(n_bad, first_bad, _TRAIN_DAYS - first_bad, generator)
    validation, validation_starts = clean(n_validation, _TRAIN_DAYS, _VALIDATION_DAYS)
    test, test_starts = clean(n_test, _TRAIN_DAYS + _VALIDATION_DAYS, _TEST_DAYS)

    ids = generator.permutation(n_sessions + n_validation + n_test) + 1
    train_frame = session_frame(
        join(good, bad),
        np.concatenate([good_starts, bad_starts]),
        ids[:n_sessions],
        ["none"] * (n_sessions - n_bad) + labels,
        catalogue,
        generator,
    )
    validation_ids, test_ids = np.split(ids[n_sessions:], [n_validation])
    frames = [
        session_frame(flat, starts, some_ids, None, catalogue, generator)
        for flat, starts, some_ids in (
            (validation, validation_starts, validation_ids),
            (test, test_starts, test_ids),
        )
    ]
    return _synthetic(train_frame, frames[0], frames[1], "session_id")


def make_baskets(
    n_users: int = 1000,
    *,
    n_items: int = 1000,
    n_clusters: int = 25,
    corrupted: float = 0.05,
    kinds: Sequence[str] = CORRUPTIONS,
    mean_baskets: float = 3.0,
    mean_size: float = 3.0,
    repeat: float = 0.2,
    seed: int = 0,
) -> Synthetic:
    """Generate baskets of users, some of the users corrupted.

    A clean user has two clusters of interest and some favourites that are bought again and again.
    Corrupted users are in the training data only, with nothing in validation or test, and made to
    do harm: they buy popular items of the most popular clusters, so that they become neighbours
    of many users, and beside them items that these users never buy.

    Parameters
    ----------
    n_users : int, default 1000
        Users in training, the corrupted ones included.
    n_items, n_clusters : int, default 1000 and 25
        Size of the catalogue and number of clusters of equal size (to one item).
    corrupted : float, default 0.05
        Share of the users that are corrupted, from 0 to 0.9.
    kinds : sequence of {"shuffled", "bot", "duplicated"}, default all
        Kinds of corruption, in equal parts:

        - ``"shuffled"``: a basket of popular items, then baskets of items from the whole
          catalogue.
        - ``"bot"``: in each basket, popular items and some of a short list that is pushed.
        - ``"duplicated"``: one history of popular and of unrelated items that was recorded for
          ten users or so, with small changes.
    mean_baskets, mean_size : float, default 3
        Mean number of training baskets per user (at least 2) and of items per basket (at least
        1). The longer the histories, the less TIFU-kNN depends on neighbours, good or bad.
    repeat : float, default 0.2
        Probability that an item of a basket is one of the user's few favourites.
    seed : int, default 0

    Returns
    -------
    Synthetic
        With columns ``user_id``, ``basket_id`` (the running number of the user's basket) and
        ``item_id``. Validation has the basket after the last training basket of each clean user,
        test the one after that.

    Raises
    ------
    ParameterError
        A parameter is out of its range.
    """
    check_int("n_users", n_users, minimum=2)
    check_float("mean_baskets", mean_baskets, 2.0, 1000.0)
    check_float("mean_size", mean_size, 1.0, 1000.0)
    check_float("repeat", repeat, 0.0, 1.0)
    n_bad, kinds = _check_corruption(n_users, corrupted, kinds)
    generator = _generator(seed)
    catalogue = Catalogue.make(n_items, n_clusters, generator)
    n_good = n_users - n_bad

    baskets = 2 + generator.poisson(mean_baskets - 2.0, n_good) + 2
    good = histories(baskets, mean_size, repeat, catalogue, generator)
    bad, labels = corrupted_histories(n_bad, kinds, mean_baskets, mean_size, catalogue, generator)
    ids = generator.permutation(n_users) + 1
    last = pl.Series(baskets)[good["user"]] - 1
    held = good.with_columns(before_end=last - good["basket"])
    parts = [held.filter(pl.col("before_end") == left).drop("before_end") for left in (1, 0)]
    clean_rows = held.filter(pl.col("before_end") > 1).drop("before_end")
    bad = bad.with_columns(pl.col("user") + n_good)
    names = pl.Series("corruption", ["none"] * n_good + labels, dtype=pl.String)

    def named(rows: pl.DataFrame) -> pl.DataFrame:
        rows = rows.unique(["user", "basket", "item"], maintain_order=True)
        return pl.DataFrame(
            {
                "user_id": ids[rows["user"].to_numpy()],
                "basket_id": rows["basket"],
                "item_id": catalogue.ids[rows["item"].to_numpy()],
                "corruption": names.gather(rows["user"]),
            }
        ).sort("user_id", "basket_id", maintain_order=True)

    train_frame = named(pl.concat([clean_rows, bad]))
    validation, test = (named(part).drop("corruption") for part in parts)
    return _synthetic(train_frame, validation, test, "user_id")


def _synthetic(
    train: pl.DataFrame, validation: pl.DataFrame, test: pl.DataFrame, source: str
) -> Synthetic:
    corrupted = train.filter(pl.col("corruption") != "none")[source].unique().sort()
    return Synthetic(
        train=Interactions.from_frame(train.drop("corruption")),
        validation=Interactions.from_frame(validation),
        test=Interactions.from_frame(test),
        corrupted=corrupted,
        frame=train,
    )


def _check_corruption(n: int, share: float, kinds: Sequence[str]) -> tuple[int, list[str]]:
    check_float("corrupted", share, 0.0, 0.9)
    listed = [kinds] if isinstance(kinds, str) else list(kinds)
    for kind in listed:
        if kind not in CORRUPTIONS:
            raise ParameterError(
                f"kinds must be among {', '.join(map(repr, CORRUPTIONS))}, not {kind!r}."
                + did_you_mean(kind, CORRUPTIONS)
            )
    if not listed:
        raise ParameterError("kinds is empty; give corrupted=0 for data without corruption.")
    return round(n * share), listed


def _generator(seed: int) -> Generator:
    return np.random.Generator(np.random.PCG64(check_int("seed", seed, minimum=0)))
