"""Reports: what folders of results hold, as one file to hand on, or to look around in."""

from whence.reporting.reports import report
from whence.reporting.server import explore

__all__ = ["explore", "report"]
