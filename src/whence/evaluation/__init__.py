"""Evaluation of recommenders: queries, metrics, tests of differences."""

from whence.evaluation._names import METRICS, register_metric
from whence.evaluation.asking import make_queries, queries_for
from whence.evaluation.comparison import Comparison, compare
from whence.evaluation.evaluate import evaluate
from whence.evaluation.metrics import Metric
from whence.evaluation.parsing import parse_metric
from whence.evaluation.queries import Queries, user_queries
from whence.evaluation.result import Evaluation

__all__ = [
    "METRICS",
    "Comparison",
    "Evaluation",
    "Metric",
    "Queries",
    "compare",
    "evaluate",
    "make_queries",
    "parse_metric",
    "queries_for",
    "register_metric",
    "user_queries",
]
