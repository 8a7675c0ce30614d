"""How a model is trained: the arguments of `fit` that are not the model's own, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError, check_int

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Run:
    """One run of training.

    Attributes
    ----------
    metric : str or None
        Validated by; higher is better, except for rmse, mae and loss.
    eval_every : int
        Epochs between validations.
    patience : int or None
        Validations without a better value after which training stops.
    checkpoints : int, sequence of int, or None
        Keep every n-th epoch and the last, exactly these epochs, or none.
    folder : Path or None
        Where checkpoints and logs go.
    resume : bool
        Go on from the last checkpoint in `folder`.
    tensorboard : bool
        Write event files into ``folder/tensorboard``.
    progress : bool or callable
        Show a bar, or call ``progress(epochs done, epochs, message)``.
    threads : int
        Threads of torch; with one, the numbers are the same on every machine of a kind.
    without : int64 array
        Numbers of examples that are left out.
    """

    metric: Any = None
    eval_every: int = 1
    patience: int | None = None
    checkpoints: int | Sequence[int] | None = None
    folder: Path | None = None
    resume: bool = False
    tensorboard: bool = False
    progress: bool | Progress = False
    threads: int = 1
    without: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        check_int("eval_every", self.eval_every, minimum=1)
        check_int("threads", self.threads, minimum=1)
        if self.patience is not None:
            check_int("patience", self.patience, minimum=1)
        if isinstance(self.checkpoints, Sequence):
            for epoch in self.checkpoints:
                check_int("checkpoints", epoch, minimum=1)
        elif self.checkpoints is not None:
            check_int("checkpoints", self.checkpoints, minimum=1)
        if self.folder is None and (self.resume or self.tensorboard):
            wish = "resume" if self.resume else "tensorboard"
            raise ParameterError(f"{wish}=True needs a folder; say which with folder='...'.")

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
