"""Experiments: remove, retrain, compare, with controls and intervals."""

from whence.experiments.corruption import CorruptionExperiment
from whence.experiments.corruption_results import CorruptionResult
from whence.experiments.disclosure import DisclosureExperiment, DisclosureResult
from whence.experiments.explanation_fidelity import ExplanationFidelityExperiment
from whence.experiments.explanation_results import ExplanationFidelityResult
from whence.experiments.fidelity import FidelityExperiment, FidelityResult
from whence.experiments.forgetting import ForgettingExperiment, ForgettingResult
from whence.experiments.opponents import OpponentsExperiment
from whence.experiments.pruning import PruneExperiment
from whence.experiments.pruning_results import PruneResult
from whence.experiments.removal import RemovalExperiment
from whence.experiments.removal_results import RemovalResult
from whence.experiments.results import OpponentsResult
from whence.experiments.scaling import ScalingExperiment, ScalingResult

__all__ = [
    "CorruptionExperiment",
    "CorruptionResult",
    "DisclosureExperiment",
    "DisclosureResult",
    "ExplanationFidelityExperiment",
    "ExplanationFidelityResult",
    "FidelityExperiment",
    "FidelityResult",
    "ForgettingExperiment",
    "ForgettingResult",
    "OpponentsExperiment",
    "OpponentsResult",
    "PruneExperiment",
    "PruneResult",
    "RemovalExperiment",
    "RemovalResult",
    "ScalingExperiment",
    "ScalingResult",
]
