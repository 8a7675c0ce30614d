"""What ``whence explain`` prints and writes of one history, and of pruning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.cli._terminal import heading, say, table

if TYPE_CHECKING:
    import polars as pl

    from whence.explanation import Explanation, Explanations, PruningStatistics, StandIns

_WIDTH = 24
_ROWS = 20
_PICTURES = (".png", ".svg", ".pdf")


def one(explanation: Explanation) -> None:
    """What is recommended, and the share of each event as a bar."""
    say(explanation.summary())
    heading("Recommended")
    items = explanation.items
    table(
        list(items.columns),
        [[text_of(value) for value in row] for row in items.iter_rows()],
        **sides(items),
    )
    heading("Because of")
    frame = explanation.frame
    largest = max((abs(score) for score in frame["score"].to_list()), default=0.0)
    shown = [name for name in frame.columns if name not in ("n_events", "label")]
    rows = [
        [*(text_of(row[name]) for name in shown), _bar(row["score"], largest)]
        for row in frame.iter_rows(named=True)
    ]
    table([*shown, ""], rows, **sides(frame, ""))


def maskings(found: Mapping[str, Explanation]) -> None:
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


def because(explanation: Explanation) -> None:
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
        rows.append([str(row["rank"]), str(name), reason, text_of(row["share"])])
    table(["rank", "item", "because of", "share"], rows, numbers=["rank", "share"],
          text=["item", "because of"])  # fmt: skip


def sides(frame: pl.DataFrame, *text: str) -> dict[str, list[str]]:
    """Numbers to the right, words to the left."""
    numbers = [name for name in frame.columns if frame[name].dtype.is_numeric()]
    return {"numbers": numbers, "text": [*(set(frame.columns) - set(numbers)), *text]}


def _bar(score: float, largest: float) -> str:
    """A bar to the left for what speaks against, to the right for what speaks for."""
    n = round(abs(score) / largest * _WIDTH / 2) if largest else 0
    half = _WIDTH // 2
    left, right = (0, n) if score >= 0 else (n, 0)
    return " " * (half - left) + "█" * left + "│" + "█" * right


def text_of(value: Any) -> str:
    """A value of a table as a short text."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write(
    found: Mapping[str, Explanation],
    swept: StandIns | None,
    path: Path,
    *,
    overwrite: bool,
    dark: bool,
) -> None:
    """Write values, or a picture: of the sweep where there is one, else of the shares."""
    from whence.plots import picture
    from whence.plots.explanation import maskings as side_by_side

    explanation = next(iter(found.values()))
    if path.suffix.lower() not in _PICTURES:
        explanation.save(path, overwrite=overwrite)
        return
    with picture(path, overwrite=overwrite, on_dark=dark) as axes:
        if swept is not None:
            swept.plot(ax=axes)
        elif len(found) == 1:
            explanation.plot(ax=axes)
        else:
            side_by_side({name: one.frame for name, one in found.items()}, ax=axes)


def pruning(found: PruningStatistics) -> None:
    """How many events each tolerance leaves."""
    statistics = found.statistics()
    heading("What pruning leaves")
    rows = [
        ["none" if row[0] is None else f"{row[0]:g}", *(text_of(value) for value in row[1:])]
        for row in statistics.select("tolerance", "mean", "std_error", "share", "n").iter_rows()
    ]
    columns = ["tolerance", "events left (mean)", "± std. error", "share of all", "histories"]
    table(columns, rows, numbers=columns)


def write_pruning(found: PruningStatistics, folder: Path) -> None:
    """The statistics and the lengths as tables, and the picture."""
    from whence.plots import picture

    found.statistics().write_csv(folder / "pruning.csv")
    found.table.write_parquet(folder / "pruning.parquet")
    with picture(folder / "pruning.png", overwrite=True) as axes:
        found.plot(axes)


def stand_ins(found: StandIns) -> None:
    """Each stand-in with its score, and whether it is as good as the history."""
    heading("Under one stand-in after another")
    shown = [name for name in found.table.columns if name not in ("quantile", "better")]
    rows = [
        [*(text_of(row[name]) for name in shown), "as good as the history" if row["better"] else ""]
        for row in found.table.iter_rows(named=True)
    ]
    table([*shown, ""], rows, **sides(found.table.select(shown), ""))


def compared(first: Explanations, second: Explanations, folder: Path) -> None:
    """What a second model relies on more or less, by recency and by item: tables and pictures."""
    from whence.plots import picture
    from whence.plots.reports import groups

    for by in ("recency", "item"):
        if by not in first.to_frame().columns or by not in second.to_frame().columns:
            continue
        found = first.compare(second, by)
        heading(f"Part of the absolute shares by {by}: this model, the other, the difference")
        rows = [[text_of(value) for value in row] for row in found.head(_ROWS).iter_rows()]
        table(found.columns, rows, numbers=found.columns)
        found.write_csv(folder / f"against-{by}.csv")
        with picture(folder / f"against-{by}.png", overwrite=True) as axes:
            groups(found, ax=axes, names=("this model", "the other"))
