"""Values of the training data by several methods and seeds, for experiments that act on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution import METHODS, Attribution
from whence.data import Interactions
from whence.engines import Checkpoints, ListJob, Run
from whence.engines import run as run_job
from whence.errors import ParameterError, did_you_mean

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Makes = Callable[[int], Any]


def check_methods(
    methods: Sequence[str], name: str = "methods", also: Collection[str] = ()
) -> None:
    """Refuse methods that are unknown, or do not credit training data.

    Parameters
    ----------
    methods : sequence of str
    name : str
        Of the parameter.
    also : collection of str
        Further names that are known.

    Raises
    ------
    ParameterError
        In that case.
    """
    known = [*(one for one in METHODS.names() if METHODS[one].of_training), *also]
    for method in methods:
        found = METHODS.find(method)
        if method not in also and (found is None or not found.of_training):
            raise ParameterError(
                f"{name} has {method!r}, which values no training data; take one of "
                f"{', '.join(known)}.{did_you_mean(method, known)}"
            )


def build_method(
    name: str, metric: str, options: Mapping[str, Any], whose: str | None = None, **more: Any
) -> Any:
    """Make a method by its name, with what it takes of these parameters; None is the default.

    Parameters
    ----------
    name, metric : str
    options : mapping
    whose : {"session", "user", "item"}, optional
        Who is valued.
    **more
        Further parameters.
    """
    kind = METHODS[name]
    known = kind.parameter_types()
    given = {"metric": metric, "by": whose, **options, **more}
    if "metric" in known:  # those value sources, whatever they are called
        given["by"] = "item" if whose == "item" else None
    else:  # a tolerance, if any, is not one of draws
        given.pop("tolerance", None)
    return kind(**{key: v for key, v in given.items() if key in known and v is not None})


def fitted(model: Any, train: Interactions, methods: Iterable[str], checkpoints: int = 3) -> Any:
    """Fit a model, with so many checkpoints where one of the methods sums over them."""
    # Models without epochs are asked first: methods with checkpoints need torch.
    if hasattr(model, "epochs") and any(
        "checkpoints" in METHODS[name].parameter_types() for name in methods
    ):
        return model.fit(train, checkpoints=-(-model.epochs // checkpoints))
    return model.fit(train)


def whose_values(train: Interactions, by: str | None) -> str:
    """Who is valued: each "item", "user" or "session"; see `sources_of`."""
    name, _, _ = sources_of(train, by)
    if name == train.columns.item:
        return "item"
    return "user" if train.by_user or train.kind == "baskets" else "session"


def values_of(
    shards: Sequence[tuple[int, str, str]],
    made: Makes,
    train: Interactions,
    asked: Callable[[int], Any],
    build: Callable[[str, str], Any],
    run: Run,
    kept: Checkpoints,
    by: str | None = None,
) -> list[Valued]:
    """Value the training data by several methods and seeds.

    Parameters
    ----------
    shards : sequence of (seed, method, metric)
    made : callable
        ``made(seed)`` is the model, not yet fitted.
    train : Interactions
    asked : callable
        ``asked(seed)`` is what is asked of the models when their data are valued.
    build : callable
        ``build(method, metric)`` is the method.
    run : Run
    kept : Checkpoints
    by : str, optional
        Who is valued.
    """
    methods = tuple(dict.fromkeys(name for _, name, _ in shards))
    alone = run.changed(folder=None, resume=False)
    job = _Values(made, train, asked, build, methods, alone, by)
    parts = run_job(job, shards, run, message="valuing", kept=kept, stage="values")
    return [Valued(*shard, part["scores"], part["errors"]) for shard, part in zip(shards, parts)]


@dataclass(frozen=True)
class Valued:
    """Values of all sources by one method.

    Attributes
    ----------
    seed : int
    method, metric : str
    scores : float64 [n_sources]
        ``score + own_score``, in the order of `sources_of`.
    errors : float64 [n_sources]
        Standard errors; 0 of exact values.
    """

    seed: int
    method: str
    metric: str
    scores: FloatArray
    errors: FloatArray


_OWN = ("seed", "method", "metric", "score", "std_error")


def values_table(values: Sequence[Valued], train: Interactions, by: str | None) -> pl.DataFrame:
    """Values as a table: seed, method, metric, the sources, ``score`` and ``std_error``."""
    name, ids, _ = sources_of(train, by)
    column = train.columns.beside(name, _OWN)
    parts = [
        pl.DataFrame({column: ids, "score": one.scores, "std_error": one.errors}).select(
            pl.lit(one.seed, dtype=pl.Int64).alias("seed"),
            pl.lit(one.method).alias("method"),
            pl.lit(one.metric).alias("metric"),
            pl.all(),
        )
        for one in values
    ]
    if not parts:
        return pl.DataFrame({column: ids.clear(), "score": [], "std_error": []})
    return pl.concat(parts)


def sources_of(train: Interactions, by: str | None) -> tuple[str, pl.Series, IntArray]:
    """Who is removed: name of their column, their ids, and the number of each row's in the table.

    Raises
    ------
    ParameterError
        If `by` is neither an item nor a session or user.
    """
    columns = train.columns
    whole = "user" if train.by_user or train.kind == "baskets" else "session"
    if by in (None, "source", whole, columns.source):
        name, ids, codes = columns.source, train.source_ids, train.source_codes
    elif by in ("item", columns.item):
        name, ids, codes = columns.item, train.item_ids, train.item_codes
    elif by in ("session", "user"):
        raise ParameterError(f"What is removed from these data is each {whole} or item, not {by}.")
    else:
        raise ParameterError(
            f"by is {by!r}, but what is removed is each {whole} or item; say by={whole!r} or "
            "by='item'."
        )
    of_rows = np.empty(train.n_rows, dtype=np.int64)
    of_rows[train.rows] = codes
    return name, ids, of_rows


@dataclass(frozen=True)
class _Values(ListJob[tuple[int, str, str], dict[str, Any]]):
    """Values; a shard is a seed, a method and a metric."""

    alone = True

    made: Makes
    train: Interactions
    asked: Callable[[int], Any]
    build: Callable[[str, str], Any]
    methods: tuple[str, ...]
    how: Run
    by: str | None
    _fitted: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def run(self, shard: tuple[int, str, str]) -> dict[str, Any]:
        """Fit, value, and put the values in the order of the sources."""
        seed, name, metric = shard
        if seed not in self._fitted:
            self._fitted.clear()
            self._fitted[seed] = fitted(self.made(seed), self.train, self.methods)
        method = self.build(name, metric)
        run = self.how.changed(seed=seed, progress=False)
        found = method.attribute(self._fitted[seed], self.asked(seed), run=run)
        _, ids, _ = sources_of(self.train, self.by)
        return {
            "scores": _aligned(found, found.totals, ids),
            "errors": _aligned(found, found.total_errors, ids),
        }


def _aligned(found: Attribution, values: FloatArray | None, ids: pl.Series) -> FloatArray:
    """Values in the order of ids; 0 where there is none."""
    if values is None:
        return np.zeros(len(ids))
    if found.ids.equals(ids):
        return np.asarray(values, dtype=np.float64)
    table = pl.DataFrame({"id": found.ids, "value": values})
    joined = pl.DataFrame({"id": ids}).join(table, on="id", how="left", maintain_order="left")
    return joined["value"].fill_null(0.0).to_numpy()
