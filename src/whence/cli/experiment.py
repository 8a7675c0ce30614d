"""``whence experiment``: remove, retrain, compare.

An experiment's command states what is its own: its class, what it is called there, and how it is
made of what was asked. Reading data, working in a folder and writing tables and pictures are the
same for all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from whence.cli import _options as options
from whence.cli._commands import Commands, Given, Key, Parameters
from whence.cli._terminal import heading, say, terminal, working
from whence.parameters import PositiveInt

if TYPE_CHECKING:
    from whence.config import Config, Parts
    from whence.data import Interactions


class _Experiments(Commands):
    homes = {  # noqa: RUF012 (a class is never changed)
        "removal": "whence.cli.experiment_removal:removal",
        "prune": "whence.cli.experiment_prune:prune",
        "scaling": "whence.cli.experiment_scaling:scaling",
        "corruption": "whence.cli.experiment_corruption:corruption",
        "fidelity": "whence.cli.experiment_fidelity:fidelity",
        "disclosure": "whence.cli.experiment_disclosure:disclosure",
        "explanation-fidelity": "whence.cli.experiment_explanation:explanation_fidelity",
        "forgetting": "whence.cli.experiment_forgetting:forgetting",
        "opponents": "whence.cli.experiment_opponents:opponents",
    }


experiment_app = typer.Typer(
    cls=_Experiments,
    no_args_is_help=True,
    add_completion=False,
    help="Experiments that retrain: remove, refit, compare, with controls.",
)


@experiment_app.callback()
def _group() -> None:
    pass


Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="Users with their items, in any format.")
]
Seeds = Annotated[PositiveInt, typer.Option(help="Number of seeds.", rich_help_panel="Run")]
Rating = Annotated[
    str | None,
    typer.Option(
        "--rating-column", help="Column of the rating.", rich_help_panel="Data",
        show_default=False,
    ),
]  # fmt: skip

PARTS: tuple[Key, ...] = (
    *options.DATA, options.TEST, options.SPLIT, *options.COLUMNS, options.SUSTAINABLE,
    options.UNKNOWN, options.MODEL, *options.NEIGHBOURS, options.METRICS,
)  # fmt: skip
"""Options of experiments on training, validation and test data."""


@dataclass(frozen=True)
class Asked:
    """What was asked of an experiment.

    Attributes
    ----------
    given : Given
    data : Interactions or None
        Of an experiment on one file.
    read : callable or None
        Reads another file as that one.
    seeds : tuple of int
    seed : int
        Where there is one for all.
    config : Config or None
        Of an experiment on parts.
    parts : Parts or None
    """

    given: Given
    data: Any = None
    read: Any = None
    seeds: tuple[int, ...] = ()
    seed: int = 42
    config: Any = None
    parts: Any = None

    def of_parts(self) -> dict[str, Any]:
        """Parameters of an experiment that the configuration has in its sections."""
        config = self.config

        def make(seed: int) -> Any:
            training = config.training.model_copy(update={"seed": seed})
            return config.model_copy(update={"training": training}).build_model()

        return {
            "model": make,
            "metrics": config.evaluation.metrics,
            "sustainable_items": None if self.parts is None else self.parts.sustainable_items,
            "sustainability_weight": config.evaluation.sustainability_weight,
        }

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of the experiment, with the seeds."""
        return {**self.given.parameters, "seeds": self.seeds}

    def made_by(self, usual: str) -> Callable[[int], Any] | None:
        """Return ``model(seed)`` of the options; None for the experiment's own model."""
        given = self.given
        if not (given.keys or given.extra):
            return None
        # Checked here, and built for each seed with it.
        given.config(model__name=usual).build_model()._check_params()

        def make(seed: int) -> Any:
            return given.config(model__name=usual, training__seed=seed).build_model()

        return make


def experiment(
    home: str,
    title: str,
    *more: Key | Parameters,
    last: Parameters | None = None,
    without: tuple[str, ...] = (),
    names: Mapping[str, tuple[str, ...]] | None = None,
    seeds: int | None = 3,
    rating: bool = True,
    parts: bool = False,
    generated: bool = False,
    pictures: Callable[[Any], Mapping[str, Any]] | None = None,
    free: Collection[str] = (),
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Make a command of a function that makes an experiment of what was `Asked`.

    The function may have options of its own, by name. It returns the experiment, or it and further
    arguments of its ``run``, by name.

    Parameters
    ----------
    home : str
        Name of the class in `whence.experiments`.
    title : str
        Heading of the results.
    *more : Key or Parameters
        Options before the parameters of the class.
    last : Parameters, optional
        Options after them.
    without, names
        Parameters that are no options, and names of options; as in `Parameters`.
    seeds : int, optional
        Usual number of seeds; with None there is one seed for all.
    rating : bool
        Whether the file may have ratings.
    parts : bool
        Whether data are training, validation and test data by options and configuration, rather
        than one file.
    generated : bool
        Whether it makes data where none are given.
    pictures : callable
        From the result to pictures: name of a file to ``draw(ax=...)``.
    free : collection of str
        Parameters that may change when the work is gone on with.
    """

    def owner(arguments: list[str]) -> Any:
        return getattr(import_module("whence.experiments"), home)

    def marked(build: Callable[..., Any]) -> Callable[..., None]:
        name = build.__name__.replace("_", "-")
        own = list(inspect.signature(build).parameters.values())[1:]

        def run(given: Given, **values: Any) -> None:
            threads, output = values.pop("threads"), values.pop("output")
            overwrite, resume = values.pop("overwrite"), values.pop("resume")
            from whence.cli._output import check_free

            check_free(output, overwrite=overwrite, resume=resume)
            asked, data = _read(given, values, parts, generated)
            made = build(asked, **{one.name: values[one.name] for one in own})
            built, arguments = made if isinstance(made, tuple) else (made, {})
            carry_out(
                name, built, {**data, **arguments}, output, title, pictures,
                overwrite=overwrite, resume=resume, threads=threads, free=free,
            )  # fmt: skip

        kinds = get_type_hints(build, include_extras=True)
        places = _PLACES_OF_PARTS if parts else _PLACES
        shared: dict[str, tuple[Any, Any]] = {
            **{k: v for k, v in places.items() if rating or k != "rating"},
            **{one.name: (kinds[one.name], one.default) for one in own},
            **({"seed": (options.Seed, 42)} if seeds is None else {"seeds": (Seeds, seeds)}),
            "threads": (options.Threads, None),
            "output": (options.OutputFolder, Path(name)),
            "overwrite": (options.Overwrite, False),
            "resume": (options.Resume, False),
        }
        signature = [inspect.Parameter("given", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        signature += [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=usual, annotation=kind)
            for key, (kind, usual) in shared.items()
        ]
        run.__name__, run.__doc__ = build.__name__, build.__doc__
        run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        run.__annotations__ = {key: kind for key, (kind, _) in shared.items()}
        hidden = ("model", "seeds" if seeds is not None else "seed", "threads", *without)
        run.options = (  # type: ignore[attr-defined]
            *(PARTS if parts else ()), *more,
            Parameters(owner, without=hidden, names=names or {}, panel="Experiment"),
            *((last,) if last else ()),
        )  # fmt: skip
        return run

    return marked


_EMPTY = inspect.Parameter.empty
_PLACES: dict[str, tuple[Any, Any]] = {
    "data": (Data, _EMPTY),
    "rating": (Rating, None),
    "columns": (options.Columns, None),
    "time_format": (options.TimeFormat, None),
    "ties": (options.Ties, "order"),
}
_PLACES_OF_PARTS: dict[str, tuple[Any, Any]] = {"source": (options.ConfigFile, None)}


def _read(
    given: Given, values: Mapping[str, Any], parts: bool, generated: bool
) -> tuple[Asked, dict[str, Any]]:
    """Read data; return what was asked, and the data as arguments of the experiment's ``run``."""
    from whence.data import read_interactions

    seeds = tuple(range(values.get("seeds") or 0))
    if parts:
        config, found = _parts(given, values["source"], generated)
        seed = values.get("seed", 42)
        asked = Asked(given, seeds=seeds, seed=seed, config=config, parts=found)
        if generated:  # asked for by number, so that it makes the queries
            names = () if found is None else ("train", "validation")
            return asked, {name: getattr(found, name) for name in names}
        return asked, {} if found is None else _queries_of(config, found)
    how = {k: values[k] for k in ("rating", "columns", "time_format", "ties") if k in values}

    def read(path: Path) -> Interactions:
        return read_interactions(path, **how)

    data = read(values["data"])
    return Asked(given, data, read, seeds, values.get("seed", 42)), {"data": data}


def _parts(
    given: Given, source: Path | None, generated: bool = False
) -> tuple[Config, Parts | None]:
    """Read the parts of a configuration, or of Illoominate's; None where there need be none."""
    from whence.cli._runs import config_of_environment, found_config
    from whence.config import read_parts
    from whence.errors import ConfigError

    file, _ = found_config(source)
    config = given.config(file or config_of_environment(given))
    wanted = config.evaluation
    for key in ("per", "gain", "items", "negatives", "relevant"):
        if getattr(wanted, key) != type(wanted).model_fields[key].default:
            raise ConfigError(
                f"evaluation.{key} is not for this experiment, in which every query counts alike "
                "and all items are ranked; leave it out."
            )
    config.build_model()._check_params()
    if config.attribution.model_fields_set:
        terminal.note(
            "The section attribution is left out: name methods with --method, and how closely they "
            "are estimated with --tolerance."
        )
    if generated and config.data.path is None and config.data.train is None:
        return config, None
    parts = read_parts(config)
    if parts.validation is None:
        raise ConfigError(
            "The experiment needs validation data; name a file with --valid, or one to be split "
            "with --data."
        )
    for note in parts.notes:
        terminal.note(f"{note}.")
    return config, parts


def _queries_of(config: Config, parts: Parts) -> dict[str, Any]:
    """Training data, and the queries of the others, as arguments."""
    from whence.cli._fitting import queries_as_configured

    model = config.build_model()
    found: dict[str, Any] = {"train": parts.train}
    for name in ("validation", "test"):
        part = getattr(parts, name)
        if part is not None:
            found[name] = queries_as_configured(config, parts, model, part)
    return found


def carry_out(
    name: str,
    experiment: Any,
    data: Mapping[str, Any],
    folder: Path,
    title: str,
    pictures: Callable[[Any], Mapping[str, Any]] | None,
    *,
    overwrite: bool,
    resume: bool,
    threads: int | None,
    free: Collection[str] = (),
) -> None:
    """Run an experiment in a folder, print its table and write its results.

    Parameters
    ----------
    name : str
        Of the command.
    experiment : object
        With ``run(**data, run=...)``, whose result is an `ExperimentResult`.
    data : mapping
    folder : Path
    title, pictures, free
        As in `experiment`.
    overwrite, resume, threads
        As on the command line.
    """
    from whence.cli._output import SUMMARY, Results, marked, write_json
    from whence.data import write_interactions
    from whence.data.files import atomic_path
    from whence.models.identity import data_identity
    from whence.plots import picture

    experiment._check_params()
    without = {"model", "seeds", "threads", *free}  # more seeds may follow
    params = {key: str(value) for key, value in experiment.params.items() if key not in without}
    first = [data.get(key) for key in ("data", "train", "validation")]
    asked = {key: data_identity(one) for key, one in data.items() if hasattr(one, "history_items")}
    question = marked(
        f"experiment {name}", *(one for one in first if hasattr(one, "fingerprint")),
        experiment=params, **asked,
    )  # fmt: skip
    results = Results(folder, question, overwrite=overwrite, resume=resume)
    with results.open():
        with working(name.capitalize(), threads=threads, folder=folder, resume=resume) as run:
            found = experiment.run(**data, run=run)
        heading(title)
        table = found.to_markdown()
        say(table)
        with atomic_path(folder / "table.md", overwrite=True) as path:
            path.write_text(table + "\n", encoding="utf-8")
        for file in found.tables:
            write_interactions(found.table(file), folder / file, overwrite=True)
        for file, draw in (pictures(found) if pictures else {}).items():
            with picture(folder / file, overwrite=True) as axes:
                draw(ax=axes)
        write_json({"settings": found.about}, folder / SUMMARY)
    kinds = (".md", ".csv", ".parquet", ".png")
    names = sorted(path.name for path in folder.iterdir() if path.suffix in kinds)
    say(f"Written to {folder}: {', '.join(names)}.")


def of_metrics(found: Any) -> Mapping[str, Any]:
    """A picture for each metric of a result."""
    from functools import partial

    return {
        f"{metric.replace('@', '-at-')}.png": partial(found.plot, metric)
        for metric in found.settings["metrics"]
    }
