"""Where work runs: threads of this machine."""

from whence.engines.threads import map_ordered, thread_count

__all__ = ["map_ordered", "thread_count"]
