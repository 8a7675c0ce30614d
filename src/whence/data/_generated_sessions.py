"""How generated sessions come about, the clean and the corrupted ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

from whence.data._catalogue import Catalogue

IntArray = NDArray[np.int64]
Flat = tuple[IntArray, IntArray]  # items one after another, and the length of each sequence

_EPOCH = 1_700_000_000  # seconds; any point in time would do
_DAY = 86_400
_COPIES = 10  # of one duplicated session
_PUSHED = 10  # items that all bots push


def session_frame(
    flat: Flat,
    starts: IntArray,
    ids: IntArray,
    labels: Sequence[str] | None,
    catalogue: Catalogue,
    generator: Generator,
) -> pl.DataFrame:
    """Return sessions as a log of clicks, in order of time."""
    items, lengths = flat
    gaps = generator.integers(5, 120, len(items))
    elapsed = np.cumsum(gaps)
    begin = np.cumsum(lengths) - lengths
    owner = np.repeat(np.arange(len(lengths)), lengths)
    frame = pl.DataFrame(
        {
            "session_id": ids[owner],
            "item_id": catalogue.ids[items],
            "timestamp": starts[owner] + elapsed - elapsed[begin[owner]],
        }
    )
    if labels is not None:
        names = pl.Series("corruption", labels, dtype=pl.String)
        frame = frame.with_columns(names.gather(owner))
    return frame.sort("timestamp", maintain_order=True)


def corrupted_sequences(
    n: int,
    kinds: Sequence[str],
    mean_length: float,
    catalogue: Catalogue,
    generator: Generator,
) -> tuple[Flat, list[str]]:
    """Return n corrupted sessions in equal parts of each kind, and their labels."""
    n_pushed = min(_PUSHED, catalogue.n_items // 2)
    pushed = generator.choice(catalogue.n_items, size=n_pushed, replace=False)
    sequences: list[IntArray] = []
    labels: list[str] = []
    template = np.empty(0, dtype=np.int64)
    for number in range(n):
        kind = kinds[number % len(kinds)]
        length = int(1 + generator.geometric(1.0 / mean_length))
        if kind == "shuffled":
            sequence = _shuffled(length + 4, catalogue, generator)
        elif kind == "bot":
            length = int(generator.integers(int(2 * mean_length), int(4 * mean_length)))
            bait = catalogue.anywhere(length // 2, generator)
            sequence = generator.permutation(
                np.concatenate([bait, generator.choice(pushed, length - len(bait))])
            )
        else:
            if number // len(kinds) % _COPIES == 0:
                template = _shuffled(int(2 * mean_length), catalogue, generator)
            sequence = np.delete(template, generator.integers(len(template)))
        sequences.append(sequence)
        labels.append(kind)
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    items = np.concatenate(sequences) if sequences else np.empty(0, dtype=np.int64)
    return (items, lengths), labels


def _shuffled(length: int, catalogue: Catalogue, generator: Generator) -> IntArray:
    """Return popular items of a few clusters between items from anywhere."""
    clusters = generator.choice(catalogue.clusters(2, generator), size=length // 2)
    bait = catalogue.popular(clusters, generator)
    noise = generator.integers(catalogue.n_items, size=length - len(bait))
    return generator.permutation(np.concatenate([bait, noise]))


def starts_between(n: int, first_day: float, days: float, generator: Generator) -> IntArray:
    return _EPOCH + ((first_day + generator.random(n) * days) * _DAY).astype(np.int64)


def join(first: Flat, second: Flat) -> Flat:
    return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])
