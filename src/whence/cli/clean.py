"""``whence clean``: remove what is probably corrupted, with a record of why, and a way back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from whence import _words as words
from whence.cli import _options as options
from whence.cli._ids import loaded_values
from whence.cli._terminal import say, table
from whence.parameters import Share

_SHOWN = 10


def clean(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA or FOLDER",
            help="Training data; or a folder that this command wrote, for --explain and --undo.",
        ),
    ],
    *,
    values: Annotated[
        Path | None,
        typer.Option(
            help="Values: a file, or the folder that whence value wrote. What is negative beyond "
            "doubt is removed.",
            show_default=False,
        ),
    ] = None,
    level: Annotated[
        Share | None,
        typer.Option(
            help="How probable it may be that any value is taken for negative and is not. (0.05)",
            show_default=False,
        ),
    ] = None,
    fraction: Annotated[
        Share | None,
        typer.Option(help="Remove this share of the lowest values instead.", show_default=False),
    ] = None,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Remove what is nearly a copy of an earlier one.")
    ] = False,
    bots: Annotated[
        bool, typer.Option("--bots", help="Remove what does not look as if people had made it.")
    ] = False,
    named: Annotated[
        list[str] | None,
        typer.Option("--remove", help="Id to remove; may be repeated.", show_default=False),
    ] = None,
    explain: Annotated[
        list[str] | None,
        typer.Option(help="Id of which is told why it was removed.", show_default=False),
    ] = None,
    undo: Annotated[
        list[str] | None,
        typer.Option(
            help="Id whose rows return to where they were, or all; may be repeated.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed; write nothing.")
    ] = False,
    columns: options.Columns = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Remove what is probably corrupted; each removal can be explained and undone.

    For example: whence clean train.csv --values whence-values --duplicates --bots -o cleaned, then
    whence clean cleaned --explain 16801 and whence clean cleaned --undo 16801 -o restored
    """
    from whence.cli._output import check_new
    from whence.curation import Cleaning
    from whence.curation import clean as cleaned
    from whence.data import read_interactions
    from whence.errors import ParameterError

    ways = {"values": values is not None, "duplicates": duplicates, "bots": bots,
            "remove": bool(named)}  # fmt: skip
    back = bool(explain or undo)
    if back and any(ways.values()):
        raise ParameterError("--explain and --undo are of a folder that was written; name only it.")
    if not back and not any(ways.values()):
        raise ParameterError(
            "Say what to remove: --values FILE, --duplicates, --bots or --remove ID."
        )
    if (level is not None or fraction is not None) and values is None:
        raise ParameterError("--level and --fraction are of values; name them with --values.")
    if level is not None and fraction is not None:
        raise ParameterError("Give --level or --fraction, not both.")
    if output is None and not dry_run and not (explain and not undo):
        raise ParameterError("Name a folder for the results with --output, or say --dry-run.")
    if output is not None:
        check_new(output / "cleaning.json", overwrite=overwrite)
    if back:
        found = Cleaning.load(data)
        for one in explain or ():
            say(found.explain(one))
        if not undo:
            return
        before = found.actions.height
        found = found.undo(None if undo == ["all"] else undo)
        say(f"Undone: {before - found.actions.height:,} of {words.counted(before, 'actions')}.")
    else:
        found = cleaned(
            read_interactions(data, columns=columns),
            None if values is None else loaded_values(values),
            level=0.05 if level is None else level,
            fraction=fraction,
            duplicates=duplicates,
            bots=bots,
            named=named or None,
        )
        _show(found)
    if not dry_run and output is not None:
        found.save(output, overwrite=overwrite)
        say(f"Written to {output}: data.csv, data.parquet, actions.csv, removed.parquet.")


def _show(found: Any) -> None:
    """Print how much is removed by which reason, and the first of each."""
    actions, left = found.actions, found.data.height
    rows = found.removed.height
    say(
        f"Removed: {words.counted(actions.height, 'sources')} with "
        f"{words.counted(rows, 'rows')}; {words.counted(left, 'rows')} are left."
    )
    shown = []
    for (reason,), part in actions.group_by("reason", maintain_order=True):
        say(f"  {reason}: {words.counted(part.height, 'sources')}")
        shown += [[row[1], row[4], row[3]] for row in part.head(_SHOWN).iter_rows()]
    if shown:
        table([actions.columns[1], "rows", "why"], shown, text=("why",))
