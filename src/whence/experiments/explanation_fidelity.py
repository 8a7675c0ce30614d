"""How true explanations are to a model: several methods, beside orders that are guesses.

Histories of many users are explained by each method, under each masking; their events are masked in
the order of the shares found, and brought back, and what becomes of the value is compared with
orders that know nothing of the model's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import polars as pl
from annotated_types import Ge

from whence.data import Interactions, split_last
from whence.engines import Checkpoints, ListJob, Run, settled
from whence.engines import run as run_job
from whence.errors import DataError, ParameterError, UnsupportedError
from whence.evaluation import evaluate
from whence.experiments.explanation_results import ExplanationFidelityResult
from whence.explanation import Explanations, explain_many, fidelity
from whence.explanation._maskings import parse_masking
from whence.models import load_model
from whence.models.base import Recommender
from whence.models.identity import model_identity, told_apart
from whence.parameters import Configurable, PositiveInt, Seed

Method = Literal["exact", "permutation", "kernel", "occlusion", "integrated_gradients"]
METHODS: tuple[Method, ...] = get_args(Method)
Several = Annotated[int, Ge(2)]
_AT_ONCE = 20  # histories whose rows are recorded together
_ACCURACY = "recall@10"


class ExplanationFidelityExperiment(Configurable):
    """Explain many users' recommendations by several methods, and measure how true that is.

    Parameters
    ----------
    model : callable or Recommender, optional
        ``model(seed)`` makes the model, not yet fitted, which is then trained on all but the last
        item of each user; or a model that is fitted already. A small `GRU4Rec` by default.
    methods : sequence of str
        Of `whence.explain`. What cannot be done under a masking, such as integrated gradients where
        events are removed, is left out, and the result says why.
    maskings : sequence
        Of those that `Explainer` takes as its ``masking``.
    n_users : int
        Users whose recommendations are explained, drawn at random from those with enough items.
    n_events : int
        Latest events of each, which are the history that is explained.
    k : int
        Recommended items.
    n : int
        Most important events of comprehensiveness, sufficiency and rank.
    budget : int
        Sets of events that the methods that draw may ask for.
    target : default "mean"
        As in `Explainer`.
    epochs : int, optional
        Of the fit, instead of the model's own.
    seed : int
        Of the model, of the users and of the methods that draw.

    Notes
    -----
    All methods share the value that they explain: same masking, same frozen items. So orders of
    events are compared in pairs, history by history.
    """

    model: Callable[[int], Any] | Recommender | None = None
    methods: Sequence[Method] = METHODS
    maskings: Sequence[Any] = ("remove", "pad")
    n_users: Several = 200
    n_events: Several = 14
    k: PositiveInt = 10
    n: PositiveInt = 3
    budget: Annotated[int, Ge(4)] = 2_000
    target: Any = "mean"
    epochs: PositiveInt | None = None
    seed: Seed = 42

    def _check_params(self) -> None:
        super()._check_params()
        for name in ("methods", "maskings"):
            if isinstance(getattr(self, name), str) or not len(getattr(self, name)):
                raise ParameterError(f"{name} is a list with at least one entry; give one.")
        for masking in self.maskings:
            parse_masking(masking)
        if self.n > self.n_events:
            raise ParameterError(
                f"n is {self.n}, but the histories have {self.n_events} events; choose a smaller n."
            )
        fitted = isinstance(self.model, Recommender)
        if self.model is not None and not fitted and not callable(self.model):
            raise ParameterError(
                "model is a fitted recommender, or a function from a seed to one that is not, not "
                f"{type(self.model).__name__}."
            )
        if fitted and self.epochs is not None:
            raise ParameterError("epochs is for a fit, and this model is fitted; leave it out.")

    def run(self, data: Any, *, run: Run | None = None) -> ExplanationFidelityResult:
        """Run the experiment.

        Parameters
        ----------
        data : Interactions or table
            Users or sessions with their items.
        run : Run, optional
            How the work is done. With a folder, the model and what was measured are kept there.

        Raises
        ------
        DataError
            If there are not two users with `n_events` items, or the data are baskets.
        UnsupportedError
            If the model cannot be explained under a masking at all.
        """
        self._check_params()
        run = settled(run, self)
        interactions = Interactions.from_frame(data)
        if interactions.kind == "baskets":
            raise DataError(
                "The fidelity experiment explains users or sessions with single items; give data "
                "without baskets."
            )
        assert run.seed is not None
        made = None if isinstance(self.model, Recommender) else self._made(run.seed)
        settings = self._settings(interactions, made, run.seed)
        with Checkpoints(run, settings) as kept:
            model, accuracy = self._fitted(made, interactions, kept.path("model.whence"))
            histories = self._histories(model, interactions, run.seed)
            job = _Measuring(self, run.seed, model, histories)
            shards = [
                (number, first)
                for number in range(len(self.maskings))
                for first in range(0, len(histories), _AT_ONCE)
            ]
            parts = run_job(job, shards, run, message="explaining", kept=kept)
        left_out = {
            f"{part['masking']}, {method}": why
            for part in parts
            for method, why in part["left_out"].items()
        }
        facts = {"n_users": len(histories), "accuracy": accuracy, "left_out": left_out}
        rows = pl.DataFrame([row for part in parts for row in part["rows"]],
                            infer_schema_length=None)  # fmt: skip
        return ExplanationFidelityResult(rows, {**settings, **facts})

    def _made(self, seed: int) -> Any:
        assert not isinstance(self.model, Recommender)
        model = small_gru(seed) if self.model is None else self.model(seed)
        if self.epochs is not None:
            model.epochs = self.epochs
        return model

    def _settings(self, data: Interactions, made: Any, seed: int) -> dict[str, Any]:
        own = {
            name: getattr(self, name)
            for name in ("methods", "n_users", "n_events", "k", "n", "budget")
        }
        return {
            "model": model_identity(self.model if made is None else made),
            "data": data.fingerprint,
            **told_apart(own),
            "seed": seed,
            "maskings": [parse_masking(masking).label for masking in self.maskings],
            "target": str(self.target),
        }

    def _fitted(self, made: Any, data: Interactions, path: Path | None) -> tuple[Any, float | None]:
        """The model, and its accuracy on the last item of each user where it was fitted here."""
        if made is None:
            return self.model, None
        train, test = split_last(data, 1)
        if path is not None and path.exists():
            model = load_model(path)
        else:
            model = made.fit(train)
            if path is not None:
                model.save(path)
        return model, float(evaluate(model, test, [_ACCURACY])[_ACCURACY])

    def _histories(self, model: Any, data: Interactions, seed: int) -> dict[Any, list[Any]]:
        """Latest events of users drawn at random, by user; without the item that was held out."""
        if not isinstance(self.model, Recommender):
            data = split_last(data, 1)[0]
        offsets = data.sequences.offsets
        enough = np.flatnonzero(np.diff(offsets) >= self.n_events)
        if len(enough) < 2:
            raise DataError(
                f"Only {len(enough)} of the {data.n_sources} users have {self.n_events} items "
                "before the last; choose a smaller n_events."
            )
        rng = np.random.Generator(np.random.PCG64([seed, self.n_events]))
        n_users = min(self.n_users, len(enough))
        chosen = np.sort(rng.choice(enough, n_users, replace=False))
        users, items = data.vocabulary.sources, data.vocabulary.items
        last = ((offsets[user + 1] - self.n_events, offsets[user + 1]) for user in chosen)
        return {
            users[int(user)]: items.gather(data.sequences.items[start:end]).to_list()
            for user, (start, end) in zip(chosen, last)
        }


@dataclass(frozen=True)
class _Measuring(ListJob[tuple[int, int], dict[str, Any]]):
    """Some histories explained by each method; a shard is a masking and the first history.

    Attributes
    ----------
    experiment : ExplanationFidelityExperiment
    seed : int
    model : Recommender
    histories : dict
    """

    alone = True

    experiment: ExplanationFidelityExperiment
    seed: int
    model: Any
    histories: dict[Any, list[Any]]

    def run(self, shard: tuple[int, int]) -> dict[str, Any]:
        """Explain and measure: rows, and why methods were left out."""
        number, start = shard
        own, masking = self.experiment, self.experiment.maskings[number]
        histories = dict(list(self.histories.items())[start : start + _AT_ONCE])
        found: dict[str, Explanations] = {}
        left_out: dict[str, str] = {}
        for method in own.methods:
            try:
                found[method] = self._explained(histories, masking, method)
            except UnsupportedError as error:
                if len(left_out) == len(own.methods) - 1:
                    raise
                left_out[method] = str(error)
        orders = {
            method: [fidelity.order_of(one) for one in explanations]
            for method, explanations in found.items()
        }
        first = next(iter(found.values()))
        table = fidelity.measure_each(first, n=own.n, seed=self.seed, orders=orders)
        names = [str(name) for name in histories]
        rows = []
        for row in table.filter(pl.col("order") != "explanation").iter_rows(named=True):
            number, method = row["history"], row["order"]
            one = found[method][number] if method in found else None
            exact = found["exact"][number] if "exact" in found else None
            rows.append(
                {
                    **row,
                    "history": names[number],
                    "relative_l2": _distance(one, exact),
                    "seconds": None if one is None else one.metadata["elapsed_seconds"],
                    "n_values": None if one is None else one.metadata["n_values"],
                }
            )
        return {"masking": parse_masking(masking).label, "rows": rows, "left_out": left_out}

    def _explained(
        self, histories: dict[Any, list[Any]], masking: Any, method: str
    ) -> Explanations:
        own = self.experiment
        return explain_many(
            self.model,
            histories,
            k=own.k,
            target=own.target,
            masking=masking,
            method=method,
            budget=own.budget,
            tolerance=0.0,  # the whole budget, so that methods are compared at the same cost
            seed=self.seed,
            threads=1,  # so that the seconds are those of one thread
        )


def small_gru(seed: int) -> Any:
    """The model that is fitted where none is given."""
    from whence.models import GRU4Rec

    return GRU4Rec(
        embedding_dim=64,
        hidden_dim=64,
        dropout=0.3,
        max_length=50,
        epochs=15,
        batch_size=64,
        learning_rate=3e-3,
        seed=seed,
    )


def _distance(one: Any, exact: Any) -> float | None:
    """Distance of shares from exact ones; None of controls, or where none are exact."""
    if one is None or exact is None:
        return None
    return fidelity.relative_l2(one.scores, exact.scores)
