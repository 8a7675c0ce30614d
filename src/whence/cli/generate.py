"""``whence generate``: data of any size that are like a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli import _options as options
from whence.cli._terminal import counted, say, working
from whence.parameters import PositiveInt


def generate(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write: .parquet, .csv or .tsv.")
    ],
    like: Annotated[
        str,
        typer.Option(
            help="A public data set whose figures are known (rsc15, diginetica, ml-1m, tafeng), or "
            "a file whose figures are measured."
        ),
    ] = "diginetica",
    n: Annotated[PositiveInt, typer.Option("-n", help="Number of rows.")] = 100_000,
    n_items: Annotated[
        PositiveInt | None,
        typer.Option(
            help="Size of the catalogue; by default it grows as the root of the rows.",
            show_default=False,
        ),
    ] = None,
    days: Annotated[PositiveInt, typer.Option(help="Time that the sessions are spread over.")] = 30,
    columns: options.Columns = None,
    seed: options.Seed = 42,
    overwrite: options.Overwrite = False,
) -> None:
    """Write generated data of any size: lengths, popularity and repeats as in a data set.

    For example: whence generate --like rsc15 -n 10000000 --output clicks.parquet
    """
    from whence.cli._output import check_new
    from whence.data import generate_file, profile_of, read_interactions
    from whence.data._published import PUBLISHED
    from whence.data.generation import check_generated
    from whence.errors import FileFormatError, did_you_mean

    check_new(output, overwrite=overwrite)
    check_generated(output, n, n_items, days)
    figures = PUBLISHED.get(like)
    if figures is None:
        if not Path(like).expanduser().exists():
            raise FileFormatError(
                f"--like {like} is neither one of {', '.join(PUBLISHED)} nor a file; name one of "
                f"these, or a file to measure.{did_you_mean(like, PUBLISHED)}"
            )
        figures = profile_of(read_interactions(like, columns=columns), Path(like).name)
    with working("Generating") as run:
        generate_file(
            output,
            figures,
            n,
            n_items=n_items,
            days=days,
            seed=seed,
            overwrite=overwrite,
            progress=run.progress,
        )
    say(f"{counted(n, 'row')} like {like}, all of them generated, are in {output}.")
    model = {"baskets": "tifu", "users": "itemknn"}.get(figures.kind, "vmis")
    say(f"Next: whence evaluate --data {output} --model {model}")
