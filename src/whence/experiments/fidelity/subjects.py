"""The model of a fidelity experiment, its data, and how it is trained again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from whence.data import (
    Interactions,
    split_last,
    split_leave_one_out,
    split_random,
    split_rows,
)
from whence.errors import ParameterError
from whence.experiments.fidelity.retraining import AtOptimum, ByRefitting, ByTraining, Subject
from whence.models.base import Recommender

if TYPE_CHECKING:
    from whence.experiments.fidelity.experiment import FidelityExperiment


def subject_of(
    experiment: FidelityExperiment, data: Interactions, validation: Any, seed: int
) -> Subject:
    """What an experiment is about: its model, its data, and how the model is trained again.

    Raises
    ------
    ParameterError
        If a parameter does not suit the model or the data.
    """
    from whence.models.training import DifferentiableRecommender

    make = _make(experiment, data)
    model = make(seed)
    model._check_params()
    is_trained = isinstance(model, DifferentiableRecommender)
    if experiment.optimum and not is_trained:
        raise ParameterError(
            f"{type(model).__name__} is not trained by gradients, so that it has no optimum "
            "to go to; leave optimum out."
        )
    by = experiment.by or ("example" if is_trained else "source")
    if by == "example" and not is_trained:
        raise ParameterError(
            f"{type(model).__name__} is not trained by gradients, example by example; leave "
            "by out, and whole sessions or users are left out."
        )
    own = "user" if data.by_user or data.kind == "baskets" else "session"
    if by in ("session", "user") and by != own:
        raise ParameterError(f"The data are those of {own}s; give by={own!r}, or leave it out.")
    if experiment.metric is not None and is_trained:
        raise ParameterError(
            "The outcome of a model that is trained by gradients is its loss; leave metric out."
        )
    train, asked = _parts(experiment, data, validation, model, seed)
    shared: dict[str, Any] = {
        "make": make, "train": train, "validation": asked, "n_queries": experiment.queries,
        "by": "example" if by == "example" else "source", "seed": seed,
    }  # fmt: skip
    if experiment.optimum:
        return AtOptimum(**shared, tolerance=experiment.tolerance)
    if is_trained:
        return ByTraining(**shared, checkpoints=experiment.checkpoints)
    return ByRefitting(**shared, metric=experiment.metric or "mrr@20")


def _make(experiment: FidelityExperiment, data: Interactions) -> Callable[[int], Any]:
    if experiment.model is None:
        return small_neumf if data.by_user else small_gru
    if isinstance(experiment.model, Recommender):
        return partial(_with_seed, experiment.model)
    return experiment.model


def _parts(
    experiment: FidelityExperiment, data: Interactions, validation: Any, model: Any, seed: int
) -> tuple[Interactions, Interactions]:
    """Training and validation data."""
    from whence.models.training.pairs import UserItemRecommender

    if experiment.n_sources is not None and experiment.n_sources < data.n_sources:
        rng = np.random.default_rng([seed, experiment.n_sources])
        chosen = np.zeros(data.n_sources, dtype=np.bool_)
        chosen[rng.choice(data.n_sources, experiment.n_sources, replace=False)] = True
        data = data.keep_sources(chosen).rebuild()
    if validation is not None:
        return data, Interactions.from_frame(validation, kind=data.kind)
    if data.kind == "baskets":
        return split_last(data)
    if not data.by_user:
        train, asked, *_ = split_random(data, (0.9, 0.1, 0.0), seed=seed)
    elif isinstance(model, UserItemRecommender):
        train, asked, _ = split_rows(data, (0.8, 0.1, 0.1), seed=seed)
    else:
        train, asked, _ = split_leave_one_out(data)
    return train, asked


def _with_seed(model: Any, seed: int) -> Any:
    params = model.params
    return type(model)(**({**params, "seed": seed} if "seed" in params else params))


def small_neumf(seed: int) -> Any:
    """The model of users and items that is fitted where none is given."""
    from whence.influence import smooth
    from whence.models import NeuMF

    return smooth(
        NeuMF(
            gmf_dim=8, mlp_dim=16, layers=(16, 8), n_negatives=2, epochs=8, batch_size=1024,
            learning_rate=1e-2, seed=seed,
        )
    )  # fmt: skip


def small_gru(seed: int) -> Any:
    """The model of sessions that is fitted where none is given."""
    from whence.influence import smooth
    from whence.models import GRU4Rec

    return smooth(
        GRU4Rec(
            embedding_dim=32, hidden_dim=32, dropout=0.0, epochs=8, batch_size=64,
            learning_rate=1e-2, seed=seed,
        )
    )  # fmt: skip
