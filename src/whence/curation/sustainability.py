"""How sustainable recommendations are, beside the data that they were learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from whence._html import ShownAsTable
from whence.data.vocabulary import as_ids
from whence.errors import DataError, check_int
from whence.evaluation import Queries, make_queries
from whence.evaluation.result import clustered_error

_NORMAL = 1.959963984540054
_OF_ITEMS = ("title", "sustainable", "n_rows", "n_recommended", "more_often")


@dataclass(frozen=True)
class Sustainability(ShownAsTable):
    """Shares of sustainable items.

    Attributes
    ----------
    shares : polars.DataFrame
        One row for each of "catalogue", "training rows", "targets" and "recommendations": ``n``,
        ``share`` of sustainable ones, and its 95% interval ``low`` and ``high`` over the sessions
        or users that ask, of what is asked.
    items : polars.DataFrame
        One row per item: whether it is ``sustainable``, ``n_rows`` in the training data,
        ``n_recommended``, and how many times as often as in the training data it is recommended
        (``more_often``; 1: in proportion). The sustainable items that are most neglected first.
    k : int
        Length of the lists.
    """

    shares: pl.DataFrame
    items: pl.DataFrame
    k: int

    def __repr__(self) -> str:
        share = self.shares.row(-1, named=True)["share"]
        return f"<Sustainability: {share:.1%} of recommendations>"

    def to_frame(self) -> pl.DataFrame:
        """The shares."""
        return self.shares


def sustainability(
    model: Any, data: Any, sustainable_items: Any, *, k: int = 20, threads: int | None = None
) -> Sustainability:
    """Say how sustainable the catalogue, the data, what was wanted and the recommendations are.

    To change it, see `PruneExperiment` with an aim.

    Parameters
    ----------
    model : fitted recommender
    data : Interactions, table or Queries
        What is asked.
    sustainable_items : sequence of ids
    k : int
        Length of the lists.
    threads : int, optional

    Returns
    -------
    Sustainability

    Raises
    ------
    DataError
        If none of the items is in the training data.

    Notes
    -----
    Of recommendations this is the metric ``st@k``: the mean share of the items in a list.

    Examples
    --------
    >>> import whence
    >>> made = whence.make_sessions(n_sessions=200, n_validation=50, n_items=100, seed=1)
    >>> model = whence.VMISKNN(k=20, m=50).fit(made.train)
    >>> found = whence.sustainability(model, made.validation, made.train.item_ids[:20], k=10)
    >>> found.shares["of"].to_list()
    ['catalogue', 'training rows', 'targets', 'recommendations']
    """
    check_int("k", k, minimum=1)
    train = model.train_
    queries = data if isinstance(data, Queries) else make_queries(model, data)
    ids = train.item_ids
    wanted = as_ids(sustainable_items).cast(ids.dtype, strict=False).drop_nulls()
    is_green = ids.is_in(wanted.implode()).to_numpy()
    if not is_green.any():
        raise DataError(
            "None of the sustainable items is in the training data; give ids of the same items."
        )
    lists, _ = model.recommend_codes(queries, k, threads=threads)
    lists = np.asarray(lists)
    hits = np.where(lists >= 0, is_green[lists], False)
    of_lists = hits.sum(axis=1) / np.maximum((lists >= 0).sum(axis=1), 1)
    first = queries.target_items[queries.target_start]
    of_targets = np.where(first >= 0, is_green[first], False).astype(np.float64)
    asker = queries.ids.to_series(0).rank("dense").to_numpy().astype(np.int64) - 1
    n_rows = np.bincount(train.item_codes, minlength=train.n_items)
    listed = np.bincount(lists[lists >= 0], minlength=train.n_items)
    rows = [
        {"of": "catalogue", "n": len(ids), "share": float(is_green.mean())},
        {
            "of": "training rows",
            "n": train.n_rows,
            "share": float(n_rows[is_green].sum() / train.n_rows),
        },
        _asked("targets", of_targets, asker),
        _asked("recommendations", of_lists, asker),
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        more = (listed / max(listed.sum(), 1)) / (n_rows / train.n_rows)
    name = train.columns.beside(train.columns.item, _OF_ITEMS)
    titles = train.item_titles
    items = pl.DataFrame(
        {
            name: ids,
            **({} if titles is None else {"title": titles}),
            "sustainable": is_green,
            "n_rows": n_rows,
            "n_recommended": listed,
            "more_often": more,
        }
    ).sort("sustainable", "more_often", descending=[True, False], maintain_order=True)
    schema = {"of": pl.String, "n": pl.Int64, "share": pl.Float64, "low": pl.Float64}
    table = pl.DataFrame(rows, schema={**schema, "high": pl.Float64})
    return Sustainability(table, items, k)


def _asked(of: str, values: Any, asker: Any) -> dict[str, Any]:
    """A share of what was asked or answered, and its interval."""
    mean, error = float(values.mean()), clustered_error(values, asker)
    half = None if error is None else _NORMAL * error
    ends = {} if half is None else {"low": max(mean - half, 0.0), "high": min(mean + half, 1.0)}
    return {"of": of, "n": len(values), "share": mean, **ends}
