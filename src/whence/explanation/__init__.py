"""Explanations of recommendations by the events of the history that they follow."""

from whence.explanation.counterfactuals import Counterfactual
from whence.explanation.explainer import Explainer
from whence.explanation.many import Explanations
from whence.explanation.reasons import because
from whence.explanation.result import Explanation
from whence.explanation.shortcuts import explain, explain_many
from whence.explanation.why_not import WhyNot

__all__ = [
    "Counterfactual",
    "Explainer",
    "Explanation",
    "Explanations",
    "WhyNot",
    "because",
    "explain",
    "explain_many",
]
