"""Experiments: remove, retrain, compare, with controls and intervals.

The public names stand in the stub beside this file. They are loaded when they are asked for: most
experiments on neighbour models need no torch.
"""

from whence._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
