"""Influence: which training examples taught a model its predictions."""

from whence.influence.functions import InfluenceFunction, to_optimum
from whence.influence.layers import register_layer
from whence.influence.losses import InformationGain, OrderGain, TrainingLoss, TrimmedLoss
from whence.influence.projection import TracInRandomProjection
from whence.influence.queries import QueryExamples, query_examples
from whence.influence.replay import Prediction, Replay, smooth
from whence.influence.result import Influence
from whence.influence.tracin import TracIn
from whence.influence.trak import TRAK

__all__ = [
    "TRAK",
    "Influence",
    "InfluenceFunction",
    "InformationGain",
    "OrderGain",
    "Prediction",
    "QueryExamples",
    "Replay",
    "TracIn",
    "TracInRandomProjection",
    "TrainingLoss",
    "TrimmedLoss",
    "query_examples",
    "register_layer",
    "smooth",
    "to_optimum",
]
