"""Compiling ahead what the usual work needs: each job is done once, on a handful of data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from whence.data import Interactions
from whence.data.splits import split_rows
from whence.data.synthetic import Synthetic, make_baskets, make_sessions
from whence.engines import Progress, reporter
from whence.engines.compiling import cache_folder
from whence.errors import WhenceWarning
from whence.evaluation import compare, evaluate
from whence.explanation import explain
from whence.models import EASE, TIFUKNN, VMISKNN, ItemKNN, Recommender
from whence.valuation import Banzhaf, LeaveOneOut, Shapley

METRIC = "mrr@10"
Job = tuple[str, Callable[[], Any]]


def warm_up(*, progress: Progress = False) -> Path | None:
    """Compile the kernels of the usual work, so that nobody waits for them later.

    Models of nearest neighbours are evaluated, explained and valued by `whence.Shapley`,
    `whence.Banzhaf` and `whence.LeaveOneOut`; where torch is installed, networks and
    factorisations are trained, and `whence.TracIn` and `whence.InfluenceFunction` are asked. What
    has been compiled before, by whatever call, is not compiled again.

    Parameters
    ----------
    progress : bool or callable
        True: a bar on a terminal, elsewhere a line every ten seconds. A callable is called as
        ``progress(done, total, message)``, the message being what is compiled for.

    Returns
    -------
    Path or None
        Where compiled kernels are kept: the package, in its folders ``__pycache__``, or another
        folder where it cannot be written to; None if nowhere, so that this was in vain.

    Examples
    --------
    >>> import whence
    >>> folder = whence.warm_up()  # doctest: +SKIP
    """
    jobs = [*_without_gradients(), *_with_gradients()]
    with warnings.catch_warnings(), reporter(progress) as report:
        warnings.simplefilter("ignore", WhenceWarning)  # about data of a handful of rows
        for number, (title, work) in enumerate(jobs):
            report(number, len(jobs), title)
            work()
        report(len(jobs), len(jobs), "all of it")
    return cache_folder()


def _without_gradients() -> Iterator[Job]:
    sessions = _sessions()
    baskets = make_baskets(60, n_items=40, n_clusters=4, seed=1)
    for model, data in ((VMISKNN(k=20, m=50), sessions), (TIFUKNN(k=20), baskets)):
        model.fit(data.train)
        name, valid = type(model).__name__, data.validation
        yield f"recommendations of {name}", partial(_ask, model, data)
        for method in (
            Shapley(METRIC, tolerance=0.5),
            LeaveOneOut(METRIC),
            Banzhaf(METRIC, tolerance=0.5),
            LeaveOneOut(METRIC, by="item"),
            LeaveOneOut(METRIC, by="interaction"),
        ):
            by = "" if method.by is None else f" by {method.by}"
            yield f"{type(method).__name__} of {name}{by}", partial(method.attribute, model, valid)
    near, linear = ItemKNN().fit(sessions.train), EASE().fit(sessions.train)
    for other in (near, linear):
        yield f"recommendations of {type(other).__name__}", partial(_ask, other, sessions)

    def compared() -> None:
        compare(evaluate(near, sessions.test, METRIC), evaluate(linear, sessions.test, METRIC))

    yield "comparison of models", compared


def _ask(model: Recommender, data: Synthetic) -> None:
    evaluate(model, data.test, [METRIC, "coverage@10"])
    items = data.train.item_ids.to_list()
    explain(model, [items[:2], items[2:4]] if data.train.kind == "baskets" else items[:4], k=1)


def _with_gradients() -> Iterator[Job]:
    try:
        from whence.influence import InfluenceFunction, TracIn, to_optimum
        from whence.models import BPRMF, BiasedMF, LSTMRec
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return
    sessions = _sessions()
    train, validation, _ = split_rows(_ratings(), (0.5, 0.3, 0.2), seed=1)

    def network() -> None:
        model = LSTMRec(embedding_dim=8, hidden_dim=8, epochs=1)
        model.fit(sessions.train, validation=sessions.validation, checkpoints=1)
        TracIn().attribute(model, sessions.test).proponents(query=0, n=2)

    def pairs() -> None:
        evaluate(BPRMF(embedding_dim=4, epochs=1).fit(train), validation, [METRIC, "auc"])

    def factors() -> None:
        model = to_optimum(BiasedMF(embedding_dim=4, epochs=2, weight_decay=0.01).fit(train))
        InfluenceFunction().attribute(model, validation)

    yield "TracIn of LSTMRec", network
    yield "training of BPRMF", pairs
    yield "InfluenceFunction of BiasedMF", factors


def _sessions() -> Synthetic:
    return make_sessions(60, n_items=40, n_clusters=4, n_validation=20, n_test=40, seed=1)


def _ratings() -> Interactions:
    """Ratings of 30 users for a dozen or so of 25 items each."""
    pairs = [(user, item) for user in range(30) for item in range(25) if (3 * user + item) % 7 < 3]
    frame = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
    rating = 1.0 + (pl.col("user_id") + pl.col("item_id")) % 5
    return Interactions.from_frame(frame.with_columns(rating=rating))
