"""Training by gradients: examples, losses, the loop, checkpoints and logs."""

from whence.models.training.checkpoints import Checkpoint, load_checkpoints
from whence.models.training.differentiable import DifferentiableRecommender
from whence.models.training.examples import (
    Batch,
    Examples,
    PairExamples,
    RatingExamples,
    WindowExamples,
)

__all__ = [
    "Batch",
    "Checkpoint",
    "DifferentiableRecommender",
    "Examples",
    "PairExamples",
    "RatingExamples",
    "WindowExamples",
    "load_checkpoints",
]
