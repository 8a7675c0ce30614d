"""``whence trace --item``: what taught a model to predict some items, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.cli._terminal import heading, say, table

if TYPE_CHECKING:
    import polars as pl

    from whence.influence import Influence

Chosen = dict[str, Any]
"""Queries by the title, or id, of the item that they ask for."""
Trace = Callable[[Path | None, Any], "Influence"]


def asked_of_items(model: Any, asked: Any, items: list[str]) -> Chosen:
    """Return the queries whose target is each of some items, given by title or id.

    Raises
    ------
    DataError
        If an item is unknown, or no query asks for it.
    """
    import numpy as np

    from whence.errors import DataError

    chosen: Chosen = {}
    for text in items:
        codes = _codes(model, text)
        numbers = np.flatnonzero(np.isin(asked.targets, codes))
        if not len(numbers):
            raise DataError(
                f"None of the {len(asked):,} predictions asked is of {text!r}; choose an item of "
                "the test data with --item."
            )
        chosen[text] = asked.take(numbers)
    return chosen


def _codes(model: Any, text: str) -> list[int]:
    """Numbers of the items of a title, or of one id."""
    from whence.cli._ids import known_items
    from whence.errors import DataError, did_you_mean

    titles = model.train_.item_titles
    if titles is not None:
        found: list[int] = (titles == text).arg_true().to_list()
        if found:
            return found
    try:
        return [int(model.vocabulary.item_codes(known_items(model, [text]))[0])]
    except DataError as error:
        if titles is None:
            raise
        hint = did_you_mean(text, titles.drop_nulls().to_list())
        raise DataError(f"{text!r} is neither a title nor an id of an item.{hint}") from error


def traced(
    chosen: Chosen, trace: Trace, folder: Path | None
) -> Iterator[tuple[str, int, Influence]]:
    """Trace the queries of each item, or read what was traced into the folder before."""
    from whence.influence import Influence

    for number, (name, queries) in enumerate(chosen.items(), start=1):
        if folder is None:
            yield name, len(queries), trace(None, queries)
            continue
        path = folder / f"influence-{number}.parquet"
        if not path.exists():
            trace(folder / f"item-{number}", queries).save(path)
            _remove(folder / f"item-{number}")
        yield name, len(queries), Influence.load(path)


def _remove(folder: Path) -> None:
    """Remove the folder that unfinished work was in."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def show(model: Any, name: str, n_queries: int, influence: Influence, n: int) -> None:
    """Print who taught the predictions of an item, and who opposed them."""
    from whence.cli._terminal import counted

    frame, without = _named(model, influence, name)
    heading(f"{name}: {influence.title} on {counted(n_queries, 'prediction')}{without}")
    shown = [column for column in frame.columns if column != "n_queries"]
    for title, part in (("Proponents", frame.head(n)), ("Opponents", frame.tail(n).reverse())):
        say(f"{title}:")
        rows = [[text_of(value) for value in row] for row in part.select(shown).iter_rows()]
        table(shown, rows, text=("title", "target"))


def write(model: Any, chosen: Chosen, trace: Trace, folder: Path, n: int) -> None:
    """Print the same, and write the values of each item and one table of all."""
    import polars as pl

    from whence.cli._output import SUMMARY, write_json
    from whence.data.files import atomic_path

    lines, tables, facts = ["| item | proponents | opponents |", "|---|---|---|"], [], {}
    for name, n_queries, influence in traced(chosen, trace, folder):
        show(model, name, n_queries, influence, n)
        frame, _ = _named(model, influence, name)
        facts[name] = influence.metadata
        tables.append(frame.select(pl.lit(name).alias("of"), pl.all()))
        label = "title" if "title" in frame.columns else influence.source
        cells = [
            ", ".join(str(value) for value in side[label])
            for side in (frame.head(n), frame.tail(n).reverse())
        ]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    with atomic_path(folder / "items.csv") as path:
        pl.concat(tables).write_csv(path)
    with atomic_path(folder / "items.md") as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(facts, folder / SUMMARY)
    say(f"Written to {folder}: items.md, items.csv, influence-1.parquet and so on, summary.json.")


def _named(model: Any, influence: Influence, name: str) -> tuple[pl.DataFrame, str]:
    """The values, the highest first, items with titles; without the item itself, said in words."""
    import polars as pl

    frame, train = influence.frame.sort("score", descending=True), model.train_
    if influence.metadata["by"] not in ("item", "target"):
        return frame, ""
    codes = train.vocabulary.item_codes(frame[influence.source].to_list())
    if train.item_titles is not None:
        frame = frame.insert_column(1, train.item_titles.gather(codes).alias("title"))
    return frame.filter(~pl.Series(codes).is_in(_codes(model, name))), ", without itself"


def text_of(value: Any) -> str:
    """Return a value of a table as a short text."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)) or hasattr(value, "to_list"):
        items = [str(item) for item in value]
        return " · ".join(items[-3:]) if len(items) <= 3 else "… " + " · ".join(items[-3:])
    return str(value)
