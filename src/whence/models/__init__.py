"""Recommenders: one protocol, many models.

They are loaded when they are first used, and so are the packages that some of them need.
"""

from whence._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
