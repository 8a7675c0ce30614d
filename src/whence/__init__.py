"""Whence: where a recommender system's behaviour comes from.

The public names stand in the stub beside this file. They are loaded when they are first used, so
that ``import whence`` stays fast.
"""

import sys
from importlib.util import find_spec

from whence._lazy import attach

__version__ = "0.1.0"

if find_spec("whence._native") is None:
    from whence import _unbuilt

    sys.modules["whence._native"] = _unbuilt

__getattr__, __dir__, __all__ = attach(__name__, __file__)
