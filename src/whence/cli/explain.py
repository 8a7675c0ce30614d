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


def _what(name: str, help: str) -> Any:
    return typer.Option(name, help=help, rich_help_panel="Explanation", show_default=False)


@command(
    Parameters(
        _explainer,
        without=("seed", "threads", "cells", "target", "groups", "masking"),
        names={"k": ("-k",)},
        panel="Explanation",
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
    target: Annotated[
        str | None,
        _what(
            "--target",
            "mean: mean score of the recommended items. item=ID: score of an item. "
            "versus=ID,OTHER: why this rather than that. log_probability=ID. rank=ID: its place, "
            "counted negative. mrr@10=ID: a metric, that item being the one to be found. (mean)",
        ),
    ] = None,
    masking: Annotated[
        list[str] | None,
        _what(
            "--masking",
            "What becomes of an event that is not in a set. remove: it never happened. pad: "
            "padding in its place. item=ID: that item. mean_embedding. marginal or "
            "marginal=DRAWS: items drawn by popularity. mask_token. It decides the answer: given "
            "twice, both are shown side by side. (remove)",
        ),
    ] = None,
    groups: Annotated[
        str | None,
        _what("--groups", "Events that are one player: repeats of an item (item), or baskets "
              "(basket)."),
    ] = None,
    because: Annotated[
        bool, _what("--because", "For each recommended item the event that carries most of it.")
    ] = False,
    without: Annotated[
        str | None,
        _what("--counterfactual",
              "The fewest events without which this item would not be recommended."),
    ] = None,
    absent: Annotated[
        str | None,
        _what("--why-not", "Why this item is not recommended, and what would bring it in."),
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
    from whence.cli._ids import known_items, masking_of, target_of
    from whence.cli._models import load_trained
    from whence.cli._output import check_free, check_new
    from whence.errors import ConfigError
    from whence.explanation import Explainer

    if not (user or users or every or history):
        raise ConfigError("Say whose recommendation: --user 42, --users FILE or --history 'a,b,c'.")
    several = every or users is not None or len([*(user or []), *(history or [])]) > 1
    maskings = masking or ["remove"]
    _check_of_one(
        several, {"--counterfactual": without, "--why-not": absent, "--because": because,
                  "--masking twice": len(maskings) > 1},
    )  # fmt: skip
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
    settings = {**given.parameters, "groups": groups}
    if target is not None:
        settings["target"] = target_of(target, items, column)
    explainers = {}
    for text in maskings:
        explainer = Explainer(
            seed=seed, threads=threads, masking=masking_of(text, items, column), **settings
        )
        explainer._check_params()
        explainers[text] = explainer
    wanted = [None if one is None else known_items(model, [one])[0] for one in (without, absent)]
    histories = _histories(model, user or [], users, every, history or [])
    if last is not None:
        histories = {name: events[-last:] for name, events in histories.items()}
    if folder is not None:
        _explain_many(explainer, model, histories, folder, overwrite=overwrite, resume=resume)
        return
    history_ = next(iter(histories.values()))
    found = {text: one.attribute(model, history_) for text, one in explainers.items()}
    explanation = next(iter(found.values()))
    _show(explanation)
    if len(found) > 1:
        _show_maskings(found)
    if because:
        _show_because(explanation)
    if wanted[0] is not None:
        say(str(explanation.counterfactual(wanted[0])))
    if wanted[1] is not None:
        heading(f"Why not {absent}")
        say(str(explanation.why_not(wanted[1])))
    if output is not None:
        _write(found, output, overwrite)
        say(f"Written to {output}.")


def _check_of_one(several: bool, asked: Mapping[str, Any]) -> None:
    """Refuse what is for one history where there are several."""
    from whence.errors import ConfigError

    for name, value in asked.items():
        if several and value:
            raise ConfigError(f"{name} is for one history; leave it out, or ask for one.")


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


def _histories(
    model: Any, user: list[str], users: Path | None, every: bool, history: list[str]
) -> dict[Any, Any]:
    """Names and histories, in the ids of the data."""
    from whence.cli._ids import histories_of, history_of, ids_in

    asked = [*user, *(ids_in(users, model.train_.columns.source) if users is not None else [])]
    found = histories_of(model, None if every else asked)
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


def _show_maskings(found: Mapping[str, Explanation]) -> None:
    """The shares of one history under several maskings, beside each other."""
    first = next(iter(found.values()))
    heading("Under each masking")
    rows = [
        [str(place), label, *(f"{one.scores[place]:+.4g}" for one in found.values())]
        for place, label in enumerate(first.labels)
    ]
    for name, value in (("nothing", "value_nothing"), ("everything", "value_all")):
        rows.append(["", name, *(f"{getattr(one, value):.4g}" for one in found.values())])
    table(["", first.source, *found], rows, numbers=["", *found], text=[first.source])


def _show_because(explanation: Explanation) -> None:
    """Each recommended item with the event that carries most of its score."""
    heading("Because of what")
    frame = explanation.because()
    titled = "title" in frame.columns
    rows = []
    for row in frame.iter_rows(named=True):
        reason = "" if row["because"] is None else str(row["because"])
        if titled and row["because_title"]:
            reason = row["because_title"]
        name = (row["title"] if titled else None) or row["item"]
        rows.append([str(row["rank"]), str(name), reason, _text(row["share"])])
    table(["rank", "item", "because of", "share"], rows, numbers=["rank", "share"],
          text=["item", "because of"])  # fmt: skip


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


def _write(found: Mapping[str, Explanation], path: Path, overwrite: bool) -> None:
    from whence.plots import picture
    from whence.plots.explanation import maskings

    explanation = next(iter(found.values()))
    if path.suffix.lower() not in _PICTURES:
        explanation.save(path, overwrite=overwrite)
        return
    with picture(path, overwrite=overwrite) as axes:
        if len(found) == 1:
            explanation.plot(ax=axes)
        else:
            maskings({name: one.frame for name, one in found.items()}, ax=axes)


def _write_many(found: Explanations, folder: Path) -> None:
    from whence.plots import picture

    for name in ("explanations.parquet", "explanations.csv"):
        found.save(folder / name, overwrite=True)
    found.report(_by(found)).write_csv(folder / "report.csv")
    with picture(folder / "report.png", overwrite=True) as axes:
        found.plot(axes, kind="recency" if _by(found) == "recency" else "beeswarm")
