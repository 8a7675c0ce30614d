"""Acting on values: find corrupted sources, remove harmful ones, withhold; see what that changes.

What rests on influence functions needs torch; all is loaded when it is first used.
"""

from whence._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
