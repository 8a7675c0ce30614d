"""`report`: what folders of results hold, as one file to hand on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whence.data.files import atomic_path
from whence.errors import ConfigError, OutputExistsError, check_path
from whence.reporting import (
    decisions,
    experiments,
    explanations,
    influence,
    metrics,
    profile,
    values,
)  # fmt: skip
from whence.reporting.blocks import Facts, Part, Section, Text
from whence.reporting.folders import Folder, read_folders
from whence.reporting.page import check_installed, render

DEFAULT = "report.html"
_MISSING = {
    "values": "No values of the training data are among these: whence value.",
    "explanations": "No explanations are among these: whence explain --all.",
}


def report(
    *folders: str | Path,
    output: str | Path = DEFAULT,
    title: str | None = None,
    queries: int | Sequence[int] = 3,
    overwrite: bool = False,
) -> Path:
    """Make one HTML file of what folders of results hold.

    The file has everything in it, and opens without a network: the profile of the data, models and
    metrics with intervals and by group, values with both ends and what they consist of,
    responsibility for single answers, proponents and opponents, explanations, disclosure,
    forgetting, experiments; whatever of it there is.

    Parameters
    ----------
    *folders : path
        That ``whence train``, ``value``, ``evaluate``, ``trace``, ``explain``, ``disclose``,
        ``forget``, ``experiment`` or ``demo`` wrote; or folders that hold such folders.
    output : path, default "report.html"
    title : str, optional
        Of the report; the names of the folders by default.
    queries : int or sequence of int, default 3
        Answers that are traced to training data, of values of neighbour models: how many, chosen
        evenly among those that were good, or their numbers, from 0.
    overwrite : bool, default False
        Replace a file that is there.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ConfigError
        If no folder is given, or one holds no results of Whence.
    FileFormatError
        If the results of one are unfinished or damaged.
    OutputExistsError
        If the file is there already.
    UnsupportedError
        If a package of the extra ``report`` is not installed.
    """
    path = check_path("output", output)
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path} exists already; choose another name with output=, or replace it with "
            "overwrite=True."
        )
    check_installed()
    read = read_folders([check_path("folders", one) for one in folders])
    if not read:
        raise ConfigError("A report needs folders of results; give at least one.")
    page = render(title or _title(read), **contents(read, queries))
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def contents(folders: Sequence[Folder], queries: int | Sequence[int] = 3) -> dict[str, Any]:
    """Return what a report of some folders consists of, as arguments of `render`."""
    found = [
        *metrics.sections(folders),
        *values.sections(folders, queries),
        *influence.sections(folders),
        *explanations.sections(folders),
        *decisions.sections(folders),
        *experiments.sections(folders),
        *profile.sections(folders),
    ]
    notes = list(dict.fromkeys(note for folder in folders for note in folder.notes))
    return {
        "sections": [_overview(folders), *found],
        "notes": notes,
        "about": _about(folders),
    }


def _title(folders: Sequence[Folder]) -> str:
    names = [folder.name for folder in folders]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _overview(folders: Sequence[Folder]) -> Section:
    """What the folders are, and what is not there."""
    facts = Facts([(folder.name, _said(folder)) for folder in folders])
    blocks: list[Any] = [facts]
    if not any(folder.values is not None for folder in folders):
        blocks.append(Text(_MISSING["values"]))
    if not any(folder.command == "explain" for folder in folders):
        blocks.append(Text(_MISSING["explanations"]))
    return Section("Overview", [Part("What is here", blocks)])


def _said(folder: Folder) -> str:
    """A folder in a line."""
    said = f"whence {folder.command}"
    model = folder.run.get("model")
    if isinstance(model, str):
        said += f", {model}"
    scores = next((one["scores"] for one in profile.counted_in(folder).values()
                   if "scores" in one), None)  # fmt: skip
    if scores:
        said += f": {', '.join(f'{name} {value:.4f}' for name, value in scores.items())}"
    if folder.values is not None:
        said += f": {folder.values.title} of {len(folder.values):,} {folder.values.noun}"
    return said


def _about(folders: Sequence[Folder]) -> str:
    versions = folders[0].run.get("versions", {})
    known = ", ".join(
        f"{name} {versions[name]}" for name in ("whence", "python") if name in versions
    )
    return f"Made by whence report of {len(folders)} folders of results ({known})."
