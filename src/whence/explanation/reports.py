"""Reports: one history at every level, and many histories together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from whence._html import ShownAsTable
from whence._words import counted
from whence.data.files import atomic_path
from whence.engines import Run
from whence.errors import OutputExistsError, check_path
from whence.explanation._foreign import ForeignAsker
from whence.explanation._maskings import parse_masking
from whence.explanation._problems import as_asker
from whence.explanation.explainer import SEVERAL
from whence.explanation.many import Explanations
from whence.explanation.prunings import (
    OF_PRUNING,
    TOLERANCES,
    PruningStatistics,
    pruning_statistics,
)
from whence.explanation.result import Explanation
from whence.explanation.shortcuts import explain, explain_many

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class _Report(ShownAsTable):
    """What reports share: tables and a picture in a folder."""

    def _parts(self) -> dict[str, pl.DataFrame]:
        """The tables, by the names of their files."""
        raise NotImplementedError

    def plot(self) -> Figure:
        """Draw the whole report."""
        raise NotImplementedError

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write the tables as Parquet files and the picture, ``report.png``, to a folder.

        Raises
        ------
        OutputExistsError
            If one of the files is there and `overwrite` is false.
        """
        folder = check_path("folder", folder)
        parts = self._parts()
        taken = [name for name in (*(f"{n}.parquet" for n in parts), "report.png")
                 if (folder / name).exists()]  # fmt: skip
        if taken and not overwrite:
            raise OutputExistsError(
                f"{folder / taken[0]} is there already; give overwrite=True, or another folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in parts.items():
            with atomic_path(folder / f"{name}.parquet", overwrite=overwrite) as path:
                table.write_parquet(path)
        with atomic_path(folder / "report.png", overwrite=overwrite) as path:
            self.plot().savefig(path, format="png")
        return folder


@dataclass(frozen=True)
class LocalReport(_Report):
    """One history: what pruning joins, and the shares of events, features and cells.

    Attributes
    ----------
    pruning : PruningStatistics
    events : Explanation
    features, cells : Explanation or None
        None where the model's events have no features, or no event stands in for masked ones.
    """

    pruning: PruningStatistics
    events: Explanation
    features: Explanation | None = None
    cells: Explanation | None = None

    def __repr__(self) -> str:
        return f"<LocalReport of {counted(int(self.events.metadata['n_events']), 'events')}>"

    def _shown(self) -> pl.DataFrame:
        return self.events.frame

    def summary(self) -> str:
        """Describe the report in a few lines for people."""
        lines = [self.events.summary()]
        for one in (self.features, self.cells):
            if one is not None:
                parts = (f"{row['label']} ({row['score']:+.3g})"
                         for row in one.top(3).iter_rows(named=True))  # fmt: skip
                lines.append(f"Of the {one.noun}: {', '.join(parts)}.")
        return "\n".join(lines)

    def _parts(self) -> dict[str, pl.DataFrame]:
        found = {"pruning": self.pruning.curves, "events": self.events.frame}
        for name, one in (("features", self.features), ("cells", self.cells)):
            if one is not None:
                found[name] = one.frame
        return found

    def plot(self) -> Figure:
        """Draw what pruning joins, the events, and the features and cells where there are some.

        Returns
        -------
        matplotlib Figure
            Unknown to pyplot, so that nothing has to be closed.
        """
        from whence.plots.reports import panels

        drawn: list[Any] = [(self.pruning.plot, 0)]
        for one in (self.events, self.features, self.cells):
            if one is not None:
                drawn.append((one.plot, len(one)))
        return panels(drawn)


@dataclass(frozen=True)
class GlobalReport(_Report):
    """Many histories: how many events matter, how far back, and which features.

    Attributes
    ----------
    pruning : PruningStatistics
    events : Explanations
    features : Explanations or None
        None where the model's events have no features, or no event stands in for masked ones.
    """

    pruning: PruningStatistics
    events: Explanations
    features: Explanations | None = None

    def __repr__(self) -> str:
        return f"<GlobalReport of {counted(len(self.events), 'histories')}>"

    def _shown(self) -> pl.DataFrame:
        return self.events.report("recency")

    def _parts(self) -> dict[str, pl.DataFrame]:
        found = {
            "pruning": self.pruning.table,
            "pruning-statistics": self.pruning.statistics(),
            "events": self.events.to_frame(),
            "recency": self.events.report("recency"),
        }
        if self.features is not None:
            found |= {
                "features": self.features.to_frame(),
                "feature-report": self.features.report("feature"),
            }
        return found

    def plot(self) -> Figure:
        """Draw what pruning leaves, how far back events matter, and which features do.

        Returns
        -------
        matplotlib Figure
            Unknown to pyplot, so that nothing has to be closed.
        """
        from whence.plots.reports import panels

        drawn: list[Any] = [
            (lambda ax: self.pruning.plot(ax, kind="lengths"), 0),
            (lambda ax: self.events.plot(ax, kind="recency"), 0),
            (lambda ax: self.events.plot(ax, kind="beeswarm"), 20),
        ]
        if self.features is not None:
            drawn.append((self.features.plot, 10))
        return panels(drawn)


def local_report(
    model: Any,
    history: Any,
    *,
    prune: float | None = 0.025,
    cells: Any = ("top", 5, 3),
    run: Run | None = None,
    items: Sequence[Any] | None = None,
    titles: Mapping[Any, str] | None = None,
    **settings: Any,
) -> LocalReport:
    """Explain one history at every level that the model has.

    Parameters
    ----------
    model, history, run, items, titles
        As in `whence.explain`.
    prune, cells
        As of `whence.Explainer`; None: no pruning, and every cell.
    **settings
        The other parameters of `whence.Explainer`. Features and cells are there where the model was
        fitted with features; for models of other libraries they need ``masking=("item", event)``
        with a typical event, such as `average_event` gives.

    Returns
    -------
    LocalReport
    """
    more: dict[str, Any] = {"run": run, "items": items, "titles": titles}
    of_pruning = {name: value for name, value in settings.items() if name in OF_PRUNING}
    tolerances = TOLERANCES if prune is None else [prune]
    curve = pruning_statistics(model, {0: history}, tolerances=tolerances, **more, **of_pruning)
    events = explain(model, history, prune=prune, **more, **settings)
    if not _has_features(model, items, {0: history}, settings):
        return LocalReport(curve, events)
    features = explain(model, history, level="feature", prune=prune, **more, **settings)
    found = explain(model, history, level="cell", cells=cells, prune=prune, **more, **settings)
    return LocalReport(curve, events, features, found)


def global_report(
    model: Any,
    histories: Iterable[Any] | Mapping[Any, Any],
    *,
    tolerances: Sequence[float] = TOLERANCES,
    prune: float | None = None,
    run: Run | None = None,
    items: Sequence[Any] | None = None,
    titles: Mapping[Any, str] | None = None,
    **settings: Any,
) -> GlobalReport:
    """Explain many histories, and say what they have in common.

    Parameters
    ----------
    model, histories, run, items, titles
        As in `whence.explain_many`.
    tolerances : sequence of float
        As in `pruning_statistics`.
    prune : float, optional
        As of `whence.Explainer`.
    **settings
        The other parameters of `whence.Explainer`. Features are there where the model was fitted
        with features; for models of other libraries they need ``masking=("item", event)`` with a
        typical event, such as `average_event` gives.

    Returns
    -------
    GlobalReport
    """
    asked = histories if isinstance(histories, SEVERAL) else dict(enumerate(histories))
    more: dict[str, Any] = {"run": run, "items": items, "titles": titles}
    of_pruning = {name: value for name, value in settings.items() if name in OF_PRUNING}
    statistics = pruning_statistics(model, asked, tolerances=tolerances, **more, **of_pruning)
    events = explain_many(model, asked, prune=prune, **more, **settings)
    features = None
    if _has_features(model, items, asked, settings):
        features = explain_many(model, asked, level="feature", prune=prune, **more, **settings)
    return GlobalReport(statistics, events, features)


def _has_features(model: Any, items: Any, histories: Any, settings: Mapping[str, Any]) -> bool:
    """Whether features can be masked: the model knows them, or one event stands in for all."""
    if settings.get("groups") is not None:
        return False
    masking, asker = parse_masking(settings.get("masking", "remove")), as_asker(model, items)
    if asker.feature_names is not None:
        return masking.kind not in ("marginal", "mask_token")
    events = masking.item if masking.kind == "items" else [masking.item]
    if masking.kind not in ("item", "items") or not isinstance(events[0], Mapping):
        return False
    return isinstance(asker, ForeignAsker) and isinstance(histories, Mapping)
