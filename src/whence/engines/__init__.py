"""Where and how work runs: jobs, threads, processes, Ray, progress, checkpoints, memory."""

from whence.engines.checkpoints import Checkpoints, claimed, identity_of, keeping
from whence.engines.cluster import RayCluster
from whence.engines.jobs import ENGINES, Engine, Interrupted, Job, ListJob, cut, run
from whence.engines.memory import kept_memory
from whence.engines.processes import Processes
from whence.engines.progress import Progress, Report, part_of, reporter
from whence.engines.runs import Callback, Run, settled
from whence.engines.sharing import Shared
from whence.engines.threads import map_ordered, thread_count

__all__ = [
    "ENGINES",
    "Callback",
    "Checkpoints",
    "Engine",
    "Interrupted",
    "Job",
    "ListJob",
    "Processes",
    "Progress",
    "RayCluster",
    "Report",
    "Run",
    "Shared",
    "claimed",
    "cut",
    "identity_of",
    "keeping",
    "kept_memory",
    "map_ordered",
    "part_of",
    "reporter",
    "run",
    "settled",
    "thread_count",
]
