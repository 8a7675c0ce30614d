"""Options that commands share: they mean the same in each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from whence.cli._commands import Key
from whence.parameters import PositiveInt
from whence.parameters import Seed as AnySeed

# Keys of the configuration

TRAIN = Key("data.train", ("--train",), Path, "Data", "Training data.")
VALID = Key("data.validation", ("--valid",), Path, "Data", "Validation data.")
TEST = Key("data.test", ("--test",), Path, "Data", "Held-out test data.")
DATA = (Key("data.path", ("--data",), Path, "Data"), TRAIN, VALID)
SPLIT = Key(
    "split.method", ("--split",), str, "Data",
    "How --data is split: leave-one-out, rows, time, temporal, random or last; by the data if "
    "absent.",
)  # fmt: skip
COLUMNS = tuple(
    Key(f"data.{name}", (f"--{name}-column",), str, "Data", f"Column of the {what}.")
    for name, what in (
        ("session", "session"), ("user", "user"), ("item", "item"), ("time", "timestamp"),
        ("basket", "basket"), ("rating", "rating"),
    )
) + (
    Key("data.columns", ("--columns",), str, "Data",
        "Names of all columns in their order, of a file without a header line: 'user item time'."),
    Key("data.time_format", ("--time-format",), str, "Data",
        "How times are written, such as '%d.%m.%Y %H:%M'."),
    Key("data.ties", ("--ties",), str, "Data",
        "Rows of equal time: in the order of the file (order), or random."),
    Key("data.memory_map", ("--memory-map",), Path, "Data",
        "Folder that the training file is copied into and mapped from: it need not fit in memory."),
)  # fmt: skip
SUSTAINABLE = Key(
    "data.sustainable_items", ("--sustainable",), Path, "Data",
    "File that lists the sustainable items.",
)  # fmt: skip
UNKNOWN = Key(
    "data.unknown", ("--unknown",), str, "Data",
    "Items unknown to the training data: ignore, drop or keep.",
)  # fmt: skip
MODEL = Key(
    "model.name", ("--model",), str, "Model",
    "A model by its short name or its class, such as vmis.",
)  # fmt: skip
NEIGHBOURS = (
    Key("model.k", ("--neighbours",), int, "Model", "VMIS, TIFU, ItemKNN: number of neighbours."),
    Key("model.m", ("--m",), int, "Model", "VMIS: latest sessions looked at. TIFU: groups."),
    Key("model.r_b", ("--r-b",), float, "Model", "TIFU: decay within a group."),
    Key("model.r_g", ("--r-g",), float, "Model", "TIFU: decay between groups."),
    Key("model.alpha", ("--alpha",), float, "Model", "TIFU: weight of the user's own history."),
)
START = Key(
    "model.start", ("--start",), Path, "Model",
    "A saved model, or the run that trained it, at whose parameters training begins.",
)  # fmt: skip
METRICS = Key(
    "evaluation.metrics", ("--metric",), list[str], "Run", "Such as mrr@20; may be repeated."
)
ASKED = (
    Key("evaluation.per", ("--per",), str, "Run",
        "What counts alike in a mean: query, or source (each session or user)."),
    Key("evaluation.max_prefixes", ("--max-prefixes",), int, "Run",
        "Ask only so many beginnings of a longer session, evenly spread."),
    Key("evaluation.gain", ("--gain",), str, "Run",
        "Hits of dcg and ndcg count alike (binary) or by their rating (rating)."),
    Key("evaluation.items", ("--items",), Path, "Run",
        "File that lists the only items that may be recommended."),
)  # fmt: skip
SEED = Key(
    "training.seed attribution.seed evaluation.seed", ("--seed",), int, "Run",
    "Seed of random numbers; splits have split.seed. (42)",
)  # fmt: skip
OUTPUT = (
    Key("output.directory", ("--output", "-o"), Path, "Run", "Folder for the results."),
    Key("output.overwrite", ("--overwrite",), bool, "Run"),
)

NOT_OF_METHODS = (
    "metric", "seed", "threads", "sustainable_items", "sustainability_weight", "relevant",
    "unknown", "target", "method",
)  # fmt: skip
"""Parameters of methods that are keys of other sections, or options of their own."""

# Others

Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="Names of all columns in their order, of a file without a header line.",
        rich_help_panel="Data",
        show_default=False,
    ),
]
TimeFormat = Annotated[
    str | None,
    typer.Option(
        "--time-format",
        help="How times are written, such as '%d.%m.%Y %H:%M'.",
        rich_help_panel="Data",
        show_default=False,
    ),
]
Ties = Annotated[
    Literal["order", "random"],
    typer.Option(
        "--ties",
        help="Rows of equal time: in the order of the file, or random.",
        rich_help_panel="Data",
    ),
]

ConfigFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG",
        help="YAML or TOML configuration (Illoominate's config.toml is understood), or a folder "
        "that was written with one; options given beside it win.",
        show_default=False,
    ),
]
Trained = Annotated[
    Path, typer.Argument(metavar="RUN or MODEL", help="A run of whence train, or its model.")
]
Seed = Annotated[
    AnySeed, typer.Option("--seed", help="Seed of random numbers.", rich_help_panel="Run")
]
Threads = Annotated[
    PositiveInt | None,
    typer.Option(
        "--threads",
        help="Threads; all cores by default. Results do not depend on it.",
        rich_help_panel="Run",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Folder for the results.",
        rich_help_panel="Run",
        show_default=False,
    ),
]
OutputFolder = Annotated[
    Path,
    typer.Option("--output", "-o", help="Folder for the results.", rich_help_panel="Run"),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace results that are there.", rich_help_panel="Run"),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with work that was broken off; the result is the same as if it had not been.",
        rich_help_panel="Run",
    ),
]
