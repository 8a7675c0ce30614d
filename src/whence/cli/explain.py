"""``whence explain``: which past events produced a recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._commands import Given, Parameters, command
from whence.cli._terminal import counted, heading, say, table, working
from whence.parameters import PositiveInt

if TYPE_CHECKING:
    import polars as pl

    from whence.explanation import Explanation, Explanations

_WIDTH = 24
_PICTURES = (".png", ".svg", ".pdf")
_ENDINGS = (*_PICTURES, ".parquet", ".csv")
DEFAULT_OUTPUT = "whence-explanations"


def _explainer(arguments: list[str]) -> Any:
    from whence.explanation import Explainer

    return Explainer


def _whose(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Whose", show_default=False)


@command(
    Parameters(
        _explainer, without=("seed", "threads", "cells"), names={"k": ("-k",)}, panel="Explanation"
    )
)
def explain(
    given: Given,
    source: options.Trained,
    *,
    user: Annotated[
        list[str] | None, _whose("--user", help="Id of a user or session; may be repeated.")
    ] = None,
    users: Annotated[
        Path | None,
        _whose("--users", help="File of ids: one per line, or a table with the column of users."),
    ] = None,
    every: Annotated[
        bool, _whose("--all", help="All users or sessions of the training data.")
    ] = False,
    history: Annotated[
        list[str] | None,
        _whose(
            "--history",
            help="Items so far, as in 'a,b,c', oldest first; baskets as in 'a,b;c'. May be "
            "repeated.",
        ),
    ] = None,
    last: Annotated[
        PositiveInt | None, _whose("--last", help="Look at the last so many events only.")
    ] = None,
    without: Annotated[
        str | None,
        typer.Option(
            "--counterfactual",
            help="The fewest events without which this item would not be recommended.",
            rich_help_panel="Explanation",
            show_default=False,
        ),
    ] = None,
    seed: options.Seed = 42,
    threads: options.Threads = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", rich_help_panel="Run", show_default=False,
            help="Of one: a picture (.png, .svg, .pdf) or values (.parquet). Of several: a folder.",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:  # fmt: skip
    """Explain what a model recommends by the events of the history.

    For example: whence explain runs/GRU4Rec-20250101-120000 --user 42 --last 20 -o user42.png
    """
    from whence.cli._ids import known_items, masking_of
    from whence.cli._models import load_trained
    from whence.cli._output import check_free, check_new
    from whence.errors import ConfigError
    from whence.explanation import Explainer

    if not (user or users or every or history):
        raise ConfigError("Say whose recommendation: --user 42, --users FILE or --history 'a,b,c'.")
    several = every or users is not None or len([*(user or []), *(history or [])]) > 1
    if several and without is not None:
        raise ConfigError("--counterfactual is for one history; leave it out, or ask for one.")
    folder = (output or Path(DEFAULT_OUTPUT)) if several else None
    if folder is not None:
        check_free(folder, overwrite=overwrite, resume=resume)
    else:
        check_new(output, overwrite=overwrite)
        if output is not None and output.suffix.lower() not in _ENDINGS:
            raise ConfigError(
                f"{output} cannot be written; choose a name that ends in {', '.join(_ENDINGS)}."
            )
    model = load_trained(source).model
    items, column = model.vocabulary.items, model.train_.columns.item
    settings = dict(given.parameters)
    if "masking" in settings:
        settings["masking"] = masking_of(settings["masking"], items, column)
    if "target" in settings:
        settings["target"] = _target(settings["target"], items, column)
    explainer = Explainer(seed=seed, threads=threads, **settings)
    explainer._check_params()
    wanted = None if without is None else known_items(model, [without])[0]
    histories = _histories(model, user or [], users, every, history or [])
    if last is not None:
        histories = {name: events[-last:] for name, events in histories.items()}
    if folder is not None:
        _explain_many(explainer, model, histories, folder, overwrite=overwrite, resume=resume)
        return
    explanation = explainer.attribute(model, next(iter(histories.values())))
    _show(explanation)
    if wanted is not None:
        say(str(explanation.counterfactual(wanted)))
    if output is not None:
        _write(explanation, output, overwrite)
        say(f"Written to {output}.")


def _explain_many(
    explainer: Any, model: Any, histories: Mapping[Any, Any], folder: Path, *, overwrite: bool,
    resume: bool,
) -> None:  # fmt: skip
    from whence.attribution.record import plain_values
    from whence.cli._output import SUMMARY, Results, marked, write_json

    parameters = {k: str(v) for k, v in explainer.params.items() if k != "threads"}
    question = marked(
        "explain", model.train_, model=type(model).__name__, explanation=parameters,
        histories={str(name): [str(e) for e in events] for name, events in histories.items()},
    )  # fmt: skip
    with Results(folder, question, overwrite=overwrite, resume=resume).open():
        with working("Explaining", folder=folder, resume=resume) as run:
            found = explainer.attribute(model, histories, run=run)
        _show_many(found)
        _write_many(found, folder)
        about = {"explained": len(found), "parameters": parameters}
        write_json(plain_values(about), folder / SUMMARY)
    say(f"Written to {folder}: explanations.parquet, explanations.csv, report.csv, report.png.")


def _target(text: str, items: pl.Series, column: str) -> Any:
    """A target as the library takes it: item=ID, log_probability=ID or mrr@10=ID, or mean."""
    from whence.cli._ids import typed

    name, equals, item = text.partition("=")
    return (name, typed([item], items, column)[0]) if equals else text


def _histories(
    model: Any, user: list[str], users: Path | None, every: bool, history: list[str]
) -> dict[Any, Any]:
    """Names and histories, in the ids of the data."""
    from whence.cli._ids import history_of, ids_in, known_users

    train = model.train_
    asked = [*user, *(ids_in(users, train.columns.source) if users is not None else [])]
    ids = model.vocabulary.sources.to_list() if every else known_users(model, asked)
    offsets, baskets = train.sequences.offsets, train.sequences.baskets
    found: dict[Any, Any] = {}
    for name, code in zip(ids, model.vocabulary.source_codes(ids)):
        part = slice(offsets[code], offsets[code + 1])
        events = model.vocabulary.items.gather(train.sequences.items[part]).to_list()
        if baskets is not None:
            numbers = list(baskets[part])
            events = [
                [item for item, number in zip(events, numbers) if number == one]
                for one in dict.fromkeys(numbers)
            ]
        found[name] = events
    return {**found, **{text: history_of(model, text) for text in history}}


def _show(explanation: Explanation) -> None:
    say(explanation.summary())
    heading("Recommended")
    items = explanation.items
    table(
        list(items.columns),
        [[_text(value) for value in row] for row in items.iter_rows()],
        **_sides(items),
    )
    heading("Because of")
    frame = explanation.frame
    largest = max((abs(score) for score in frame["score"].to_list()), default=0.0)
    shown = [name for name in frame.columns if name not in ("n_events", "label")]
    rows = [
        [*(_text(row[name]) for name in shown), _bar(row["score"], largest)]
        for row in frame.iter_rows(named=True)
    ]
    table([*shown, ""], rows, **_sides(frame, ""))


def _show_many(found: Explanations, n: int = 10) -> None:
    report = found.report(_by(found))
    heading(f"{counted(len(found), 'history')}: mean share by {report.columns[0]}")
    rows = [[_text(value) for value in row] for row in report.head(n).iter_rows()]
    table(list(report.columns), rows, **_sides(report))


def _by(found: Explanations) -> str:
    """What shares are averaged over: how long ago events were, or features."""
    return "recency" if "event" in found.to_frame().columns else "feature"


def _sides(frame: pl.DataFrame, *text: str) -> dict[str, list[str]]:
    """Numbers to the right, words to the left."""
    numbers = [name for name in frame.columns if frame[name].dtype.is_numeric()]
    return {"numbers": numbers, "text": [*(set(frame.columns) - set(numbers)), *text]}


def _bar(score: float, largest: float) -> str:
    """A bar to the left for what speaks against, to the right for what speaks for."""
    n = round(abs(score) / largest * _WIDTH / 2) if largest else 0
    half = _WIDTH // 2
    left, right = (0, n) if score >= 0 else (n, 0)
    return " " * (half - left) + "█" * left + "│" + "█" * right


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write(explanation: Explanation, path: Path, overwrite: bool) -> None:
    from whence.plots import picture

    if path.suffix.lower() in _PICTURES:
        with picture(path, overwrite=overwrite) as axes:
            explanation.plot(ax=axes)
    else:
        explanation.save(path, overwrite=overwrite)


def _write_many(found: Explanations, folder: Path) -> None:
    from whence.plots import picture

    for name in ("explanations.parquet", "explanations.csv"):
        found.save(folder / name, overwrite=True)
    found.report(_by(found)).write_csv(folder / "report.csv")
    with picture(folder / "report.png", overwrite=True) as axes:
        found.plot(axes, kind="recency" if _by(found) == "recency" else "beeswarm")
