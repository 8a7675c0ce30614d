"""What stands in for masked events: how it scores, and what explanations say under each item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whence._html import ShownAsTable
from whence._words import counted
from whence.engines import Run
from whence.errors import UnsupportedError, check_int
from whence.explanation._maskings import ordered_by_score
from whence.explanation._problems import as_asker, pose
from whence.explanation._targets import recommendable
from whence.explanation.explainer import Explainer
from whence.explanation.result import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class StandIns(ShownAsTable):
    """Explanations of one history with one item after another in the place of masked events.

    Attributes
    ----------
    table : polars.DataFrame
        One row per stand-in, the lowest score first: ``quantile`` of its score among the items that
        may be recommended after the history, ``item``, ``title`` where there are titles, ``score``,
        ``value_nothing``, and ``better``: whether a history of it alone has the value of the whole
        history or more.
    shares : polars.DataFrame
        One row per stand-in and event: ``quantile``, ``stand_in``, ``event``, ``label``, ``score``.
    explanations : list of Explanation
        In the same order.
    """

    table: pl.DataFrame
    shares: pl.DataFrame
    explanations: list[Explanation]

    def __repr__(self) -> str:
        return f"<StandIns: {counted(self.table.height, 'items')} for masked events>"

    def _shown(self) -> pl.DataFrame:
        return self.table

    def to_frame(self) -> pl.DataFrame:
        """The shares of each event under each stand-in."""
        return self.shares

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the share of each event against the score of what stands in for it.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **options
            Passed on to `whence.plots.reports.stand_ins`.

        Returns
        -------
        matplotlib Axes
        """
        from whence.plots import reports as plots

        return plots.stand_ins(self.table, self.shares, ax=ax, **options)


def stand_ins(
    model: Any,
    history: Any,
    *,
    n: int = 11,
    run: Run | None = None,
    titles: Mapping[Any, str] | None = None,
    **settings: Any,
) -> StandIns:
    """Explain a history under one stand-in after another, from the lowest score to the highest.

    The items that may be recommended after the history are ordered by score, and `n` of them,
    evenly spaced from the lowest to the highest, take the place of masked events one after another.
    The items explained stay the same.

    Parameters
    ----------
    model, history, run, titles
        As in `whence.explain`; the model's events must be items.
    n : int
        Stand-ins; 3 are the items of the lowest, the median and the highest score.
    **settings
        Parameters of `whence.Explainer`, but for masking.

    Returns
    -------
    StandIns
    """
    check_int("n", n, minimum=2)
    explainer = Explainer(**settings)
    asker = as_asker(model)
    if not asker.takes_items:
        raise UnsupportedError(
            f"Stand-ins are items, and the events of {asker.name} are not; explain with "
            "masking=('item', event) for one event after another."
        )
    with asker.quiet():
        (problem,) = pose(asker, [history], explainer)
        scores = next(iter(asker.full_scores([problem.history])))
    order = ordered_by_score(asker, problem.history, scores)
    # The median is that of masking="median".
    places = np.round(np.linspace(0, 1, n) * (len(order) - 1)).astype(np.int64)
    if n % 2:
        places[n // 2] = len(order) // 2
    names = asker.titles if titles is None else titles
    rows, shares, found = [], [], []
    for quantile, place in zip(np.linspace(0, 1, n), places):
        item = asker.item_ids[order[place]]
        own = explainer.set_params(masking=("item", item))
        one = own.attribute(model, history, run=run, titles=titles)
        found.append(one)
        rows.append(
            {
                "quantile": float(quantile),
                "item": item,
                **({"title": names.get(item)} if names else {}),
                "score": float(scores[order[place]]),
                "value_nothing": one.value_nothing,
                "better": one.value_nothing >= one.value_all,
            }
        )
        shares.append(
            pl.DataFrame(
                {
                    "quantile": [float(quantile)] * len(one),
                    "stand_in": [item] * len(one),
                    one.source: one.frame[one.source],
                    "label": one.labels,
                    "score": one.scores,
                }
            )
        )
    return StandIns(pl.DataFrame(rows, infer_schema_length=None), pl.concat(shares), found)


def stand_in_scores(
    model: Any,
    event: Any,
    *,
    lengths: Sequence[int] = (1, 2, 5, 10, 20, 50),
    item: Any = None,
    items: Sequence[Any] | None = None,
) -> pl.DataFrame:
    """What a history of nothing but one event scores, by its length.

    A stand-in for masked events should score low, and the same whatever the length.

    Parameters
    ----------
    model, items
        As in `whence.explain`.
    event : id or event
        Such as `average_event` gives.
    lengths : sequence of int
    item : id, optional
        Whose score; by default the mean over the items that may be recommended, and the highest.

    Returns
    -------
    polars.DataFrame
        ``length`` and ``score``; without `item` also ``highest``.
    """
    asker = as_asker(model, items)
    rows = []
    for length in lengths:
        history = asker.encode([event] * check_int("length", length, minimum=1))
        asker.check(history.tokens[None], history)
        with asker.quiet():
            scores = np.asarray(next(iter(asker.full_scores([history]))), dtype=np.float64)
        row: dict[str, Any] = {"length": length}
        if item is not None:
            row["score"] = float(scores[asker.item_number(item)])
        else:
            own = scores[recommendable(asker, history) & np.isfinite(scores)]
            row |= {"score": float(own.mean()), "highest": float(own.max())}
        rows.append(row)
    return pl.DataFrame(rows)
