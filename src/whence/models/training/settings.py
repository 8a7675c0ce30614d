"""How a model is trained: the run, and the other arguments of `fit`, checked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.engines import Run
from whence.errors import ParameterError, check_int, check_interval


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a model is trained.

    Attributes
    ----------
    run : Run
        With the folder of checkpoints and logs, whether to resume, progress and callbacks.
    metric : str or list of str
        Validated by; higher is better, except for rmse, mae and loss.
    eval_every : int
        Epochs between validations.
    patience : int or None
        Validations without a better value after which training stops.
    checkpoints : int, sequence of int, or None
        Keep every n-th epoch and the last, exactly these epochs, or none.
    checkpoint_every : int, str or None
        Steps, or time such as ``"10min"``, after which the state within an epoch is kept.
    tensorboard : bool
        Write event files into ``folder/tensorboard``.
    without : int64 array
        Numbers of examples that are left out.
    """

    run: Run = field(default_factory=Run)
    metric: Any = "mrr@10"
    eval_every: int = 1
    patience: int | None = None
    checkpoints: int | Sequence[int] | None = None
    checkpoint_every: int | str | None = "10min"
    tensorboard: bool = False
    without: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        check_int("eval_every", self.eval_every, minimum=1)
        if self.patience is not None:
            check_int("patience", self.patience, minimum=1)
        if isinstance(self.checkpoints, Sequence):
            for epoch in self.checkpoints:
                check_int("checkpoints", epoch, minimum=1)
        elif self.checkpoints is not None:
            check_int("checkpoints", self.checkpoints, minimum=1)
        if self.checkpoint_every is not None:
            check_interval("checkpoint_every", self.checkpoint_every)
        if self.tensorboard and self.folder is None:
            raise ParameterError(
                "tensorboard=True needs a folder; say which with run=whence.Run(folder='...')."
            )

    @property
    def folder(self) -> Path | None:
        """Where checkpoints and logs go."""
        return None if self.run.folder is None else Path(self.run.folder)

    def numbers(self, n: int) -> npt.NDArray[np.int64]:
        """Numbers of the examples trained on, of `n` in all, ascending.

        Raises
        ------
        ParameterError
            If `without` names an example that does not exist, or all of them.
        """
        if len(self.without) and not (self.without.min() >= 0 and self.without.max() < n):
            raise ParameterError(
                f"without must hold numbers of examples, 0 to {n - 1}; "
                f"{int(self.without.max())} is none."
            )
        kept = np.setdiff1d(np.arange(n, dtype=np.int64), self.without)
        if not len(kept):
            raise ParameterError("without leaves no example to train on; leave out fewer.")
        return kept

    def keeps(self, epoch: int, last: bool) -> bool:
        """Whether the checkpoint of an epoch is kept."""
        if self.checkpoints is None:
            return False
        if isinstance(self.checkpoints, Sequence):
            return epoch in self.checkpoints
        return last or epoch % self.checkpoints == 0


class Clock:
    """Says when the state within an epoch is to be kept.

    Parameters
    ----------
    steps : int, optional
        After so many steps.
    seconds : float, optional
        Or after this time. Without both, never.
    """

    def __init__(self, steps: int | None = None, seconds: float | None = None) -> None:
        self._steps, self._seconds = steps, seconds
        self.begin()

    @classmethod
    def of(cls, settings: TrainingSettings) -> Clock:
        """That of a training."""
        if settings.folder is None or settings.checkpoint_every is None:
            return cls()
        return cls(*check_interval("checkpoint_every", settings.checkpoint_every))

    def begin(self) -> None:
        """Count from now."""
        self._done, self._began = 0, time.monotonic()

    def strikes(self) -> bool:
        """Count a step; whether it is time."""
        self._done += 1
        if self._steps is not None:
            return self._done >= self._steps
        return self._seconds is not None and time.monotonic() - self._began >= self._seconds
