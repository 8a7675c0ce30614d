"""Replayed training: exact derivatives of outcomes by the weights of all training examples."""

from whence.influence.replay.predictions import Prediction
from whence.influence.replay.replay import Replay
from whence.influence.replay.smoothness import smooth

__all__ = ["Prediction", "Replay", "smooth"]
