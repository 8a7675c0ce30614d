"""``whence disclose``: which interactions users should let a recommender be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._fitting import fit
from whence.cli._terminal import heading, number, progress, say, table

if TYPE_CHECKING:
    from whence.config import Config
    from whence.curation.disclosure import Comparison, Disclosure, DisclosurePlan
    from whence.curation.disclosure.masking import RowFile
    from whence.data import Interactions

DEFAULT_OUTPUT = "whence-disclosure"
CONTROLS = ("threshold", "random", "influence_only")
SHARES = (0.1, 0.3, 1.0, 3.0, 10.0)
_FRACTIONS = (0.5, 0.3, 0.2)
_DIM = 8
_FILTERS = ("min_rating", "max_rating", "min_length", "max_length", "min_per_user", "min_per_item")
_STRATEGY, _RUN = "Strategy", "Run"


def _option(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=_STRATEGY, show_default=False)


def disclose_command(
    *,
    config: options.ConfigFile = None,
    data: options.Data = None,
    train: options.Train = None,
    valid: options.Valid = None,
    test: options.Test = None,
    user: options.User = None,
    item: options.Item = None,
    time: options.Time = None,
    rating: options.Rating = None,
    model: options.Model = None,
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
        float | None, _option("--simulate", help="Draw violations of about this mean instead.")
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="selfish, social, budget, trust_region, mirror, or a control.",
            rich_help_panel=_STRATEGY,
        ),
    ] = "social",
    lam: Annotated[
        float | None,
        _option("--lam", help="Weight of violations; where both weigh the same by default."),
    ] = None,
    n: Annotated[
        int | None, _option("--n", help="budget and controls: interactions to disclose.")
    ] = None,
    wv: Annotated[
        float | None, _option("--wv", help="budget and controls: violation in all.")
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            help="Take of influences what is to be expected of them.", rich_help_panel=_STRATEGY
        ),
    ] = True,
    seeds: Annotated[
        int,
        typer.Option(help="Seeds of the comparison; 0 for none.", rich_help_panel=_RUN),
    ] = 3,
    set_: options.Set = None,
    seed: options.Seed = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Choose which interactions are disclosed, mask the others, retrain and compare.

    For example: whence disclose --data ratings.csv --willingness private --output disclosed
    """
    from whence.cli._output import check_free
    from whence.curation.disclosure.strategies import STRATEGIES
    from whence.errors import check_choice, check_float

    chosen = _configured(
        config, set_, model, data__path=data, data__train=train, data__validation=valid,
        data__test=test, data__user=user, data__item=item, data__time=time, data__rating=rating,
        training__seed=seed, split__seed=seed, output__directory=output,
        output__overwrite=overwrite,
    )  # fmt: skip
    folder = Path(chosen.output.directory or DEFAULT_OUTPUT)
    check_free(folder, overwrite=chosen.output.overwrite)
    check_choice("strategy", strategy, STRATEGIES)
    if lam is not None:
        check_float("lam", lam, minimum=0.0)
    parts = _read(chosen)
    beta = _violations(parts.train, willingness, category, rule, simulate, seed or 0)
    asked = _asked(chosen, parts, beta, lam, calibrate, seed or 0)
    with progress("Choosing") as report:
        if callable(report):
            report(0, 1, "influence of all interactions")
        plan = asked.solve(strategy, n=n, wv=wv)
    found = _Found(asked, plan, parts)
    heading(f"Disclosed by {strategy} at lam = {asked.lam:.4g} (lam_ref is {asked.lam_ref:.4g})")
    say(
        f"{plan.n_disclosed:,} of {len(plan):,} interactions ({plan.share:.1%}), with a violation "
        f"of {plan.violation:,.1f} of {asked.beta.sum():,.1f}."
    )
    comparison = _compared(asked, strategy, parts.test, seeds) if seeds else None
    if comparison is not None:
        _show(comparison, seeds)
    _write(found, comparison, folder, chosen)


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


@dataclass(frozen=True)
class _Found:
    asked: Disclosure
    plan: DisclosurePlan
    parts: _Parts


def _configured(
    file: Path | None, extra: list[str] | None, model: str | None, **keys: object
) -> Config:
    """A configuration whose model is a factorisation of ratings unless something else is said."""
    extra = extra or []
    named = model is not None or any(text.startswith("model.name=") for text in extra)
    if not named and file is not None:
        named = "name" in options.configured(file, None).model.model_fields_set
    if not named:
        model = "mf"
        if not any(text.startswith("model.embedding_dim=") for text in extra):
            keys["model__embedding_dim"] = _DIM
    return options.configured(file, extra, model__name=model, **keys)


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
        whole.frame.with_columns(pl.Series(PLACE, np.arange(whole.n_rows))), **named
    ).with_tables(items=whole.item_table, users=whole.user_table)
    given = "fractions" in config.split.model_fields_set
    fractions = config.split.fractions if given else _FRACTIONS
    parts = split_rows(
        numbered, fractions, seed=config.split.seed, per_source=config.split.per_user
    )
    if len(parts) != 3:
        raise ConfigError(
            "split.fractions must be the shares of training, validation and test data."
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


def _asked(
    config: Config, parts: _Parts, beta: Any, lam: float | None, calibrate: bool, seed: int
) -> Disclosure:
    """Train on everything, and measure the influence of every interaction."""
    from whence.config import Parts
    from whence.curation.disclosure import Disclosure
    from whence.errors import DataError
    from whence.influence.functions import factor_loss, to_optimum

    model = config.build_model()
    if factor_loss(model) is not None and config.training.weight_decay is None:
        model.weight_decay = _penalty(parts.train)
    model = fit(config, Parts(parts.train, None, None), model=model)
    if factor_loss(model) is not None:
        model = to_optimum(model)
    asked = Disclosure(model, beta, parts.validation, calibrate=calibrate, seed=seed)
    usual = asked.lam_ref
    if usual is None:
        raise DataError(
            "No interaction has any willingness violation, so that all may be disclosed; check the "
            "column or the rules."
        )
    return asked.at(usual if lam is None else lam)


def _penalty(train: Interactions) -> float:
    """Penalty of a user's or item's parameters that weighs as much as 20 ratings."""
    from whence.experiments.disclosure import PENALTY

    return PENALTY / max(train.n_rows, 1)


def _compared(asked: Disclosure, strategy: str, test: Any, seeds: int) -> Comparison:
    from whence.curation.disclosure.strategies import SIZED

    first = [] if strategy in SIZED else [strategy]
    several = list(dict.fromkeys([*first, "social", "all", "none"]))
    with progress("Retraining") as report:
        return asked.evaluate(
            several, test=test, seeds=tuple(range(seeds)), controls=CONTROLS,
            progress=report if callable(report) else None,
        )  # fmt: skip


def _show(comparison: Comparison, seeds: int) -> None:
    """Print what strategies are worth, and how much better the first is than the others."""
    say()
    heading(f"Retrained on what is left, measured on test data ({seeds} seeds)")
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


def _write(found: _Found, comparison: Comparison | None, folder: Path, config: Config) -> None:
    import numpy as np
    import polars as pl

    from whence.attribution.record import plain_values
    from whence.cli._output import SUMMARY, new_folder, write_config, write_json

    plan, parts = found.plan, found.parts
    made = ["plan.parquet", "plan.csv", SUMMARY, "config.yaml"]
    with new_folder(folder, overwrite=config.output.overwrite) as new:
        plan.save(new / "plan.parquet")
        rows = pl.Series(parts.files["disclosed"][1])  # of the file, not of its training part
        plan.frame.with_columns(row=rows).write_csv(new / "plan.csv")
        for name, (file, rows) in parts.files.items():
            kept = np.zeros(file.n_rows, dtype=np.bool_)
            kept[rows[plan.disclosed] if name == "disclosed" else rows] = True
            (new / name).mkdir()
            made.append(f"{name}/{file.keep(kept, new / name / file.path.name).name}")
        write_json(plain_values(plan.metadata), new / SUMMARY)
        write_config(config, new / "config.yaml")
        if comparison is not None:
            comparison.save(new / "runs.parquet")
            comparison.table().write_csv(new / "comparison.csv")
            comparison.differences().write_csv(new / "differences.csv")
            made += ["runs.parquet", "comparison.csv", "differences.csv"]
        _frontier(found.asked, parts.test, new)
        made += ["frontier.csv", "frontier.png"]
    say()
    say(f"Written to {folder}: {', '.join(made)}.")


def _frontier(asked: Disclosure, test: Any, folder: Path) -> None:
    from whence.curation.disclosure import plot_frontier
    from whence.plots import picture

    assert asked.lam_ref is not None
    with progress("Frontier") as report:
        points = asked.frontier(
            [share * asked.lam_ref for share in SHARES], strategies=("social",),
            controls=CONTROLS, test=test, progress=report if callable(report) else None,
        )  # fmt: skip
    points.write_csv(folder / "frontier.csv")
    with picture(folder / "frontier.png") as axes:
        plot_frontier(points, axes)
