"""Values by fitting the model again and again: for any recommender, slow, and the oracle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from whence import engines
from whence.attribution import Attribution
from whence.data import Vocabulary
from whence.engines import Checkpoints, Interrupted, Run, part_of, reporter
from whence.errors import DataError
from whence.evaluation import parse_metric
from whence.parameters import NonNegative, PositiveInt, Seed, Share
from whence.valuation._refitting import (
    Coalitions,
    Listed,
    Prefixes,
    Refits,
    WithoutOne,
    training_data,
)
from whence.valuation.base import Question, Valuation
from whence.valuation.sources import Sources, identifying_columns

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# A standard error from fewer permutations than this is not trusted to stop.
_FEWEST_PERMUTATIONS = 10
# Coalitions of few players come up again and again; those of many hardly ever do.
_MOST_REMEMBERED = 20


class Retraining(Valuation):
    """Base of the values of any object with ``fit(train)`` and ``recommend(queries, k)``.

    A part of the training data is worth the metric of the model fitted on it. Queries and, for
    the models of Whence, the numbering that breaks ties are those of all training data. Without
    any training data every list is empty.
    """

    fine = True
    of_all_lists = True

    @property
    def adds_up_over_queries(self) -> bool:  # type: ignore[override]
        """Not where the metric is of the lists of all queries together."""
        return parse_metric(
            self.metric, sustainable_items=self.sustainable_items, relevant=self.relevant
        ).per_query

    def _start(self, model: Any, data: Any, run: Run | None, train: Any) -> tuple[Question, Refits]:
        given, as_table = training_data(model, train, type(self).__name__)
        question = self._ask(model, data, run, given)
        threads = question.run.threads
        refits = Refits(
            model, given, as_table, question.queries, question.metric, question.sources, threads
        )
        return question, refits


class _Values:
    """Values of coalitions: what is known of them, and how many fits that took."""

    def __init__(self, refits: Refits, run: Run, kept: Checkpoints) -> None:
        self.refits = refits
        self.kept = kept
        self.run = run
        self.n_fits = 0
        self._ends: tuple[float, float] | None = None
        self._known: dict[bytes, float] = {}
        self._few = len(refits.sources) <= _MOST_REMEMBERED

    def of(
        self, coalitions: Coalitions, numbers: Sequence[int], stage: str, message: str
    ) -> list[float]:
        """Values of coalitions in their order, until they are complete."""
        keys = [self._key(coalitions.members(n)) for n in numbers] if self._few else []
        missing = []
        for number, key in zip(numbers, keys):
            if key not in self._known:
                missing.append(number)
            elif coalitions.is_complete([self._known[key]]):
                break
        if missing or not self._few:
            shards = missing if self._few else numbers
            found = engines.run(
                coalitions, shards, self.run, message=message, kept=self.kept, stage=stage
            )
            self.n_fits += sum(len(coalitions.members(n)) > 0 for n in shards[: len(found)])
            if not self._few:
                return found
            self._known |= {self._key(coalitions.members(n)): v for n, v in zip(missing, found)}
        values: list[float] = []
        for key in keys:
            values.append(self._known[key])
            if coalitions.is_complete(values):
                break
        return values

    def everyone_and_nobody(self) -> tuple[float, float]:
        """Values with all players and with none."""
        if self._ends is None:
            both = Listed(self.refits, [np.arange(len(self.refits.sources)), np.arange(0)])
            value_all, value_nothing = self.of(both, range(2), "everyone", "refitting on all")
            self._ends = value_all, value_nothing
        return self._ends

    def to_state(self) -> Any:
        """Everything, as arrays to be saved."""
        width = len(self.refits.sources) if self._few else 0
        keys = np.frombuffer(b"".join(self._known), dtype=bool).reshape(len(self._known), width)
        return self.n_fits, self._ends, keys, np.array(list(self._known.values()))

    def take_up(self, state: Any) -> None:
        """Go on from what `to_state` gave."""
        self.n_fits, self._ends, keys, values = state
        self._known = {row.tobytes(): float(value) for row, value in zip(keys, values)}

    def _key(self, members: IntArray) -> bytes:
        present = np.zeros(len(self.refits.sources), dtype=bool)
        present[members] = True
        return present.tobytes()


class RetrainingLeaveOneOut(
    Retraining,
    name="retraining-leave-one-out",
    title="Leave-one-out values by retraining",
    aliases=("retraining-loo",),
):
    """Leave-one-out values of the training data of any recommender, by refitting.

    The value of a source is the metric of the model fitted on everything minus the metric of the
    model fitted without it: one fit per source.

    Parameters
    ----------
    metric, by, sustainable_items, sustainability_weight, relevant, unknown, target, threads
        As in `Valuation`; ``by="interaction"`` leaves out single rows.
    sources : iterable of ids, optional
        Value only these sources; all by default.

    Notes
    -----
    For VMISKNN and TIFUKNN, `LeaveOneOut` gives the same values without refitting (for baskets
    ``score + own_score``).
    """

    sources: Any = None

    def attribute(
        self, model: Any, data: Any, *, run: Run | None = None, train: Any = None
    ) -> Attribution:
        """Value the training data of a recommender.

        Parameters
        ----------
        model : object with fit and recommend
            Fitted or not; it is copied, not changed.
        data : Interactions, data frame or Queries
            The evaluation set.
        run : Run, optional
            How the work is done. In its folder is kept what has been fitted.
        train : Interactions or data frame, optional
            The training data, where the model has no ``train_``. The model is fitted on parts of
            it: on Interactions or tables of the same type.

        Returns
        -------
        Attribution
            Columns: id and ``score``. If interrupted (Ctrl-C), the sources valued by then, with
            ``metadata["stopped"] == "interrupted"``.

        Raises
        ------
        NotFittedError
            If there is no training data.
        UnsupportedError
            If the model cannot be fitted or asked.
        DataError
            If `sources` holds an id that is not in the training data.
        """
        question, refits = self._start(model, data, run, train)
        chosen = _choose(question.sources, self.sources)
        matters = np.isin(chosen, refits.with_rows)
        with Checkpoints(question.run, self._identity(question)) as kept:
            values = _Values(refits, question.run, kept)
            numbers = [-1, *chosen[matters].tolist()]
            stopped = "exact"
            try:
                found = values.of(WithoutOne(refits), numbers, "values", "refitting without one")
            except Interrupted as interrupted:
                if not interrupted.total or len(interrupted.total) < 2:
                    raise
                found, stopped, kept.is_finished = interrupted.total, "interrupted", False
                chosen = chosen[: int(np.flatnonzero(matters)[len(found) - 2]) + 1]
                values.n_fits += len(found)
            value_nothing = refits.value(np.arange(0))
        scores = np.zeros(len(chosen))
        scores[matters[: len(chosen)]] = found[0] - np.array(found[1:])
        identity = identifying_columns(question.train, question.sources)
        columns = {name: ids.gather(chosen) for name, ids in identity.items()}
        return self._answer(
            _gather(question, chosen),
            {**columns, "score": scores},
            value_all=found[0],
            value_nothing=value_nothing,
            stopped=stopped,
            n_fits=values.n_fits,
        )


class RetrainingShapley(
    Retraining, name="retraining-shapley", title="Data Shapley values by retraining"
):
    """Data Shapley values of the training data of any recommender, by refitting.

    In a random permutation of the sources, each is credited with what the metric gains when the
    model is fitted again with it. With few sources every coalition is visited instead, where
    that takes no more fits than the permutations would: then values are exact.

    Parameters
    ----------
    metric, by, sustainable_items, sustainability_weight, relevant, unknown, target, threads
        As in `Valuation`; ``by="interaction"`` makes every row a player.
    max_permutations : int
        Stop after this many permutations, each of one fit per source.
    tolerance : float
        Stop when the mean standard error is at most this share of the mean absolute value, after
        ten permutations at least. 0: use them all.
    truncation : float
        Give the rest of a permutation no credit once the metric is within this share of
        ``|U(all) - U(nothing)|`` of ``U(all)``. 0: never; then values add up to
        ``U(all) - U(nothing)``.
    seed : int
        Of the permutations, keyed by (seed, number of the permutation).

    References
    ----------
    Ghorbani, Zou: Data Shapley. ICML 2019, algorithm 1 (truncated Monte Carlo).
    """

    max_permutations: PositiveInt = 100
    tolerance: NonNegative = 0.1
    truncation: Share = 0.0
    seed: Seed = 42

    def attribute(
        self, model: Any, data: Any, *, run: Run | None = None, train: Any = None
    ) -> Attribution:
        """Value the training data of a recommender.

        Parameters
        ----------
        model, data, run, train
            As in `RetrainingLeaveOneOut.attribute`.

        Returns
        -------
        Attribution
            Columns: id, ``score`` and ``std_error`` (NaN after a single permutation). If
            interrupted (Ctrl-C) after the first permutation, what is known by then, with
            ``metadata["stopped"] == "interrupted"``.

        Raises
        ------
        NotFittedError
            If there is no training data.
        UnsupportedError
            If the model cannot be fitted or asked.
        """
        question, refits = self._start(model, data, run, train)
        n_players = len(refits.with_rows)
        draws, errors = _Draws(len(question.sources)), None
        with Checkpoints(question.run, self._identity(question)) as kept:
            values = _Values(refits, question.run, kept)
            if 2 ** min(n_players, 60) <= self.max_permutations * n_players:
                scores, stopped = _enumerate(values), "exact"
            else:
                stopped = self._sample(values, draws, question.run)
                scores, errors = draws.values, draws.std_errors
            value_all, value_nothing = values.everyone_and_nobody()
        return self._answer(
            question,
            {
                **identifying_columns(question.train, question.sources),
                "score": scores,
                "std_error": np.zeros_like(scores) if errors is None else errors,
            },
            value_all=value_all,
            value_nothing=value_nothing,
            stopped=stopped,
            relative_error=draws.relative_error if draws.n > 1 else None,
            efficiency=self.truncation == 0 or errors is None,
            n_permutations=draws.n,
            n_fits=values.n_fits,
        )

    def _sample(self, values: _Values, draws: _Draws, run: Run) -> str:
        """Draw permutations until precise enough, out of budget or interrupted; say which."""
        kept, refits = values.kept, values.refits
        assert run.seed is not None
        before = kept.load("draws")
        if before is not None:
            draws.n, draws.values, draws.squares = before["draws"]
            values.take_up(before["values"])
        message = "first permutation"
        try:
            with reporter(run.progress) as report:
                value_all, value_nothing = values.everyone_and_nobody()
                near = self.truncation * abs(value_all - value_nothing)
                while draws.n < self.max_permutations:
                    rng = np.random.default_rng([run.seed, draws.n])
                    order = rng.permutation(refits.with_rows)
                    progress = part_of(report, draws.n, self.max_permutations)
                    values.run = values.run.changed(progress=progress)
                    path = [value_nothing]
                    if not (self.truncation > 0 and abs(value_all - value_nothing) <= near):
                        prefixes = Prefixes(refits, order, value_all, near)
                        places, stage = range(len(order) - 1), f"permutation-{draws.n}"
                        path += values.of(prefixes, places, stage, message)
                        if len(path) == len(order) and not prefixes.is_complete(path[1:]):
                            path.append(value_all)
                    gains = np.zeros(len(refits.sources))
                    gains[order[: len(path) - 1]] = np.diff(path)
                    draws.add(gains)
                    state = [draws.n, draws.values, draws.squares]
                    kept.save("draws", {"draws": state, "values": values.to_state()})
                    kept.drop(f"permutation-{draws.n - 1}")
                    if draws.n > 1:
                        message = f"standard error {draws.relative_error:.1%} of the mean |value|"
                    enough = draws.n >= _FEWEST_PERMUTATIONS and self.tolerance > 0
                    if enough and draws.relative_error <= self.tolerance:
                        return "tolerance"
        except KeyboardInterrupt:
            if draws.n == 0:
                raise
            kept.is_finished = False
            return "interrupted"
        return "max_permutations"


class _Draws:
    """Mean and spread of the gains of all players over permutations (Welford's updates)."""

    def __init__(self, n_players: int) -> None:
        self.n = 0
        self.values: FloatArray = np.zeros(n_players)
        self.squares: FloatArray = np.zeros(n_players)

    def add(self, gains: FloatArray) -> None:
        self.n += 1
        off = gains - self.values
        self.values = self.values + off / self.n
        self.squares = self.squares + off * (gains - self.values)

    @property
    def std_errors(self) -> FloatArray:
        if self.n < 2:
            return np.full_like(self.values, np.nan)
        return np.asarray(np.sqrt(self.squares / (self.n - 1) / self.n))

    @property
    def relative_error(self) -> float:
        """Mean standard error relative to the mean absolute value."""
        size, error = float(np.abs(self.values).mean()), float(self.std_errors.mean())
        return error / size if size > 0 else (0.0 if error == 0 else np.inf)


def _enumerate(values: _Values) -> FloatArray:
    """Shapley values from the values of all coalitions."""
    players = values.refits.with_rows
    n = len(players)
    sizes = (combinations(players.tolist(), size) for size in range(n + 1))
    listed = [np.array(members, dtype=np.int64) for members in chain.from_iterable(sizes)]
    found = values.of(
        Listed(values.refits, listed), range(len(listed)), "values", "refitting on every coalition"
    )
    scores = np.zeros(len(values.refits.sources))
    # Probability of a coalition of each size, size! (n - 1 - size)! / n!, and of the size before.
    weights = [1.0 / max(n, 1)]
    for size in range(n - 1):
        weights.append(weights[-1] * (size + 1) / (n - 1 - size))
    for members, value in zip(listed, found):
        inside, size = np.isin(players, members), len(members)
        # As the coalition that a member completes, and as the one that an outsider joins.
        if size:
            scores[players[inside]] += weights[size - 1] * value
        if size < n:
            scores[players[~inside]] -= weights[size] * value
    return scores


def _choose(sources: Sources, ids: Iterable[Any] | None) -> IntArray:
    """Numbers of the sources asked for."""
    if ids is None:
        return np.arange(len(sources))
    wanted = list(ids)
    numbers = Vocabulary(sources.ids, sources.ids).source_codes(wanted)
    if (numbers < 0).any():
        raise DataError(
            f"There is no {sources.by} {wanted[int(numbers.argmin())]!r} in the training data; "
            "give ids that are."
        )
    return np.unique(numbers)


def _gather(question: Question, numbers: IntArray) -> Question:
    """The same question, about some of the sources."""
    some = replace(question.sources, ids=question.sources.ids.gather(numbers))
    return replace(question, sources=some)
