"""``whence value``: what each part of the training data is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._commands import Given, Key, Parameters, chosen_by, command
from whence.cli._terminal import complain, heading, number, say, table, terminal, working

if TYPE_CHECKING:
    from whence.attribution import Attribution
    from whence.config import Config, Parts

DEFAULT_OUTPUT = "whence-values"
_REFITTING, _PREVIOUS = "retraining-loo", "previous.parquet"
_PRECISION = ("tolerance", "max_permutations")
_VALUES = ("score", "std_error", "own_score")
_OTHERS = ("own_std_error", "n_queries")  # columns in the files only
_chosen = chosen_by("--method", "attribution.method", "shapley")


def _method(arguments: list[str]) -> Any:
    """The class of the method that is asked for; None if there is no such."""
    from whence.attribution.method import METHODS

    return METHODS.find(_chosen(arguments))


@command(
    *options.DATA, options.SPLIT, *options.COLUMNS, options.SUSTAINABLE, options.UNKNOWN,
    options.MODEL, *options.NEIGHBOURS,
    Key("attribution.method", ("--method",), str, "Method",
        "How a source is credited, such as shapley, loo, banzhaf or tracin; with --help, the "
        "parameters of that method are listed."),
    Key("attribution.metric", ("--metric",), str, "Method", "Metric to share out: mrr@20."),
    Parameters(_method, "attribution", without=options.NOT_OF_METHODS),
    options.SEED, *options.OUTPUT,
)  # fmt: skip
def value(
    given: Given,
    source: options.ConfigFile = None,
    threads: options.Threads = None,
    resume: options.Resume = False,
    part: Annotated[
        str | None,
        typer.Option(
            help="Name of this evaluation set, such as its day.",
            rich_help_panel="Run",
            show_default=False,
        ),
    ] = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Add an evaluation set (--valid) to finished values.",
            rich_help_panel="Run",
        ),
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="With --update: take a part out of finished values; may be repeated.",
            metavar="PART",
            rich_help_panel="Run",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Value the training data: which of it makes the recommendations better or worse.

    For example: whence value --data ratings.csv --model itemknn --method loo --output values

    Later: whence value values --update --valid tuesday.csv --without monday
    """
    from whence.cli._fitting import check_metrics, check_parts, fit, queries_of_validation
    from whence.cli._output import Results, check_free, question_of, sections_of
    from whence.cli._runs import config_of_environment, found_config
    from whence.cli._value_parts import check_parts_of, update_values
    from whence.config import read_parts
    from whence.errors import ConfigError

    file, before = found_config(source)
    if update or without:
        if not update:
            raise ConfigError("--without goes with --update; add it.")
        found, folder = update_values(
            given, file, before, part, without or (), write, threads=threads, resume=resume
        )
        show(found)
        draw(found, folder)
        return
    config = given.config(file or config_of_environment(given))
    folder = Path(config.output.directory or (resume and before) or DEFAULT_OUTPUT)
    overwrite = config.output.overwrite
    check_free(folder, overwrite=overwrite, resume=resume)
    parts = read_parts(config)
    if parts.validation is None:
        raise ConfigError(
            "Values need validation data; name a file with --valid, or one to be split with --data."
        )
    _check_evaluation(config)
    check_metrics(config, parts, [config.metric])
    model = config.build_model()
    model._check_params()
    config = _with_method(config, model)
    method = config.build_method(parts)
    method._check_params()
    method.check_model(model)
    check_parts(config, parts, model)
    if part is not None:
        check_parts_of(method)
    asked = parts.validation
    if "unknown" in method.parameter_types():
        asked = queries_of_validation(config, parts, model)
    elif config.evaluation.protocol is not None or config.evaluation.max_prefixes is not None:
        raise ConfigError(
            f"{method.name} makes its own examples of the validation data; leave "
            "evaluation.protocol and evaluation.max_prefixes out."
        )
    question = question_of("value", config, parts.train, parts.validation)
    for name in _PRECISION:
        question.get("attribution", {}).pop(name, None)
    results = Results(
        folder, question, overwrite=overwrite, resume=resume, config=sections_of(config)
    )
    with results.open():
        precision = {k: v for k, v in method.params.items() if k in _PRECISION}
        going_on = _going_on(folder, precision)
        if results.finished and not going_on:
            say(f"The values in {folder} are finished.")
            return
        more = {"previous": _previous(folder)} if going_on else {}
        results.mark({**question, "precision": precision})
        _write_parts(parts, folder)
        fit(config, parts, model=model, folder=folder / "model", resume=resume, threads=threads)
        with working("Valuing", threads=threads, folder=folder, resume=resume) as run:
            if part is None:
                values = method.attribute(model, asked, run=run, **more)
            else:
                values = method.attribute_parts(model, {part: asked}, run=run)
        write(values, folder)
        show(values)
        draw(values, folder)
        if values.metadata.get("stopped") == "interrupted":
            complain(
                f"Interrupted; the values so far are in {folder}, their standard errors say how "
                f"precise they are; go on with: {terminal.again()}"
            )
            raise typer.Exit(130)
        finish(values, folder)
    _next_steps(folder, config, parts)


def _check_evaluation(config: Config) -> None:
    """Refuse what a value does not share out: it is of the mean over queries, of all items."""
    from whence.errors import ConfigError

    wanted = config.evaluation
    for key, given in (
        ("per", wanted.per != "query"),
        ("gain", wanted.gain != "binary"),
        ("items", wanted.items is not None),
        ("negatives", wanted.negatives is not None),
    ):
        if given:
            raise ConfigError(
                f"evaluation.{key} has no meaning for values, in which every query counts alike "
                "and all items are ranked; leave it out, or limit the queries of a session with "
                "evaluation.max_prefixes."
            )


def _going_on(folder: Path, precision: dict[str, Any]) -> bool:
    """Whether finished values are to be made more precise, or that has begun."""
    from whence.cli._output import RUN, SUMMARY, read_json

    if (folder / _PREVIOUS).is_file():
        return True
    before = read_json(folder / RUN).get("precision", precision)
    return (folder / SUMMARY).is_file() and before != precision


def _previous(folder: Path) -> Attribution:
    """The values that are made more precise; they are no results any more."""
    from whence.attribution import Attribution
    from whence.cli._output import SUMMARY

    if not (folder / _PREVIOUS).is_file():
        (folder / "values.parquet").rename(folder / _PREVIOUS)
    (folder / SUMMARY).unlink(missing_ok=True)
    return Attribution.load(folder / _PREVIOUS)


def write(values: Attribution, folder: Path) -> None:
    """Write the tables of values into a folder."""
    from whence.data.files import atomic_path

    values.save(folder / "values.parquet", overwrite=True)
    with atomic_path(folder / "values.csv", overwrite=True) as path:
        values.frame.write_csv(path)


def draw(values: Attribution, folder: Path) -> None:
    """Write the pictures of values into a folder, after they were shown: loading takes a second."""
    from whence.plots import picture

    for kind in ("distribution", "ranked"):
        with picture(folder / f"{kind}.png", overwrite=True) as ax:
            values.plot(ax=ax, kind=kind)


def finish(values: Attribution, folder: Path) -> None:
    """Write how values came about: the mark of whole results."""
    from whence.cli._output import SUMMARY, write_json

    write_json(values.metadata, folder / SUMMARY)
    (folder / _PREVIOUS).unlink(missing_ok=True)


def show(values: Attribution, n: int = 10) -> None:
    """Print what the values say: a few lines, then the best and the worst sources."""
    first, _, rest = values.summary().partition("\n")
    heading(first)
    say(rest)
    order = values.order()
    n = min(n, len(order))
    for title, positions in (("Most valuable", order[::-1][:n]), ("Least valuable", order[:n])):
        part = values.frame[positions]
        shown: list[str] = [name for name in _VALUES if name in part.columns]
        ids = [name for name in part.columns if name not in (*shown, *_OTHERS)]
        rows = [
            [*row[: len(ids)], *(number(value) for value in row[len(ids) :])]
            for row in part.select(ids + shown).iter_rows()
        ]
        say()
        heading(f"{title} {values.noun}")
        table(ids + shown, rows)


def _with_method(config: Config, model: Any) -> Config:
    """The usual method, or where the model is unknown to it, one that refits any model."""
    from whence.attribution.method import METHODS
    from whence.errors import UnsupportedError

    if "method" in config.attribution.model_fields_set:
        return config
    try:
        METHODS[config.attribution.method]().check_model(model)
    except UnsupportedError:
        terminal.note(
            f"{type(model).__name__} is fitted again without each source (--method {_REFITTING}), "
            "as Whence does not know its games."
        )
        own = config.attribution.model_copy(update={"method": _REFITTING})
        return config.model_copy(update={"attribution": own})
    return config


def _write_parts(parts: Parts, folder: Path) -> None:
    """Write the parts of a file that was split, of which the values speak."""
    from whence.data import write_interactions

    if parts.split is not None:
        named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
        for name, part in named.items():
            if part is not None:
                write_interactions(part, folder / "data" / f"{name}.csv", overwrite=True)


def _next_steps(folder: Path, config: Config, parts: Parts) -> None:
    train, more = config.data.train, "" if config.data.validation else " --valid ..."
    say()
    say(f"Written to {folder}: values.parquet, values.csv, summary.json, config.yaml,")
    say("distribution.png and ranked.png.")
    say("Next: look at the pictures, then see what removing the lowest values does:")
    if parts.split is not None:
        train, more = (
            str(folder / "data" / "train.csv"),
            f" --valid {folder / 'data/validation.csv'}",
        )
    say(f"  whence prune {folder} {train} --fraction 0.05 --output pruned.csv")
    say(f"  whence evaluate {folder / 'config.yaml'} --train pruned.csv{more}")
