"""The items of generated data: clusters, popularity, and which item usually follows which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from whence.errors import ParameterError, check_int

IntArray = NDArray[np.int64]

_SUCCESSOR_SHARES = (0.6, 0.25, 0.15)  # of the first, second and third usual successor
_WITHIN_CLUSTER = 0.15  # of clicks go to some popular item of the cluster instead
_SMALLEST_CLUSTER = 4


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Items 0, 1, ... in clusters of adjacent numbers, the more popular first.

    Attributes
    ----------
    ids : int64 array [n_items]
        External ids.
    cluster : int64 array [n_items]
    cumulative : float64 array [n_items]
        Cluster number plus the cumulative popularity within the cluster.
    cluster_cumulative : float64 array [n_clusters]
        Cumulative popularity of the clusters.
    successors : int64 array [n_items, 3]
        The usual successors of each item, in its own cluster.
    """

    ids: IntArray
    cluster: IntArray
    cumulative: NDArray[np.float64]
    cluster_cumulative: NDArray[np.float64]
    successors: IntArray

    @classmethod
    def make(cls, n_items: int, n_clusters: int, generator: Generator) -> Catalogue:
        """Draw a catalogue.

        Raises
        ------
        ParameterError
            Fewer than two clusters, or fewer than four items for each.
        """
        check_int("n_clusters", n_clusters, minimum=2)
        check_int("n_items", n_items)
        if n_items < _SMALLEST_CLUSTER * n_clusters:
            raise ParameterError(
                f"n_items must be at least {_SMALLEST_CLUSTER} per cluster "
                f"({_SMALLEST_CLUSTER * n_clusters} for {n_clusters} clusters), not {n_items}."
            )
        bounds = np.linspace(0, n_items, n_clusters + 1).astype(np.int64)
        sizes: IntArray = bounds[1:] - bounds[:-1]
        first = bounds[:-1]
        cluster = np.repeat(np.arange(n_clusters), sizes)
        rank = np.arange(n_items) - first[cluster]
        weight = 1.0 / (rank + 2.0)
        total = np.bincount(cluster, weights=weight)
        within = np.cumsum(weight / total[cluster])
        cluster_weight = 1.0 / np.sqrt(np.arange(n_clusters) + 2.0)
        return cls(
            ids=100_000 + generator.permutation(n_items * 7)[:n_items],
            cluster=cluster,
            cumulative=within,
            cluster_cumulative=np.cumsum(cluster_weight / cluster_weight.sum()),
            successors=_successors(first[cluster], sizes[cluster], generator),
        )

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.ids)

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.cluster_cumulative)

    def clusters(self, n: int, generator: Generator) -> IntArray:
        """Draw clusters by popularity."""
        return _pick(self.cluster_cumulative, generator.random(n), self.n_clusters)

    def popular(self, clusters: IntArray, generator: Generator) -> IntArray:
        """Draw an item by popularity from each of the clusters given."""
        draw = clusters + generator.random(len(clusters))
        items = np.searchsorted(self.cumulative, draw, side="right")
        # Sums of floats can end a hair off the whole number: stay within the cluster.
        low = np.searchsorted(self.cluster, clusters, side="left")
        high = np.searchsorted(self.cluster, clusters, side="right") - 1
        return np.clip(items, low, high)

    def anywhere(self, n: int, generator: Generator) -> IntArray:
        """Draw items by popularity from the whole catalogue."""
        return self.popular(self.clusters(n, generator), generator)

    def walks(self, lengths: IntArray, wander: float, generator: Generator) -> IntArray:
        """Draw clean sessions of the given lengths; their items, one session after another."""
        starts = np.cumsum(lengths) - lengths
        items = np.empty(int(lengths.sum()), dtype=np.int64)
        home = self.clusters(len(lengths), generator)
        current = self.popular(home, generator)
        items[starts] = current
        for step in range(1, int(lengths.max(initial=1))):
            active = np.flatnonzero(lengths > step)
            draw = generator.random(len(active))
            follow = self.follow(current[active], generator)
            nearby = self.popular(home[active], generator)
            faraway = self.anywhere(len(active), generator)
            # A wanderer comes back: the next successor is that of the click before.
            chosen = np.where(draw < wander + _WITHIN_CLUSTER, nearby, follow)
            current[active] = chosen
            items[starts[active] + step] = np.where(draw < wander, faraway, chosen)
        return items

    def follow(self, items: IntArray, generator: Generator) -> IntArray:
        """Draw a usual successor of each item."""
        which = _pick(np.cumsum(_SUCCESSOR_SHARES), generator.random(len(items)), 3)
        followers: IntArray = self.successors[items, which]
        return followers


def _successors(first: IntArray, size: IntArray, generator: Generator) -> IntArray:
    """Return three distinct items of the same cluster for each item, itself excluded."""
    n = len(first)
    rank = np.arange(n) - first
    steps = np.argsort(generator.random((n, int(size.max()) - 1)), axis=1) + 1
    # Steps of 1 .. size - 1 around the cluster; those of the one larger size are passed over.
    fits = steps < size[:, None]
    chosen = np.argsort(~fits, axis=1, kind="stable")[:, :3]
    step = np.take_along_axis(steps, chosen, axis=1)
    successors: IntArray = first[:, None] + (rank[:, None] + step) % size[:, None]
    return successors


def _pick(cumulative: NDArray[np.float64], draw: NDArray[np.float64], n: int) -> IntArray:
    """Return where each draw from [0, 1) falls."""
    return np.minimum(np.searchsorted(cumulative, draw, side="right"), n - 1)
