"""Values by fitting the model again and again: for any recommender, slow, and the oracle."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.attribution import Attribution
from whence.data import Vocabulary
from whence.errors import DataError, check_float, check_int
from whence.evaluation.metrics import DEFAULT_SUSTAINABILITY_WEIGHT
from whence.valuation._refitting import Refits, training_data
from whence.valuation.base import Progress, Question, Valuation
from whence.valuation.progress import Report, reporter
from whence.valuation.sources import Sources, identifying_columns

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# A standard error from fewer permutations than this is not trusted to stop.
_FEWEST_PERMUTATIONS = 10


class Retraining(Valuation):
    """Base of the values of any object with ``fit(train)`` and ``recommend(queries, k)``.

    A part of the training data is worth the metric of the model fitted on it. Queries and, for
    the models of Whence, the numbering that breaks ties are those of all training data. Without
    any training data every list is empty.
    """

    fine = True

    def _start(self, model: Any, validation: Any, train: Any) -> tuple[Question, Refits]:
        data, as_table = training_data(model, train, type(self).__name__)
        question = self._ask(model, validation, data)
        refits = Refits(
            model, data, as_table, question.queries, question.metric, question.sources, self.threads
        )
        return question, refits


class RetrainingLeaveOneOut(Retraining):
    """Leave-one-out values of the training data of any recommender, by refitting.

    The value of a source is the metric of the model fitted on everything minus the metric of the
    model fitted without it: one fit per source.

    Parameters
    ----------
    metric, by, sustainable_items, sustainability_weight, relevant, unknown, target, threads
        As in `Valuation`; ``by="interaction"`` leaves out single rows.
    sources : iterable of ids, optional
        Value only these sources; all by default.
    progress : bool or callable
        Show a progress bar, or call ``progress(done, total, message)``.

    Notes
    -----
    For VMISKNN and TIFUKNN, `LeaveOneOut` gives the same values without refitting (for baskets
    ``score + own_score``).
    """

    method = "retraining-leave-one-out"

    def __init__(
        self,
        metric: Any = "mrr@20",
        *,
        by: str | None = None,
        sources: Iterable[Any] | None = None,
        sustainable_items: Iterable[Any] | None = None,
        sustainability_weight: float = DEFAULT_SUSTAINABILITY_WEIGHT,
        relevant: str | None = None,
        unknown: str = "ignore",
        target: str = "rest",
        threads: int | None = None,
        progress: Progress = False,
    ) -> None:
        self.metric = metric
        self.by = by
        self.sources = sources
        self.sustainable_items = sustainable_items
        self.sustainability_weight = sustainability_weight
        self.relevant = relevant
        self.unknown = unknown
        self.target = target
        self.threads = threads
        self.progress = progress

    def attribute(self, model: Any, validation: Any, train: Any = None) -> Attribution:
        """Value the training data of a recommender.

        Parameters
        ----------
        model : object with fit and recommend
            Fitted or not; it is copied, not changed.
        validation : Interactions, data frame or Queries
            The evaluation set.
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
        question, refits = self._start(model, validation, train)
        chosen = _choose(question.sources, self.sources)
        everyone = np.ones(len(question.sources), dtype=bool)
        matters = np.zeros(len(question.sources), dtype=bool)
        matters[refits.with_rows] = True
        value_all = refits.value(everyone)
        scores: list[float] = []
        stopped = "exact"
        with reporter(self.progress) as report:
            try:
                for done, source in enumerate(chosen):
                    report(done, len(chosen), "refitting without one")
                    score = 0.0
                    if matters[source]:
                        everyone[source] = False
                        score = value_all - refits.value(everyone)
                        everyone[source] = True
                    scores.append(score)
            except KeyboardInterrupt:
                if not scores:
                    raise
                stopped = "interrupted"
        part = _gather(question, chosen[: len(scores)])
        identity = identifying_columns(question.train, question.sources)
        columns = {name: ids.gather(chosen[: len(scores)]) for name, ids in identity.items()}
        return self._answer(
            part,
            {**columns, "score": np.asarray(scores)},
            value_all=value_all,
            value_nothing=refits.value(np.zeros_like(everyone)),
            stopped=stopped,
            n_fits=refits.n_fits,
        )


class RetrainingShapley(Retraining):
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
    progress : bool or callable
        Show a progress bar, or call ``progress(done, total, message)``.

    References
    ----------
    Ghorbani, Zou: Data Shapley. ICML 2019, algorithm 1 (truncated Monte Carlo).
    """

    method = "retraining-shapley"

    def __init__(
        self,
        metric: Any = "mrr@20",
        *,
        by: str | None = None,
        max_permutations: int = 100,
        tolerance: float = 0.1,
        truncation: float = 0.0,
        seed: int = 42,
        sustainable_items: Iterable[Any] | None = None,
        sustainability_weight: float = DEFAULT_SUSTAINABILITY_WEIGHT,
        relevant: str | None = None,
        unknown: str = "ignore",
        target: str = "rest",
        threads: int | None = None,
        progress: Progress = False,
    ) -> None:
        self.metric = metric
        self.by = by
        self.max_permutations = max_permutations
        self.tolerance = tolerance
        self.truncation = truncation
        self.seed = seed
        self.sustainable_items = sustainable_items
        self.sustainability_weight = sustainability_weight
        self.relevant = relevant
        self.unknown = unknown
        self.target = target
        self.threads = threads
        self.progress = progress

    def _check_params(self) -> None:
        super()._check_params()
        check_int("max_permutations", self.max_permutations, minimum=1)
        check_float("tolerance", self.tolerance, minimum=0.0)
        check_float("truncation", self.truncation, minimum=0.0, maximum=1.0)
        check_int("seed", self.seed, minimum=0)

    def attribute(self, model: Any, validation: Any, train: Any = None) -> Attribution:
        """Value the training data of a recommender.

        Parameters
        ----------
        model, validation, train
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
        question, refits = self._start(model, validation, train)
        players = refits.with_rows
        draws = _Draws(len(question.sources))
        with reporter(self.progress) as report:
            if 2 ** min(len(players), 60) <= self.max_permutations * len(players):
                values, errors, stopped = _enumerate(refits, report), None, "exact"
            else:
                stopped = self._sample(refits, players, draws, report)
                values, errors = draws.values, draws.std_errors
        nobody = np.zeros(len(question.sources), dtype=bool)
        return self._answer(
            question,
            {
                **identifying_columns(question.train, question.sources),
                "score": values,
                "std_error": np.zeros_like(values) if errors is None else errors,
            },
            value_all=refits.value(~nobody),
            value_nothing=refits.value(nobody),
            stopped=stopped,
            relative_error=draws.relative_error if draws.n > 1 else None,
            efficiency=self.truncation == 0 or errors is None,
            n_permutations=draws.n,
            n_fits=refits.n_fits,
        )

    def _sample(self, refits: Refits, players: IntArray, draws: _Draws, report: Report) -> str:
        """Draw permutations until precise enough, out of budget or interrupted; say which."""
        total = float(self.max_permutations * len(players))
        message = "first permutation"
        everyone = np.ones(len(refits.sources), dtype=bool)
        try:
            value_all, value_nothing = refits.value(everyone), refits.value(~everyone)
            near = self.truncation * abs(value_all - value_nothing)
            while draws.n < self.max_permutations:
                present, gains = ~everyone, np.zeros(len(everyone))
                value = value_nothing
                order = np.random.default_rng([self.seed, draws.n]).permutation(players)
                for place, player in enumerate(order):
                    report(draws.n * len(players) + place, total, message)
                    if self.truncation > 0 and abs(value_all - value) <= near:
                        break
                    present[player] = True
                    last = place == len(order) - 1
                    joined = value_all if last else refits.value(present)
                    gains[player], value = joined - value, joined
                draws.add(gains)
                if draws.n > 1:
                    message = f"standard error {draws.relative_error:.1%} of the mean |value|"
                enough = draws.n >= _FEWEST_PERMUTATIONS and self.tolerance > 0
                if enough and draws.relative_error <= self.tolerance:
                    return "tolerance"
        except KeyboardInterrupt:
            if draws.n == 0:
                raise
            return "interrupted"
        return "max_permutations"


class _Draws:
    """Mean and spread of the gains of all players over permutations (Welford's updates)."""

    def __init__(self, n_players: int) -> None:
        self.n = 0
        self.values: FloatArray = np.zeros(n_players)
        self._squares: FloatArray = np.zeros(n_players)

    def add(self, gains: FloatArray) -> None:
        self.n += 1
        off = gains - self.values
        self.values = self.values + off / self.n
        self._squares = self._squares + off * (gains - self.values)

    @property
    def std_errors(self) -> FloatArray:
        if self.n < 2:
            return np.full_like(self.values, np.nan)
        return np.asarray(np.sqrt(self._squares / (self.n - 1) / self.n))

    @property
    def relative_error(self) -> float:
        """Mean standard error relative to the mean absolute value."""
        size, error = float(np.abs(self.values).mean()), float(self.std_errors.mean())
        return error / size if size > 0 else (0.0 if error == 0 else np.inf)


def _enumerate(refits: Refits, report: Report) -> FloatArray:
    """Shapley values from the values of all coalitions."""
    players = refits.with_rows
    n, n_all = len(players), len(refits.sources)
    values = np.zeros(n_all)
    # Probability of a coalition of each size, size! (n - 1 - size)! / n!, and of the size before.
    weight, joined = 1.0 / max(n, 1), 0.0
    done = 0
    for size in range(n + 1):
        for members in combinations(players.tolist(), size):
            report(done, 2.0**n, "refitting on every coalition")
            done += 1
            present = np.zeros(n_all, dtype=bool)
            present[list(members)] = True
            value = refits.value(present)
            inside = present[players]
            # As the coalition that a member completes, and as the one that an outsider joins.
            values[players[inside]] += joined * value
            values[players[~inside]] -= weight * value
        joined = weight
        if size < n - 1:
            weight *= (size + 1) / (n - 1 - size)
    return values


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
    from dataclasses import replace

    some = replace(question.sources, ids=question.sources.ids.gather(numbers))
    return replace(question, sources=some)
