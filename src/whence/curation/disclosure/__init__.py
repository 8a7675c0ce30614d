"""Disclosure: what users let a recommender be trained on, against what they get out of it."""

from whence.curation.disclosure.calibration import Calibration
from whence.curation.disclosure.comparison import (
    Comparison,
    compare_strategies,
    paired_differences,
    reward,
)
from whence.curation.disclosure.disclosure import Disclosure
from whence.curation.disclosure.picture import plot_frontier
from whence.curation.disclosure.plan import DisclosurePlan
from whence.curation.disclosure.problem import DisclosureProblem
from whence.curation.disclosure.quality import quality_in_words
from whence.curation.disclosure.reliability import Reliability
from whence.curation.disclosure.strategies import STRATEGIES
from whence.curation.disclosure.willingness import (
    simulate_willingness,
    violations,
    willingness_by_category,
)

__all__ = [
    "STRATEGIES",
    "Calibration",
    "Comparison",
    "Disclosure",
    "DisclosurePlan",
    "DisclosureProblem",
    "Reliability",
    "compare_strategies",
    "paired_differences",
    "plot_frontier",
    "quality_in_words",
    "reward",
    "simulate_willingness",
    "violations",
    "willingness_by_category",
]
