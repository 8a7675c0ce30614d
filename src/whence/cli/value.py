"""``whence value``: what each part of the training data is worth."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._fitting import fit
from whence.cli._terminal import complain, heading, number, progress, say, table

if TYPE_CHECKING:
    from whence.attribution import Attribution
    from whence.config import Config

DEFAULT_OUTPUT = "whence-values"
_VALUES = ("score", "std_error", "own_score")
_OTHERS = ("own_std_error", "n_queries")  # columns in the files only


def value_command(
    *,
    config: options.ConfigFile = None,
    train: options.Train = None,
    valid: options.Valid = None,
    session: options.Session = None,
    user: options.User = None,
    item: options.Item = None,
    time: options.Time = None,
    basket: options.Basket = None,
    sustainable: options.Sustainable = None,
    unknown: options.Unknown = None,
    model: options.Model = None,
    k: options.K = None,
    m: options.M = None,
    r_b: options.RB = None,
    r_g: options.RG = None,
    alpha: options.Alpha = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="shapley, loo, banzhaf, beta-shapley, retraining-shapley, retraining-loo, "
            "random, length or popularity.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric to share out: mrr@20.", show_default=False)
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="What is valued: session, user, item, interaction, or a column.",
            show_default=False,
        ),
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(help="Players of a query: fixed or all.", show_default=False),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Stop when the mean standard error is this share of the mean |value|.",
            show_default=False,
        ),
    ] = None,
    max_permutations: Annotated[
        int | None, typer.Option(help="Stop at this many permutations.", show_default=False)
    ] = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue from the values in the output folder.",
            rich_help_panel="Run",
        ),
    ] = False,
) -> None:
    """Value the training data: which of it makes the recommendations better or worse.

    For example: whence value --train train.csv --valid valid.csv --model vmis --output values
    """
    chosen = options.configured(
        config,
        set_,
        data__train=train,
        data__validation=valid,
        data__session=session,
        data__user=user,
        data__item=item,
        data__time=time,
        data__basket=basket,
        data__sustainable_items=sustainable,
        data__unknown=unknown,
        model__name=model,
        model__k=k,
        model__m=m,
        model__r_b=r_b,
        model__r_g=r_g,
        model__alpha=alpha,
        attribution__method=method,
        attribution__metric=metric,
        attribution__by=by,
        attribution__candidates=candidates,
        attribution__tolerance=tolerance,
        attribution__max_permutations=max_permutations,
        attribution__seed=seed,
        attribution__threads=threads,
        output__directory=output,
        output__overwrite=overwrite,
    )
    _run(chosen, resume)


def _run(config: Config, resume: bool) -> None:
    from whence.attribution.files import load
    from whence.cli._output import check_free
    from whence.config import read_parts
    from whence.errors import ConfigError

    folder = Path(config.output.directory or DEFAULT_OUTPUT)
    check_free(folder, overwrite=config.output.overwrite or resume)
    before = load(folder / "values.parquet") if resume else None
    parts = read_parts(config)
    if parts.validation is None:
        raise ConfigError(
            "Values need validation data; name a file with --valid, or say how to split the "
            "training file with --set split.method=temporal."
        )
    recommender = fit(config, parts)
    with progress("Valuing") as report:
        method = config.attribution.build(
            config.metric,
            sustainable_items=parts.sustainable_items,
            sustainability_weight=config.evaluation.sustainability_weight,
            relevant=config.evaluation.relevant,
            unknown=config.data.unknown,
            target=config.data.target,
            progress=report,
        )
        attribution = attributed(method, recommender, parts.validation, before)
    write(attribution, folder, config, overwrite=config.output.overwrite or resume)
    show(attribution)
    _next_steps(attribution, folder, config)
    if attribution.metadata.get("stopped") == "interrupted":
        complain(
            f"Interrupted: the values so far are in {folder}, their standard errors say how "
            "precise they are; --resume continues."
        )
        raise typer.Exit(130)


def attributed(method: Any, model: Any, validation: Any, before: Attribution | None) -> Attribution:
    """Run a method, continuing from values computed before where there are any."""
    from whence.errors import UnsupportedError

    if before is None:
        found: Attribution = method.attribute(model, validation)
        return found
    if "resume" not in inspect.signature(method.attribute).parameters:
        raise UnsupportedError(
            f"{type(method).__name__} cannot be resumed, it computes its values in one go; leave "
            "--resume out."
        )
    resumed: Attribution = method.attribute(model, validation, resume=before)
    return resumed


def write(attribution: Attribution, folder: Path, config: Config, *, overwrite: bool) -> None:
    """Write values, metadata, pictures and the configuration into a folder."""
    from whence.cli._output import SUMMARY, new_folder, write_config, write_json
    from whence.plots import picture

    with new_folder(folder, overwrite=overwrite) as new:
        attribution.save(new / "values.parquet")
        attribution.frame.write_csv(new / "values.csv")
        write_config(config, new / "config.yaml")
        for kind in ("distribution", "ranked"):
            with picture(new / f"{kind}.png") as ax:
                attribution.plot(ax=ax, kind=kind)
        write_json(attribution.metadata, new / SUMMARY)


def show(attribution: Attribution, n: int = 10) -> None:
    """Print what the values say: a few lines, then the best and the worst sources."""
    first, _, rest = attribution.summary().partition("\n")
    heading(first)
    say(rest)
    order = attribution.order()
    n = min(n, len(order))
    for title, positions in (("Most valuable", order[::-1][:n]), ("Least valuable", order[:n])):
        part = attribution.frame[positions]
        values: list[str] = [name for name in _VALUES if name in part.columns]
        ids = [name for name in part.columns if name not in (*values, *_OTHERS)]
        rows = [
            [*row[: len(ids)], *(number(value) for value in row[len(ids) :])]
            for row in part.select(ids + values).iter_rows()
        ]
        say()
        heading(f"{title} {attribution.noun}")
        table(ids + values, rows)


def _next_steps(attribution: Attribution, folder: Path, config: Config) -> None:
    say()
    say(f"Written to {folder}: values.parquet, values.csv, summary.json, config.yaml,")
    say("distribution.png and ranked.png.")
    say("Next: look at the pictures, then see what removing the lowest values does:")
    train = config.data.train or config.data.path
    say(f"  whence prune {folder} {train} --fraction 0.05 --output pruned.csv")
    say(
        f"  whence evaluate {folder / 'config.yaml'} --train pruned.csv"
        f"{'' if config.data.validation else ' --valid ...'}"
    )
