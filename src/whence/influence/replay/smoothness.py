"""What makes training smooth enough for its derivative to predict retraining."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from torch import nn

from whence.errors import DataWarning, UnsupportedError
from whence.models.training import DifferentiableRecommender

Model = TypeVar("Model", bound=DifferentiableRecommender)

_EPS_ROOT = 1e-6
_AVERAGED = 0.25
"""Of the epochs, over which the parameters are averaged."""
_INITIAL_STD = 0.1
_NORM_EPS = 1e-2


def smooth(model: Model) -> Model:
    """Return an unfitted copy of a model whose training is smooth.

    What it sets, where the model has it and is not there already:

    -  ``eps_root=1e-6``: Adam divides by the root of a mean of squared gradients, which jumps where
       the gradients of a row were 0 so far. The steps are shorter for it, so that the learning rate
       becomes at least 1e-2 (3e-2 for NeuMF and WideDeep, 5e-3 for SASRec). The best one depends on
       the size of batches, and is for you to find, with the number of epochs.
    -  ``averaging`` over a quarter of the epochs: the steps of training, each of which is rough,
       even out, and validation losses are lower.
    -  ``initial_std=0.1``: from embeddings close to 0, it is chance in which direction training
       leaves them, and small changes grow large.
    -  ``norm_eps=1e-2``: layer norms scale small embeddings up, and every step with them.
    -  ``activation="gelu"``, which has no kinks.

    Parameters
    ----------
    model : DifferentiableRecommender
        It is not changed.

    Raises
    ------
    UnsupportedError
        If the model is not trained by steps of an optimiser.

    Examples
    --------
    >>> import whence
    >>> smooth = whence.smooth(whence.NeuMF(epochs=12, learning_rate=2e-3))
    >>> smooth.eps_root, smooth.learning_rate, smooth.averaging, smooth.activation
    (1e-06, 0.03, 3.0, 'gelu')
    """
    if not isinstance(model, DifferentiableRecommender):
        raise UnsupportedError(
            f"{type(model).__name__} is not trained by steps of an optimiser; take a model such "
            "as NeuMF or GRU4Rec."
        )
    params = model.params
    if model.optimizer in ("adam", "adamw") and model.eps_root < _EPS_ROOT:
        params["eps_root"] = _EPS_ROOT
        params["learning_rate"] = max(model.learning_rate, model.smooth_rate)
    params["averaging"] = max(model.averaging, _AVERAGED * model.epochs)
    for name, least in (("initial_std", _INITIAL_STD), ("norm_eps", _NORM_EPS)):
        if name in params:
            params[name] = max(params[name] or 0.0, least)
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
