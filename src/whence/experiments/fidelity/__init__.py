"""Do values predict what retraining does? Masks, retrainings, methods side by side."""

from whence.experiments.fidelity.experiment import FidelityExperiment
from whence.experiments.fidelity.result import FidelityResult

__all__ = ["FidelityExperiment", "FidelityResult"]
