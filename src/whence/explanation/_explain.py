"""Which past events produced this recommendation."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from whence.attribution import describe_run
from whence.errors import DataWarning
from whence.explanation._estimates import Estimate
from whence.explanation._games import Game
from whence.explanation._problems import Problem, as_asker, pose, solve
from whence.explanation._settings import Settings
from whence.explanation.result import Explanation, table_of

SHAPLEY = ("exact", "permutation", "kernel")


def explain(
    model: Any,
    history: Any,
    *,
    k: int = 10,
    target: Any = "mean",
    level: str = "event",
    groups: Any = None,
    cells: Any = None,
    masking: Any = "remove",
    method: str = "auto",
    budget: int | None = None,
    tolerance: float = 0.02,
    prune: float | None = None,
    order: int = 1,
    n_steps: int = 64,
    seed: int = 42,
    items: Sequence[Any] | None = None,
    titles: Mapping[Any, str] | None = None,
) -> Explanation:
    """Explain what a model recommends after a history by the events of that history.

    The model's own k best items for this history, without those in it, are frozen. The value of a
    set of events is a number from the model's answer when only these events are there; it is
    divided among the events by Shapley values.

    Parameters
    ----------
    model : Recommender, or object of another library
        Of Whence; or a function, or an object with a method ``scores``, from a list of histories
        to an array of one row per history and one column per item. An object with
        ``initial_state(n)``, ``step(state, events)`` and ``scores_from_state(state)`` besides is
        explained as a recurrent one.
    history : list
        Item ids, oldest first; baskets (lists of ids) for models of baskets; or, for models of
        other libraries, events of any kind, such as dictionaries of features. For WideDeep, whose
        features can be explained (``level="feature"``): a user of the training data.
    k : int, default 10
        Number of recommended items.
    target : default "mean"
        ``"mean"``: mean score of the recommended items. ``("item", id)``: score of an item.
        ``("log_probability", id)``: logarithm of its share in the softmax over all items.
        ``("mrr@10", id)``: a ranking metric, that item being the one to be found.
    level : {"event", "feature", "cell"}
        Players are events, features over the whole history, or single features of single events.
    groups : {"item", "basket"}, callable or sequence, optional
        Events that are one player: repeats of an item, a basket, those for which a function gives
        the same, or those with the same label in a sequence with one per event.
    cells : (places, features), optional
        Cells that are players of their own at level "cell", the others being one; None: all.
    masking : default "remove"
        What becomes of an event that is not in a set. ``"remove"``: it never happened. ``"pad"``:
        padding in its place. ``("item", id)``: that item. ``"mean_embedding"``: the mean over the
        events of the training data. ``"marginal"`` or ``("marginal", draws)``: items drawn by
        popularity, the value being the mean over draws. ``"mask_token"``: where the model has one.
        It decides the answer; look at two.
    method : {"auto", "exact", "permutation", "kernel", "occlusion", "integrated_gradients"}
        "auto" is exact up to 20 players for recurrent networks and up to 14 for others, and draws
        permutations beyond. The last two are not Shapley values.
    budget : int, optional
        Sets of events of which the value is asked, at most, by the methods that draw.
    tolerance : float, default 0.02
        They stop when every standard error is at most this share of ``|value_all -
        value_nothing|``.
    prune : float, optional
        Join the oldest events whose share together is at most this share of ``|value_all -
        value_nothing|`` to one player.
    order : {1, 2}
        With ``method="kernel"``: 2 adds the interactions of pairs of players.
    n_steps : int
        Of integrated gradients.
    seed : int
        No random numbers but its own are used.
    items : sequence of ids, optional
        For models of other libraries: the item of each column.
    titles : mapping from id to str, optional
        For people; by default from the item table of the training data.

    Returns
    -------
    Explanation

    Raises
    ------
    DataError
        If the history is empty or unknown, or a score is not a number.
    ParameterError
        If an argument makes no sense.
    UnsupportedError
        If the model cannot do what is asked.

    Warns
    -----
    DataWarning
        If items of the history are unknown, or events lie before the model's window.

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
    >>> explanation = whence.explain(model, history, k=5)
    >>> len(explanation), explanation.items.height
    (3, 5)
    >>> gap = explanation.value_all - explanation.value_nothing
    >>> abs(float(explanation.scores.sum()) - gap) < 1e-6
    True
    """
    settings = Settings.checked(
        k=k, target=target, level=level, groups=groups, masking=masking, method=method,
        budget=budget, tolerance=tolerance, prune=prune, seed=seed, order=order, n_steps=n_steps,
        cells=cells,
    )  # fmt: skip
    started = time.perf_counter()
    asker = as_asker(model, items, level)
    with asker.quiet():
        problem = pose(asker, [history], settings)[0]
        for note in problem.history.notes:
            warnings.warn(note, DataWarning, stacklevel=2)
        game, how, estimate = solve(problem)
        return explanation_of(
            problem, game, how, estimate, titles, time.perf_counter() - started, model
        )


def explanation_of(
    problem: Problem,
    game: Game,
    method: str,
    estimate: Estimate,
    titles: Mapping[Any, str] | None,
    seconds: float,
    model: Any,
) -> Explanation:
    """The result of one history, with the record of all that was decided."""
    settings, history, asker = problem.settings, problem.history, problem.asker
    names = asker.titles if titles is None else titles
    frozen = [
        {"item": item, **({"title": names.get(item)} if names else {}), "score": float(score)}
        for item, score in zip(
            (asker.item_ids[number] for number in problem.frozen), problem.frozen_scores
        )
    ]
    solved = replace(problem, game=game)
    errors = estimate.std_error
    scale = float(np.abs(estimate.phi).mean())
    table = table_of(solved, estimate.phi, errors, names)
    metadata = describe_run(
        method,
        by=game.players.what,
        source=game.players.what,
        metric=settings.target.label,
        model=model,
        seed=settings.seed if method in ("permutation", "kernel") else None,
        train=getattr(model, "train_", None),
        params={
            "k": settings.k,
            "tolerance": settings.tolerance,
            "budget": settings.budget,
            "prune": settings.prune,
            **estimate.details,
        },
        elapsed_seconds=seconds,
        value_all=game.everything,
        value_nothing=game.nothing,
        stopped=estimate.stopped,
        relative_error=float(errors.mean() / scale) if errors is not None and scale else None,
        efficiency=method in SHAPLEY,
        is_shapley=method in SHAPLEY,
        masking=settings.masking.label,
        level=settings.level,
        items=frozen,
        n_given=history.n_given,
        n_cut=history.n_cut,
        unknown=history.unknown,
        n_pruned=int(np.sum(game.players.owner == 0)) if game.players.pruned else 0,
        n_values=game.counter.rows,
    )
    return Explanation(
        table,
        source=game.players.what,
        metadata=metadata,
        problem=solved,
        interactions=estimate.interactions,
    )
