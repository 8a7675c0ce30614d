"""The one result type: how much of an outcome each source is credited with; and its methods."""

from whence.attribution.method import METHODS, Attributor
from whence.attribution.record import OWN_COLUMNS, describe_run
from whence.attribution.result import Attribution, as_backend

__all__ = ["METHODS", "OWN_COLUMNS", "Attribution", "Attributor", "as_backend", "describe_run"]
