"""What makes training smooth enough for its derivative to predict retraining."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from torch import nn

from whence.errors import DataWarning, UnsupportedError
from whence.models.training import DifferentiableRecommender

Model = TypeVar("Model", bound=DifferentiableRecommender)

_EPS_ROOT = 1e-6


def smooth(model: Model) -> Model:
    """Return an unfitted copy of a model whose training is smooth.

    Adam divides by the root of a mean of squared gradients, which jumps where the gradients of a
    row were 0 so far: ``eps_root`` under the root keeps it smooth. Networks with rectified layers
    get ``activation="gelu"``, which has no kinks. The learning rate stays; a larger one often makes
    up for the smaller steps.

    Parameters
    ----------
    model : DifferentiableRecommender
        It is not changed.

    Examples
    --------
    >>> import whence
    >>> smooth = whence.smooth(whence.NeuMF(epochs=8))
    >>> smooth.activation, smooth.eps_root
    ('gelu', 1e-06)
    """
    if not isinstance(model, DifferentiableRecommender):
        raise UnsupportedError(
            f"{type(model).__name__} is not trained by steps of an optimiser; take a model such "
            "as NeuMF or GRU4Rec."
        )
    params = model.params
    if model.optimizer in ("adam", "adamw"):
        params["eps_root"] = max(model.eps_root, _EPS_ROOT)
    if "activation" in params:
        params["activation"] = "gelu"
    return type(model)(**params)


def check_module(model: Any) -> None:
    """Refuse a network whose training is more than its parameters.

    Raises
    ------
    UnsupportedError
        If it keeps statistics of batches.
    """
    for name, part in model.module_.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise UnsupportedError(
                f"The layer {name!r} keeps statistics of batches, through which an example acts "
                "on all others; replay a network with LayerNorm in its place."
            )


def warn_of_kinks(model: Any) -> None:
    """Warn where the derivative of training will predict little, and say what to change."""
    rough, remedy = [], "train whence.smooth(model)"
    if model.optimizer == "adagrad":
        rough.append("adagrad divides by roots of sums that begin at 0")
        remedy = "train whence.smooth(model) with optimizer='adam', or 'sgd'"
    elif model.optimizer != "sgd" and model.eps_root == 0:
        rough.append(f"{model.optimizer} divides by roots of means that begin at 0")
    if getattr(model, "activation", None) == "relu":
        rough.append("rectified layers have kinks")
    if rough:
        warnings.warn(
            f"Training of this {type(model).__name__} is not smooth ({' and '.join(rough)}), so "
            f"that its derivative predicts retraining less well; {remedy}.",
            DataWarning,
            stacklevel=4,
        )
