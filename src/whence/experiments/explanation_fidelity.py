"""How true explanations are to a model: several methods, beside orders that are guesses.

Histories of many users are explained by each method, under each masking; their events are masked in
the order of the shares found, and brought back, and what becomes of the value is compared with
orders that know nothing of the model's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whence.data import Interactions, split_last
from whence.errors import DataError, ParameterError, UnsupportedError, check_choice, check_int
from whence.evaluation import evaluate
from whence.experiments.explanation_results import ExplanationFidelityResult
from whence.experiments.results import Store
from whence.explanation import Explanations, explain_many, fidelity
from whence.explanation._maskings import parse_masking
from whence.models import load_model
from whence.models.base import Recommender

METHODS = ("exact", "permutation", "kernel", "occlusion", "integrated_gradients")
Progress = Callable[[int, int, str], None]
_AT_ONCE = 20  # histories whose rows are recorded together
_ACCURACY = "recall@10"


@dataclass(frozen=True)
class ExplanationFidelityExperiment:
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
        As in `whence.explain`.
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
        As in `whence.explain`.
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
    methods: Sequence[str] = METHODS
    maskings: Sequence[Any] = ("remove", "pad")
    n_users: int = 200
    n_events: int = 14
    k: int = 10
    n: int = 3
    budget: int = 2_000
    target: Any = "mean"
    epochs: int | None = None
    seed: int = 42

    def __post_init__(self) -> None:
        for name, least in (("n_users", 2), ("n_events", 2), ("k", 1), ("n", 1), ("budget", 4)):
            check_int(name, getattr(self, name), minimum=least)
        check_int("seed", self.seed, minimum=0)
        if self.epochs is not None:
            check_int("epochs", self.epochs, minimum=1)
        for name in ("methods", "maskings"):
            if isinstance(getattr(self, name), str) or not len(getattr(self, name)):
                raise ParameterError(f"{name} is a list with at least one entry; give one.")
        for method in self.methods:
            check_choice("methods", method, METHODS)
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

    def run(
        self, data: Any, *, folder: str | Path | None = None, progress: Progress | None = None
    ) -> ExplanationFidelityResult:
        """Run what has not been run yet.

        Parameters
        ----------
        data : Interactions or table
            Users or sessions with their items.
        folder : path, optional
            Keeps the model and what was measured, so that an interrupted run goes on where it
            stopped.
        progress : callable, optional
            ``progress(done, total, message)``.

        Raises
        ------
        DataError
            If there are not two users with `n_events` items, or the data are baskets.
        UnsupportedError
            If the model cannot be explained under a masking at all.
        """
        interactions = Interactions.from_frame(data)
        if interactions.kind == "baskets":
            raise DataError(
                "The fidelity experiment explains users or sessions with single items; give data "
                "without baskets."
            )
        tell = progress or _silent
        parts = -(-self.n_users // _AT_ONCE)
        total = 1 + parts * len(self.maskings)
        made = None if isinstance(self.model, Recommender) else self._made()
        store = Store(folder, self._settings(interactions, made), name="measured.json")
        tell(0, total, "model")
        model, accuracy = self._fitted(made, interactions, folder)
        histories = self._histories(model, interactions)
        for number, (masking, first) in enumerate(self._tasks(len(histories)), 1):
            label = parse_masking(masking).label
            if store.find(first, label) is None:
                tell(number, total, f"masking {label}")
                some = dict(list(histories.items())[first : first + _AT_ONCE])
                store.add({"seed": first, "arm": label, **self._measured(model, some, masking)})
        tell(total, total, "done")
        found = [
            store.find(first, parse_masking(masking).label)
            for masking, first in self._tasks(len(histories))
        ]
        rows = [row for part in found if part is not None for row in part["rows"]]
        left_out = {
            f"{part['arm']}, {method}": why
            for part in found
            if part is not None
            for method, why in part["left_out"].items()
        }
        facts = {"n_users": len(histories), "accuracy": accuracy, "left_out": left_out}
        return ExplanationFidelityResult(
            pl.DataFrame(rows, infer_schema_length=None), {**store.settings, **facts}
        )

    def _made(self) -> Any:
        assert not isinstance(self.model, Recommender)
        model = small_gru(self.seed) if self.model is None else self.model(self.seed)
        if self.epochs is not None:
            model.epochs = self.epochs
        return model

    def _settings(self, data: Interactions, made: Any) -> dict[str, Any]:
        model: Any = self.model if made is None else made
        own = {
            name: getattr(self, name)
            for name in ("methods", "n_users", "n_events", "k", "n", "budget", "seed")
        }
        return {
            "model": {"class": type(model).__name__, **_plain(model.params)},
            "fitted": None if made is not None else _told_apart(model),
            "data": data.fingerprint,
            **own,
            "maskings": [parse_masking(masking).label for masking in self.maskings],
            "target": str(self.target),
        }

    def _fitted(
        self, made: Any, data: Interactions, folder: str | Path | None
    ) -> tuple[Any, float | None]:
        """The model, and its accuracy on the last item of each user where it was fitted here."""
        if made is None:
            return self.model, None
        train, test = split_last(data, 1)
        path = None if folder is None else Path(folder) / "model.whence"
        if path is not None and path.exists():
            model = load_model(path)
        else:
            model = made.fit(train)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                model.save(path)
        return model, float(evaluate(model, test, [_ACCURACY])[_ACCURACY])

    def _histories(self, model: Any, data: Interactions) -> dict[Any, list[Any]]:
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
        rng = np.random.Generator(np.random.PCG64([self.seed, self.n_events]))
        n_users = min(self.n_users, len(enough))
        chosen = np.sort(rng.choice(enough, n_users, replace=False))
        users, items = data.vocabulary.sources, data.vocabulary.items
        last = ((offsets[user + 1] - self.n_events, offsets[user + 1]) for user in chosen)
        return {
            users[int(user)]: items.gather(data.sequences.items[start:end]).to_list()
            for user, (start, end) in zip(chosen, last)
        }

    def _tasks(self, n_histories: int) -> Iterator[tuple[Any, int]]:
        for masking in self.maskings:
            for first in range(0, n_histories, _AT_ONCE):
                yield masking, first

    def _measured(
        self, model: Any, histories: dict[Any, list[Any]], masking: Any
    ) -> dict[str, Any]:
        """What some histories gave: rows, and why methods were left out."""
        found: dict[str, Explanations] = {}
        left_out: dict[str, str] = {}
        for method in self.methods:
            try:
                found[method] = self._explained(model, histories, masking, method)
            except UnsupportedError as error:
                if len(left_out) == len(self.methods) - 1:
                    raise
                left_out[method] = str(error)
        orders = {
            method: [fidelity.order_of(one) for one in explanations]
            for method, explanations in found.items()
        }
        first = next(iter(found.values()))
        table = fidelity.measure_each(first, n=self.n, seed=self.seed, orders=orders)
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
        return {"rows": rows, "left_out": left_out}

    def _explained(
        self, model: Any, histories: dict[Any, list[Any]], masking: Any, method: str
    ) -> Explanations:
        return explain_many(
            model,
            histories,
            k=self.k,
            target=self.target,
            masking=masking,
            method=method,
            budget=self.budget,
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


def _told_apart(model: Any) -> dict[str, Any]:
    """What a fitted model has learned from, and a sum that changes with what it has learned."""
    module = getattr(model, "module_", None)
    parameters = [] if module is None else module.parameters()
    total = sum(float(one.detach().double().abs().sum()) for one in parameters)
    return {"train": model.train_.fingerprint, "parameters": f"{total:.9g}"}


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    kinds = (str, int, float, bool, type(None))
    return {name: value for name, value in params.items() if isinstance(value, kinds)}


def _silent(done: int, total: int, message: str) -> None:
    pass
