"""`report`: what folders of results hold, as one file to hand on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whence._words import counted
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
from whence.reporting.results import Held, read_results
from whence.reporting.results import sections as sections_of

DEFAULT = "report.html"
_MISSING = {
    "values": "No values of the training data are among these: whence value.",
    "explanations": "No explanations are among these: whence explain --all.",
}


def report(
    *results: Any,
    output: str | Path = DEFAULT,
    title: str | None = None,
    queries: int | Sequence[int] = 3,
    overwrite: bool = False,
) -> Path:
    """Make one HTML file of what folders of results hold, and of results in memory.

    The file has everything in it, and opens without a network: the profile of the data, models and
    metrics with intervals and by group, values with both ends and what they consist of,
    responsibility for single answers, proponents and opponents, explanations, disclosure,
    forgetting, experiments; whatever of it there is.

    Parameters
    ----------
    *results : path or result
        Folders that ``whence train``, ``value``, ``evaluate``, ``trace``, ``explain``,
        ``disclose``, ``forget``, ``experiment`` or ``demo`` wrote; folders that hold such folders;
        files of values or explanations; and results in memory: values, explanations, evaluations,
        what an experiment returns, what shows itself as a table, and interactions, in whose words
        values are told.
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
        If nothing is given, or something is no result or folder of results of Whence.
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
    if not results:
        raise ConfigError("A report needs results, or folders of results; give at least one.")
    paths = [check_path("results", one) for one in results if isinstance(one, (str, Path))]
    read = read_folders([one for one in paths if not one.is_file()])
    held = read_results(
        check_path("results", one) if isinstance(one, (str, Path)) else one
        for one in results
        if not isinstance(one, (str, Path)) or Path(one).expanduser().is_file()
    )
    names = [*(one.name for one in held), *(one.name for one in read)]
    page = render(title or _title(names), **contents(read, queries, held))
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def contents(
    folders: Sequence[Folder], queries: int | Sequence[int] = 3, held: Sequence[Held] = ()
) -> dict[str, Any]:
    """Return what a report of some folders and results consists of, as arguments of `render`."""
    found = [
        *sections_of(held),
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
        "sections": [_overview(folders, held), *found],
        "notes": notes,
        "about": _about(folders, held),
    }


def _title(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _overview(folders: Sequence[Folder], held: Sequence[Held]) -> Section:
    """What the folders and results are, and what is not there."""
    blocks: list[Any] = [
        Facts([
            *((one.name, str(one)) for one in held),
            *((folder.name, _said(folder)) for folder in folders),
        ])
    ]  # fmt: skip
    if folders and not held:
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


def _about(folders: Sequence[Folder], held: Sequence[Held]) -> str:
    from whence.attribution.record import versions as versions_now

    versions = folders[0].run.get("versions", {}) if folders else versions_now()
    known = ", ".join(
        f"{name} {versions[name]}" for name in ("whence", "python") if name in versions
    )
    what = []
    if held:
        what.append(counted(len(held), "results"))
    if folders:
        what.append(f"{counted(len(folders), 'folders')} of results")
    return f"Made by whence report of {' and '.join(what)} ({known})."
