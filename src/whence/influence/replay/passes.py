"""Passes through training, each of one run and some outcomes, as a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from whence import engines
from whence.engines import Checkpoints, Job, Report, part_of
from whence.influence.replay.replayed import Replayed
from whence.models.training.loop import torch_threads

FloatArray = npt.NDArray[np.float64]
Pass = tuple[int, tuple[int, int] | None]
"""Number of the run, and the first outcome and the one after the last; None: their mean."""
Take = Callable[[int, Any, FloatArray], None]
Part = tuple[Pass, FloatArray, float]


@dataclass(frozen=True)
class Passes(Job[int, Part, None]):
    """Values by passes through training; a shard is the place of one among `passes`.

    Attributes
    ----------
    method : Replay
    replayed : Replayed
    take : callable, optional
        Is given the run, the outcomes and the values, float64 [k, n].
    report : callable, optional
        Is told of the steps.
    kept : Checkpoints, optional
        Of what is done.
    passes : sequence of Pass
    """

    alone = True

    method: Any
    replayed: Replayed
    take: Take | None
    report: Report | None
    kept: Checkpoints | None
    passes: Sequence[Pass]

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs."""
        return {**vars(self), "take": None, "report": None, "kept": None}

    def run(self, shard: int) -> Part:
        """Go through training, and back."""
        number, outcomes = self.passes[shard]
        told: Report = _silent
        if self.report is not None:
            told = part_of(self.report, shard, len(self.passes))
        with torch_threads(self.replayed.model.torch_threads):
            values = self.method._of_run(self.replayed, number, outcomes, told, self.kept)
        return (number, outcomes), values, self.replayed.difference

    def start(self) -> None:
        """Values are taken one by one."""

    def add(self, total: None, part: Part) -> None:
        """Take the values of a pass, and keep them."""
        (number, outcomes), values, difference = part
        self.replayed.difference = max(self.replayed.difference, difference)
        stage = stage_of(number, outcomes)
        if self.kept is not None and self.kept.load(stage) is None:
            self.kept.save(stage, values)
        if self.take is not None:
            self.take(number, outcomes, values)


def gone_through(job: Passes) -> None:
    """Have the values of all passes, in their order; those that were kept are not done again."""
    run, passes, done = job.replayed.run, job.passes, 0
    assert job.kept is not None
    assert job.take is not None
    while done < len(passes):
        values = job.kept.load(stage_of(*passes[done]))
        if values is None:
            break
        job.take(*passes[done], np.asarray(values))
        done += 1
    if run.engine == "threads":  # one after another in this process, each tells of its own steps
        run = run.changed(progress=False)
    else:
        job = replace(job, report=None)
    engines.run(job, range(done, len(passes)), run, message="going through training")


def stage_of(number: int, outcomes: tuple[int, int] | None) -> str:
    """Name of what is kept of a pass."""
    return f"run-{number}" + ("" if outcomes is None else f"-{outcomes[0]}")


def _silent(done: float, total: float, message: str) -> None:
    """Say nothing."""
