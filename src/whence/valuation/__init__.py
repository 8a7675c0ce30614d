"""Valuation: how much of a metric each part of the training data is responsible for."""

from whence.valuation.baselines import LengthValue, PopularityValue, RandomValue
from whence.valuation.leave_one_out import LeaveOneOut
from whence.valuation.retraining import RetrainingLeaveOneOut, RetrainingShapley
from whence.valuation.semivalues import Banzhaf, BetaShapley, Semivalue, Shapley

__all__ = [
    "Banzhaf",
    "BetaShapley",
    "LeaveOneOut",
    "LengthValue",
    "PopularityValue",
    "RandomValue",
    "RetrainingLeaveOneOut",
    "RetrainingShapley",
    "Semivalue",
    "Shapley",
]
