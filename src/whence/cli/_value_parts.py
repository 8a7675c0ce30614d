"""Values of an evaluation set in parts: ``whence value --update``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.cli._commands import Given
from whence.cli._terminal import complain, counted, say, terminal, working

if TYPE_CHECKING:
    from whence.attribution import Attribution


def check_parts_of(method: Any) -> None:
    """Refuse parts for a method whose values are no means over queries."""
    from whence.errors import ConfigError

    if not method.adds_up_over_queries:
        raise ConfigError(
            f"--part and --update are for values that are means over queries, and those of "
            f"{method.name} are not; leave them out."
        )


def update_values(
    given: Given,
    file: Path | None,
    folder: Path | None,
    part: str | None,
    without: Sequence[str],
    write: Callable[[Attribution, Path], None],
    *,
    threads: int | None,
    resume: bool,
) -> tuple[Attribution, Path]:
    """Add an evaluation set to the values in a folder, and take out others.

    Parameters
    ----------
    given : Given
    file, folder : Path
        The configuration of the values, and their folder.
    part : str, optional
        Name of the new part; that of its file by default.
    without : sequence of str
        Names of the parts to take out.
    write : callable
        Writes values into a folder.
    threads, resume
        As in every command.

    Returns
    -------
    values : Attribution
    folder : Path
    """
    from whence.attribution import Attribution
    from whence.cli._fitting import check_parts, fit, queries_of_validation
    from whence.cli._output import SUMMARY
    from whence.config import read_parts
    from whence.engines import claimed
    from whence.errors import ConfigError

    path = None if folder is None else folder / "values.parquet"
    if folder is None or path is None or not path.is_file():
        raise ConfigError(
            "--update is for finished values; name the folder that whence value wrote, as in: "
            "whence value FOLDER --update --valid FILE."
        )
    if not (folder / SUMMARY).is_file():
        raise ConfigError(
            f"The values in {folder} are not finished; go on with them with --resume first."
        )
    adds = given.has("data.validation")
    if not adds and not without:
        raise ConfigError(
            "--update adds an evaluation set, named with --valid, or takes out parts, named with "
            "--without; give one of them."
        )
    values = Attribution.load(path)
    with claimed(folder):
        if not adds:
            return _written(values.update(without=without), folder, write), folder
        own = folder / "data" / "train.csv"
        if own.is_file():  # the file was split then
            given.keys["data.train"] = str(own)
        config = given.config(file)
        parts = read_parts(config)
        model = config.build_model()
        method = config.build_method(parts)
        check_parts_of(method)
        check_parts(config, parts, model)
        name = part or Path(str(config.data.validation)).name.partition(".")[0]
        asked = queries_of_validation(config, parts, model)
        model = fit(
            config, parts, model=model, folder=folder / "model", resume=True, threads=threads
        )
        with working("Valuing", threads=threads, folder=folder, resume=resume) as run:
            found = values.update(
                asked, part=name, without=without, model=model, method=method, run=run
            )
        if found.metadata["parts"][-1]["stopped"] == "interrupted":
            import typer

            complain(
                f"Interrupted; the values in {folder} are as they were, go on with: "
                f"{terminal.again()}"
            )
            raise typer.Exit(130)
        return _written(found, folder, write), folder


def _written(
    values: Attribution, folder: Path, write: Callable[[Attribution, Path], None]
) -> Attribution:
    from whence.cli._output import SUMMARY, write_json

    write(values, folder)
    write_json(values.metadata, folder / SUMMARY)
    listed = [
        f"{one['name']} ({counted(one['n_queries'], 'queries')})"
        for one in values.metadata["parts"]
    ]
    say(f"The values are of {', '.join(listed)}.")
    return values
