"""``whence prune``: the training data without its least valuable sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence import _words as words
from whence.cli import _options as options
from whence.cli._ids import loaded_values
from whence.cli._terminal import counted, say
from whence.parameters import PositiveInt, Share


def prune(
    values: Annotated[
        Path, typer.Argument(help="Values: a file, or the folder that whence value wrote.")
    ],
    train: Annotated[Path, typer.Argument(help="The training data they were computed from.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write: .csv, .tsv, .parquet, .arrow.")
    ],
    fraction: Annotated[
        Share | None,
        typer.Option(help="Share of the sources to remove, lowest first.", show_default=False),
    ] = None,
    n: Annotated[
        PositiveInt | None,
        typer.Option("-n", help="Number of sources to remove.", show_default=False),
    ] = None,
    below: Annotated[
        float | None,
        typer.Option(help="Remove the sources of a lower value than this.", show_default=False),
    ] = None,
    standard_errors: Annotated[
        float | None,
        typer.Option(
            help="Remove only what is below (0, or --below) by this many standard errors.",
            show_default=False,
        ),
    ] = None,
    columns: options.Columns = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Write the training data without its least valuable sources.

    For example: whence prune whence-values train.csv --fraction 0.05 --output pruned.csv
    """
    from whence.attribution.pruning import check_amount
    from whence.cli._output import check_new
    from whence.data import read_table, write_interactions
    from whence.data.formats import format_to_write
    from whence.errors import ParameterError

    check_new(output, overwrite=overwrite)
    format_to_write(output, None)
    check_amount(fraction=fraction, n=n, below=below, standard_errors=standard_errors)
    if fraction == 1:
        raise ParameterError("--fraction 1 would leave nothing of the training data; remove less.")
    attribution = loaded_values(values)
    table = read_table(train, columns=columns)
    kept = attribution.prune(
        table, fraction=fraction, n=n, below=below, standard_errors=standard_errors
    )
    if not kept.height:
        raise ParameterError("Nothing would be left of the training data; remove less of it.")
    write_interactions(kept, output, overwrite=overwrite)
    column = attribution.column
    gone = table.height - kept.height
    removed = (
        gone if attribution.source == "row" else table[column].n_unique() - kept[column].n_unique()
    )
    sources = words.counted(len(attribution), attribution.noun)
    say(
        f"Removed {removed:,} of {sources} ({gone:,} of "
        f"{counted(table.height, 'row')}); the rest is in {output}."
    )
    say(f"Next: whence evaluate --train {output} --valid ... to see what that changed.")
