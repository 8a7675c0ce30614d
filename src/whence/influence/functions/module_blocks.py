"""Fast Influence Analysis for any model of users and items with tables of embeddings.

The block of an outcome are the rows of embeddings that it depends on: those of its user and of its
items. Training examples that touch none of them have no part in the block's Hessian.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import nn

from whence.errors import UnsupportedError
from whence.influence.functions.conjugate import conjugate_gradients
from whence.influence.functions.modules import ModuleObjective
from whence.influence.functions.objective import Arrays, FloatArray, IntArray
from whence.influence.functions.solvers import Settings
from whence.models.training import PairExamples

_PEOPLE, _THINGS = "user", ("item", "negatives")


def block_influence(
    objective: ModuleObjective,
    gradient: FloatArray,
    user: int,
    items: IntArray,
    settings: Settings,
    training: Arrays,
) -> FloatArray:
    """Influence of each training example on one outcome, float64 [E].

    Parameters
    ----------
    objective : ModuleObjective
    gradient : float64 [P]
        Of the outcome.
    user : int
    items : int64
        The user and the items whose rows the outcome depends on.
    settings : Settings
    training : dict of str to ndarray
        All training examples, as `training_arrays` gives them.

    Returns
    -------
    float64 [E]
        0 for examples that touch neither the user nor one of the items.
    """
    touched = np.flatnonzero(
        (training[_PEOPLE] == user)
        | np.logical_or.reduce(
            [
                np.isin(training[name], items).reshape(len(training[name]), -1).any(axis=1)
                for name in _THINGS
                if name in training
            ]
        )
    )
    inside = _rows_in_play(objective, gradient)
    weights = np.zeros(objective.n_examples)
    weights[touched] = objective.weights[touched]
    hessian = objective.weighted(weights).hessian(settings.damping)

    def apply(rows: FloatArray) -> FloatArray:
        full = np.zeros((len(rows), len(gradient)))
        full[:, inside] = rows
        product: FloatArray = hessian.apply(full)[:, inside]
        return product

    found = conjugate_gradients(
        apply,
        gradient[None, inside],
        lambda rows: rows,
        tolerance=settings.tolerance,
        max_iterations=min(settings.max_iterations, 2 * int(inside.sum())),
    )
    way = np.zeros((1, len(gradient)))
    way[:, inside] = found.x
    scores = np.zeros(objective.n_examples)
    scores[touched] = -objective.slopes_of(way, touched)[0] / objective.n_terms
    return scores


def training_arrays(objective: ModuleObjective) -> Arrays:
    """All training examples of a model of users and items.

    Raises
    ------
    UnsupportedError
        If its examples are others.
    """
    examples = objective.model.examples_
    if not isinstance(examples, PairExamples):
        raise UnsupportedError(
            "solver='block' needs a model of users and items (BiasedMF, BPRMF, NeuMF), whose "
            "predictions depend on the rows of one user and one item; choose solver='cg' or "
            "'lissa'."
        )
    batch = examples.batch(np.arange(len(examples)), objective.epoch)
    return {name: value.numpy() for name, value in batch.items()}


def _rows_in_play(objective: ModuleObjective, gradient: FloatArray) -> npt.NDArray[np.bool_]:
    """Entries of θ in rows of embeddings where the gradient is not zero, bool [P]."""
    modules = objective.model.module_.named_modules()
    tables = {f"{name}.weight" for name, module in modules if isinstance(module, nn.Embedding)}
    parts = []
    for name, part in zip(objective.names, objective.split(gradient)):
        play = (part != 0).any(dim=-1, keepdim=True).expand_as(part) & (name in tables)
        parts.append(play.reshape(-1).cpu().numpy())
    return np.concatenate(parts)
