"""Which past events produced this recommendation."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, NamedTuple, overload

import numpy as np
from annotated_types import Ge, Le

from whence.attribution.method import Attributor
from whence.data import Interactions
from whence.engines import Checkpoints, Run, settled
from whence.engines import run as run_job
from whence.errors import DataError, DataWarning, ParameterError, check_list
from whence.evaluation.queries import Queries
from whence.explanation._askers import Asker
from whence.explanation._cell_players import top_of
from whence.explanation._exact import AUTO
from whence.explanation._maskings import parse_masking
from whence.explanation._problems import Problem, as_asker, pose
from whence.explanation._solving import Solving, explanation_of
from whence.explanation._targets import parse_target
from whence.explanation.many import Explanations
from whence.explanation.result import Explanation
from whence.models.identity import model_identity, told_apart
from whence.parameters import NonNegative, PositiveInt, Seed, Share

SEVERAL = (Mapping, Interactions, Queries)
"""What holds several histories."""
_AUTO_OF_MANY = {"recurrent": 12, "others": 8}
_TOLERANCE, _TOLERANCE_OF_MANY = 0.02, 0.05


class Explainer(Attributor, name="explainer", title="Shapley values of events"):
    """Explain what a model recommends after a history by the events of that history.

    The model's own k best items for this history, without those in it, are frozen. The value of a
    set of events is a number from the model's answer when only these events are there; it is
    divided among the events by Shapley values.

    Parameters
    ----------
    k : int, default 10
        Number of recommended items.
    target : default "mean"
        ``"mean"``: mean score of the recommended items. ``("item", id)``: score of an item.
        ``("versus", id, other)``: score of an item less that of another: why this rather than that.
        ``("log_probability", id)``: logarithm of its share in the softmax over all items.
        ``("rank", id)``: its place among all that may be recommended, counted negative, so that
        what brings it forward is positive. ``("mrr@10", id)``: a ranking metric, that item being
        the one to be found.
    level : {"event", "feature", "cell"}
        Players are events, features over the whole history, or single features of single events.
        A feature that is masked is what the masking puts there: not known with "remove" (an event
        of which everything is masked never happened) and "pad", the mean of what it adds with
        "mean_embedding", that of the event with ``("item", event)``.
    groups : {"item", "basket"}, callable or sequence, optional
        Events that are one player: repeats of an item, a basket, those for which a function gives
        the same, or those with the same label in a sequence with one per event.
    cells : (places, features) or ("top", events, features), optional
        Cells that are players of their own at level "cell", the others being one; None: all. With
        "top", those of so many of the most important events and features, the other cells of each
        of these events being one player, of each of these features one, and the rest one.
    masking : default "remove"
        What becomes of an event that is not in a set. ``"remove"``: it never happened. ``"pad"``:
        padding in its place. ``("item", id)``: that item. ``("items", [event, ...])``: one for each
        place. ``"highest"``, ``"median"``, ``"lowest"``: the item of that score after the whole
        history, among those that may be recommended. ``"mean_embedding"``: the mean over the
        events of the training data. ``"marginal"`` or ``("marginal", draws)``: items drawn by
        popularity, the value being the mean over draws. ``"mask_token"``: where the model has one.
        It decides the answer; look at two.
    method : {"auto", "exact", "permutation", "kernel", "occlusion", "integrated_gradients"}
        "auto" is exact up to 20 players for recurrent networks and up to 14 for others (of several
        histories: 12 and 8), and draws permutations beyond. The last two are not Shapley values.
    budget : int, optional
        Sets of events of which the value is asked, at most, by the methods that draw.
    tolerance : float, optional
        They stop when every standard error is at most this share of ``|value_all -
        value_nothing|``; by default 0.02, and 0.05 of several histories.
    prune : float, optional
        Join the oldest events to one player, one after the other, as long as their share together
        (whatever the level) is at most this share of ``|value_all - value_nothing|``.
    order : {1, 2}
        With ``method="kernel"``: 2 adds the interactions of pairs of players.
    n_steps : int
        Of integrated gradients.
    seed : int
        No random numbers but its own are used.
    threads : int, optional
        Histories explained side by side; all cores by default, one for models of other libraries.
        The result does not depend on it.

    References
    ----------
    Bento, Saleiro, Cruz, Figueiredo and Bizarro. TimeSHAP. KDD 2021. Lundberg and Lee. A unified
    approach to interpreting model predictions. NeurIPS 2017.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=200, seed=1)
    >>> model = whence.VMISKNN(k=50, m=100).fit(data.train)
    >>> history = data.train.item_ids.to_list()[:3]
    >>> explanation = whence.Explainer(k=5).attribute(model, history)
    >>> len(explanation), explanation.items.height
    (3, 5)
    """

    of_training = False

    k: PositiveInt = 10
    target: Any = "mean"
    level: Literal["event", "feature", "cell"] = "event"
    groups: Any = None
    cells: Any = None
    masking: Any = "remove"
    method: Literal[
        "auto", "exact", "permutation", "kernel", "occlusion", "integrated_gradients"
    ] = "auto"
    budget: Annotated[int, Ge(4)] | None = None
    tolerance: NonNegative | None = None
    prune: Share | None = None
    order: Annotated[int, Ge(1), Le(2)] = 1
    n_steps: PositiveInt = 64
    seed: Seed = 42
    threads: PositiveInt | None = None

    def _check_params(self) -> None:
        super()._check_params()
        if self.groups is not None and self.level != "event":
            raise ParameterError(
                f"groups puts events together, which level={self.level!r} takes apart; give one "
                "of them."
            )
        if self.cells is not None and self.level != "cell":
            raise ParameterError("cells chooses cells of level='cell'; give that level.")
        top_of(self.cells)
        parse_target(self.target)
        parse_masking(self.masking)

    @overload
    def attribute(
        self,
        model: Any,
        data: Mapping[Any, Any] | Interactions | Queries,
        *,
        run: Run | None = None,
        items: Sequence[Any] | None = None,
        titles: Mapping[Any, str] | None = None,
    ) -> Explanations: ...

    @overload
    def attribute(
        self,
        model: Any,
        data: Any,
        *,
        run: Run | None = None,
        items: Sequence[Any] | None = None,
        titles: Mapping[Any, str] | None = None,
    ) -> Explanation: ...

    def attribute(
        self,
        model: Any,
        data: Any,
        *,
        run: Run | None = None,
        items: Sequence[Any] | None = None,
        titles: Mapping[Any, str] | None = None,
    ) -> Explanation | Explanations:
        """Explain one history, or many.

        Parameters
        ----------
        model : Recommender, or object of another library
            Of Whence; or a function, or an object with a method ``scores``, from a list of
            histories to an array of one row per history and one column per item. An object with
            ``initial_state(n)``, ``step(state, events)`` and ``scores_from_state(state)`` besides
            is explained as a recurrent one.
        data : list, mapping, Interactions or Queries
            One history: item ids, oldest first; baskets (lists of ids) for models of baskets;
            dictionaries of an item and its features, for networks fitted with features; or, for
            models of other libraries, events of any kind, such as dictionaries of features.
            For WideDeep, whose features can be explained (``level="feature"``): a user of the
            training data. Several: a mapping from names to histories; Interactions, of which each
            user or session is one; or Queries.
        run : Run, optional
            How the work is done. With a folder, histories that are explained are kept there.
        items : sequence of ids, optional
            For models of other libraries: the item of each column.
        titles : mapping from id to str, optional
            For people; by default from the item table of the training data.

        Returns
        -------
        Explanation or Explanations
            The latter of several histories. Each has its own stream of random numbers.

        Raises
        ------
        DataError
            If a history is empty or unknown (of several, the message names it), or a score is not
            a number.
        ParameterError
            If an argument makes no sense.
        UnsupportedError
            If the model cannot do what is asked.

        Warns
        -----
        DataWarning
            If items of a history are unknown, or events lie before the model's window.
        """
        self._check_params()
        run = settled(run, self)
        asker = as_asker(model, items, self.level)
        many = isinstance(data, SEVERAL)
        histories = named_histories(asker, data) if many else {None: data}
        if not histories:
            raise DataError("There is no history to explain; give at least one.")
        asked = copy.copy(self)  # which later changes to the parameters do not reach
        asked.seed = run.seed  # type: ignore[assignment]
        if asked.tolerance is None:
            asked.tolerance = _TOLERANCE_OF_MANY if many else _TOLERANCE
        with asker.quiet():
            problems = posed(asker, histories, asked, titles)
            tell(problems, many)
            _ = asker.cell, asker.counts  # made once, before threads want them
            job = Solving(problems, _AUTO_OF_MANY if many else AUTO)
            if asker.single_thread:
                run = run.changed(threads=1)
            identity = asked._identity(model, histories, problems)
            with Checkpoints(run, identity) as kept:
                solved = run_job(job, range(len(problems)), run, message="histories", kept=kept)
            found = [explanation_of(problem, one) for problem, one in zip(problems, solved)]
        return Explanations(found, list(histories)) if many else found[0]

    def _identity(
        self, model: Any, histories: Mapping[Any, Any], problems: Sequence[Problem]
    ) -> dict[str, Any]:
        """What decides the result, for work that is taken up again."""
        params = {name: value for name, value in self.params.items() if name != "threads"}
        events = hashlib.sha256(repr(list(histories)).encode())
        for problem in problems:
            events.update(repr(problem.history.events).encode())
            events.update(np.ascontiguousarray(problem.frozen).tobytes())
        return {
            "method": self.name,
            **told_apart(params),
            "model": model_identity(model),
            "histories": events.hexdigest()[:16],
        }


class Prepared(NamedTuple):
    """Histories that something is asked of: their problems, names, and how the work is done."""

    problems: list[Problem]
    names: list[Any]
    run: Run


@contextmanager
def prepared(
    explainer: Explainer,
    model: Any,
    histories: Any,
    *,
    run: Run | None,
    items: Sequence[Any] | None,
    titles: Mapping[Any, str] | None,
) -> Iterator[Prepared]:
    """Pose the problems of several histories, and keep the model quiet meanwhile."""
    run = settled(run, explainer)
    asked = copy.copy(explainer)
    asked.seed = run.seed or 0
    if asked.tolerance is None:
        asked.tolerance = _TOLERANCE_OF_MANY
    asker = as_asker(model, items, asked.level)
    several = histories
    if not isinstance(histories, SEVERAL):
        several = dict(enumerate(check_list("histories", histories, "histories")))
    named = named_histories(asker, several)
    if not named:
        raise DataError("There is no history to explain; give at least one.")
    if asker.single_thread:
        run = run.changed(threads=1)
    with asker.quiet():
        problems = posed(asker, named, asked, titles)
        tell(problems, many=True)
        _ = asker.cell, asker.counts  # made once, before threads want them
        yield Prepared(problems, list(named), run)


def named_histories(asker: Asker, data: Any) -> Mapping[Any, Any]:
    """Several histories by their names."""
    if isinstance(data, Interactions):
        return asker.histories(data)
    if not isinstance(data, Queries):
        named: Mapping[Any, Any] = data
        return named
    if data.kind == "baskets":
        raise DataError(
            "Queries of baskets leave the history to the model; give Interactions, or a mapping "
            "from names to lists of baskets."
        )
    starts, ends = data.history_start.tolist(), data.history_end.tolist()
    return {
        number: asker.history_of(data, start, end)
        for number, (start, end) in enumerate(zip(starts, ends))
        if start < end
    }


def posed(
    asker: Asker,
    histories: Mapping[Any, Any],
    asked: Explainer,
    titles: Mapping[Any, str] | None,
) -> list[Problem]:
    """The games of several histories; an error says of which."""
    try:
        return pose(asker, list(histories.values()), asked, titles)
    except DataError:
        if list(histories) != [None]:
            for name, history in histories.items():  # say which
                try:
                    pose(asker, [history], asked)
                except DataError as error:
                    raise DataError(f"History {name!r}: {error}") from error
        raise


def tell(problems: Sequence[Problem], many: bool) -> None:
    """Warn of what is left out of the histories."""
    notes = problems[0].history.notes
    if many:
        counts = (
            ("with events before the model's window", sum(p.history.n_cut > 0 for p in problems)),
            ("with items unknown to the model", sum(bool(p.history.unknown) for p in problems)),
        )
        notes = [
            f"{count:,} of {len(problems):,} histories are {what}, which are left out."
            for what, count in counts
            if count
        ]
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=4)
