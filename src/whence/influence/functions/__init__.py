"""Influence functions, the way to the optimum that they need, and whether they are right."""

from whence.influence.functions.influence import InfluenceFunction
from whence.influence.functions.optimum import Descent, to_optimum

__all__ = ["Descent", "InfluenceFunction", "to_optimum"]
