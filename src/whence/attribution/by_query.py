"""The shares of single queries in files: some queries each, written as they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from whence.data.shards import write_shards
from whence.engines import Run
from whence.errors import UnsupportedError, check_int

if TYPE_CHECKING:
    from whence.attribution import Attribution

_FACTS = ("method", "metric", "model", "model_params", "params", "by", "seed", "fingerprint")


def save_queries(
    values: Attribution, folder: Path, *, shard: int = 1000, run: Run | None = None
) -> Path:
    """Write the shares of every query; see `Attribution.save_queries`."""
    n_queries = values.metadata.get("n_queries")
    if n_queries is None or not values.knows_queries:
        raise UnsupportedError(
            "This attribution cannot look at single queries because the model and the queries are "
            "not at hand; call attribute(model, validation) again and use its result."
        )
    check_int("shard", shard, minimum=1)
    run = run or Run()

    def some(first: int) -> pl.DataFrame:
        last = min(first + shard, n_queries)
        tables = [
            values.for_query(query).frame.select(pl.lit(query).alias("query"), pl.all())
            for query in range(first, last)
        ]
        return pl.concat(tables, how="diagonal_relaxed")

    def shards() -> Iterator[tuple[int, Callable[[], pl.DataFrame]]]:
        for first in range(0, n_queries, shard):
            yield first, partial(some, first)

    def report(done: int) -> None:
        if callable(run.progress):
            run.progress(min(done * shard, n_queries), n_queries, "queries")

    identity = {name: values.metadata.get(name) for name in _FACTS}
    identity |= {"shard": shard, "relative_error": values.metadata.get("relative_error")}
    write_shards(folder, shards(), identity, resume=run.resume, report=report)
    return folder
