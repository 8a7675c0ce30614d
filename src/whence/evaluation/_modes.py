"""How the ranks of the hits become a value: the one list of ways, by name and by number."""

from __future__ import annotations

NO_RANKS, ADDITIVE, BEST, AVERAGE_PRECISION = 0, 1, 2, 3
"""What the kernels are told; see the table in :mod:`whence.evaluation.metrics`."""

MODES = {
    "none": NO_RANKS,
    "additive": ADDITIVE,
    "best": BEST,
    "average_precision": AVERAGE_PRECISION,
}
"""The number of each ``Metric.mode`` that is of the list of one query."""
