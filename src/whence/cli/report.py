"""``whence report``: what folders of results hold, as one file to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli import _options as options
from whence.cli._terminal import say
from whence.parameters import Count


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDERS",
            help="What whence train, value, evaluate, trace, explain, disclose, forget, experiment "
            "or demo wrote; folders of such folders; or files of values or explanations.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write.", rich_help_panel="Run")
    ] = Path("report.html"),
    title: Annotated[
        str | None, typer.Option(help="Title; the names of the folders if absent.")
    ] = None,
    queries: Annotated[
        Count,
        typer.Option(
            help="Answers that are traced to training data, of values of neighbour models: how "
            "many, chosen evenly among the good ones."
        ),
    ] = 3,
    query: Annotated[
        list[Count] | None,
        typer.Option("--query", help="Trace this one, by its number; may be repeated."),
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Make one HTML file of what folders of results hold, to open anywhere and to hand on.

    For example: whence report whence-demo --output report.html
    """
    from whence.cli._output import check_new
    from whence.reporting import report as report_

    check_new(output, overwrite=overwrite)
    path = report_(
        *folders, output=output, title=title, queries=query or queries, overwrite=overwrite
    )
    size = path.stat().st_size / 1e6
    say(f"Written to {path} ({size:.1f} MB); open it in a browser, with or without a network.")
