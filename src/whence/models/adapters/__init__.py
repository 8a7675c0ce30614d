"""Recommenders of other libraries, as recommenders of Whence; loaded when they are first used."""

from whence._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
