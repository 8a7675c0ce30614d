"""What rows were kept of: the data before some of their rows were taken away.

A model that is trained again without some rows is to differ by what these rows taught it, and by
nothing else. So the random numbers of training (the order of the examples, their negatives) belong
to places in the data that the rows come from, which do not move when rows go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Whole:
    """The data that rows were kept of, as far as they number what is left.

    Attributes
    ----------
    places : int64 array [n_rows]
        Place of each row that was kept, in canonical order, in that of the whole.
    source_codes : int32 array [N]
        Numbers of the sources of all rows of the whole, in canonical order.
    n_sources : int
    frame : polars.DataFrame, optional
        The table of the whole, which is not saved with it.
    """

    places: NDArray[np.int64]
    source_codes: NDArray[np.int32]
    n_sources: int
    frame: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        self.places.flags.writeable = False

    @classmethod
    def from_tables(cls, tables: Mapping[str, pl.DataFrame], n_sources: int) -> Whole:
        """What `to_tables` made tables of."""
        places, codes = (tables[name].to_series().to_numpy() for name in ("places", "whole"))
        return cls(places.astype(np.int64), codes.astype(np.int32), n_sources)

    def to_tables(self) -> dict[str, pl.DataFrame]:
        """As tables, to be saved."""
        return {
            "places": pl.DataFrame({"place": self.places}),
            "whole": pl.DataFrame({"source": self.source_codes}),
        }

    @property
    def is_complete(self) -> bool:
        """Whether no row was taken away."""
        return len(self.places) == len(self.source_codes)

    def kept(self, canonical: NDArray[np.bool_]) -> Whole:
        """Of fewer rows: those of a mask in canonical order."""
        return replace(self, places=self.places[canonical])

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each source begins among all rows grouped by source, int64 [n_sources + 1]."""
        counts = np.bincount(self.source_codes, minlength=self.n_sources)
        return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)

    @cached_property
    def grouped_places(self) -> NDArray[np.int64]:
        """Place of each row that was kept among all rows grouped by source, int64 [n_rows].

        In the order of `Interactions.sequences`: the rows that were kept, grouped by source.
        """
        place = np.empty(len(self.source_codes), dtype=np.int64)
        place[np.argsort(self.source_codes, kind="stable")] = np.arange(len(place))
        # Kept rows are in the same order in their groups as all rows are.
        return np.sort(place[self.places])
