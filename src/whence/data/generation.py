"""Generated data of any size that are like a data set: lengths, popularity, repeats, what follows.

A session is a walk on a ring on which every item has an arc as long as its share of all rows. A
row goes back to an earlier place of the session, or it follows one of three fixed exchanges of the
ring's blocks, or it is anywhere. Each of these leaves a uniformly distributed place uniformly
distributed, so that items have the popularity they are given, however strongly one row says what
the next one is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

from whence.data._profiles import (
    Points,
    Profile,
    recurrence,
    repeats,
    shares_of_the_first,
    shares_up_to,
)
from whence.data._published import PUBLISHED
from whence.data.interactions import Interactions
from whence.data.writers import STREAMED, write_parts
from whence.engines.progress import Progress, reporter
from whence.errors import FileFormatError, ParameterError, check_int, check_path, did_you_mean

IntArray = NDArray[np.int64]

_EPOCH = 1_700_006_400  # the beginning of a day; any would do
_DAY = 86_400
_BITS = 40  # of a place on the ring
_BLOCKS_PER_ITEM = 4
_FOLLOWERS = (0.6, 0.25, 0.15)  # how often each of the exchanges is followed
_ROWS_PER_PART = 500_000
_REDRAWS = 8  # of an item that is there already and is had once only
_FIT_ROWS = 200_000
_HALVINGS = 7


@dataclass(frozen=True)
class Ring:
    """Items on a ring, and the exchanges of its blocks.

    Attributes
    ----------
    ends : int64 array [n_items]
        Where the arc of each item ends, in units of the whole ring's 2**40th part.
    ids : int64 array [n_items]
        External ids, in the order of the arcs.
    exchanges : list of int64 array [n_blocks]
        Where each block goes.
    """

    ends: IntArray
    ids: IntArray
    exchanges: list[IntArray]

    @classmethod
    def make(cls, profile: Profile, n_items: int, generator: Generator) -> Ring:
        """Lay out a catalogue."""
        shares = profile.item_shares(n_items)[generator.permutation(n_items)]
        # Every item has some of the ring, so that no two arcs end at one place.
        widths = np.maximum(1, np.floor(shares * (2**_BITS - n_items))).astype(np.int64)
        ends = np.cumsum(widths)
        ends[-1] = 2**_BITS
        n_blocks = 2 ** int(np.ceil(np.log2(_BLOCKS_PER_ITEM * n_items)))
        exchanges = [generator.permutation(n_blocks) for _ in _FOLLOWERS]
        return cls(ends, 1 + generator.permutation(n_items), exchanges)

    def items(self, places: IntArray) -> IntArray:
        """Return the id of the item at each place."""
        found: IntArray = self.ids[np.searchsorted(self.ends, places, side="right")]
        return found

    def follow(self, places: IntArray, which: NDArray[np.float64]) -> IntArray:
        """Return where places go to, by the exchange that numbers in [0, 1) choose."""
        low = _BITS - int(np.log2(len(self.exchanges[0])))
        chosen = np.searchsorted(np.cumsum(_FOLLOWERS)[:-1], which, side="right")
        to = np.choose(chosen, [exchange[places >> low] for exchange in self.exchanges])
        # Within a block the place is exchanged, too, so that walks do not go round.
        found: IntArray = (to << low) | ((places * 0x9E3779B1 + 0x7F4A7C15) & ((1 << low) - 1))
        return found


@dataclass(frozen=True)
class Generation:
    """What is generated, part after part.

    Attributes
    ----------
    profile : Profile
    n_rows, n_items, days, seed : int
    """

    profile: Profile
    n_rows: int
    n_items: int
    days: int
    seed: int

    @cached_property
    def ring(self) -> Ring:
        """The catalogue."""
        return Ring.make(self.profile, self.n_items, self._generator(0))

    @property
    def columns(self) -> tuple[str, str, str]:
        """Names of the columns, which are all integers."""
        if self.profile.kind == "baskets":
            return "user_id", "basket_id", "item_id"
        source = "user_id" if self.profile.kind == "users" else "session_id"
        return source, "item_id", "timestamp"

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield tables of some rows each; sessions are in order of time, and whole."""
        n_parts = self.days * max(1, round(self.n_rows / self.days / _ROWS_PER_PART))
        if self.profile.kind == "baskets":
            n_parts = max(1, round(self.n_rows / _ROWS_PER_PART))
        n_parts = min(n_parts, self.n_rows)
        edges = np.linspace(0, self.n_rows, n_parts + 1).astype(np.int64)
        first_id = 1
        for part, n_rows in enumerate(np.diff(edges)):
            generator = self._generator(1 + part)
            lengths = self.profile.lengths_of(int(n_rows), generator)
            begins, ends = (self.days * _DAY * (part + step) // n_parts for step in (0, 1))
            yield self._part(lengths, first_id, begins, ends, generator)
            first_id += len(lengths)

    def _generator(self, part: int) -> Generator:
        return np.random.Generator(np.random.PCG64([self.seed, part]))

    def _part(
        self, lengths: IntArray, first_id: int, begins: int, ends: int, generator: Generator
    ) -> pl.DataFrame:
        owner = np.repeat(np.arange(len(lengths)), lengths)
        offsets = np.cumsum(lengths) - lengths
        if self.profile.kind == "baskets":
            return self._baskets(lengths, owner, offsets, first_id, generator)
        places = _walk(lengths, offsets, self.profile, self.ring, generator)
        items = self.ring.items(places)
        kept = np.ones(len(items), dtype=np.bool_)
        if self.profile.kind == "users":
            kept = self._once(items, owner, generator)
        elapsed = np.cumsum(generator.integers(5, 120, len(items)))
        elapsed -= np.repeat(elapsed[offsets], lengths)
        # Of its time, a part has all of its sessions, however long they are.
        room = np.maximum(ends - begins - 1 - elapsed[offsets + lengths - 1], 0)
        starts = (generator.random(len(lengths)) * room).astype(np.int64)
        numbers = np.empty(len(lengths), dtype=np.int64)
        numbers[np.argsort(starts, kind="stable")] = first_id + np.arange(len(lengths))
        times = _EPOCH + begins + starts[owner] + elapsed
        table = numbers[owner][kept], items[kept], times[kept]
        return pl.DataFrame(dict(zip(self.columns, table))).sort("timestamp", maintain_order=True)

    def _baskets(
        self,
        lengths: IntArray,
        owner: IntArray,
        offsets: IntArray,
        first_id: int,
        generator: Generator,
    ) -> pl.DataFrame:
        # Baskets are cut from one row of sizes; where a user ends, so does the basket.
        sizes = replace(self.profile, lengths=self.profile.sizes).lengths_of(len(owner), generator)
        begins = np.zeros(len(owner), dtype=np.bool_)
        begins[np.cumsum(sizes) - sizes] = True
        begins[offsets] = True
        running = np.cumsum(begins) - 1
        earlier = np.flatnonzero(begins)[running] - offsets[owner]
        places = _walk(lengths, offsets, self.profile, self.ring, generator, earlier)
        items = self.ring.items(places)
        kept = self._once(items, running, generator)
        baskets = running - running[offsets][owner]
        table = (first_id + owner)[kept], baskets[kept], items[kept]
        return pl.DataFrame(dict(zip(self.columns, table)))

    def _once(self, items: IntArray, owner: IntArray, generator: Generator) -> NDArray[np.bool_]:
        """Draw items anew that their owner has already; say which rows are left."""
        kept = np.zeros(len(items), dtype=np.bool_)
        for round_ in range(_REDRAWS + 1):
            kept[:] = False
            kept[np.unique(owner * (self.n_items + 1) + items, return_index=True)[1]] = True
            double = np.flatnonzero(~kept)
            if len(double) == 0 or round_ == _REDRAWS:
                break
            items[double] = self.ring.items(generator.integers(0, 2**_BITS, len(double)))
        return kept


def generate(
    like: str | Profile | Any = "diginetica",
    n_rows: int = 100_000,
    *,
    n_items: int | None = None,
    days: int = 30,
    seed: int = 0,
) -> Interactions:
    """Generate interactions that are like a data set, in any number.

    Parameters
    ----------
    like : {"rsc15", "diginetica", "ml-1m", "tafeng"}, Profile, Interactions or data frame
        A public data set whose figures are known, or data to be measured (`profile_of`).
    n_rows : int, default 100,000
        Number of rows. Where a user has each item once, as of ``"ml-1m"``, and of baskets, which
        have each item once, a few rows that repeat one are left out.
    n_items : int, optional
        Size of the catalogue; by default it grows as the root of the number of rows.
    days : int, default 30
        Time that the sessions are spread over.
    seed : int, default 0

    Returns
    -------
    Interactions
        With columns ``session_id`` (or ``user_id``), ``item_id`` and ``timestamp`` (integer
        seconds); of baskets ``user_id``, ``basket_id`` and ``item_id``. Ids are integers from 1.
        The same arguments give the same rows.

    Raises
    ------
    ParameterError
        A parameter is out of its range, or there is no such data set.

    See Also
    --------
    generate_file : the same, written part after part, for more than fits in memory.
    make_sessions, make_baskets : small data with planted corruption.

    Examples
    --------
    >>> import whence
    >>> whence.generate("rsc15", 2000, n_items=300, seed=1)
    <Interactions: 2,000 rows, 540 sessions, 215 items>
    """
    generation = _generation(like, n_rows, n_items, days, seed)
    return Interactions.from_frame(pl.concat(list(generation.parts())))


def generate_file(
    path: str | Path,
    like: str | Profile | Any = "diginetica",
    n_rows: int = 100_000,
    *,
    n_items: int | None = None,
    days: int = 30,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = False,
) -> Path:
    """Write what `generate` makes, part after part: memory does not grow with the rows.

    Parameters
    ----------
    path : path
        Ending in ``.parquet``, ``.csv`` or ``.tsv``.
    like, n_rows, n_items, days, seed
        As in `generate`.
    overwrite : bool, default False
    progress : bool or callable
        As in `Run`.

    Returns
    -------
    Path

    Raises
    ------
    FileFormatError
        The ending is none of these.
    OutputExistsError
        The file exists and `overwrite` is False.
    ParameterError
        As in `generate`.
    """
    path = check_path("path", path)
    check_generated(path, n_rows, n_items, days)
    generation = _generation(like, n_rows, n_items, days, seed)

    def told() -> Iterator[pl.DataFrame]:
        done = 0
        for part in generation.parts():
            yield part
            done += part.height
            report(done, n_rows, "rows")

    schema = dict.fromkeys(generation.columns, pl.Int64)
    with reporter(progress) as report:
        return write_parts(told(), schema, path, overwrite=overwrite)


def check_generated(path: Path | None, n_rows: int, n_items: int | None, days: int) -> None:
    """Refuse what cannot be generated, or not be written to such a file.

    Raises
    ------
    FileFormatError, ParameterError
        As in `generate_file`.
    """
    if path is not None and path.suffix not in STREAMED:
        raise FileFormatError(
            f"Generated data are written to a .parquet, .csv or .tsv file, not to {path.name!r}; "
            "change the ending."
        )
    check_int("n_rows", n_rows, minimum=1, maximum=2**31 - 1)
    check_int("days", days, minimum=1, maximum=100_000)
    if n_items is not None:
        check_int("n_items", n_items, minimum=10, maximum=2**28)


def profile_of(data: Any, name: str = "data") -> Profile:
    """Measure the figures of data that `generate` needs.

    Parameters
    ----------
    data : Interactions or data frame
    name : str
        What the profile is called.

    Returns
    -------
    Profile
        How far a row says what the next one is (`Profile.follow`) is chosen such that in generated
        data two items come one after the other again as often as in these.
    """
    data = Interactions.from_frame(data)
    counts = np.bincount(data.item_codes, minlength=data.n_items)
    lengths = np.diff(data.sequences.offsets)
    again, back = repeats(data)
    kind: str = "users" if data.by_user else "sessions"
    sizes: Points = ()
    if data.basket_codes is not None:
        kind, sizes = "baskets", shares_up_to(np.bincount(data.basket_codes))
    elif kind == "users" and again + back > 0:
        kind = "sessions"
    profile = Profile(
        name=name,
        kind=kind,
        n_rows=data.n_rows,
        n_items=int((counts > 0).sum()),
        lengths=shares_up_to(lengths[lengths > 0]),
        popularity=shares_of_the_first(counts[counts > 0]),
        again=round(again, 4),
        back=round(back, 4),
        sizes=sizes,
    )
    return replace(profile, follow=_fitted_follow(profile, data))


def _fitted_follow(profile: Profile, data: Interactions) -> float:
    """Return `Profile.follow`, by halving: what comes again grows with it."""
    n_rows, n_items = profile.n_rows, profile.n_items
    some = data
    if n_rows > _FIT_ROWS:
        # Some whole sessions, of a catalogue that is as much smaller.
        ends = data.sequences.offsets[1:]
        last = max(1, int(np.searchsorted(ends, _FIT_ROWS)))
        some = data.keep_sources(np.arange(data.n_sources) < last)
        n_rows = some.n_rows
    counts = np.bincount(some.item_codes)
    n_items = max(10, int((counts > 0).sum()))
    like = replace(profile, popularity=shares_of_the_first(counts[counts > 0]))
    wanted = recurrence(some)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        follow = (low + high) / 2
        made = Generation(replace(like, follow=follow), n_rows, n_items, 1, 0)
        found = recurrence(Interactions.from_frame(pl.concat(list(made.parts()))))
        low, high = (follow, high) if found < wanted else (low, follow)
    return round((low + high) / 2, 2)


def _generation(
    like: str | Profile | Any, n_rows: int, n_items: int | None, days: int, seed: int
) -> Generation:
    check_generated(None, n_rows, n_items, days)
    check_int("seed", seed, minimum=0)
    if isinstance(like, str):
        if like not in PUBLISHED:
            raise ParameterError(
                f"like must be one of {', '.join(map(repr, PUBLISHED))}, or data to measure, not "
                f"{like!r}.{did_you_mean(like, PUBLISHED)}"
            )
        like = PUBLISHED[like]
    profile = like if isinstance(like, Profile) else profile_of(like)
    return Generation(profile, n_rows, n_items or profile.catalogue(n_rows), days, seed)


def _walk(
    lengths: IntArray,
    offsets: IntArray,
    profile: Profile,
    ring: Ring,
    generator: Generator,
    earlier: IntArray | None = None,
) -> IntArray:
    """Draw the places of sessions on the ring, one session after another; int64 [sum of lengths].

    Rows go back to so many of the first of their session as `earlier` says, int64 [sum of
    lengths]; to any but the one before if absent.
    """
    places = generator.integers(0, 2**_BITS, int(lengths.sum()))
    # The longest first: those that are not at their end are the first of them.
    order = np.argsort(-lengths, kind="stable")
    start, length = offsets[order], lengths[order]
    for step in range(1, int(length[0])):
        here = start[: int(np.searchsorted(-length, -step))] + step
        draw, which = generator.random((2, len(here)))
        before = places[here - 1]
        n_earlier = step - 1 if earlier is None else earlier[here]
        again, back = profile.again, profile.again + profile.back
        follows = draw > 1.0 - (1.0 - back) * profile.follow
        places[here[follows]] = ring.follow(before[follows], which[follows])
        goes_back = (draw < back) & (draw >= again) & (n_earlier > 0)
        to = (which * n_earlier).astype(np.int64)
        places[here[goes_back]] = places[(here - step + to)[goes_back]]
        same = draw < again
        places[here[same]] = before[same]
    return places
