"""The opponents experiment: is a model better without the training examples that oppose it?

A model is fitted; training examples are ranked by how much they hurt its predictions on validation
data; the worst are left out; the model is fitted again with the same seed; both are compared on
test data. Controls leave out as many examples by other rankings, or at random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from whence.curation.attacks import Attack, AttackKind
from whence.data import Interactions
from whence.engines import Checkpoints, ListJob, Run, settled
from whence.engines import run as run_job
from whence.errors import DataError, ParameterError, check_int
from whence.evaluation import evaluate
from whence.experiments.histories import (
    Asked,
    in_order,
    in_order_of_the_table,
    split_shares,
)
from whence.experiments.results import OpponentsResult
from whence.influence import TracIn, TrainingLoss
from whence.influence.credit import credited
from whence.influence.losses import example_losses
from whence.models import Popularity
from whence.models.identity import model_identity
from whence.parameters import Configurable, PositiveInt, Seed, Share

Arm = Literal["none", "random", "loss", "self-influence", "opponents"]
ARMS: tuple[Arm, ...] = get_args(Arm)
PLANTED_SEED = 7


class OpponentsExperiment(Configurable):
    """Leave out the strongest opponents, fit again, compare; with controls and over seeds.

    Parameters
    ----------
    model : callable, optional
        ``model(seed)`` makes the model, not yet fitted; a small `LSTMRec` by default.
    n : int
        Examples, or of what `by` says, to leave out.
    seeds : sequence of int
        Of the models; each arm is fitted once per seed.
    arms : sequence of str
        Of "none", "random", "loss" (highest training loss; of a session, user or item the mean),
        "self-influence" (highest) and "opponents" (lowest TracIn summed over the validation
        queries).
    by : {"example", "session", "user", "item"}
        What is left out: training examples, or all rows of sessions, users or items, with the sums
        of the scores of their examples.
    planted : float
        Planted users over real ones; which share of what was left out is planted is then told.
    attack : str
        What is planted, a kind of `Attack`. With ``by="item"``, its targets count as planted.
    protocol : {"honest", "original"}
        "original" repeats the study that this experiment follows: rows in the order of the table
        instead of time, no validation data, opponents chosen on the test queries themselves by
        products of gradients that take no account of the optimiser, and the second fit from
        another seed.
    checkpoints : int or sequence of int
        Number of checkpoints that TracIn sums over, evenly spread over the epochs, or their
        epochs.
    max_queries : int, optional
        Queries that opponents are chosen on, drawn at random; all by default.
    metrics : sequence of str, optional
        Measured on the test queries. Default: ``"mrr@100"`` and ``"recall@10"``; with the original
        protocol the reciprocal rank among all items, as the study has it.
    epochs : int, optional
        Of each fit, instead of the model's own.

    Notes
    -----
    Every arm of a seed starts from the same parameters, so that arms are compared in pairs.
    """

    model: Callable[[int], Any] | None = None
    n: PositiveInt = 500
    seeds: Sequence[Seed] = (0, 1, 2, 3, 4)
    arms: Sequence[Arm] = ARMS
    by: Literal["example", "session", "user", "item"] = "example"
    planted: Share = 0.0
    attack: AttackKind = "uniform"
    protocol: Literal["honest", "original"] = "honest"
    checkpoints: int | Sequence[int] = 3
    max_queries: PositiveInt | None = None
    metrics: Sequence[str] | None = None
    epochs: PositiveInt | None = None

    def _check_params(self) -> None:
        super()._check_params()
        if not isinstance(self.checkpoints, Sequence):
            check_int("checkpoints", self.checkpoints, minimum=1)
        if not self.seeds or not self.arms:
            raise ParameterError("Give at least one of seeds and one of arms.")

    @classmethod
    def original(cls, seeds: Sequence[int] = (0,), **changes: Any) -> OpponentsExperiment:
        """Make the experiment of the study: its model, protocol, checkpoints and n = 500.

        Parameters
        ----------
        seeds : sequence of int
            The study has one.
        **changes
            Other arguments, such as ``arms``.
        """
        from whence.experiments.original import StudyLSTM

        settings: dict[str, Any] = {
            "model": lambda seed: StudyLSTM(seed=seed),
            "n": 500,
            "seeds": seeds,
            "arms": ("none", "random", "opponents"),
            "protocol": "original",
            "checkpoints": (15, 45),
        }
        return cls(**{**settings, **changes})

    def run(self, data: Any, *, run: Run | None = None) -> OpponentsResult:
        """Run the experiment.

        Parameters
        ----------
        data : Interactions or table
            Users, or sessions of many items, with their items.
        run : Run, optional
            How the work is done. With a folder, the result of each fit is kept there.

        Raises
        ------
        DataError
            If there are no more than `n` examples, or of what `by` says, or the users or sessions
            are too short for a tenth to be a row.
        """
        self._check_params()
        run = settled(run, self)
        interactions = Interactions.from_frame(data)
        share_in_order = in_order(interactions)
        if self.protocol == "original":
            interactions = in_order_of_the_table(interactions)
        asked = self._split(interactions)
        metrics = self._metrics(asked)
        kept_epochs = self.checkpoints
        settings = {
            "model": model_identity(self._make(0)),
            "data": interactions.fingerprint,
            "n": self.n,
            "by": self.by,
            "planted": self.planted,
            "attack": self.attack,
            "protocol": self.protocol,
            "checkpoints": kept_epochs if isinstance(kept_epochs, int) else list(kept_epochs),
            "max_queries": self.max_queries,
            "metrics": metrics,
        }
        job = _Fits(self, asked, metrics)
        shards = [(int(seed), arm) for seed in self.seeds for arm in self.arms]
        with Checkpoints(run, {**settings, "fits": shards}) as kept:
            rows = run_job(job, shards, run, message="fitting", kept=kept)
        exclude_seen = getattr(self._make(0), "exclude_seen", None)
        popularity = Popularity(exclude_seen=exclude_seen).fit(asked.train)
        popular = evaluate(popularity, asked.test, metrics)
        facts = {
            "share_of_rows_in_time_order": share_in_order,
            "n_test_queries": len(asked.test),
            "n_validation_queries": len(asked.validation),
            "popularity": dict(popular.scores),
        }
        table = pl.DataFrame(rows, infer_schema_length=None)
        return OpponentsResult(table, {**settings, **facts})

    def _split(self, data: Interactions) -> Asked:
        attack = None
        if self.planted:
            attack = Attack(kind=self.attack, share=self.planted, seed=PLANTED_SEED)
        if self.protocol == "original":
            asked = split_shares(data, validation=0.0, test=0.1, attack=attack)
            return replace(asked, validation=asked.test)
        return split_shares(data, validation=0.1, test=0.1, attack=attack)

    def _metrics(self, asked: Asked) -> list[str]:
        if self.metrics is not None:
            return list(self.metrics)
        length = asked.train.n_items if self.protocol == "original" else 100
        return [f"mrr@{length}", "recall@10"]

    def _make(self, seed: int) -> Any:
        model = small_lstm(seed) if self.model is None else self.model(seed)
        if self.epochs is not None:
            model.epochs = self.epochs
        return model


def small_lstm(seed: int) -> Any:
    """The model that is fitted where none is given."""
    from whence.models import LSTMRec

    return LSTMRec(
        embedding_dim=32,
        hidden_dim=32,
        max_length=20,
        epochs=9,
        batch_size=256,
        learning_rate=3e-3,
        seed=seed,
    )


@dataclass(frozen=True)
class _Fits(ListJob[tuple[int, Arm], dict[str, Any]]):
    """Rows of the experiment; a shard is a seed and an arm, which is fitted once.

    Attributes
    ----------
    experiment : OpponentsExperiment
    asked : Asked
    metrics : list of str
    """

    alone = True

    experiment: OpponentsExperiment
    asked: Asked
    metrics: list[str]
    _first: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def run(self, shard: tuple[int, Arm]) -> dict[str, Any]:
        """Leave out, fit again and measure."""
        seed, arm = shard
        model = self._fitted(seed)
        gone = self._left_out(model, seed, arm)
        again = model
        if len(gone):
            other = seed + (1000 if self.experiment.protocol == "original" else 0)
            again = self._without(self.experiment._make(other), gone)
        result = evaluate(again, self.asked.test, self.metrics)
        return {
            "seed": seed,
            "arm": arm,
            "n_left_out": len(gone),
            "planted_share": self._planted_share(model, gone),
            **result.scores,
        }

    def _fitted(self, seed: int) -> Any:
        """The model of a seed that has learned from all examples; one at a time is held."""
        if seed not in self._first:
            self._first.clear()
            model = self.experiment._make(seed)
            kept = self.experiment.checkpoints
            if not isinstance(kept, Sequence):
                kept = -(-model.epochs // kept)
            model.fit(self.asked.train, checkpoints=kept)
            by, n = self.experiment.by, len(self._sources(model))
            if n <= self.experiment.n:
                noun = "training examples" if by == "example" else f"{by}s"
                raise DataError(
                    f"There are {n} {noun}, and {self.experiment.n} are to be left out; choose a "
                    "smaller n."
                )
            self._first[seed] = model
        return self._first[seed]

    def _sources(self, model: Any) -> pl.Series:
        """Ids of all that could be left out: numbers of examples, or ids of what `by` says."""
        examples = model.examples_
        nothing = np.zeros(len(examples))
        _, name, table = credited(self.asked.train, examples, nothing, self.experiment.by)
        return table[name]

    def _left_out(self, model: Any, seed: int, arm: Arm) -> pl.Series:
        """Ids of what an arm leaves out."""
        n, by = self.experiment.n, self.experiment.by
        if arm == "none":
            return pl.Series([], dtype=pl.Int64)
        if arm == "random":
            generator = np.random.Generator(np.random.PCG64([seed, n]))
            everything = self._sources(model)
            return everything.gather(np.sort(generator.choice(len(everything), n, replace=False)))
        if arm == "loss":
            found: Any = TrainingLoss(by=by).attribute(model)
            suspicion = -found.scores
            if by == "example":
                suspicion = example_losses(model, model.examples_)
        elif arm == "self-influence":
            found = self._tracing.self_influence(model)
            suspicion = found.scores
        else:
            found = self._tracing.attribute(model, self._chosen_on(seed))
            suspicion = -found.scores
        ids: pl.Series = found.ids
        return ids.gather(np.sort(np.argsort(-suspicion, kind="stable")[:n]))

    def _without(self, model: Any, gone: pl.Series) -> Any:
        """Fit a model without some examples, or all rows of some sources."""
        train, by = self.asked.train, self.experiment.by
        if by == "example":
            return model.fit(train, without=gone.to_numpy())
        return model.fit(train.keep_rows(~train.frame[_column(train, by)].is_in(gone.implode())))

    @property
    def _tracing(self) -> TracIn:
        """The study took plain products, whatever the optimiser."""
        plain = self.experiment.protocol == "original"
        return TracIn(by=self.experiment.by, weighting="sgd" if plain else None)

    def _chosen_on(self, seed: int) -> Any:
        queries, most = self.asked.validation, self.experiment.max_queries
        if most is None or len(queries) <= most:
            return queries
        generator = np.random.Generator(np.random.PCG64([seed, most, 1]))
        return queries.take(np.sort(generator.choice(len(queries), most, replace=False)))

    def _planted_share(self, model: Any, gone: pl.Series) -> float | None:
        if not self.experiment.planted or not len(gone):
            return None
        train, planted, by = self.asked.train, self.asked.is_planted, self.experiment.by
        if by == "example":
            return float(planted[model.examples_.sources(gone.to_numpy())].mean())
        ids = self.asked.targets
        if by != "item":
            of_source = train.frame[train.columns.source].is_in(
                train.source_ids.filter(pl.Series(planted)).implode()
            )
            ids = train.frame[_column(train, by)].filter(of_source).unique()
        return float(gone.is_in(ids.implode()).mean())  # type: ignore[arg-type]


def _column(train: Interactions, by: str) -> str:
    """Column of the ids of sessions, users or items."""
    if by == "item":
        return train.columns.item
    return (train.columns.user if by == "user" else None) or train.columns.source
