"""Reports: what folders of results hold, as one file to hand on, or to look around in."""

from whence.reporting.reports import report

__all__ = ["report"]
