"""How work is done: the one place for seed, threads, progress, folder and resumption."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from whence.engines.progress import Progress
from whence.engines.threads import thread_count
from whence.errors import ParameterError, check_int

Callback = Callable[[Mapping[str, Any]], object]
"""Gets the record of each epoch: epoch, loss, learning rate, seconds, metrics; or of each round of
sampled values: round, relative_error, forecast."""

DEFAULT_SEED = 42


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """How work is done; every `fit`, `attribute`, `solve` and experiment takes one as ``run=``.

    Parameters
    ----------
    seed : int, optional
        Of the random numbers; that of the method (42 by default) if absent.
    threads : int, optional
        That of the method if absent, which is every core by default. Results do not depend on it.
    progress : bool or callable
        True: a bar on a terminal, elsewhere a line every ten seconds. A callable is called as
        ``progress(done, total, message)``.
    folder : path, optional
        Where work that is not finished is kept, every few seconds, and where training puts its
        checkpoints and logs.
    resume : bool
        Go on with the unfinished work in `folder`; the result is the same, bit for bit, as if it
        had never been broken off.
    engine : str
        Where work runs: "threads" of this process, "processes" of this machine, which retrain
        several models at once, or "ray": the processors of a cluster, or of this machine.
        Results do not depend on it.
    address : str, optional
        Of the Ray cluster, such as "10.0.0.1:6379"; "auto" for the one that this machine is part
        of. By default Ray is started on this machine alone, until the process ends.
    callbacks : sequence of callable
        Called with the record of each epoch of training, and of each round of sampled values: what
        it will take, and how precise it will be (a dict).

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=100, seed=1)
    >>> model = whence.VMISKNN(k=20, m=50).fit(data.train)
    >>> run = whence.Run(seed=1, threads=1)
    >>> whence.Shapley("mrr@10").attribute(model, data.validation, run=run).metadata["seed"]
    1
    """

    seed: int | None = None
    threads: int | None = None
    progress: Progress = False
    folder: str | Path | None = None
    resume: bool = False
    engine: str = "threads"
    address: str | None = None
    callbacks: Sequence[Callback] = ()

    def __post_init__(self) -> None:
        if self.seed is not None:
            check_int("seed", self.seed, minimum=0, maximum=2**63 - 1)
        if self.threads is not None:
            check_int("threads", self.threads, minimum=1)
        if not (isinstance(self.progress, bool) or callable(self.progress)):
            raise ParameterError(
                f"progress must be True, False or a function of (done, total, message), not "
                f"{self.progress!r}."
            )
        if self.resume and self.folder is None:
            raise ParameterError("resume=True needs a folder; say which with folder='...'.")
        from whence.engines.jobs import ENGINES

        ENGINES[self.engine].check(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process does a part of the work: in threads, silently, and keeps nothing."""
        return _elsewhere, (self.seed, self.threads)

    def __copy__(self) -> Run:
        return self

    def __deepcopy__(self, memo: Any) -> Run:
        return self

    @property
    def n_threads(self) -> int:
        """Number of threads: those asked for, else every core allowed."""
        return thread_count(self.threads)

    def changed(self, **changes: Any) -> Run:
        """Return the same run with other settings."""
        return dataclasses.replace(self, **changes)


def settled(run: Run | None, method: Any) -> Run:
    """Return how a method's work is done: the run, and the method's own where it says nothing.

    Parameters
    ----------
    run : Run or None
    method : object
        With ``seed`` and ``threads``, if it has them.
    """
    if run is not None and not isinstance(run, Run):
        raise ParameterError(f"run must be a whence.Run, not {run!r}; write run=whence.Run(...).")
    run = Run() if run is None else run
    seed = getattr(method, "seed", DEFAULT_SEED) if run.seed is None else run.seed
    threads = getattr(method, "threads", None) if run.threads is None else run.threads
    return run.changed(seed=seed, threads=threads)


def _elsewhere(seed: int | None, threads: int | None) -> Run:
    return Run(seed=seed, threads=threads)
