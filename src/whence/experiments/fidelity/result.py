"""Result of the fidelity experiment: scores of methods side by side, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution.record import plain_values
from whence.errors import check_choice
from whence.experiments.fidelity.measured import Measured, Predicted
from whence.experiments.fidelity.removals import NOTHING, SINGLE, Removal
from whence.experiments.fidelity.scores import (
    Score,
    clustered_score,
    linear_datamodeling_score,
    mean_and_interval,
)
from whence.experiments.results import ExperimentResult

FloatArray = npt.NDArray[np.float64]

THIS, EXPECTED = "this run", "the expected run"
ANOTHER, ONE = "retraining from another start", "one retraining"
_SCORES = {
    "about": pl.String, "outcome": pl.String, "kind": pl.String, "method": pl.String,
    "runs": pl.Int64, "score": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    "slope": pl.Float64, "n_removals": pl.Int64, "n_outcomes": pl.Int64,
}  # fmt: skip
_RISES = {
    "method": pl.String, "rise": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    "n_queries": pl.Int64,
}  # fmt: skip
_COSTS = {
    "method": pl.String, "seconds": pl.Float64, "seconds_single": pl.Float64, "why": pl.String
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class FidelityResult(ExperimentResult):
    """How well methods predict what retraining does.

    Attributes
    ----------
    scores : polars.DataFrame
        One row for each question (``about``: "this run" or "the expected run"), ``outcome``
        ("total", "single", and "own" of single removals), ``kind`` of removal ("keep 0.5", ...,
        "single"), ``method`` and number of ``runs``: ``score``, the mean Spearman correlation with
        its 95% interval ``low`` and ``high``; ``slope`` of the actual change on the predicted one;
        ``n_removals`` and ``n_outcomes``. Two rows are no method's: "retraining from another
        start" says what another run tells of this run, and "one retraining" what this run tells
        of the expected one: the ceiling of what values of a single run can be asked for.
    proponents : polars.DataFrame
        By method: ``rise`` of a query's loss without its strongest proponents, with its interval
        over queries.
    costs : polars.DataFrame
        By method, for one run: processor ``seconds`` of the values for the mean loss and
        ``seconds_single`` of those for all queries that are looked at; ``why`` there are none.
    changes : polars.DataFrame
        Predicted and actual changes: ``about``, ``method``, ``runs``, ``removal``, ``kind``,
        ``query`` (-1 for the mean), ``predicted``, ``actual``.
    metadata : dict
        What was run; the metasmoothness of the model, and processor seconds of a retraining.
    """

    experiment = "fidelity"
    tables: ClassVar = {
        "scores.csv": "scores", "proponents.csv": "proponents", "costs.csv": "costs",
        "changes.parquet": "changes",
    }  # fmt: skip

    scores: pl.DataFrame
    proponents: pl.DataFrame
    costs: pl.DataFrame
    changes: pl.DataFrame
    metadata: dict[str, Any]

    @classmethod
    def of(
        cls,
        measured: Measured,
        predicted: list[Predicted],
        runs: Sequence[int],
        settings: Mapping[str, Any],
    ) -> FidelityResult:
        """Score what was predicted against what was measured."""
        scores, changes = [], []
        for about, method, count, said, actual in _questions(measured, predicted, runs):
            found = list(_scores(measured.removals, said, actual))
            scores += [
                (about, outcome, kind, method, count, *score[:4], n, score.n_outcomes)
                for outcome, kind, n, score in found
            ]
            changes.append(_long(measured.removals, about, method, count, said, actual))
        first = measured.seeds[0]
        whole = measured.outcomes(first, NOTHING)
        facts = {
            **settings,
            "seeds": measured.seeds,
            "value": float(-whole[0] if measured.is_loss else whole[0]),
            "metasmoothness": measured.smoothness(),
            "seconds_of_retraining": measured.seconds,
            "left_out": {one.method: one.why for one in predicted if one.why},
        }
        costs = [
            (one.method, _mean(one.seconds), _mean(one.seconds_single), one.why or one.note or None)
            for one in predicted
        ]
        return cls(
            pl.DataFrame(scores, schema=_SCORES, orient="row"),
            pl.DataFrame(list(_rises(measured, predicted)), schema=_RISES, orient="row"),
            pl.DataFrame(costs, schema=_COSTS, orient="row"),
            pl.concat(changes) if changes else pl.DataFrame(),
            plain_values(facts),
        )

    def __repr__(self) -> str:
        n = self.costs.height
        return (
            f"<FidelityResult of {n} method{'s' * (n != 1)} for {self.metadata['model']}: "
            f"{self.best()}>"
        )

    def best(self) -> str:
        """The best score of single outcomes, or of the total, in words."""
        rows = self.scores.filter(~pl.col("method").is_in([ANOTHER, ONE]), pl.col("score") > 0)
        singles = rows.filter(outcome="single")
        rows = (singles if singles.height else rows).sort("score", descending=True)
        if not rows.height:
            return "none of the changes is predicted"
        row = rows.row(0, named=True)
        return (
            f"{row['method']} {row['score']:.2f} [{row['low']:.2f}, {row['high']:.2f}] "
            f"({row['about']}, {row['outcome']}, {row['kind']})"
        )

    def to_frame(self) -> pl.DataFrame:
        """The scores; see above."""
        return self.scores

    def to_markdown(self) -> str:
        """The scores as Markdown, a table for each question, and what they were made with."""
        lines: list[str] = []
        for about in self.scores["about"].unique(maintain_order=True):
            lines += [*_table(self, about), ""]
        lines.append(self.note())
        return "\n".join(lines)

    def note(self) -> str:
        """What the model is, how smooth its training, what methods cannot say it, in sentences."""
        facts = self.metadata
        sentences = [
            f"{facts['model']}: {facts['n_units']:,} "
            f"{'examples' if facts['by'] == 'example' else 'sources'}, {facts['n_validation']:,} "
            f"validation queries, {facts['outcome']} {facts['value']:.4g}; one retraining takes "
            f"{facts['seconds_of_retraining']:.3g} processor seconds."
        ]
        smooth = facts["metasmoothness"]
        if smooth:
            shown = _cell(smooth["mean"], smooth["low"], smooth["high"])
            sentences.append(f"Metasmoothness {shown}.")
        sentences += [f"{name}: {why}" for name, why in facts["left_out"].items()]
        return " ".join(sentences)

    def plot(self, outcome: str = "single", about: str | None = None, ax: Any = None) -> Any:
        """Scores of the methods with their intervals, a colour for each kind of removal.

        Parameters
        ----------
        outcome : {"single", "total", "own"}
        about : {"this run", "the expected run"}, optional
            The expected run if it was measured.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        matplotlib.axes.Axes
        """
        from whence.plots.experiments import plot_orders

        known = self.scores["about"].unique(maintain_order=True).to_list()
        about = known[-1] if about is None else about
        check_choice("about", about, known)
        outcomes = self.scores["outcome"].unique(maintain_order=True).to_list()
        check_choice("outcome", outcome, outcomes)
        rows = self.scores.filter(about=about, outcome=outcome).select(
            "kind", "low", "high", mean="score", order=_named()
        )
        names = rows["order"].unique(maintain_order=True).to_list()
        label = f"rank correlation ({about}, {outcome})"
        return plot_orders(rows.drop_nulls("mean"), names, label, by="kind", ax=ax)


def _questions(
    measured: Measured, predicted: list[Predicted], runs: Sequence[int]
) -> Iterator[tuple[str, str, int, FloatArray, FloatArray]]:
    """Question, method, number of runs, and predicted and actual changes [removals, 1 + K]."""
    this = measured.losses(measured.seeds[0])
    for one in predicted:
        said = one.changes(1, this.shape[1])
        if said is not None:
            yield THIS, one.method, 1, said, this
    if len(measured.seeds) < 2:
        return
    yield THIS, ANOTHER, 1, measured.losses(measured.seeds[1]), this
    expected = measured.expected()
    for one in predicted:
        for count in runs:
            said = one.changes(count, this.shape[1])
            if said is not None:
                yield EXPECTED, one.method, count, said, expected
    yield EXPECTED, ONE, 1, this, expected


def _scores(
    removals: list[Removal], said: FloatArray, actual: FloatArray
) -> Iterator[tuple[str, str, int, Score]]:
    """Outcome, kind of removal, number of removals, and score."""
    kinds = list(dict.fromkeys(one.kind for one in removals))
    has_single = not np.isnan(said[:, 1:]).any()
    for kind in kinds:
        rows = np.array([one.kind == kind for one in removals])
        predicted, true = said[rows], actual[rows]
        n = len(true)
        yield "total", kind, n, linear_datamodeling_score(predicted[:, :1], true[:, :1])
        if has_single:
            yield "single", kind, n, linear_datamodeling_score(predicted[:, 1:], true[:, 1:])
    own = [(row, one.query) for row, one in enumerate(removals) if one.query >= 0]
    if own and has_single:
        at, query = np.array(own).T
        score = clustered_score(said[at, 1 + query], actual[at, 1 + query], query)
        yield "own", SINGLE, len(own), score


def _long(
    removals: list[Removal],
    about: str,
    method: str,
    runs: int,
    said: FloatArray,
    actual: FloatArray,
) -> pl.DataFrame:
    n, k = actual.shape
    kinds = np.repeat([one.kind for one in removals], k)
    return pl.DataFrame(
        {
            "about": [about] * (n * k),
            "method": [method] * (n * k),
            "runs": [runs] * (n * k),
            "removal": np.repeat(np.arange(n), k),
            "kind": kinds,
            "query": np.tile(np.arange(k) - 1, n),
            "predicted": said.ravel(),
            "actual": actual.ravel(),
        }
    ).with_columns(pl.col("predicted").fill_nan(None))


def _rises(
    measured: Measured, predicted: list[Predicted]
) -> Iterator[tuple[str, float, float | None, float | None, int]]:
    """What queries lose without their strongest proponents."""
    seed = measured.seeds[0]
    whole = measured.outcomes(seed, NOTHING)
    for one in predicted:
        if one.gone:
            rises = np.array(
                [
                    whole[1 + gone.query] - measured.outcomes(seed, gone)[1 + gone.query]
                    for gone in one.gone
                ]
            )
            yield (one.method, *mean_and_interval(rises), len(rises))


def _table(result: FidelityResult, about: str) -> list[str]:
    """A table with a row for each method and a column for each outcome and kind."""
    scores = result.scores.filter(about=about)
    columns = scores.select("outcome", "kind").unique(maintain_order=True).sort(
        pl.col("outcome").replace_strict({"total": 0, "single": 1, "own": 2}), maintain_order=True
    ).rows()  # fmt: skip
    by_method: dict[tuple[str, int], dict[tuple[str, str], str]] = {}
    for row in scores.iter_rows(named=True):
        cells = by_method.setdefault((row["method"], row["runs"]), {})
        cells[row["outcome"], row["kind"]] = _cell(row["score"], row["low"], row["high"])
    rises = {row["method"]: row for row in result.proponents.iter_rows(named=True)}
    costs = {row["method"]: row for row in result.costs.iter_rows(named=True)}
    with_rises = bool(rises) and about == THIS
    heads = [about, *(f"{outcome}, {kind}" for outcome, kind in columns)]
    heads += ["rise without proponents"] * with_rises + ["CPU s"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for (method, runs), cells in by_method.items():
        row_cells = [method if runs == 1 else f"{method}, {runs} runs"]
        row_cells += [cells.get(column, "") for column in columns]
        if with_rises:
            rise = rises.get(method)
            row_cells.append("" if rise is None else _rise(rise))
        row_cells.append(_seconds(costs.get(method), runs))
        lines.append("| " + " | ".join(row_cells) + " |")
    return lines


def _seconds(cost: Mapping[str, Any] | None, runs: int) -> str:
    """Of the values for the mean, and for the single queries."""
    if cost is None or cost["seconds"] is None:
        return ""
    parts = [cost["seconds"], cost["seconds_single"]]
    return " + ".join(f"{runs * part:.1f}" for part in parts if part is not None)


def _rise(row: Mapping[str, Any]) -> str:
    return _cell(row["rise"], row["low"], row["high"], digits=3)


def _cell(value: float | None, low: float | None, high: float | None, digits: int = 2) -> str:
    if value is None:
        return ""
    interval = "" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{interval}"


def _named() -> pl.Expr:
    """Methods with their number of runs."""
    several = pl.format("{}, {} runs", "method", "runs")
    return pl.when(pl.col("runs") > 1).then(several).otherwise(pl.col("method"))


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
