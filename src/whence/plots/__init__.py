"""Pictures of plain tables, in one visual language."""

from whence.plots.curves import detection_curve, removal_curve
from whence.plots.style import dark, picture
from whence.plots.values import distribution, ranked

__all__ = ["dark", "detection_curve", "distribution", "picture", "ranked", "removal_curve"]
