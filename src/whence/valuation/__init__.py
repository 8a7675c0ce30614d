"""Valuation: how much of a metric each part of the training data is responsible for."""

from whence.valuation.leave_one_out import LeaveOneOut
from whence.valuation.semivalues import Banzhaf, BetaShapley, Shapley

__all__ = [
    "Banzhaf",
    "BetaShapley",
    "LeaveOneOut",
    "Shapley",
]
