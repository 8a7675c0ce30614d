"""Where work runs: threads of this machine, and their memory."""

from whence.engines.memory import kept_memory
from whence.engines.sharing import Shared
from whence.engines.threads import map_ordered, thread_count

__all__ = ["Shared", "kept_memory", "map_ordered", "thread_count"]
