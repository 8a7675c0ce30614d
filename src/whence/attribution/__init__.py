"""The one result type: how much of an outcome each source is credited with."""

from whence.attribution.record import describe_run
from whence.attribution.result import Attribution, as_backend

__all__ = ["Attribution", "as_backend", "describe_run"]
