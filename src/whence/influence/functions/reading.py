"""From fitted models to objectives, and from validation data to losses of queries."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from whence.influence.functions.factors import FactorObjective, Layout
from whence.influence.functions.objective import FloatArray, Objective
from whence.influence.functions.terms import terms_of
from whence.models.base import require


def objective_of(
    model: Any,
    *,
    epoch: int = 0,
    layers: Any = "all",
    precision: str = "float64",
    by_layers: bool = False,
) -> Objective:
    """The training objective of a fitted model at its parameters.

    Parameters
    ----------
    model : fitted differentiable model
    epoch : int
        Whose negatives are kept, where the loss has any.
    layers : {"all", "last"} or list of str
        The parameters that count, by name or by the beginning of it; the others are constants.
    precision : {"float64", "float32"}
        What a network computes in; formulas of factor models are always in float64.
    by_layers : bool
        Take a factor model for a network, by its layers, and not for its formulas.

    Raises
    ------
    UnsupportedError
        If the model has no loss per training example.
    NotFittedError
        If it has not been fitted.
    """
    require(model, "differentiable", "An influence function")
    model._check_fitted()
    loss = factor_loss(model)
    if loss is None or layers != "all" or by_layers:
        from whence.influence.functions.modules import ModuleObjective

        return ModuleObjective.of(model, epoch=epoch, layers=layers, precision=precision)
    examples = model.examples_
    batch = examples.batch(np.arange(len(examples)), epoch)
    terms = terms_of({name: value.numpy() for name, value in batch.items()}, loss)
    layout, vector = _tables_of(model.module_)
    return FactorObjective(
        terms, loss, layout, vector, float(model._n_terms(batch)), float(model.weight_decay),
        np.ones(len(examples)),
    )  # fmt: skip


def factor_loss(model: Any) -> str | None:
    """``"squared"``, ``"labels"``, ``"logistic"`` or ``"bpr"`` for a factor model, else None."""
    from whence.models.matrix.bpr import BPRMF
    from whence.models.matrix.mf import BiasedMF

    if isinstance(model, BPRMF):
        return "bpr"
    if isinstance(model, BiasedMF):
        labels = model.loss == "logistic" and model.n_negatives == 0
        return "labels" if labels else model.loss
    return None


def _tables_of(module: nn.Module) -> tuple[Layout, FloatArray]:
    """Factors with their biases beside them, as one vector."""
    state = {
        name: value.detach().double().cpu().numpy() for name, value in module.state_dict().items()
    }
    factors = [state["users.weight"], state["items.weight"]]
    biased = "user_bias.weight" in state
    mean = float(state["mean"]) if "mean" in state else 0.0
    sizes = len(factors[0]), len(factors[1]), factors[0].shape[1]
    layout = Layout(*sizes, biased, mean)
    if biased:
        biases = state["user_bias.weight"], state["item_bias.weight"]
        factors = [np.column_stack(pair) for pair in zip(factors, biases)]
    return layout, np.concatenate([table.ravel() for table in factors])
