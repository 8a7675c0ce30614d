"""What training tells while it runs: a bar, a line per epoch in a file, curves in TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from whence.errors import UnsupportedError
from whence.models.training.settings import Run


class Log:
    """Progress of a run, told to everybody who asked.

    Parameters
    ----------
    settings : Run
    epochs : int
    """

    def __init__(self, settings: Run, epochs: int) -> None:
        self._settings = settings
        self._epochs = epochs
        self._file: Path | None = None if settings.folder is None else settings.folder / "log.jsonl"
        self._writer: Any = None
        self._bar: Any = None
        self._task: Any = None
        self._done = 0
        self._told = ""

    def __enter__(self) -> Log:
        if self._settings.folder is not None:
            self._settings.folder.mkdir(parents=True, exist_ok=True)
        if self._settings.tensorboard:
            assert self._settings.folder is not None
            self._writer = _writer(self._settings.folder / "tensorboard")
        if self._settings.progress is True:
            self._bar = _bar()
            self._task = self._bar.add_task("training", total=float(self._epochs), told="")
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._writer is not None:
            self._writer.close()

    def resume(self, history: list[dict[str, Any]]) -> None:
        """Start the file anew with the epochs done, dropping what an interrupted run added."""
        self._done = len(history)
        if self._file is not None:
            lines = "".join(json.dumps(entry) + "\n" for entry in history)
            self._file.write_text(lines, encoding="utf-8")
        if self._bar is not None:
            self._bar.update(self._task, completed=float(self._done))

    def batch(self, number: int, of: int) -> None:
        """A batch is done."""
        if self._bar is not None and (number % 16 == 0 or number == of):
            self._bar.update(self._task, completed=self._done + number / of)

    def epoch(self, entry: dict[str, Any]) -> None:
        """An epoch is done."""
        self._done += 1
        metrics = entry.get("metrics", {})
        parts = [f"loss {entry['loss']:.4f}", *(f"{k} {v:.4f}" for k, v in metrics.items())]
        self._told = ", ".join(parts)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        if self._bar is not None:
            self._bar.update(self._task, completed=float(self._done), told=self._told)
        elif callable(self._settings.progress):
            self._settings.progress(self._done, self._epochs, self._told)
        if self._writer is not None:
            self._curves(entry, metrics)

    def _curves(self, entry: dict[str, Any], metrics: dict[str, float]) -> None:
        step = entry["epoch"]
        self._writer.add_scalar("train/loss", entry["loss"], step)
        self._writer.add_scalar("train/learning_rate", entry["learning_rate"], step)
        self._writer.add_scalar("train/seconds", entry["seconds"], step)
        for name, value in metrics.items():
            self._writer.add_scalar(f"validation/{name}", value, step)
        self._writer.flush()


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.completed:.1f} of {task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
        console=Console(stderr=True),
    )


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UnsupportedError(
            "TensorBoard is not installed, which tensorboard=True needs; install it with "
            "pip install 'whence[tensorboard]', or leave tensorboard off."
        ) from error
    return SummaryWriter(str(folder))
