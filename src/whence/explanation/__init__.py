"""Explanations of recommendations by the events of the history that they follow."""

from whence.explanation._explain import explain
from whence.explanation.counterfactuals import Counterfactual
from whence.explanation.many import Explanations, explain_many
from whence.explanation.result import Explanation

__all__ = [
    "Counterfactual",
    "Explanation",
    "Explanations",
    "explain",
    "explain_many",
]
