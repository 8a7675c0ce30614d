"""Influence functions, the way to the optimum that they need, and whether they are right."""

from whence.influence.functions.influence import InfluenceFunction
from whence.influence.functions.objective import Objective
from whence.influence.functions.optimum import Descent, descend, relative_gradient, to_optimum
from whence.influence.functions.outcomes import Question, ask
from whence.influence.functions.reading import factor_loss, objective_of
from whence.influence.functions.solvers import Settings, solve

__all__ = [
    "Descent",
    "InfluenceFunction",
    "Objective",
    "Question",
    "Settings",
    "ask",
    "descend",
    "factor_loss",
    "objective_of",
    "relative_gradient",
    "solve",
    "to_optimum",
]
