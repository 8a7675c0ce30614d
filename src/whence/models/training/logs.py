"""What training tells: progress, a record per epoch to callbacks and files, curves."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from whence.engines import reporter
from whence.errors import UnsupportedError
from whence.models.training.settings import TrainingSettings

_LOGGER = logging.getLogger("whence")
_BATCHES = 16
"""Between two reports of progress."""


class Log:
    """What is told of training, to everybody who asked; a context manager.

    Parameters
    ----------
    settings : TrainingSettings
    title : str
        What is trained.
    epochs : int
    """

    def __init__(self, settings: TrainingSettings, title: str, epochs: int) -> None:
        self._settings = settings
        self._title, self._epochs = title, epochs
        self._file = None if settings.folder is None else settings.folder / "log.jsonl"
        self._writer: Any = None
        self._open = ExitStack()
        self._done = 0
        self._told = ""

    def __enter__(self) -> Log:
        if self._settings.tensorboard:
            assert self._settings.folder is not None
            self._writer = _writer(self._settings.folder / "tensorboard")
            self._open.callback(self._writer.close)
        progress = reporter(self._settings.run.progress, f"Training {self._title}")
        self._report = self._open.enter_context(progress)
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def resume(self, history: list[dict[str, Any]]) -> None:
        """Start the file anew with the epochs done, dropping what an interrupted run added."""
        self._done = len(history)
        if self._file is not None:
            lines = "".join(json.dumps(entry) + "\n" for entry in history)
            self._file.write_text(lines, encoding="utf-8")

    def batch(self, number: int, of: int) -> None:
        """A batch is done."""
        if number % _BATCHES == 0 and number < of:
            self._report(self._done + number / of, self._epochs, self._told)

    def epoch(self, entry: dict[str, Any]) -> None:
        """An epoch is done."""
        self._done += 1
        metrics = entry.get("metrics", {})
        parts = [f"loss {entry['loss']:.4f}", *(f"{k} {v:.4f}" for k, v in metrics.items())]
        self._told = ", ".join(parts)
        place = f"epoch {entry['epoch']} of {self._epochs}"
        _LOGGER.info("%s, %s: %s (%.1f s)", self._title, place, self._told, entry["seconds"])
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        if self._writer is not None:
            self._curves(entry, metrics)
        for callback in self._settings.run.callbacks:
            callback(entry)
        self._report(self._done, self._epochs, self._told)

    def _curves(self, entry: dict[str, Any], metrics: dict[str, float]) -> None:
        step = entry["epoch"]
        self._writer.add_scalar("train/loss", entry["loss"], step)
        self._writer.add_scalar("train/learning_rate", entry["learning_rate"], step)
        self._writer.add_scalar("train/seconds", entry["seconds"], step)
        for name, value in metrics.items():
            self._writer.add_scalar(f"validation/{name}", value, step)
        self._writer.flush()


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UnsupportedError(
            "TensorBoard is not installed, which tensorboard=True needs; install it with "
            "pip install 'whence[tensorboard]', or leave tensorboard off."
        ) from error
    return SummaryWriter(str(folder))
