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
from whence.influence.places import Targets

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
_OWN = ("rank", "score", "example", "place", "place_score", "target", "sequence")


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

    def examples(
        self, numbers: IntArray, terms: FloatArray | None = None, sign: int = 1
    ) -> dict[str, Any]:
        """Columns about training examples: source, target and the sequence before it.

        With scores of the terms of their losses, these are of the place with the highest score
        (lowest, for a sign of -1), and there are columns for it.
        """
        source = self.train.source_ids[self.of_train.sources(numbers)]
        rows, offsets = self.of_train.rows(numbers)
        code_of_row = np.empty(self.train.n_rows, dtype=np.int64)
        code_of_row[self.train.rows] = self.train.item_codes
        codes = code_of_row[rows]
        windows = [codes[a:b] for a, b in itertools.pairwise(offsets)]
        columns: dict[str, Any] = {self.train.columns.beside(source.name, _OWN): source}
        if terms is not None:
            windows, columns["place"], columns["place_score"] = self._strongest(
                windows, numbers, terms, sign
            )
        return {
            **columns,
            "target": self._names(np.array([w[-1] for w in windows], dtype=np.int64)),
            "sequence": self._lists([window[:-1] for window in windows]),
        }

    def _strongest(
        self, windows: list[IntArray], numbers: IntArray, terms: FloatArray, sign: int
    ) -> tuple[list[IntArray], IntArray, FloatArray]:
        """Windows up to the target that did most, its place in them, and its score."""
        targets = Targets.of(self.of_train, numbers)
        assert targets is not None
        cut, places, scores = [], [], []
        for window, (first, last) in zip(windows, itertools.pairwise(targets.offsets)):
            chosen = int(np.argmax(sign * terms[first:last]))
            # The targets are the last rows of a window.
            end = len(window) - int(last - first) + chosen + 1
            cut.append(window[:end])
            places.append(end)
            scores.append(terms[first + chosen])
        return cut, np.array(places, dtype=np.int64), np.array(scores, dtype=np.float64)

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
