"""Forgetting by gradients: to the optimum for what is left, or a Gauss-Newton step towards it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from whence.curation.forgetting.certificate import Certificate
from whence.curation.forgetting.gone import Gone, Mask
from whence.engines import Run
from whence.errors import UnsupportedError
from whence.influence.functions.conjugate import conjugate_gradients
from whence.influence.functions.modules import ModuleObjective
from whence.influence.functions.objective import FloatArray, Objective
from whence.influence.functions.optimum import descend, relative_gradient
from whence.influence.functions.reading import factor_loss, objective_of
from whence.influence.functions.solvers import Settings, solve
from whence.models.training.loop import Training
from whence.models.training.settings import TrainingSettings

_AT_OPTIMUM = 1.0
"""Gradient, in training examples, of a model that has been brought to its optimum."""
_TOLERANCE = 0.01
"""The same, of one that has forgotten."""
_SHARE, _LEAST, _EACH = 0.02, 2000, 4
"""Examples that the curvature is seen on: a share, of as many loss terms, some of each item."""
_STEPS = 8
_HALVINGS = 5
_HARM = 0.01


def forget_by_gradients(model: Any, changed: Any, gone: Gone, epochs: int, run: Run) -> Certificate:
    """Change the parameters of a model that was trained by gradients.

    Embeddings that only forgotten examples had a gradient for, such as that of a user who goes,
    take their initial values again. What is known of the training (checkpoints, the history of
    losses) goes too: it holds what is to be forgotten. Then a factor model at its optimum goes to
    that for what is left; any other takes one Gauss-Newton step, and trains on if that is wanted.

    Parameters
    ----------
    model : DifferentiableRecommender
        As it was; it is left so.
    changed : DifferentiableRecommender
        A shallow copy, with the training data that are left.
    gone : Gone
    epochs : int
        Of training on what is left, afterwards.
    run : Run

    Raises
    ------
    UnsupportedError
        If the loss has no Gauss-Newton matrix, and no epochs are asked for.
    """
    changed._prepare(gone.left)  # examples, and initial parameters
    initial = changed.module_
    changed.module_ = copy.deepcopy(model.module_).eval()
    if hasattr(changed, "_mean"):  # of the ratings: a constant of the objective
        changed.module_.mean.fill_(changed._mean(gone.left))
    whole, left = _network(model), _network(changed)
    if left.not_convex is not None and not epochs:
        raise UnsupportedError(
            f"{left.not_convex}, so that it cannot forget by a Gauss-Newton step; give epochs=1 "
            "or more of training on what is left."
        )
    # What the sources that lose rows pull at, before and after: the others have the same slopes.
    lost = _slope(whole, _touched(model, gone)) * (whole.n_terms / left.n_terms)
    seen = _sample(changed)
    own = _only_lost(left, lost, seen)
    with torch.no_grad():
        for name, chosen in zip(left.names, left.split(own.astype(np.float64))):
            if (chosen > 0).any():
                _reset(changed.module_.get_parameter(name), initial.get_parameter(name), chosen > 0)
    if getattr(model, "trained", False):  # of a module that was trained elsewhere
        changed.module = changed.module_
    figures: dict[str, float] = {}
    if not epochs and is_optimum(model):
        return _descend(changed)
    if left.not_convex is None:
        slope = np.where(own, 0.0, lost - _slope(left, _touched(changed, gone)))
        figures = _step(left.at(_theta(changed, left)).weighted(seen), changed, slope)
    if epochs:
        _train_on(changed, epochs, run)
    return Certificate("audit", figures)


def _reset(parameter: Tensor, initial: Tensor, own: Tensor) -> None:
    """Give rows of an embedding their initial values; the mean of the others if they have these."""
    initial = initial.to(parameter.dtype)
    rows = own.all(1)
    if torch.equal(initial[rows], parameter[rows]) and not rows.all():
        initial = parameter[~rows].mean(0).expand_as(parameter)
    parameter[rows] = initial[rows]


def is_optimum(model: Any) -> bool:
    """Whether a factor model has been brought to the optimum of its objective."""
    if factor_loss(model) is None:
        return False
    return relative_gradient(objective_of(model)) <= _AT_OPTIMUM


def _network(model: Any) -> ModuleObjective:
    return ModuleObjective.of(model, epoch=0, layers="all", precision="float32")


def _touched(model: Any, gone: Gone) -> Mask:
    """Which examples are of sources that lose rows, bool [E]."""
    examples = model.examples_
    touched: Mask = gone.is_touched[examples.sources(np.arange(len(examples)))]
    return touched


def _slope(objective: ModuleObjective, weights: npt.NDArray[Any]) -> FloatArray:
    """Gradient of the weighted losses of examples over Z, without the penalty, float64 [P]."""
    if not weights.any():
        return np.zeros(len(objective.theta))
    return replace(objective, ridge=0.0).weighted(weights).gradient()


def _only_lost(left: ModuleObjective, lost: FloatArray, seen: FloatArray) -> Mask:
    """Rows of embeddings that forgotten examples alone have a gradient for, bool [P].

    Parameters
    ----------
    left : ModuleObjective
        Of what is left.
    lost : float64 [P]
        Gradient of what is forgotten.
    seen : float64 [E]
        Weights of a sample, which is enough where it has a gradient for every such row.
    """
    own = np.zeros(len(lost), dtype=np.bool_)
    for weights in (seen, np.ones(left.n_examples)):
        own = _rows_apart(left, lost, _slope(left, weights))
        if not own.any():
            break
    return own


def _rows_apart(left: ModuleObjective, one: FloatArray, other: FloatArray) -> Mask:
    """Rows of embeddings where one gradient is not zero and another is, bool [P]."""
    tables = {
        f"{name}.weight"
        for name, layer in left.model.module_.named_modules()
        if isinstance(layer, (nn.Embedding, nn.EmbeddingBag))
    }
    apart = []
    for name, before, after in zip(left.names, left.split(one), left.split(other)):
        mask = torch.zeros_like(before, dtype=torch.bool)
        if name in tables:
            mask |= ((before != 0).any(1) & (after == 0).all(1))[:, None]
        apart.append(mask.reshape(-1))
    return torch.cat(apart).cpu().numpy()


def _descend(changed: Any) -> Certificate:
    """To the optimum of the objective of what is left."""
    there, descent = descend(objective_of(changed), tolerance=_TOLERANCE, warm=True)
    there.write(changed)
    changed.optimum_ = descent
    figures = {
        "gradient": descent.gradient,
        "distance": _distance(there),
        "steps": float(descent.steps),
    }
    return Certificate("optimum", figures)


def _distance(objective: Objective) -> float:
    """Bound on the distance to the optimum, relative to the norm of the parameters.

    Near an optimum each Newton step is at most half as long as the one before, so that all that are
    left are at most twice as long as the next.

    References
    ----------
    Kantorovich's theorem; Nocedal and Wright. Numerical optimization, chapter 11. Springer 2006.
    """
    slope = objective.gradient()
    equations = objective.hessian().equations(-slope[None])
    found = conjugate_gradients(
        equations.apply, equations.right, equations.precondition, tolerance=0.1, max_iterations=100
    )
    step = float(np.linalg.norm(equations.expand(found.x)))
    return 2.0 * step / max(float(np.linalg.norm(objective.theta)), 1e-300)


def _theta(model: Any, objective: ModuleObjective) -> FloatArray:
    """Parameters of a model in the order of an objective, float64 [P]."""
    with torch.no_grad():
        parts = [model.module_.get_parameter(name).reshape(-1) for name in objective.names]
        theta: FloatArray = torch.cat(parts).double().cpu().numpy()
    return theta


def _step(seen: ModuleObjective, changed: Any, slope: FloatArray) -> dict[str, float]:
    """Move the parameters by a Gauss-Newton step, or by a part of it that does no harm.

    Parameters
    ----------
    seen : ModuleObjective
        Of the sample that the curvature is seen on, at the parameters of the model.
    changed : DifferentiableRecommender
    slope : float64 [P]
        What the objective's gradient has lost.
    """
    found = solve(seen, slope[None], Settings.of("ggn", max_iterations=_STEPS))
    before, share = seen.value(), 1.0
    for _ in range(_HALVINGS):
        there = seen.at(seen.theta + share * found.x[0])
        if there.value() <= (1.0 + _HARM) * before:
            break
        share *= 0.5
    with torch.no_grad():
        for name, value in zip(there.names, there.split(there.theta)):
            changed.module_.get_parameter(name).copy_(value)
    return {"step": share, "length": float(np.linalg.norm(share * found.x))}


def _sample(model: Any) -> FloatArray:
    """Weights of a sample of the examples, float64 [E].

    Of examples with one target some of each item are among them; longer windows have many.
    """
    examples = model.examples_
    terms = examples.n_terms(examples.keys)
    chance = np.full(len(examples), max(_SHARE, _LEAST / int(terms.sum())))
    if terms.max() == 1:
        rows, offsets = examples.rows(np.arange(len(examples)))
        item = np.empty(model.train_.n_rows, dtype=np.int64)
        item[model.train_.rows] = model.train_.item_codes
        count = np.bincount(item, minlength=model.n_items)
        chance = np.maximum(chance, _EACH / count[item[rows[offsets[1:] - 1]]])
    generator = np.random.Generator(np.random.PCG64([model.seed, len(examples)]))
    taken = generator.random(len(examples)) < chance
    weights: FloatArray = np.where(taken, 1.0 / np.minimum(chance, 1.0), 0.0)
    return weights


def _train_on(changed: Any, epochs: int, run: Run) -> None:
    """Train some epochs on what is left, from where the parameters are."""
    student = copy.copy(changed)
    student.epochs = epochs
    Training(student, TrainingSettings(run=run.changed(folder=None, resume=False))).run()
