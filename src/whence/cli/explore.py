"""``whence explore``: a report that can be asked, served to this machine alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli._terminal import say
from whence.parameters import Count


def explore(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="What whence train, forget, value or demo wrote.",
            show_default=False,
        ),
    ],
    port: Annotated[
        Count, typer.Option(help="Port to serve at; any that is free if 0.", rich_help_panel="Run")
    ] = 0,
) -> None:
    """Look around in a model: remove data and see what changes, ask why, and why not.

    Serves the report of the folder at an address of this machine, until Ctrl-C.

    For example: whence explore whence-demo
    """
    from whence.reporting import explore as explore_

    def ready(address: str) -> None:
        say(f"Open {address} in a browser of this machine; Ctrl-C ends it.")

    explore_(folder, port=port, ready=ready)
