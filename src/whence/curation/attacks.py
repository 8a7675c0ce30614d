"""Attacks on the data of recommenders: users, or sessions, that are planted and known.

A planted user has the times of a real one, drawn at random, and as many rows, so that neither gives
it away; what it has consumed follows from the kind of the attack. Ids that real ones do not have
name the planted ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.curation._attack_ratings import ScaleOfRatings
from whence.data import Interactions
from whence.data._shuffling import shuffled
from whence.data.vocabulary import as_ids, family
from whence.errors import DataError, ParameterError, check_int
from whence.parameters import Configurable, Seed, Share

AttackKind = Literal[
    "uniform", "popularity", "shuffled", "bot", "duplicated",
    "random", "average", "bandwagon", "segment",
]  # fmt: skip
SHILLING: tuple[AttackKind, ...] = ("random", "average", "bandwagon", "segment")
COPIES = 10
"""Sources that a duplicated one is recorded as."""
BOT_LENGTH = 3
"""Rows of a bot, over those of a real source."""

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Attacked:
    """Data with an attack, and the truth about it.

    Attributes
    ----------
    data : Interactions
        The real rows and the planted ones.
    corrupted : polars.Series
        Ids of the users or sessions that were planted or changed.
    targets : polars.Series
        Ids of the items that are pushed or nuked; empty where the attack has none.
    """

    data: Interactions
    corrupted: pl.Series
    targets: pl.Series


class Attack(Configurable):
    """Plant users, or sessions, that are not what they seem.

    Noise:

    - ``"uniform"``: items drawn at random from the catalogue.
    - ``"popularity"``: items drawn with probabilities that go with their numbers of rows.
    - ``"shuffled"``: real sources, whose rows change places; none is added.
    - ``"bot"``: three times as long as a real one; every other row is a target, again and again,
      those between are drawn by popularity.
    - ``"duplicated"``: one source of kind "popularity", recorded ten times, a tenth of its items
      replaced each time.

    Shilling, to get a target recommended (push) or out of the lists (nuke). A profile has the
    targets, selected items, and filler items up to its length, in random order:

    - ``"random"``: filler drawn uniformly, rated around the mean of all ratings.
    - ``"average"``: filler drawn uniformly, each rated around its own mean.
    - ``"bandwagon"``: as "random"; selected are the items with most rows, with the highest rating.
      Nuke: those of the lowest mean rating, with the lowest rating.
    - ``"segment"``: selected are the items that share most sources with the targets (by the cosine
      of their incidences), with the highest rating; filler drawn uniformly has the lowest (nuke:
      the highest).

    No profile but a bot's has an item twice, unless real ones do. The target has the highest
    rating, or the lowest to nuke it. Ratings around a mean are normal with the standard deviation
    of all ratings (average: of the item's own), within the scale, and rounded to it where it has
    steps. Without a rating column rows can speak for items only: filler of "average" is drawn by
    popularity, a nuke has, in place of each target, the item that shares most sources with it, and
    selects for "bandwagon" as a push does. Kinds of noise keep the ratings of the source whose
    times they have.

    Parameters
    ----------
    kind : str
    share : float
        Number of planted sources over that of real ones; for "shuffled" the share that is changed.
    direction : {"push", "nuke"}
    targets : int or sequence of ids
        Items of the attack, or how many are drawn: to push, of the half of the items with the
        fewest rows; to nuke, of the tenth with most. The kinds of noise but "bot" have none.
    selected : float
        Share of a profile that is selected items.
    seed : int

    References
    ----------
    -  Lam and Riedl. Shilling recommender systems for fun and profit. WWW 2004.
    -  Mobasher, Burke, Bhaumik and Williams. Toward trustworthy recommender systems: an analysis
       of attack models and algorithm robustness. ACM Transactions on Internet Technology 7, 2007.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=200, corrupted=0.0, seed=1).train
    >>> found = Attack(kind="bandwagon", share=0.1).plant(data)
    >>> len(found.corrupted), found.data.n_sources, len(found.targets)
    (20, 220, 1)
    """

    kind: AttackKind = "popularity"
    share: Share = 0.1
    direction: Literal["push", "nuke"] = "push"
    targets: int | Sequence[Any] = 1
    selected: Share = 0.3
    seed: Seed = 0

    def _check_params(self) -> None:
        super()._check_params()
        if isinstance(self.targets, int):
            check_int("targets", self.targets, minimum=1)
        elif isinstance(self.targets, str) or not len(self.targets):
            raise ParameterError("targets is a number of items or a sequence with at least one id.")

    @property
    def has_targets(self) -> bool:
        """Whether this kind of attack is about certain items."""
        return self.kind == "bot" or self.kind in SHILLING

    def plant(self, data: Any) -> Attacked:
        """Add the planted sources to data, or change some of its own.

        Parameters
        ----------
        data : Interactions or table
            Users or sessions with their items.

        Raises
        ------
        ParameterError
            If a parameter is out of its range.
        DataError
            If a target is not in the data, there are fewer items than targets, or there is nothing
            to shuffle.
        """
        self._check_params()
        interactions = Interactions.from_frame(data)
        generator = np.random.Generator(
            np.random.PCG64([self.seed, get_args(AttackKind).index(self.kind)])
        )
        if self.kind == "shuffled":
            return self._shuffle(interactions, generator)
        return _Planting(self, interactions, generator).planted()

    def _n(self, data: Interactions) -> int:
        return max(1, round(self.share * data.n_sources))

    def _shuffle(self, data: Interactions, generator: np.random.Generator) -> Attacked:
        """Permute what some sources have over their own times."""
        able = np.flatnonzero(np.bincount(data.source_codes) > 1)
        if not len(able):
            raise DataError("No source has two rows, so that there is nothing to shuffle.")
        chosen = np.zeros(data.n_sources, dtype=np.bool_)
        chosen[generator.choice(able, min(self._n(data), len(able)), replace=False)] = True
        changed = shuffled(data, chosen, generator)
        changed = changed.with_tables(items=data.item_table, users=data.user_table)
        return Attacked(changed, data.source_ids.filter(pl.Series(chosen)), data.item_ids[:0])


class _Planting:
    """What an attack needs to know of the data, and the profiles it makes of that.

    Parameters
    ----------
    attack : Attack
    data : Interactions
    generator : numpy.random.Generator
    """

    def __init__(self, attack: Attack, data: Interactions, generator: np.random.Generator) -> None:
        self.attack, self.data, self.generator = attack, data, generator
        self.counts = np.bincount(data.item_codes, minlength=data.n_items)
        self.popular = self.counts / self.counts.sum()
        pairs = data.source_codes.astype(np.int64) * data.n_items + data.item_codes
        self.repeated = len(np.unique(pairs)) < len(pairs)
        self.targets = self._targets() if attack.has_targets else np.empty(0, dtype=np.int64)
        self.ratings: ScaleOfRatings | None = None
        if attack.kind in SHILLING and data.columns.rating is not None:
            self.ratings = ScaleOfRatings(data, data.columns.rating)
        self.nuke = attack.direction == "nuke"
        self.about = self.targets
        if self.nuke and self.ratings is None and len(self.targets):
            self.about = self._neighbours(one_each=True)[: len(self.targets)]

    def planted(self) -> Attacked:
        """Make all profiles and add them."""
        attack, data = self.attack, self.data
        n = attack._n(data)
        times: list[IntArray] = []
        profiles: list[IntArray] = []
        ratings: list[FloatArray] = []
        owner: list[IntArray] = []
        models = self.generator.choice(data.n_sources, n, replace=n > data.n_sources)
        for k in range(n):
            first = k - k % COPIES
            own = _rows_of(data, models[first if attack.kind == "duplicated" else k])
            if attack.kind == "bot":
                own = np.repeat(own, BOT_LENGTH)
            if attack.kind == "duplicated" and k > first:
                items = self._copy(profiles[first])
            else:
                items, rated = self._profile(len(own))
                ratings.append(rated)
            times.append(own[: len(items)])
            profiles.append(items)
            owner.append(np.full(len(items), k))
        codes = np.concatenate(profiles)
        frame = data.frame[np.concatenate(times)].with_columns(
            _new_ids(data, n).gather(np.concatenate(owner)).alias(data.columns.source),
            data.item_ids.gather(codes).alias(data.columns.item),
        )
        if self.ratings is not None:
            frame = frame.with_columns(self.ratings.column(np.concatenate(ratings)))
        whole = _rebuilt(data, pl.concat([data.frame, frame]))
        return Attacked(whole, _new_ids(data, n), data.item_ids.gather(self.targets))

    def _profile(self, length: int) -> tuple[IntArray, FloatArray]:
        """Items and ratings of one source, in the order in which it has them."""
        kind = self.attack.kind
        if kind == "bot":
            items = self._drawn(length, by=self.popular, repeated=True)
            items[::2] = self.generator.choice(self.about, len(items[::2]))
            return items, np.empty(0)
        if kind not in SHILLING:
            by = None if kind == "uniform" else self.popular
            return self._drawn(length, by=by), np.empty(0)
        length = max(length, len(self.about))
        n_selected = int(np.ceil(self.attack.selected * length)) if self._selects else 0
        n_selected = min(n_selected, length - len(self.about))
        taken = np.concatenate([self.about, self._selected[:n_selected]])
        by = self.popular if kind == "average" and self.ratings is None else None
        filler = self._drawn(length - len(taken), by=by, without=taken)
        items = np.concatenate([taken, filler])
        order = self.generator.permutation(len(items))
        if self.ratings is None:
            return items[order], np.empty(0)
        ratings = np.concatenate(
            [
                np.full(len(self.about), self.ratings.extreme(high=not self.nuke)),
                np.full(len(taken) - len(self.about), self.ratings.extreme(high=self._liked)),
                self._filler_ratings(filler),
            ]
        )
        return items[order], ratings[order]

    @property
    def _selects(self) -> bool:
        return self.attack.kind in ("bandwagon", "segment")

    @property
    def _liked(self) -> bool:
        """Whether the selected items have the highest rating, or the lowest."""
        return self.attack.kind == "segment" or not self.nuke

    def _filler_ratings(self, filler: IntArray) -> FloatArray:
        assert self.ratings is not None
        if self.attack.kind == "segment":
            return np.full(len(filler), self.ratings.extreme(high=self.nuke))
        own = self.attack.kind == "average"
        return self.ratings.drawn(filler if own else None, len(filler), self.generator)

    @cached_property
    def _selected(self) -> IntArray:
        """Items in the order in which profiles select them, those that they are about left out."""
        if not self._selects:
            return np.empty(0, dtype=np.int64)
        if self.attack.kind == "segment":
            order = self._neighbours()
        elif self.nuke and self.ratings is not None:
            order = np.argsort(self.ratings.means, kind="stable")
        else:
            order = np.argsort(-self.counts, kind="stable")
        known = (self.counts[order] > 0) & ~np.isin(order, self.about)
        return order[known & ~np.isin(order, self.targets)]

    def _neighbours(self, *, one_each: bool = False) -> IntArray:
        """Items by how many sources they share with the targets, by cosine; targets left out.

        With `one_each` the nearest of each target in turn, no item twice.
        """
        from scipy import sparse

        has = sparse.csc_array(
            (np.ones(self.data.n_rows), (self.data.source_codes, self.data.item_codes)),
            shape=(self.data.n_sources, self.data.n_items),
        )
        has.data[:] = 1.0
        norms = np.sqrt(np.maximum(has.sum(axis=0), 1.0))
        cosines = (has[:, self.targets].T @ has).toarray() / norms / norms[self.targets][:, None]
        cosines[:, self.targets] = -1.0
        if not one_each:
            return np.argsort(-cosines.sum(axis=0), kind="stable")
        found: list[int] = []
        for row in cosines:
            row[found] = -1.0
            found.append(int(row.argmax()))
        return np.array(found, dtype=np.int64)

    def _drawn(
        self,
        n: int,
        *,
        by: FloatArray | None = None,
        without: IntArray | None = None,
        repeated: bool = False,
    ) -> IntArray:
        """Draw n items with probabilities; none twice, unless real sources repeat items."""
        real = (self.counts > 0).astype(np.float64)
        weights = real.copy() if by is None else by.copy()
        if without is not None:
            weights[without] = 0.0
        left = np.count_nonzero(weights)
        repeated = repeated or self.repeated
        if not left or (n > left and not repeated):
            weights = real
        return self.generator.choice(len(weights), n, replace=repeated, p=weights / weights.sum())

    def _copy(self, items: IntArray) -> IntArray:
        """The same items but for a tenth, one at least, that are drawn by popularity."""
        copy = items.copy()
        n = max(1, len(items) // 10)
        places = self.generator.choice(len(items), n, replace=False)
        copy[places] = self._drawn(n, by=self.popular, without=items)
        return copy

    def _targets(self) -> IntArray:
        """Items of the attack, by number."""
        wanted, data = self.attack.targets, self.data
        if not isinstance(wanted, int):
            ids = as_ids(list(wanted)).unique(maintain_order=True)
            if family(ids.dtype) != family(data.item_ids.dtype):
                raise DataError(
                    f"The targets are given as {ids.dtype}, the items are {data.item_ids.dtype}; "
                    "cast one to the other."
                )
            codes = data.vocabulary.item_codes(ids)
            if (codes < 0).any():
                stranger = ids.filter(pl.Series(codes < 0))[0]
                raise DataError(
                    f"{stranger!r} is given as a target, but no such item is in the data; give ids "
                    "of its items."
                )
            return codes.astype(np.int64)
        order = np.argsort(-self.counts, kind="stable")
        order = order[self.counts[order] > 0]
        part = order[len(order) // 2 :]
        if self.attack.direction == "nuke":
            part = order[: max(1, len(order) // 10)]
        if wanted > len(part):
            raise DataError(
                f"{wanted:,} targets are to be drawn from {len(part):,} items; give fewer, or name "
                "them."
            )
        return self.generator.choice(part, wanted, replace=False)


def _rows_of(data: Interactions, source: int) -> IntArray:
    """Rows of the table of one source, in its order."""
    offsets = data.sequences.offsets
    return data.sequences.rows[offsets[source] : offsets[source + 1]]


def _new_ids(data: Interactions, n: int) -> pl.Series:
    """Ids that no source has: beyond the largest number, or with the prefix ``planted-``."""
    ids = data.source_ids
    if ids.dtype.is_integer():
        first = int(ids.max()) + 1  # type: ignore[arg-type]
        return pl.Series(np.arange(first, first + n)).cast(ids.dtype)
    known = set(ids.cast(pl.String))
    prefix = "planted-"
    while any(f"{prefix}{k}" in known for k in range(n)):
        prefix += "-"
    return pl.Series([f"{prefix}{k}" for k in range(n)])


def _rebuilt(data: Interactions, frame: pl.DataFrame) -> Interactions:
    arguments: dict[str, Any] = dict(data.columns.as_arguments())
    return Interactions.from_frame(frame, **arguments).with_tables(
        items=data.item_table, users=data.user_table
    )
