"""Folders of results, as the commands write them: which files say what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from whence.errors import FileFormatError

SUMMARY, RUN, CONFIG = "summary.json", "run.json", "config.yaml"
"""RUN says what the work is, before it begins; SUMMARY is written last."""
METRICS, MODEL, LOG = "metrics.json", "model.whence", "log.jsonl"
"""Of a run of training: METRICS is written last."""
WITHIN = "checkpoints/within.pt"
"""The state within an epoch, where training can go on."""
VALUES = "values.parquet"


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises
    ------
    FileFormatError
        If it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"{path} is missing or damaged; begin anew with --overwrite."
        ) from error


def command_of(path: Path) -> str | None:
    """Return the command that a folder was written by; None for any other folder.

    Raises
    ------
    FileFormatError
        If the file that says it is damaged.
    """
    if not (path / RUN).is_file():
        return None
    found = read_json(path / RUN)
    if not isinstance(found, dict):
        raise FileFormatError(f"{path / RUN} is damaged; begin anew with --overwrite.")
    return str(found.get("command", "train"))
