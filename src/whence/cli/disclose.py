"""``whence disclose``: which interactions users should let a recommender be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._commands import Given, Parameters, command
from whence.cli._terminal import counted, heading, number, say, table, working
from whence.engines import identity_of
from whence.errors import check_int
from whence.parameters import Count, Share

if TYPE_CHECKING:
    from whence.config import Config
    from whence.curation.disclosure import Comparison, DisclosurePlan, DisclosureProblem
    from whence.curation.disclosure.masking import RowFile
    from whence.data import Interactions

DEFAULT_OUTPUT = "whence-disclosure"
SHARES = (0.1, 0.3, 1.0, 3.0, 10.0)
_FRACTIONS = (0.5, 0.3, 0.2)
_DIM = 8
_FILTERS = ("min_rating", "max_rating", "min_length", "max_length", "min_per_user", "min_per_item")


def _option(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Willingness", show_default=False)


def _settings(arguments: list[str]) -> Any:
    from whence.curation.disclosure import Disclosure

    return Disclosure


@command(
    *options.DATA, options.TEST, options.SPLIT,
    *(one for one in options.COLUMNS if one.keys not in ("data.session", "data.basket")),
    options.MODEL,
    Parameters(
        _settings, panel="Strategy", names={"n": ("-n",)},
        without=("seed", "influence", "own_influence", "start"),
    ),
    options.SEED, *options.OUTPUT,
)  # fmt: skip
def disclose(
    given: Given,
    source: options.ConfigFile = None,
    willingness: Annotated[
        str | None, _option("--willingness", help="Column of violations: 0 use it, 1 do not.")
    ] = None,
    category: Annotated[
        str | None, _option("--category", help="Column of categories instead, for --rule.")
    ] = None,
    rule: Annotated[
        list[str] | None,
        _option("--rule", help="Violation of a category, such as Horror=1; may be repeated."),
    ] = None,
    simulate: Annotated[
        Share | None, _option("--simulate", help="Draw violations of about this mean instead.")
    ] = None,
    seeds: Annotated[
        Count,
        typer.Option(help="Seeds of the comparison; 0 for none.", rich_help_panel="Run"),
    ] = 3,
    threads: options.Threads = None,
    resume: options.Resume = False,
) -> None:
    """Choose which interactions are disclosed, mask the others, retrain and compare.

    For example: whence disclose --data ratings.csv --willingness private --output disclosed
    """
    from whence.cli._fitting import fit
    from whence.cli._output import Results, check_free, question_of, sections_of
    from whence.cli._runs import found_config
    from whence.config import Parts
    from whence.curation.disclosure import Disclosure
    from whence.engines import Checkpoints
    from whence.influence.functions import factor_loss, to_optimum

    file, before = found_config(source)
    config = _configured(given, file)
    seed = config.training.seed
    settings = Disclosure(seed=seed, **given.parameters)
    settings._check_params()
    folder = Path(config.output.directory or (resume and before) or DEFAULT_OUTPUT)
    overwrite = config.output.overwrite
    check_free(folder, overwrite=overwrite, resume=resume)
    parts = _read(config)
    if settings.n is not None:
        check_int("n", settings.n, 0, parts.train.n_rows)
    beta = _violations(parts.train, willingness, category, rule, simulate, seed)
    model = _model(config, parts)
    question = question_of(
        "disclose", config, parts.train, parts.validation, parts.test, seeds=seeds,
        disclosure={name: str(value) for name, value in settings.params.items()},
        violations=identity_of(beta),
    )  # fmt: skip
    results = Results(
        folder, question, overwrite=overwrite, resume=resume, config=sections_of(config)
    )
    with results.open():
        if results.finished:
            say(f"The results in {folder} are finished.")
            return
        own = Parts(parts.train, None, None)
        model = fit(
            config, own, model=model, folder=folder / "model", resume=resume, threads=threads
        )
        if factor_loss(model) is not None:
            model = to_optimum(model)
        how: dict[str, Any] = {"threads": threads, "folder": folder, "resume": resume}
        identity = {name: part for name, part in question.items() if name != "versions"}
        with working("Disclosing", **how) as run, Checkpoints(run, identity) as kept:
            problem = settings.pose(model, parts.validation, willingness=beta, run=run, kept=kept)
            plan = problem.solve()
            _tell(problem, plan)
            made = _write_plan(plan, parts, folder)
            comparison = _compared(problem, parts.test, seeds) if seeds else None
            if comparison is not None:
                made += _write_comparison(comparison, folder)
            made += _frontier(problem, parts.test, folder)
        if comparison is not None:
            _show(comparison, seeds)
        _finish(plan, folder)
    say()
    say(f"Written to {folder}: {', '.join(made)}, summary.json, config.yaml.")


@dataclass(frozen=True)
class _Parts:
    """The data, and the files that they came from.

    Attributes
    ----------
    train, validation, test : Interactions
    files : dict
        Name of a part: the file, and the rows of it that the part is made of.
    """

    train: Interactions
    validation: Interactions
    test: Interactions
    files: dict[str, tuple[RowFile, Any]]


def _configured(given: Given, file: Path | None) -> Config:
    """A configuration whose model is a factorisation of ratings unless something else is said."""
    named = given.has("model.name")
    if not named and file is not None:
        named = "name" in Given({}, {}, []).config(file).model.model_fields_set
    usual: dict[str, Any] = {} if named else {"model__name": "mf"}
    if not named and not given.has("model.embedding_dim"):
        usual["model__embedding_dim"] = _DIM
    return given.config(file, **usual)


def _read(config: Config) -> _Parts:
    """Read the parts: of one file that is split by rows, or of three."""
    import numpy as np
    import polars as pl

    from whence.config.parts import read_more
    from whence.config.reading import is_public
    from whence.curation.disclosure.masking import RowFile
    from whence.curation.disclosure.willingness import PLACE
    from whence.data import Interactions, split_rows
    from whence.errors import ConfigError

    data = config.data
    filters = [name for name in _FILTERS if getattr(data, name) is not None]
    if filters:
        raise ConfigError(
            f"data.{filters[0]} leaves out rows that the masked data should have; filter the file "
            "first."
        )
    three = {"train": data.train, "validation": data.validation, "test": data.test}
    if data.path is None:
        missing = [name for name, path in three.items() if path is None]
        if missing:
            raise ConfigError(
                "Disclosure is chosen on validation data and measured on test data; give one file "
                "with --data, or three with --train, --valid and --test."
            )
        read = [read_more(str(path), config) for path in three.values()]
        file = RowFile.of(str(data.train), read[0].n_rows)
        files = {"disclosed": (file, np.arange(file.n_rows))}
        return _Parts(read[0], read[1], read[2], files)
    if any(path is not None for path in three.values()):
        raise ConfigError("data.path is split into all parts; leave --train, --valid, --test out.")
    if config.split.method not in (None, "rows"):
        raise ConfigError(
            f"whence disclose splits one file by rows, not by {config.split.method!r}; for another "
            "split give three files with --train, --valid and --test."
        )
    if is_public(data.path) and not Path(data.path).exists():
        raise ConfigError(
            f"whence disclose masks a file of yours, and {data.path} is the name of a public data "
            "set; write it with whence.load and whence.write_interactions first."
        )
    whole = read_more(data.path, config)
    file = RowFile.of(data.path, whole.n_rows)
    named: dict[str, Any] = {k: v for k, v in whole.columns.as_arguments().items() if v is not None}
    numbered = Interactions.from_frame(
        whole.frame.with_columns(pl.Series(PLACE, np.arange(whole.n_rows))),
        **named,
        ties=data.ties,
        seed=data.order_seed,
    ).with_tables(items=whole.item_table, users=whole.user_table)
    given = "fractions" in config.split.model_fields_set
    fractions = config.split.fractions if given else _FRACTIONS
    if len(fractions) != 3 or not all(fractions):
        raise ConfigError(
            "split.fractions must be the shares of training, validation and test data, none of "
            "them 0."
        )
    parts = split_rows(
        numbered, fractions, seed=config.split.seed, per_source=config.split.per_user is not False
    )
    names = ("disclosed", "validation", "test")
    files = {name: (file, part.frame[PLACE].to_numpy()) for name, part in zip(names, parts)}
    return _Parts(parts[0], parts[1], parts[2], files)


def _violations(
    train: Interactions,
    column: str | None,
    category: str | None,
    rules: list[str] | None,
    mean: float | None,
    seed: int,
) -> Any:
    from whence.curation.disclosure import (
        simulate_willingness,
        violations,
        willingness_by_category,
    )
    from whence.errors import ConfigError

    ways = [way for way in (column, category, mean) if way is not None]
    if len(ways) != 1 or (category is None) != (not rules):
        raise ConfigError(
            "Say how unwilling users are, in one way: --willingness COLUMN, --category COLUMN with "
            "--rule NAME=VIOLATION, or --simulate MEAN."
        )
    if column is not None:
        return violations(train, column)
    if category is not None:
        return willingness_by_category(train, dict(map(_rule, rules or [])), column=category)
    assert mean is not None
    return simulate_willingness(train, mean=mean, seed=seed)


def _rule(text: str) -> tuple[str, float]:
    from whence.errors import ConfigError

    name, _, value = text.rpartition("=")
    try:
        return name, float(value)
    except ValueError:
        raise ConfigError(
            f"--rule is a category and its violation, as in Horror=1, not {text!r}."
        ) from None


def _model(config: Config, parts: _Parts) -> Any:
    """The model, not yet fitted, with the usual penalty where none is given."""
    from whence.influence.functions import factor_loss
    from whence.models.base import require

    model = config.build_model()
    require(model, "differentiable", "Disclosure")
    if factor_loss(model) is not None and config.training.weight_decay is None:
        model.weight_decay = _penalty(parts.train)
    model._check_params()
    return model


def _tell(problem: DisclosureProblem, plan: DisclosurePlan) -> None:
    """Say what is disclosed.

    Raises
    ------
    DataError
        If there is nothing to choose.
    """
    from whence.errors import DataError

    if problem.lam_ref is None:
        raise DataError(
            "No interaction has any willingness violation, so that all may be disclosed; check the "
            "column or the rules."
        )
    heading(
        f"Disclosed by {problem.settings.strategy} at lam = {problem.lam:.4g} (lam_ref is "
        f"{problem.lam_ref:.4g})"
    )
    say(
        f"{plan.n_disclosed:,} of {counted(len(plan), 'interaction')} ({plan.share:.1%}), with a "
        f"violation of {plan.violation:,.1f} of {problem.beta.sum():,.1f}."
    )
    if problem.reliability is not None:
        found = problem.reliability
        say(
            f"Reliability of influence: {found.item:.2f} by item, {found.user:.2f} by user, "
            f"{found.rest:.2f} of the rest, by which each part is shrunk."
        )


def _penalty(train: Interactions) -> float:
    """Penalty of a user's or item's parameters that weighs as much as 20 ratings."""
    from whence.experiments.disclosure import PENALTY

    return PENALTY / max(train.n_rows, 1)


def _compared(problem: DisclosureProblem, test: Any, seeds: int) -> Comparison:
    from whence.curation.disclosure.strategies import CONTROLS, SIZED

    strategy = problem.settings.strategy
    first = [] if strategy in SIZED else [strategy]
    several = list(dict.fromkeys([*first, "social", "all", "none"]))
    return problem.compare(several, test=test, seeds=tuple(range(seeds)), controls=CONTROLS)


def _show(comparison: Comparison, seeds: int) -> None:
    """Print what strategies are worth, and how much better the first is than the others."""
    say()
    heading(f"Retrained on what is left, measured on test data ({counted(seeds, 'seed')})")
    shown = comparison.table()
    metrics = [name for name in shown.columns if "@" in name]
    rows = []
    for row in shown.iter_rows(named=True):
        size = f"{row['matched']} of {row['to']}" if row["matched"] else ""
        rows.append([
            row["strategy"], size, f"{row['share']:.1%}", f"{row['wv']:.3f}",
            *(_with_half(row, name) for name in ("quality", "reward")),
            *(number(row[name]) for name in metrics),
        ])  # fmt: skip
    columns = ["strategy", "as large as", "disclosed", "violation", "quality", "reward", *metrics]
    table(columns, rows, text=("as large as",))
    say(comparison.quality)
    say("Violation and reward are per user; ± is half the 95% interval over the seeds.")
    first = shown["strategy"][0]
    say()
    heading(f"How much larger the reward of {first} is, in pairs by seed")
    gaps = comparison.differences().filter(strategy=first)
    lines = [
        [row["than"], row["matched"] and f"equal {row['matched']}",
         f"{row['difference']:+.4f}", "" if row["±"] is None else f"{row['±']:.4f}", row["better"]]
        for row in gaps.iter_rows(named=True)
    ]  # fmt: skip
    table(["than", "at", "difference", "±", "better"], lines, text=("at", "better"))


def _with_half(row: dict[str, Any], name: str) -> str:
    half = row[f"{name} ±"]
    return number(row[name]) if half is None else f"{number(row[name])} ± {half:.4f}"


def _write_plan(plan: DisclosurePlan, parts: _Parts, folder: Path) -> list[str]:
    """Write the plan and the masked data: they are what is asked for, whatever comes after."""
    import numpy as np
    import polars as pl

    plan.save(folder / "plan.parquet", overwrite=True)
    rows = pl.Series(parts.files["disclosed"][1])  # of the file, not of its training part
    plan.frame.with_columns(row=rows).write_csv(folder / "plan.csv")
    made = ["plan.parquet", "plan.csv"]
    for name, (file, rows) in parts.files.items():
        kept = np.zeros(file.n_rows, dtype=np.bool_)
        kept[rows[plan.disclosed] if name == "disclosed" else rows] = True
        (folder / name).mkdir(exist_ok=True)
        made.append(
            f"{name}/{file.keep(kept, folder / name / file.path.name, overwrite=True).name}"
        )
    return made


def _write_comparison(comparison: Comparison, folder: Path) -> list[str]:
    comparison.save(folder / "runs.parquet", overwrite=True)
    comparison.table().write_csv(folder / "comparison.csv")
    comparison.differences().write_csv(folder / "differences.csv")
    return ["runs.parquet", "comparison.csv", "differences.csv"]


def _frontier(problem: DisclosureProblem, test: Any, folder: Path) -> list[str]:
    from whence.curation.disclosure import plot_frontier
    from whence.curation.disclosure.strategies import CONTROLS
    from whence.plots import picture

    assert problem.lam_ref is not None
    points = problem.frontier(
        [share * problem.lam_ref for share in SHARES], strategies=("social",), controls=CONTROLS,
        test=test,
    )  # fmt: skip
    points.write_csv(folder / "frontier.csv")
    with picture(folder / "frontier.png", overwrite=True) as axes:
        plot_frontier(points, axes)
    return ["frontier.csv", "frontier.png"]


def _finish(plan: DisclosurePlan, folder: Path) -> None:
    from whence.attribution.record import plain_values
    from whence.cli._output import SUMMARY, write_json

    write_json(plain_values(plan.metadata), folder / SUMMARY)
