"""Acting on values: find corrupted sources, remove the harmful ones, see what that changes."""

from whence.curation.detection import detection_curve, detection_report, find_corrupted
from whence.curation.pruning import best_fraction, prune, prune_curve

__all__ = [
    "best_fraction",
    "detection_curve",
    "detection_report",
    "find_corrupted",
    "prune",
    "prune_curve",
]
