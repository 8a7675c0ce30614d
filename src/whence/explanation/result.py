"""The explanation of one answer: an attribution whose sources are the events of the history."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence._words import counted
from whence.attribution import Attribution
from whence.attribution.record import wrong_entry
from whence.errors import ParameterError, UnsupportedError, check_choice, check_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whence.explanation._problems import Problem
    from whence.explanation.counterfactuals import Counterfactual
    from whence.explanation.why_not import WhyNot

FloatArray = npt.NDArray[np.float64]


class Explanation(Attribution):
    """How much of one answer of a model each event of the history is credited with.

    Made by `whence.Explainer` and `whence.explain`. Shares the verbs of `whence.Attribution`:
    `to_frame`, `top`, `bottom`, `plot`, `summary`, `save` and `load`.

    Parameters
    ----------
    table : polars.DataFrame
        One row per player, in order: a column named by `source` (the place of the event in the
        history that was given, from 0; or the label of a group, feature or cell), ``item`` and
        ``title`` where there is one, ``n_events``, ``score`` and ``std_error``.
    source : str
        ``"event"``, ``"group"``, ``"feature"`` or ``"cell"``.
    metadata : mapping
        Everything that was decided.
    problem : Problem, optional
        The model and the history, for `value` and `counterfactual`.
    interactions : float64 [n, n], optional
        Shapley interaction indices of pairs of players.
    """

    def __init__(
        self,
        table: pl.DataFrame,
        *,
        source: str,
        metadata: Mapping[str, Any],
        problem: Problem | None = None,
        interactions: FloatArray | None = None,
    ) -> None:
        state = None if interactions is None else {"interactions": interactions}
        super().__init__(table, source=source, metadata=metadata, state=state)
        self._problem = problem

    def __repr__(self) -> str:
        return (
            f"<Explanation: {self.title} of {counted(len(self), self.noun)} for the {self.target}>"
        )

    def _shown(self) -> pl.DataFrame:
        return self.frame

    @property
    def target(self) -> str:
        """What is explained, such as "mean score of the recommended items"."""
        return str(self.metadata["metric"])

    @property
    def items(self) -> pl.DataFrame:
        """The recommended items, frozen before any event was touched: item, title, score."""
        frozen = self.metadata["items"]
        columns = [name for name in ("item", "title", "score") if name in frozen[0]]
        values = ([entry[name] for entry in frozen] for name in columns)
        return pl.DataFrame([pl.Series(n, v, strict=False) for n, v in zip(columns, values)])

    @property
    def value_all(self) -> float:
        """Value of the whole history."""
        return float(self.metadata["value_all"])

    @property
    def value_nothing(self) -> float:
        """Value where every event is masked."""
        return float(self.metadata["value_nothing"])

    @property
    def interactions(self) -> FloatArray | None:
        """Shapley interaction indices of pairs of players, [n, n]; of ``order=2`` only."""
        return None if self.state is None else self.state.get("interactions")

    @property
    def labels(self) -> list[str]:
        """Names of the players for people: titles where there are some."""
        names: list[str] = self.frame["label"].to_list()
        return names

    def summary(self) -> str:
        """Describe the explanation in a few lines for people."""
        about = self.metadata
        names = [str(entry.get("title") or entry["item"]) for entry in about["items"]]
        lines = [
            f"{self.title} of {counted(len(self), self.noun)}, {about['model']}, "
            f"masking {about['masking']}.",
            f"Recommended: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}.",
            f"The {self.target} is {self.value_all:.4g}, and {self.value_nothing:.4g} with every "
            f"{self.source} masked.",
        ]
        order = np.argsort(-np.abs(self.scores), kind="stable")[:3]
        parts = [f"{self.labels[row]} ({self.scores[row]:+.3g})" for row in order]
        lines.append(f"Most of it: {', '.join(parts)}.")
        lines += self._stand_ins()
        if about.get("n_cut"):
            n_cut = about["n_cut"]
            lines.append(
                f"{counted(n_cut, 'older events')} {'lies' if n_cut == 1 else 'lie'} before the "
                "model's window."
            )
        return "\n".join(lines)

    def _stand_ins(self) -> list[str]:
        """Say where what stands in for masked events is as good as they are."""
        masking, none = self.metadata["masking"], int(np.sum(self.scores == 0))
        if none == len(self):
            return [f"Nothing of the history changes the {self.target} (masking {masking})."]
        lines = []
        if self.value_nothing >= self.value_all:
            lines.append(
                f"With every {self.source} masked the {self.target} is no lower: what stands in "
                f"for them (masking {masking}) is as good as the history, so that shares only "
                "compare one with another; see what another masking says."
            )
        if none:
            has, them = ("has", "it") if none == 1 else ("have", "them")
            lines.append(
                f"{counted(none, self.noun)} {has} a share of 0: what stands in for {them} is as "
                "good."
            )
        return lines

    def value(self, kept: Any) -> FloatArray:
        """Ask the model for the value of coalitions of players.

        Parameters
        ----------
        kept : bool array [B, n]
            Which players are there; the others are masked.

        Returns
        -------
        float64 [B]

        Raises
        ------
        UnsupportedError
            If the explanation was loaded from a file, and so has no model.
        ParameterError
            If the array has another shape.
        """
        rows = np.asarray(kept, dtype=np.bool_)
        if rows.ndim != 2 or rows.shape[1] != len(self):
            raise ParameterError(
                f"Coalitions are rows of {len(self)} truth values, one per {self.source}, not an "
                f"array of shape {rows.shape}."
            )
        return self.problem.game.values(rows)

    @property
    def problem(self) -> Problem:
        """The model and the history.

        Raises
        ------
        UnsupportedError
            If the explanation was loaded from a file.
        """
        if self._problem is None:
            raise UnsupportedError(
                "This explanation was loaded from a file and has no model to ask; explain the "
                "history again."
            )
        return self._problem

    def counterfactual(self, item: Any = None, *, max_size: int = 3) -> Counterfactual:
        """Find the smallest set of events whose removal drops an item out of the top k.

        Parameters
        ----------
        item : id, optional
            One of `items`; the first by default.
        max_size : int
            Sets of at most this many players are searched completely.

        Returns
        -------
        Counterfactual
        """
        from whence.explanation.counterfactuals import counterfactual

        return counterfactual(self, item, max_size=max_size)

    def why_not(self, item: Any, *, max_size: int = 3) -> WhyNot:
        """Ask why an item is not recommended.

        The difference between its score and that of the last item recommended is divided among
        the events, and events are sought without which it would be recommended: taken away in
        order of what they hold against it, then every smaller set. Then each item of the catalogue
        (the 4,096 most frequent ones) is tried as one event more. Every answer is verified by the
        model.

        Parameters
        ----------
        item : id
            Not in the history, and not one of `items`.
        max_size : int
            Sets of at most this many players are searched completely.

        Returns
        -------
        WhyNot

        Raises
        ------
        DataError
            If the item is recommended, in the history, or without training data.
        UnsupportedError
            If the explanation was loaded from a file.
        """
        from whence.explanation.why_not import why_not

        return why_not(self, item, max_size=max_size)

    def because(self, n: int = 1) -> pl.DataFrame:
        """For each recommended item, the events that carry most of its score.

        Parameters
        ----------
        n : int
            Events per item, at most.

        Returns
        -------
        polars.DataFrame
            As of `whence.because`, without ``history``.

        Raises
        ------
        UnsupportedError
            If the explanation was loaded from a file.
        """
        from whence.explanation._reasons import reasons_of

        return reasons_of(self.problem, n)

    def prune(self, interactions: Any, **options: Any) -> Any:
        """Not for explanations.

        Raises
        ------
        UnsupportedError
            Always: the events of one query are no training data.
        """
        raise UnsupportedError(
            "An explanation credits the events of one history, which are not training data to be "
            "removed; prune values of whence.Shapley instead."
        )

    def to_shap(self) -> Any:
        """Return a ``shap.Explanation``, for shap's own plots.

        Raises
        ------
        UnsupportedError
            If shap is not installed.
        """
        try:
            import shap
        except ImportError as error:
            raise UnsupportedError(
                "shap is not installed, which to_shap() needs; pip install 'whence[shap]', or use "
                "plot()."
            ) from error
        return shap.Explanation(
            values=self.scores.copy(),
            base_values=self.value_nothing,
            data=np.array(self.labels, dtype=object),
            feature_names=self.labels,
        )

    def plot(self, ax: Axes | None = None, kind: str | None = None, **options: Any) -> Axes:
        """Draw the explanation.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        kind : {"bars", "waterfall", "heatmap"}
            Bars over the history, oldest event first, with the recommended items beside it; from
            ``value_nothing`` to ``value_all`` step by step; or events by features. By default bars,
            and a heat map for cells.
        **options
            Passed on to the function of `whence.plots.explanation`.

        Returns
        -------
        matplotlib Axes
        """
        from whence.plots import explanation as plots

        chosen = kind or ("heatmap" if self.source == "cell" else "bars")
        check_choice("kind", chosen, ("bars", "waterfall", "heatmap"))
        options.setdefault("title", self.title)
        if chosen == "heatmap":
            if self.source != "cell":
                raise UnsupportedError(
                    f"A heat map shows cells, and these are {self.noun}; use kind='bars', or "
                    "explain with level='cell'."
                )
            return plots.heatmap(self.frame, ax=ax, **options)
        if chosen == "waterfall":
            return plots.waterfall(self.frame, self.value_nothing, self.value_all, ax=ax, **options)
        options.setdefault("label", f"share of the {self.target}")
        options.setdefault("noun", self.noun)
        return plots.bars(self.frame, items=self.items, ax=ax, **options)

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what `save` wrote.

        Raises
        ------
        FileFormatError
            If the file is missing, unreadable, truncated or not an explanation.
        """
        from whence.attribution.files import load
        from whence.errors import FileFormatError

        found = load(check_path("path", path))
        if "items" not in found["metadata"]:
            raise FileFormatError(
                f"{path} holds values of training data, not an explanation; use "
                "whence.Attribution.load."
            )
        wrong = _wrong_part(found)
        if wrong is not None:
            raise FileFormatError(f"{path} is damaged: it {wrong}; explain again.")
        interactions = (found["state"] or {}).get("interactions")
        return cls(
            found["table"],
            source=found["source"],
            metadata=found["metadata"],
            interactions=interactions,
        )


def _wrong_part(found: Mapping[str, Any]) -> str | None:
    """What of a saved explanation cannot be; None where all can."""
    table, metadata = found["table"], found["metadata"]
    items = metadata["items"]
    if not (isinstance(items, list) and items and all(_is_item(entry) for entry in items)):
        return f"has {items!r} as its 'items'"
    if len({frozenset(entry) for entry in items}) > 1:
        return "has items of several kinds"
    if found["source"] not in ("event", "group", "feature", "cell"):
        return f"has {found['source']!r} as its 'source'"
    words = ("label", "item", "feature") if found["source"] == "cell" else ("label",)
    for name in words:
        if table.schema.get(name) != pl.String:
            return f"has no column {name!r} of words"
    counts = {"event": ("event", "n_events"), "group": ("n_events",), "cell": ("event",)}
    for name in counts.get(found["source"], ()):
        if not table.schema.get(name, pl.String()).is_integer():
            return f"has no column {name!r} of whole numbers"
    return wrong_entry(metadata, ("metric", "value_all", "value_nothing", "model", "masking"))


def _is_item(entry: Any) -> bool:
    plain = (str, int, float, type(None))
    return (
        isinstance(entry, dict)
        and "item" in entry
        and all(isinstance(entry.get(name), plain) for name in ("item", "title", "score"))
    )


def table_of(problem: Problem, phi: FloatArray, std_error: FloatArray | None,
             titles: Mapping[Any, str]) -> pl.DataFrame:  # fmt: skip
    """One row per player of a problem's game; see `Explanation`."""
    players, history = problem.game.players, problem.history
    columns: dict[str, Any] = {}
    if players.what in ("feature", "cell"):
        columns[players.what] = players.labels
        if players.what == "cell":
            columns |= _cell_columns(problem, titles)
        columns["label"] = players.labels
        if "title" in columns:  # a cell's label begins with its item
            columns["label"] = [
                label if title is None else f"{title}{label.removeprefix(item)}"
                for label, item, title in zip(players.labels, columns["item"], columns["title"])
            ]
    else:
        members = players.members
        last = np.array([history.positions[member[-1]] for member in members])
        columns[players.what] = last if players.what == "event" else players.labels
        alone = [len(member) == 1 for member in members]
        same = [len({history.items[at] for at in member}) == 1 for member in members]
        items = [history.items[m[0]] if one else None for m, one in zip(members, same)]
        columns["item"] = pl.Series(items, strict=False)
        if titles:
            columns["title"] = [titles.get(item) if item is not None else None for item in items]
        columns["n_events"] = [len(member) for member in members]
        columns["label"] = [
            str(titles.get(item, item)) if one and players.what == "event" else label
            for item, one, label in zip(items, alone, players.labels)
        ]
    columns["score"] = phi
    if std_error is not None:
        columns["std_error"] = std_error
    # Of series, as of a dictionary with a value for all rows each table would be a query.
    return pl.DataFrame([pl.Series(name, values) for name, values in columns.items()])


def _cell_columns(problem: Problem, titles: Mapping[Any, str]) -> dict[str, pl.Series]:
    from whence.explanation._cellular import CellGame

    game = problem.game
    assert isinstance(game, CellGame)
    width = len(game.features)
    places = [_common(member // width) for member in game.players.members]
    columns = [_common(member % width) for member in game.players.members]
    own = [None if place is None else problem.history.items[place] for place in places]
    items = [None if item is None else str(item) for item in own]
    named = pl.Series([None if item is None else titles.get(item) for item in own], dtype=pl.String)
    return {
        "event": pl.Series(places, dtype=pl.Int64),
        "item": pl.Series(items, dtype=pl.String),
        **({"title": named} if titles else {}),
        "feature": pl.Series(
            [None if column is None else game.features[column] for column in columns],
            dtype=pl.String,
        ),
    }


def _common(numbers: npt.NDArray[np.int64]) -> int | None:
    """The number that all are, if they are."""
    return int(numbers[0]) if (numbers == numbers[0]).all() else None
