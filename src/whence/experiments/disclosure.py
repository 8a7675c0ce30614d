"""The disclosure experiment: which strategy gives the best recommendations for its violation?

For each seed the rows are split anew, violations are drawn (or taken from a column), a model is
trained; strategies are chosen on the validation data, each is retrained on what it leaves, and all
are measured on test data. Each strategy has controls of as many interactions, and of as much
violation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl

from whence.curation.disclosure import Disclosure, simulate_willingness
from whence.curation.disclosure.comparison import (
    FREE,
    KEYS,
    Arm,
    Posed,
    Retrained,
    Start,
    check_starts,
    compared,
    differences_by,
)
from whence.curation.disclosure.quality import quality_in_words
from whence.curation.disclosure.strategies import CONTROLS
from whence.data import Interactions, split_rows
from whence.data._parts import check_fractions
from whence.engines import Checkpoints, Run, settled
from whence.engines import run as run_job
from whence.errors import DataError, ParameterError, check_choice
from whence.experiments.results import ExperimentResult
from whence.influence.functions import factor_loss, to_optimum
from whence.models.identity import data_identity, model_identity, told_apart
from whence.parameters import Configurable, NonNegative, Seed

PENALTY = 20.0
"""Ratings that the penalty of a user or item weighs as much as, where no model is given."""
_DIM = 8
_GROUPS = ["lam_share", "start"]


class DisclosureExperiment(Configurable):
    """Strategies of disclosure retrained and compared on test data, over λ and over seeds.

    Parameters
    ----------
    model : callable, optional
        ``model(train, seed)`` makes the model, not yet fitted; by default a `BiasedMF` of 8
        dimensions whose penalty is that of 20 ratings for each user and item.
    willingness : str, optional
        Column of violations; by default they are drawn by `simulate_willingness`, anew for each
        seed.
    shares : sequence of float
        λ, as multiples of `DisclosureProblem.lam_ref`.
    strategies, controls : sequence of str
        As of `DisclosureProblem.compare`.
    starts : sequence of {"other", "same"}
        Whether models are retrained from other initial parameters than those of the model that
        influence was measured on, from the same, or both.
    disclosure : Disclosure, optional
        How influence is measured, and how `strategies` search; its seed is that of the run.
    seeds : sequence of int
        Of the split, of the violations, of the model and of what strategies draw.
    fractions : tuple of float
        Shares of training, validation and test data.
    metrics : sequence of str
        Ranking metrics beside the quality, with and without withheld items; see
        `DisclosureProblem.compare`.
    """

    model: Callable[[Interactions, int], Any] | None = None
    willingness: str | None = None
    shares: Sequence[NonNegative] = (0.1, 0.3, 1.0, 3.0, 10.0)
    strategies: Sequence[str] = ("social", "trust_region", "all", "none")
    controls: Sequence[str] = CONTROLS
    starts: Sequence[Start] = ("other",)
    disclosure: Disclosure | None = None
    seeds: Sequence[Seed] = (0, 1, 2)
    fractions: tuple[float, float, float] = (0.5, 0.3, 0.2)
    metrics: Sequence[str] = ()

    def _check_params(self) -> None:
        super()._check_params()
        if not len(self.seeds) or not len(self.shares):
            raise ParameterError("Give at least one seed and one of shares.")
        compared(self.strategies, self.controls)
        check_starts(self.starts)
        self._settings(0)._check_params()

    def run(self, data: Any, *, run: Run | None = None) -> DisclosureResult:
        """Run the experiment.

        Parameters
        ----------
        data : Interactions or table
            Users with their items, and ratings where the model needs them.
        run : Run, optional
            How the work is done. With a folder, each result is kept there.

        Raises
        ------
        DataError
            If the rows are not those of users, or nothing has any violation.
        """
        self._check_params()
        check_fractions(self.fractions)
        run = settled(run, self)
        interactions = Interactions.from_frame(data)
        if not interactions.by_user:
            raise DataError(
                "The disclosure experiment splits the rows of users; give data with a user column."
            )
        settings = {
            "model": model_identity(self._make(interactions, 0)),
            "data": interactions.fingerprint,
            "willingness": self.willingness,
            "fractions": list(self.fractions),
            "metrics": list(self.metrics),
            "quality": quality_in_words(self._make(interactions, 0), self._settings(0).outcome),
        }
        arms = [
            Arm(int(seed), key, float(share), start)
            for seed in self.seeds
            for share in self.shares
            for key in compared(self.strategies, self.controls)
            for start in check_starts(self.starts)
        ]
        identity = {
            **settings,
            "ratings": data_identity(interactions),
            "arms": told_apart(arms),
            "disclosure": told_apart(self._settings(0).params),
        }
        with Checkpoints(run, identity) as kept:
            job = _Fits(tuple(self.metrics), experiment=self, data=interactions, kept=kept)
            rows = run_job(job, arms, run, message="retraining", kept=kept)
        return DisclosureResult(pl.DataFrame(rows, infer_schema_length=None), settings)

    def _settings(self, seed: int) -> Disclosure:
        return copy.copy(self.disclosure or Disclosure()).set_params(seed=seed)

    def _make(self, train: Interactions, seed: int) -> Any:
        return usual_model(train, seed) if self.model is None else self.model(train, seed)


def usual_model(train: Interactions, seed: int = 42) -> Any:
    """The model that is fitted where none is given."""
    from whence.models import BiasedMF

    return BiasedMF(
        embedding_dim=_DIM, weight_decay=PENALTY / max(train.n_rows, 1), learning_rate=5e-3,
        seed=seed,
    )  # fmt: skip


@dataclass(frozen=True)
class _Fits(Retrained):
    """Arms of the experiment: rows are split, and the model is fitted, once for each seed."""

    experiment: DisclosureExperiment = field(kw_only=True)
    data: Interactions = field(kw_only=True)
    kept: Checkpoints = field(kw_only=True)

    def pose(self, seed: int) -> Posed:
        """The question of a seed, and the test data."""
        own = self.experiment
        train, validation, test = split_rows(self.data, own.fractions, seed=seed)
        model = own._make(train, seed).fit(train)
        if factor_loss(model) is not None:
            model = to_optimum(model, tolerance=1e-4)
        beta: Any = own.willingness
        if beta is None:
            beta = simulate_willingness(train, seed=seed)
        problem = own._settings(seed).pose(
            model, validation, willingness=beta, kept=self.kept, stage=f"seed {seed} "
        )
        if problem.lam_ref is None:
            raise DataError(
                "No interaction has any willingness violation, so that all may be disclosed; give "
                "data in which something is withheld."
            )
        return problem, problem.yardstick(test)


@dataclass(frozen=True)
class DisclosureResult(ExperimentResult):
    """What the disclosure experiment measured.

    Attributes
    ----------
    rows : polars.DataFrame
        One row per seed, λ, start and plan: ``lam``, ``lam_share`` (λ / lam_ref), ``start``,
        ``strategy``, ``matched``, ``to`` (see `Comparison`), ``quality``, ``wv``, ``reward``,
        ``n``, ``share`` and the metrics, all of retrained models on test data.
    settings : dict
        What was run.
    """

    experiment = "disclosure"
    tables: ClassVar = {"table.csv": "to_frame", "runs.csv": "rows"}

    rows: pl.DataFrame
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return f"<DisclosureResult of {self.rows.height:,} rows>"

    def to_frame(self, measure: str = "reward") -> pl.DataFrame:
        """Paired differences of the strategies at each λ; see `paired_differences`."""
        names = (*_GROUPS, *KEYS, "seed")
        check_choice("measure", measure, [c for c in self.rows.columns if c not in names])
        return differences_by(self.rows, _GROUPS, measure)

    def means(self) -> pl.DataFrame:
        """Means over the seeds, one row per λ, start and plan."""
        names = [*_GROUPS, *KEYS]
        rest = [c for c in self.rows.columns if c not in (*names, "seed")]
        return self.rows.group_by(names, maintain_order=True).agg(pl.col(rest).cast(float).mean())

    def to_markdown(self, measure: str = "reward") -> str:
        """The strategies, and how much better they are than the controls of their size."""
        lines = [self.settings["quality"], ""]
        differences, means = self.to_frame(measure), self.means()
        starts = means["start"].n_unique()
        for (share, start), part in means.group_by(_GROUPS, maintain_order=True):
            named = f"λ = {share:g} λ_ref" + (f", {start} start" if starts > 1 else "")
            lines += [
                f"| {named} | disclosed | violation | quality | reward |",
                "|---|---:|---:|---:|---:|",
            ]
            for row in part.filter(matched="").iter_rows(named=True):
                numbers = f"{row['quality']:.4f} | {row['reward']:.4f}"
                lines.append(
                    f"| {row['strategy']} | {row['share']:.1%} | {row['wv']:.3f} | {numbers} |"
                )
            lines.append("")
        found = differences.filter(~pl.col("strategy").is_in(FREE), pl.col("matched") != "")
        controls = found["than"].unique(maintain_order=True).to_list()
        head = [f"{measure} above", *controls]
        lines += ["| " + " | ".join(head) + " |", "|---|" + "---:|" * len(controls)]
        keys = [*_GROUPS, "strategy", "matched"]
        for (share, start, name, size), part in found.group_by(keys, maintain_order=True):
            cells = {row["than"]: _interval(row) for row in part.iter_rows(named=True)}
            label = f"{name}, {share:g} λ_ref, equal {size}"
            label += f", {start} start" if starts > 1 else ""
            lines.append("| " + " | ".join([label, *(cells[name] for name in controls)]) + " |")
        return "\n".join(lines)

    def frontier(self) -> pl.DataFrame:
        """Means over the seeds of the first strategy, and of its controls at equal violation.

        All from the first of the starts.
        """
        means = self.means().filter(pl.col("start") == pl.col("start").first())
        first = means["strategy"][0]
        alone = (pl.col("matched") == "") & ~pl.col("strategy").is_in(FREE)
        return means.filter(alone | ((pl.col("matched") == "violation") & (pl.col("to") == first)))

    def plot(self, ax: Any = None) -> Any:
        """Draw quality against violation; see `plot_frontier`.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from whence.curation.disclosure import plot_frontier

        return plot_frontier(self.frontier(), ax)


def _interval(row: dict[str, Any]) -> str:
    half = "" if row["±"] is None else f" ± {row['±']:.4f}"
    mark = {"yes": " ✓", "no": " ✗"}.get(row["better"], "")
    return f"{row['difference']:+.4f}{half}{mark}"
