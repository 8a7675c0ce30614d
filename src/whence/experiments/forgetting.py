"""The forgetting experiment: what is left of users who are forgotten, beside training afresh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.curation.forgetting import forget
from whence.curation.forgetting.audit import same_way
from whence.curation.forgetting.ways import check_can_forget
from whence.data import Interactions, split_leave_one_out, split_random, split_rows
from whence.engines import Checkpoints, ListJob, Run, settled
from whence.engines import run as run_job
from whence.errors import DataError, ParameterError
from whence.experiments.results import ExperimentResult, t_interval
from whence.models.identity import model_identity
from whence.parameters import Configurable, Count, PositiveInt, Seed, Share

IntArray = npt.NDArray[np.int64]
Shard = tuple[int, str, int]
_TENTH = 0.1
_MODELS = ("original", "forgotten", "retrained", "another start")


class ForgettingExperiment(Configurable):
    """Forget users (or sessions) and train afresh without them; compare, with intervals.

    For each seed a model is fitted and asked to forget: single users, drawn from all ("any user"),
    from the tenth with the most rows ("core user") and from the tenth with the fewest ("edge
    user"); shares of all at once; and a stream of users, one request after another. Each time it
    is audited (see `whence.Forgotten`): beside a model trained on what is left from the same
    start, and one from another start.

    Parameters
    ----------
    model : callable, optional
        ``model(seed)`` makes the model, not yet fitted; `EASE` by default.
    singles : int
        Single users of each kind.
    shares : sequence of float
        Shares of all users that are forgotten at once.
    stream : int
        Users forgotten one after another; 0 for none.
    epochs : sequence of int
        Of training on what is left after each request, of networks; each is tried.
    optimum : bool
        Bring factor models to the optimum of their objective first; see `to_optimum`.
    seeds : sequence of int
        Of the models, and of the draws of users.
    metric : str
        Measured on test data.
    """

    model: Callable[[int], Any] | None = None
    singles: PositiveInt = 3
    shares: Sequence[Share] = (0.01, 0.05)
    stream: Count = 10
    epochs: Sequence[Count] = (0,)
    optimum: bool = False
    seeds: Sequence[Seed] = (0, 1, 2)
    metric: str = "ndcg@10"

    def _check_params(self) -> None:
        super()._check_params()
        if not self.seeds or not self.epochs:
            raise ParameterError("Give at least one of seeds and one of epochs.")

    def run(self, data: Any, *, run: Run | None = None) -> ForgettingResult:
        """Run the experiment.

        Parameters
        ----------
        data : Interactions or table
            Users with their items, of whom a tenth of the rows is for testing; or sessions, of
            which a tenth is; or baskets, of which the last is.
        run : Run, optional
            How the work is done. With a folder, what was measured of each request is kept there.

        Raises
        ------
        DataError
            If there are too few users.
        UnsupportedError
            If the model cannot forget.
        """
        self._check_params()
        check_can_forget(self._make(0), max(self.epochs))
        run = settled(run, self)
        interactions = Interactions.from_frame(data)
        train, test = _split(interactions)
        n_sources = len(np.unique(train.source_codes))
        if n_sources < max(20, 2 * self.stream):
            raise DataError(
                f"There are {n_sources} users or sessions to forget some of; give data with more "
                "of them, or a shorter stream."
            )
        job = _Requests(self, train, test, run)
        requests = [(kind, n) for kind in KINDS for n in range(self.singles)]
        requests += [(_named(share), 0) for share in self.shares]
        requests += [(f"stream of {self.stream}", 0)] if self.stream else []
        shards = [(int(seed), *request) for seed in self.seeds for request in requests]
        settings = {
            "model": model_identity(self._make(0)),
            "data": interactions.fingerprint,
            "epochs": list(self.epochs),
            "optimum": self.optimum,
            "metric": self.metric,
        }
        with Checkpoints(run, {**settings, "shards": shards}) as kept:
            parts = run_job(job, shards, run, message="forgetting", kept=kept)
        rows = [row for part in parts for row in part]
        return ForgettingResult(pl.DataFrame(rows, infer_schema_length=None), settings)

    def _make(self, seed: int) -> Any:
        if self.model is not None:
            return self.model(seed)
        from whence.models import EASE

        return EASE()


KINDS = ("any user", "core user", "edge user")


def _named(share: float) -> str:
    return f"{100 * share:g}% of all"


def _split(data: Interactions) -> tuple[Interactions, Interactions]:
    if data.kind == "baskets":
        train, _, test = split_leave_one_out(data)
    elif data.by_user:
        train, test, _ = split_rows(data, (0.9, 0.1, 0.0))
    else:
        train, test, _ = split_random(data, (0.9, 0.1, 0.0))
    return train, test


@dataclass(frozen=True)
class _Requests(ListJob[Shard, list[dict[str, Any]]]):
    """What was measured of requests; a shard is a seed, a kind of request and its number.

    Attributes
    ----------
    experiment : ForgettingExperiment
    train, test : Interactions
    how : Run
    """

    alone = True

    experiment: ForgettingExperiment
    train: Interactions
    test: Interactions
    how: Run
    _fitted: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def run(self, shard: Shard) -> list[dict[str, Any]]:
        """Forget, train afresh and measure."""
        seed, kind, draw = shard
        model, codes = self._model(seed), self._chosen(shard)
        ids = self.train.source_ids.gather(codes)
        of_users = self.train.columns.source == self.train.columns.user
        asked: dict[str, Any] = {"users" if of_users else "sessions": ids}
        retrained: dict[int | None, Any] = {}

        def retrain(train: Interactions, seed: int | None) -> Any:
            if seed not in retrained:
                retrained[seed] = same_way(model)(train, seed)
            return retrained[seed]

        rows = []
        seconds = None
        for epochs in self.experiment.epochs:
            found = forget(
                model, **asked, epochs=epochs, run=self.how.changed(progress=False),
                repeated=len(codes) if kind.startswith("stream") else 1,
            )  # fmt: skip
            audited = found.audit(
                self.test, metric=self.experiment.metric, retrain=retrain,
                run=self.how.changed(progress=False),
            )  # fmt: skip
            if seconds is None:  # it is trained once
                seconds = audited.value("seconds", "retrained")
            said = {"seed": seed, "request": kind, "draw": draw, "epochs": epochs}
            for row in audited.to_frame().iter_rows(named=True):
                value = row["value"]
                if (row["measure"], row["model"]) == ("seconds", "retrained"):
                    value = seconds
                named = {"measure": row["measure"], "model": row["model"], "value": value}
                rows.append({**said, "n_rows": found.n_rows, **named})
        return rows

    def _model(self, seed: int) -> Any:
        """The model of a seed; one at a time is held."""
        if seed not in self._fitted:
            self._fitted.clear()
            model = self.experiment._make(seed).fit(self.train)
            if self.experiment.optimum:
                from whence.influence.functions import to_optimum

                model = to_optimum(model)
            self._fitted[seed] = model
        return self._fitted[seed]

    def _chosen(self, shard: Shard) -> IntArray:
        """Numbers of the users or sessions that are forgotten."""
        seed, kind, draw = shard
        counts = np.bincount(self.train.source_codes, minlength=self.train.n_sources)
        there = np.flatnonzero(counts)
        order = there[np.argsort(counts[there], kind="stable")]
        tenth = max(1, int(_TENTH * len(order)))
        words = [seed, draw, *kind.encode()]
        generator = np.random.Generator(np.random.PCG64(words))
        if kind in KINDS:
            among = {"core user": order[-tenth:], "edge user": order[:tenth]}.get(kind, order)
            return generator.choice(among, 1)
        if kind.startswith("stream"):
            return generator.choice(order, self.experiment.stream, replace=False)
        share = next(s for s in self.experiment.shares if kind == _named(s))
        return generator.choice(order, max(1, round(share * len(order))), replace=False)


@dataclass(frozen=True)
class ForgettingResult(ExperimentResult):
    """What the forgetting experiment measured.

    Attributes
    ----------
    rows : polars.DataFrame
        One row per seed, request, draw, number of epochs, measure and model (see
        `whence.curation.Audit`).
    settings : dict
        What was run.
    """

    experiment = "forgetting"
    tables: ClassVar = {"table.csv": "to_frame", "requests.csv": "rows"}

    rows: pl.DataFrame
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return f"<ForgettingResult of {self.rows.height:,} rows>"

    def to_frame(self) -> pl.DataFrame:
        """Means over requests and seeds, with 95% intervals by Student's t.

        Returns
        -------
        polars.DataFrame
            Columns ``measure``, ``request``, ``epochs``, ``n_rows`` (mean), ``model``, ``mean``,
            ``low``, ``high``, ``n`` (how many requests).
        """
        keys = ["measure", "request", "epochs", "model"]
        found = []
        for key, part in self.rows.group_by(keys, maintain_order=True):
            values = part["value"].to_numpy()
            low, high = t_interval(values)
            found.append(
                {
                    **dict(zip(keys, key)),
                    "n_rows": part["n_rows"].mean(),
                    "mean": float(values.mean()),
                    "low": low,
                    "high": high,
                    "n": len(values),
                }
            )
        return pl.DataFrame(found, infer_schema_length=None)

    def to_markdown(self) -> str:
        """A table for each measure: a row per request, a column per model."""
        frame, lines = self.to_frame(), []
        several = frame["epochs"].n_unique() > 1
        for measure in frame["measure"].unique(maintain_order=True):
            part = frame.filter(pl.col("measure") == measure)
            there = part["model"].to_list()
            models = [model for model in _MODELS if model in there]
            lines += [
                f"| {measure} | rows | " + " | ".join(models) + " |",
                "|---|---:|" + "---|" * len(models),
            ]
            for key, own in part.group_by(["request", "epochs"], maintain_order=True):
                by_model = {row["model"]: row for row in own.iter_rows(named=True)}
                name = f"{key[0]}, {key[1]} epochs" if several else str(key[0])
                cells = [name, f"{own['n_rows'][0]:,.0f}"]
                cells += [_cell(by_model.get(model)) for model in models]
                lines.append("| " + " | ".join(cells) + " |")
            lines.append("")
        return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    digits = ".4f" if row["mean"] > 1e-3 else ".1e"
    if row["measure"] == "seconds":
        digits = ".3g"
    elif row["mean"] in (0.0, 1.0):
        digits = "g"
    interval = "" if row["low"] is None else f" ({row['low']:{digits}} to {row['high']:{digits}})"
    return f"{row['mean']:{digits}}{interval}"
