"""Training examples and queries in words: whose they are, and the titles of their items."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.data import Interactions
from whence.errors import UnsupportedError

IntArray = npt.NDArray[np.int64]
_OWN = ("rank", "score", "example", "target", "sequence")


@dataclass(frozen=True)
class Describer:
    """Knows the training data and the queries.

    Attributes
    ----------
    train : Interactions
    of_train : Examples
    of_queries : QueryExamples or None
    """

    train: Interactions
    of_train: Any
    of_queries: Any

    def examples(self, numbers: IntArray) -> dict[str, Any]:
        """Columns about training examples: source, target and the sequence before it."""
        source = self.train.source_ids[self.of_train.sources(numbers)]
        rows, offsets = self.of_train.rows(numbers)
        code_of_row = np.empty(self.train.n_rows, dtype=np.int64)
        code_of_row[self.train.rows] = self.train.item_codes
        codes = code_of_row[rows]
        windows = [codes[a:b] for a, b in itertools.pairwise(offsets)]
        return {
            self.train.columns.beside(source.name, _OWN): source,
            "target": self._names(np.array([w[-1] for w in windows], dtype=np.int64)),
            "sequence": self._lists([window[:-1] for window in windows]),
        }

    def queries(self) -> pl.DataFrame:
        """One row per query: ids, target, and the sequence before it.

        Raises
        ------
        UnsupportedError
            If what was asked cannot be described.
        """
        if self.of_queries is None:
            raise UnsupportedError(
                "What these values are about are no queries of validation or test data, so that "
                "there is no table of them."
            )
        asked = self.of_queries
        ids: pl.DataFrame = asked.ids.drop("target").with_row_index("query")
        return ids.with_columns(
            target=self._names(asked.targets),
            sequence=self._lists([asked.history(q).astype(np.int64) for q in range(len(asked))]),
        )

    def _names(self, codes: IntArray) -> pl.Series:
        """Titles of items, ids where there is none."""
        ids = self.train.vocabulary.items.gather(codes)
        titles = self.train.item_titles
        if titles is None:
            return ids
        named = titles.gather(codes)
        return pl.select(pl.coalesce(named, ids.cast(pl.String))).to_series()

    def _lists(self, windows: list[IntArray]) -> pl.Series:
        flat = self._names(np.concatenate([*windows, np.empty(0, dtype=np.int64)]))
        ends = np.cumsum([0, *map(len, windows)])
        parts = [flat[int(a) : int(b)] for a, b in itertools.pairwise(ends)]
        return pl.Series(parts, dtype=pl.List(flat.dtype))
