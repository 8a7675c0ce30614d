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
    from whence.explanation import Explanations

_ENDINGS = (".png", ".svg", ".pdf", ".parquet", ".csv")
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
            "padding in its place. item=ID: that item. lowest, median, highest: the item of that "
            "score after the whole history. mean_embedding. marginal or "
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
    tolerances: Annotated[
        list[float] | None,
        _what("--tolerances",
              "How many of the latest events --prune leaves with this tolerance; may be repeated."),
    ] = None,
    sweep: Annotated[
        PositiveInt | None,
        _what("--stand-ins",
              "Explain under so many items in the place of masked events, one after another, from "
              "that of the lowest score to that of the highest."),
    ] = None,
    against: Annotated[
        Path | None,
        _what("--against",
              "Another run or model: what does it rely on more, or less, than this one? Of several "
              "histories."),
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
    dark: Annotated[
        bool, typer.Option("--dark", rich_help_panel="Run", help="Pictures on dark paper.")
    ] = False,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:  # fmt: skip
    """Explain what a model recommends by the events of the history.

    For example: whence explain runs/GRU4Rec-20250101-120000 --user 42 --last 20 -o user42.png
    """
    from whence.cli import _explained as shown
    from whence.cli._ids import known_items, masking_of, target_of
    from whence.cli._models import load_trained
    from whence.cli._output import check_free, check_new
    from whence.errors import ConfigError
    from whence.explanation import Explainer, pruning_statistics, stand_ins
    from whence.explanation.prunings import OF_PRUNING

    if not (user or users or every or history):
        raise ConfigError("Say whose recommendation: --user 42, --users FILE or --history 'a,b,c'.")
    several = every or users is not None or len([*(user or []), *(history or [])]) > 1
    maskings = masking or ["remove"]
    _check_of_one(
        several, {"--counterfactual": without, "--why-not": absent, "--because": because,
                  "--masking twice": len(maskings) > 1, "--stand-ins": sweep},
    )  # fmt: skip
    if against is not None and not several:
        raise ConfigError("--against compares over several histories; ask for --users or --all.")
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
    other = None if against is None else load_trained(against).model
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
    first = next(iter(explainers.values()))
    statistics = None
    if tolerances:
        of_pruning = {name: getattr(first, name) for name in OF_PRUNING}
        with working("Pruning") as run:
            statistics = pruning_statistics(
                model, histories, tolerances=tolerances, run=run, **of_pruning
            )
    if folder is not None:
        _explain_many(
            first, model, histories, folder, statistics, other, overwrite=overwrite, resume=resume
        )
        return
    own = next(iter(histories.values()))
    found = {text: one.attribute(model, own) for text, one in explainers.items()}
    explanation = next(iter(found.values()))
    answers = [
        None if wanted[0] is None else explanation.counterfactual(wanted[0]),
        None if wanted[1] is None else explanation.why_not(wanted[1]),
    ]
    swept = None
    if sweep:
        with working("Explaining") as run:
            swept = stand_ins(model, own, n=max(sweep, 2), run=run, **_for_sweep(first))
    shown.one(explanation)
    if len(found) > 1:
        shown.maskings(found)
    if because:
        shown.because(explanation)
    if answers[0] is not None:
        say(str(answers[0]))
    if answers[1] is not None:
        heading(f"Why not {absent}")
        say(str(answers[1]))
    if statistics is not None:
        shown.pruning(statistics)
    if swept is not None:
        shown.stand_ins(swept)
    if output is not None:
        shown.write(found, swept, output, overwrite=overwrite, dark=dark)
        say(f"Written to {output}.")


def _for_sweep(explainer: Any) -> dict[str, Any]:
    """Parameters of a sweep: all that were given, but the masking."""
    params: dict[str, Any] = explainer.get_params()
    return {name: value for name, value in params.items() if name != "masking"}


def _check_of_one(several: bool, asked: Mapping[str, Any]) -> None:
    """Refuse what is for one history where there are several."""
    from whence.errors import ConfigError

    for name, value in asked.items():
        if several and value:
            raise ConfigError(f"{name} is for one history; leave it out, or ask for one.")


def _explain_many(
    explainer: Any, model: Any, histories: Mapping[Any, Any], folder: Path, statistics: Any = None,
    other: Any = None, *, overwrite: bool, resume: bool,
) -> None:  # fmt: skip
    from whence.attribution.record import plain_values
    from whence.cli import _explained as shown
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
        if other is not None:
            with working("Explaining by the other model") as run:
                second = explainer.attribute(other, histories, run=run)
            shown.compared(found, second, folder)
        if statistics is not None:
            shown.pruning(statistics)
            shown.write_pruning(statistics, folder)
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


def _show_many(found: Explanations, n: int = 10) -> None:
    from whence.cli._explained import sides, text_of

    report = found.report(_by(found))
    heading(f"{counted(len(found), 'history')}: mean share by {report.columns[0]}")
    rows = [[text_of(value) for value in row] for row in report.head(n).iter_rows()]
    table(list(report.columns), rows, **sides(report))


def _by(found: Explanations) -> str:
    """What shares are averaged over: how long ago events were, or features."""
    return "recency" if "event" in found.to_frame().columns else "feature"


def _write_many(found: Explanations, folder: Path) -> None:
    from whence.plots import picture

    for name in ("explanations.parquet", "explanations.csv"):
        found.save(folder / name, overwrite=True)
    found.report(_by(found)).write_csv(folder / "report.csv")
    with picture(folder / "report.png", overwrite=True) as axes:
        found.plot(axes, kind="recency" if _by(found) == "recency" else "beeswarm")
