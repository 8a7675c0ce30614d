"""The corruption experiment: do values find what is planted, and is a model better without it?

A known attack is planted in the training data, a model is fitted, and its training data are valued
by several methods. Precision and recall tell how well the lowest values find what was planted. Then
the sources of the lowest values are left out, how many being chosen on validation data, and the
model fitted again without them is measured on test data, between the model that learned from
everything and the one that learned from nothing planted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from annotated_types import Gt, Le

from whence.attribution import Attribution
from whence.curation.attacks import SHILLING, Attack, AttackKind
from whence.curation.detection import detection_report
from whence.data import Interactions
from whence.engines import Checkpoints, ListJob, Run, settled
from whence.engines import run as run_job
from whence.errors import DataError, ParameterError, UnsupportedError
from whence.evaluation import evaluate
from whence.experiments.acting import check_shares, check_some
from whence.experiments.corruption_results import (
    CONTROLS,
    NOTHING,
    PLANTED,
    CorruptionResult,
)
from whence.experiments.histories import Asked, split_shares
from whence.experiments.removing import Measures, queries_of, taken
from whence.experiments.valuing import build_method, check_methods, fitted
from whence.models.identity import model_identity
from whence.parameters import Configurable, NonNegative, PositiveInt, Seed, Share

_EITHER_WAY = ("length", "popularity")
_OF_NETWORKS: tuple[str, ...] = (
    *CONTROLS, "trimmed-loss", "information-gain", "order-gain", "self-influence", "tracin",
)  # fmt: skip
_OF_NEIGHBOURS: tuple[str, ...] = ("random", "length", "popularity", "loo", "shapley")
_CLEANING: tuple[str, ...] = ("random", "loss", "trimmed-loss")
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "self-influence": ("tracin", {}),
    "tracin-cosine": ("tracin", {"normalise": "cosine"}),
    "every-step": ("tracin", {"every_step": True}),
    "influence": ("influence-function", {"solver": "ggn"}),
}
"""Names that stand for a method with other parameters than its own."""


class CorruptionExperiment(Configurable):
    """Plant an attack, value the training data, find what was planted, and clean.

    Parameters
    ----------
    model : callable, optional
        ``model(seed)`` makes the model, not yet fitted; a small `GRU4Rec` by default.
    attacks : sequence of str
        Kinds of `Attack`.
    share : float
        Planted sources over real ones.
    direction : {"push", "nuke"}
        Of the attacks with targets.
    by : {"source", "item"}
        Who is valued: users (or sessions), some of which are planted, or items, some of which are
        the targets of an attack.
    methods : sequence of str
        Those that value: "random", "length" and "popularity" look at the data alone; "loss",
        "trimmed-loss", "information-gain" and "order-gain" at the loss of the training data;
        "self-influence" (highest first), "tracin", "tracin-cosine" (the mean of the cosines of
        gradients), "every-step" (TracIn over every step of training), "replay" and "influence"
        (by the Gauss-Newton matrix) at gradients; "shapley", "loo" and "banzhaf" share out the
        first metric among the neighbours of a model that has them; and every other method that
        values training data, by its name. By default those that value the data of the model: the
        controls, and losses and TracIn of a network, or "shapley" and "loo" of a neighbour model.
    clean : sequence of str, optional
        Those of the methods by which sources are left out as well. By default "random", and the
        losses, or "shapley" and "loo".
    shares : sequence of float
        Of sources, to be left out; which one, or nothing at all, is chosen on validation data by
        the first metric.
    seeds : sequence of int
        Of the attack and of the model.
    metrics : sequence of str
        Measured on the test queries.
    max_queries : int, optional
        Validation queries that values by gradients are for, drawn at random; all by default.
    checkpoints : int
        Number of checkpoints that TracIn sums over, evenly spread over the epochs.
    tolerance : float, optional
        Of the methods that draw, in place of their own.

    Notes
    -----
    Nothing planted is ever asked: validation and test queries are of real users, their last rows.
    All models of a seed have the same start, batches and negatives.
    """

    model: Callable[[int], Any] | None = None
    attacks: Sequence[AttackKind] = ("uniform", "popularity", "shuffled", "bandwagon", "segment")
    share: Annotated[float, Gt(0.0), Le(1.0)] = 0.1
    direction: Literal["push", "nuke"] = "push"
    by: Literal["source", "item"] = "source"
    methods: Sequence[str] | None = None
    clean: Sequence[str] | None = None
    shares: Sequence[Share] = (0.05, 0.1, 0.2)
    seeds: Sequence[Seed] = (0, 1, 2)
    metrics: Sequence[str] = ("mrr@100", "recall@10")
    max_queries: PositiveInt | None = None
    checkpoints: PositiveInt = 3
    tolerance: NonNegative | None = None

    def _check_params(self) -> None:
        super()._check_params()
        check_some(self.params, "attacks", "methods", "seeds", "metrics", "shares")
        check_shares("shares", self.shares)
        Measures.of(self.metrics, None, 0.0)
        check_methods(self.methods or (), also=_VARIANTS)
        check_methods(self.clean or (), "clean", also=_VARIANTS)
        if self.by == "item":
            for kind in self.attacks:
                if kind != "bot" and kind not in SHILLING:
                    raise ParameterError(
                        f"The attack {kind!r} has no target, so that there is no item to be found; "
                        f"take one of {', '.join(map(repr, SHILLING))} or 'bot'."
                    )
            if "order-gain" in (self.methods or ()):
                raise ParameterError(
                    "An order is that of a user, not of an item; leave order-gain out of methods."
                )

    def run(
        self, data: Any, *, validation: Any = None, test: Any = None, run: Run | None = None
    ) -> CorruptionResult:
        """Run the experiment.

        Parameters
        ----------
        data : Interactions or table
            Users with their items, or sessions of many items: the last tenth of each is for
            validation, the tenth after that for tests. With `validation` and `test`, all of it is
            training data, of sessions of any length.
        validation, test : Interactions or table, optional
            Of other sessions, or of later rows of the users.
        run : Run, optional
            How the work is done. With a folder, what each method found is kept there.

        Raises
        ------
        ParameterError
            If a parameter is out of its range.
        DataError
            If the sources are too short for a tenth to be a row.
        UnsupportedError
            If a method cannot value the training data of the model.
        """
        self._check_params()
        run = settled(run, self)
        if (validation is None) != (test is None):
            raise ParameterError("Give validation and test data, or neither of them.")
        model = self._make(0)
        interactions = taken(model, data)
        later = None
        if validation is not None:
            later = Interactions.from_frame(validation), Interactions.from_frame(test)
        methods, clean = self._chosen(model)
        for name in methods:
            _method(name, "user", self).check_model(model)
        settings = {
            "model": model_identity(model),
            "data": interactions.fingerprint,
            **{
                name: value
                for name, value in self.params.items()
                if name not in ("model", "seeds", "attacks", "methods", "clean")
            },
            "clean": list(clean),
        }
        if later is not None:
            settings["asked"] = [one.fingerprint for one in later]
        shards = [
            (kind, int(seed), method)
            for kind in self.attacks
            for seed in self.seeds
            for method in (NOTHING, PLANTED, *methods)
        ]
        job = _Findings(self, interactions, clean, later)
        with Checkpoints(run, {**settings, "shards": shards}) as kept:
            rows = run_job(job, shards, run, message="valuing", kept=kept)
        return CorruptionResult(pl.DataFrame(rows, infer_schema_length=None), settings)

    def _chosen(self, model: Any) -> tuple[Sequence[str], Sequence[str]]:
        """The methods that value, and those that clean; by default what the model allows."""
        usual: tuple[str, ...] = _OF_NEIGHBOURS
        cleaning: tuple[str, ...] = ("random", "loo", "shapley")
        # Asked first: values by losses need torch, which a neighbour model does not.
        if hasattr(model, "example_loss"):
            with suppress(UnsupportedError):
                _method("loss", "user", self).check_model(model)
                usual, cleaning = _OF_NETWORKS, _CLEANING
        methods = usual if self.methods is None else self.methods
        if self.by == "item" and self.methods is None:
            methods = [name for name in methods if name != "order-gain"]
        if self.clean is None:
            return methods, [one for one in cleaning if one in methods]
        for name in self.clean:
            if name not in methods:
                raise ParameterError(
                    f"clean has {name!r}, which is none of methods; add it, or leave it out."
                )
        return methods, self.clean

    def _make(self, seed: int) -> Any:
        return small_gru(seed) if self.model is None else self.model(seed)


def small_gru(seed: int) -> Any:
    """The model that is fitted where none is given."""
    from whence.models import GRU4Rec

    return GRU4Rec(
        embedding_dim=32,
        hidden_dim=32,
        max_length=20,
        epochs=6,
        batch_size=64,
        learning_rate=3e-3,
        seed=seed,
    )


@dataclass(frozen=True)
class _Findings(ListJob[tuple[AttackKind, int, str], dict[str, Any]]):
    """Rows of the experiment; a shard is an attack, a seed and a method.

    Attributes
    ----------
    experiment : CorruptionExperiment
    data : Interactions
        Without an attack.
    clean : sequence of str
    later : two of Interactions, optional
        For validation and for tests, where they are not the last rows of the data.
    """

    alone = True

    experiment: CorruptionExperiment
    data: Interactions
    clean: Sequence[str]
    later: tuple[Interactions, Interactions] | None = None
    _first: dict[tuple[str, int], tuple[Asked, Any]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def run(self, shard: tuple[AttackKind, int, str]) -> dict[str, Any]:
        """Value by one method, and clean by it if wanted."""
        kind, seed, method = shard
        asked, model = self._fitted(kind, seed)
        row: dict[str, Any] = {"attack": kind, "seed": seed, "method": method}
        if method == NOTHING:
            return {**row, "share": 0.0, **_tested(model, asked, self.experiment.metrics)}
        corrupted = self._corrupted(asked)
        if method == PLANTED:
            again = self._without(seed, asked, corrupted)
            return {**row, **_tested(again, asked, self.experiment.metrics)}
        values = _values(method, model, asked, self.experiment, seed)
        row |= _detected(method, values, corrupted)
        if method in self.clean:
            row |= self._cleaned(seed, asked, model, values, method)
        return row

    def _fitted(self, kind: AttackKind, seed: int) -> tuple[Asked, Any]:
        """What is asked, and the model that learned from everything; one at a time is held."""
        if (kind, seed) not in self._first:
            self._first.clear()
            asked = self._asked(self._attack(kind, seed))
            model = self.experiment._make(seed)
            fitted(model, asked.train, ["tracin"], self.experiment.checkpoints)
            self._first[kind, seed] = asked, model
        return self._first[kind, seed]

    def _asked(self, attack: Attack) -> Asked:
        if self.later is None:
            return split_shares(self.data, attack=attack)
        attacked = attack.plant(self.data)
        train, model = attacked.data, self.experiment._make(0)
        planted = train.source_ids.is_in(attacked.corrupted.implode()).to_numpy()
        validation, test = (queries_of(model, train, one) for one in self.later)
        return Asked(train, validation, test, planted, attacked.targets)

    def _attack(self, kind: AttackKind, seed: int) -> Attack:
        asked_for = self.experiment
        return Attack(kind=kind, share=asked_for.share, direction=asked_for.direction, seed=seed)

    def _corrupted(self, asked: Asked) -> pl.Series:
        if self.experiment.by == "item":
            return asked.targets
        return asked.train.source_ids.filter(pl.Series(asked.is_planted))

    def _without(self, seed: int, asked: Asked, ids: pl.Series) -> Any:
        """The model fitted without some sources or items."""
        train, columns = asked.train, asked.train.columns
        name = columns.item if self.experiment.by == "item" else columns.source
        kept = ~train.frame[name].is_in(ids.implode())
        if not kept.any():
            raise DataError("Everything would be left out; choose smaller shares.")
        return self.experiment._make(seed).fit(train.keep_rows(kept.to_numpy()))

    def _cleaned(
        self, seed: int, asked: Asked, model: Any, values: Attribution, method: str
    ) -> dict[str, Any]:
        """Leave out the share of the lowest values that validation prefers, and test."""
        metric = self.experiment.metrics[0]
        best, chosen = float(evaluate(model, asked.validation, metric)), 0.0
        kept = model
        order = np.argsort(values.totals, kind="stable")
        for share in self.experiment.shares:
            n = round(share * len(values))
            again = self._without(seed, asked, values.ids.gather(order[:n])) if n else model
            value = float(evaluate(again, asked.validation, metric))
            if value > best:
                best, chosen, kept = value, share, again
        return {"share": chosen, **_tested(kept, asked, self.experiment.metrics)}


def _tested(model: Any, asked: Asked, metrics: Sequence[str]) -> dict[str, float]:
    return dict(evaluate(model, asked.test, list(metrics)).scores)


def _detected(method: str, values: Attribution, corrupted: pl.Series) -> dict[str, float]:
    """How well low values find what is corrupted."""
    rankings, names = {"low": values, "high": values}, ["low"]
    report = detection_report(rankings, corrupted, highest_first=["high"])
    if method in _EITHER_WAY:
        names.append("high")
    found = (
        report.filter(pl.col("ranking").is_in(names)).sort("average_precision").row(-1, named=True)
    )
    return {name: found[name] for name in ("average_precision", "precision", "recall", "auc")}


def _values(
    name: str, model: Any, asked: Asked, experiment: CorruptionExperiment, seed: int
) -> Attribution:
    """Values of the sources, the lowest the most suspicious."""
    source = "user" if asked.train.by_user else "session"
    by = "item" if experiment.by == "item" else source
    run = Run(seed=seed)
    if name == "self-influence":
        found = _method(name, by, experiment).self_influence(model, run=run)
        return _changed(found, -_per_row(found, asked, by))
    queries, most = asked.validation, experiment.max_queries
    if most is not None and len(queries) > most:
        generator = np.random.Generator(np.random.PCG64([seed, most, 1]))
        queries = queries.take(np.sort(generator.choice(len(queries), most, replace=False)))
    found = _method(name, by, experiment).attribute(model, queries, run=run)
    return _changed(found, _per_row(found, asked, by)) if name == "tracin-cosine" else found


def _method(name: str, by: str, experiment: CorruptionExperiment) -> Any:
    """Make a method by its name."""
    called, changes = _VARIANTS.get(name, (name, {}))
    return build_method(called, experiment.metrics[0], changes, by, tolerance=experiment.tolerance)


def _per_row(found: Attribution, asked: Asked, by: str) -> npt.NDArray[np.float64]:
    """Scores over the numbers of rows of their sources."""
    column = asked.train.columns.item if by == "item" else asked.train.columns.source
    counts = asked.train.frame[column].value_counts()
    n = found.ids.replace_strict(counts[column], counts["count"], default=1).to_numpy()
    return np.asarray(found.scores / n)


def _changed(found: Attribution, scores: npt.NDArray[np.float64]) -> Attribution:
    table = found.frame.with_columns(score=scores)
    return Attribution(table, source=found.source, metadata=found.metadata)
