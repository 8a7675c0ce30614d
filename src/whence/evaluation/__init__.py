"""Evaluation of recommenders: queries, metrics, tests of differences."""

from whence.evaluation.comparison import Comparison, compare
from whence.evaluation.evaluate import Evaluation, evaluate
from whence.evaluation.metrics import Metric, parse_metric
from whence.evaluation.queries import Queries, make_queries

__all__ = [
    "Comparison",
    "Evaluation",
    "Metric",
    "Queries",
    "compare",
    "evaluate",
    "make_queries",
    "parse_metric",
]
