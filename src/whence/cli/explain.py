"""``whence explain``: which past events produced a recommendation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli._terminal import heading, say, table

if TYPE_CHECKING:
    import polars as pl

    from whence.explanation import Explanation

_WIDTH = 24


def explain_command(
    *,
    source: Annotated[
        Path, typer.Argument(metavar="RUN or MODEL", help="A run of whence train, or its model.")
    ],
    user: Annotated[
        str | None,
        typer.Option(
            help="A user of the training data, with all of its items.", show_default=False
        ),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(help="Items so far, as in 'a,b,c', oldest first.", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Recommended items to explain.")] = 10,
    level: Annotated[str, typer.Option(help="event, feature or cell.")] = "event",
    masking: Annotated[
        str,
        typer.Option(
            help="What takes the place of an event that is left out: remove, pad, item=ID, "
            "mean_embedding, marginal or mask_token."
        ),
    ] = "remove",
    method: Annotated[
        str,
        typer.Option(help="auto, exact, permutation, kernel, occlusion or integrated_gradients."),
    ] = "auto",
    last: Annotated[
        int | None,
        typer.Option(help="Look at the last so many events only.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random numbers.")] = 42,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Picture (.png, .svg, .pdf), or values (.parquet)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Explain what a model recommends by the events of the history.

    For example: whence explain runs/GRU4Rec-20250101-120000 --user 42 --last 20 -o user42.png
    """
    from whence.cli._models import Trained, are_models
    from whence.errors import ConfigError, OutputExistsError, check_int
    from whence.explanation import explain

    if (user is None) == (history is None):
        raise ConfigError("Say whose recommendation: --user 42, or --history 'a,b,c'.")
    if output is not None and output.exists() and not overwrite:
        raise OutputExistsError(
            f"{output} exists already; choose another name with --output, or replace it with "
            "--overwrite."
        )
    if not are_models([source]):
        raise ConfigError(
            f"{source} is neither a run nor a saved model; give what whence train has written."
        )
    model = Trained.load(source).model
    events = _events(model, user, history)
    if last is not None:
        events = events[-check_int("--last", last, minimum=1) :]
    instead = masking_of(masking, model.vocabulary.items, model.train_.columns.item)
    explanation = explain(
        model, events, k=k, level=level, masking=instead, method=method, seed=seed
    )
    _show(explanation)
    if output is not None:
        _write(explanation, output, overwrite)
        say(f"Written to {output}.")


def masking_of(text: str, items: pl.Series, column: str) -> Any:
    """A masking as `whence.explain` takes it: item=ID is an item, in the caller's ids."""
    from whence.cli.recommend import _typed
    from whence.errors import ConfigError

    name, _, item = text.partition("=")
    if name != "item":
        return text
    if not item:
        raise ConfigError("Say which item takes an event's place: --masking item=ID.")
    return ("item", _typed([item], items, column)[0])


def _events(model: Any, user: str | None, history: str | None) -> list[Any]:
    """Items of the history, in the caller's ids."""
    from whence.cli.recommend import _typed
    from whence.errors import DataError

    train = model.train_
    if history is not None:
        texts = [item.strip() for item in history.split(",") if item.strip()]
        return _typed(texts, model.vocabulary.items, train.columns.item)
    [wanted] = _typed([str(user)], model.vocabulary.sources, train.columns.source)
    number = int(model.vocabulary.source_codes([wanted])[0])
    if number < 0:
        raise DataError(
            f"{train.columns.source} {user!r} is unknown to the model; give one of its training "
            "data, or a history."
        )
    start, end = train.sequences.offsets[number : number + 2]
    items: list[Any] = model.vocabulary.items.gather(train.sequences.items[start:end]).to_list()
    return items


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

    if path.suffix.lower() in (".png", ".svg", ".pdf"):
        with picture(path, overwrite=overwrite) as axes:
            explanation.plot(ax=axes)
    else:
        explanation.save(path, overwrite=overwrite)
