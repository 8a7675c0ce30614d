"""Explanations of more histories than fit in memory: written in shards, and gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from whence.attribution.parts import part_seed
from whence.data import Interactions
from whence.data.shards import write_shards
from whence.engines import Run, settled
from whence.errors import ParameterError, check_int, check_path
from whence.evaluation import Queries
from whence.explanation._problems import as_asker
from whence.explanation.explainer import Explainer
from whence.models.identity import model_identity


def explain_files(
    model: Any,
    histories: Any,
    folder: str | Path,
    *,
    shard: int = 1000,
    run: Run | None = None,
    items: Sequence[Any] | None = None,
    titles: Mapping[Any, str] | None = None,
    **settings: Any,
) -> Path:
    """Explain many histories, and write the shares to Parquet files, some histories each.

    Memory does not grow with the histories, and what is written is not lost: the same call with
    ``run=Run(folder=folder, resume=True)`` does not explain again what is in the folder.

    Parameters
    ----------
    model, items, titles, **settings
        As in `whence.explain`.
    histories : iterable of histories, mapping from names to histories, or Interactions
        An iterable is read as it goes.
    folder : path
        For the files ``part-00000.parquet``, ...: `Explanations.to_frame` of each shard.
    shard : int, default 1000
        Histories of one file. Random numbers are keyed by the number of the shard and the place in
        it.
    run : Run, optional
        How the work is done; with ``resume=True`` it goes on with what is in `folder`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputExistsError
        The folder is not empty, and not to be gone on with.
    ParameterError
        What is in it is of other histories, of another model or other settings.

    Examples
    --------
    >>> import polars as pl, tempfile, whence
    >>> data = whence.make_sessions(n_sessions=200, seed=1)
    >>> model = whence.VMISKNN(k=50, m=100).fit(data.train)
    >>> histories = [data.train.item_ids.to_list()[n : n + 3] for n in range(10)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = whence.explain_files(model, histories, f"{folder}/why", shard=4, k=5)
    ...     shares = pl.read_parquet(f"{folder}/why/*.parquet")
    >>> shares["history"].n_unique()
    10
    """
    check_int("shard", shard, minimum=1)
    folder = check_path("folder", folder)
    explainer = Explainer(**settings)
    explainer._check_params()
    resume = run is not None and run.resume
    own = settled(run, explainer).changed(folder=None, resume=False)
    assert own.seed is not None
    if isinstance(histories, Interactions):
        histories = as_asker(model, items, explainer.level).histories(histories)

    def one(number: int, some: Mapping[Any, Any]) -> pl.DataFrame:
        seed = part_seed(own.seed or 0, f"shard {number}")
        found: Any = explainer.attribute(
            model, some, run=own.changed(seed=seed, progress=False), items=items, titles=titles
        )
        frame: pl.DataFrame = found.to_frame()
        return frame

    def shards() -> Iterator[tuple[Any, Callable[[], pl.DataFrame]]]:
        named = _named(histories)
        number = 0
        while some := dict(islice(named, shard)):
            yield list(some.items()), partial(one, number, some)
            number += 1

    identity = {
        "shard": shard,
        "seed": own.seed,
        "model": model_identity(model),
        "explainer": repr(explainer),
    }
    count = len(histories) if hasattr(histories, "__len__") else 0

    def report(done: int) -> None:
        if callable(own.progress):
            own.progress(min(done * shard, count or done * shard), count, "histories")

    if not write_shards(folder, shards(), identity, resume=resume, report=report):
        raise ParameterError("There is no history to explain; give at least one.")
    return folder


def _named(histories: Any) -> Iterator[tuple[Any, Any]]:
    """Histories with their names: those of a mapping, or their numbers."""
    if isinstance(histories, Queries):
        raise ParameterError("Give histories or interactions, not queries, to be read as it goes.")
    if isinstance(histories, Mapping):
        yield from histories.items()
        return
    if not isinstance(histories, Iterable):
        raise ParameterError("histories must be an iterable of histories, or a mapping of them.")
    yield from enumerate(histories)
