"""Explanations of recommendations by the events of the history that they follow."""

from whence.explanation.counterfactuals import Counterfactual
from whence.explanation.explainer import Explainer
from whence.explanation.many import Explanations
from whence.explanation.result import Explanation
from whence.explanation.shortcuts import explain, explain_many

__all__ = [
    "Counterfactual",
    "Explainer",
    "Explanation",
    "Explanations",
    "explain",
    "explain_many",
]
