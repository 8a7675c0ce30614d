"""Forwards through training: what the weights of a group of examples do to the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence.data import Interactions
from whence.engines.progress import Report
from whence.errors import DataError, ParameterError
from whence.influence.places import Targets
from whence.influence.replay.optimizers import State
from whence.influence.replay.training import TrainingMap, replaying

FloatArray = npt.NDArray[np.float64]
_jvp: Any = torch.func.jvp  # its type says that there may be a third result


def through_training(
    training: TrainingMap,
    weights: FloatArray,
    report: Report,
    look: Callable[[int, State], None] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Parameters after training, and their derivatives along directions of the weights.

    ``ṡ_{t+1} = (∂Φ_t/∂s) ṡ_t + (∂Φ_t/∂w) ẇ``: the change of the gradient is one more derivative of
    the loss, that of the step is taken with dual numbers.

    Parameters
    ----------
    training : TrainingMap
    weights : float64 [G, n]
        Directions: how the weights of all examples change.
    report : callable
        Told of the steps.
    look : callable, optional
        ``look(number, state)`` after each step, from 1.

    Returns
    -------
    parameters : Tensor [P]
    tangents : list of Tensor [P]
        One for each direction.
    """
    state, n = training.start(), training.n_steps
    rates = torch.from_numpy(weights).to(state[0])
    moving: list[State] = [tuple(torch.zeros_like(part) for part in state) for _ in weights]
    with replaying(training.model):
        for number in range(1, n + 1):
            parameters = state[0].detach().requires_grad_()
            batch = training.losses_of_step(parameters, number)
            loss = batch.losses.sum() / batch.divisor
            (gradient,) = torch.autograd.grad(loss, parameters, create_graph=True)
            numbers = torch.from_numpy(batch.numbers)
            plain = gradient.detach()

            def step(*inputs: Tensor, number: int = number) -> State:
                return training.moved(inputs[:-1], inputs[-1], number)

            after: State = ()
            for place, (own, rate) in enumerate(zip(moving, rates)):
                weighted = (rate[numbers] * batch.losses).sum() / batch.divisor
                along = (gradient * own[0]).sum() + weighted
                (change,) = torch.autograd.grad(along, parameters, retain_graph=True)
                # Not within autograd: these are numbers.
                with torch.no_grad():
                    after, moving[place] = _jvp(step, (*state, plain), (*own, change))
            state = after
            if look is not None:
                look(number, state)
            report(number, n, "forwards through training")
    return training.parameters(state), [training.parameters(own) for own in moving]


def shares_of_groups(train: Interactions, examples: Any, groups: Any) -> dict[Any, FloatArray]:
    """Share that each group of rows has in each training example, float64 [n], by group.

    That is the share of the example's targets, or of its rows where it has none.

    Parameters
    ----------
    train : Interactions
    examples : Examples
    groups : mapping of name to rows, or sequence of labels
        Numbers of rows of the training table, or a mask of them; or one label for each row.

    Raises
    ------
    ParameterError
        If there is no group, or it is neither.
    DataError
        If a row does not exist.
    """
    targets = Targets.of(examples)
    if targets is None:
        rows, offsets = examples.rows(np.arange(len(examples)))
    else:
        rows, offsets = targets.rows, targets.offsets
    counts = np.diff(offsets)
    owner = np.repeat(np.arange(len(counts)), counts)
    found = {}
    for name, mask in _masks(train.n_rows, groups).items():
        inside = np.bincount(owner[mask[rows]], minlength=len(counts))
        found[name] = inside / np.maximum(counts, 1)
    return found


def _masks(n_rows: int, groups: Any) -> dict[Any, npt.NDArray[np.bool_]]:
    if isinstance(groups, Mapping):
        masks = {name: _mask(n_rows, name, rows) for name, rows in groups.items()}
    else:
        labels = np.asarray(groups)
        if labels.shape != (n_rows,):
            raise ParameterError(
                f"groups must be a mapping from names to rows, or have one label for each of the "
                f"{n_rows:,} rows of the training data, but its shape is {list(labels.shape)}."
            )
        masks = {name: labels == name for name in dict.fromkeys(labels.tolist())}
    if not masks:
        raise ParameterError("groups is empty; give at least one group of rows.")
    return masks


def _mask(n_rows: int, name: Any, rows: Any) -> npt.NDArray[np.bool_]:
    given = np.asarray(rows)
    if given.dtype == bool and given.shape == (n_rows,):
        return given
    if given.ndim != 1 or given.dtype.kind not in "iu" or not len(given):
        raise ParameterError(
            f"The group {name!r} must be a list of numbers of rows, or a mask of all rows of the "
            "training data."
        )
    if given.min() < 0 or given.max() >= n_rows:
        raise DataError(
            f"The group {name!r} has row {int(given.max())}, but the training data has the rows 0 "
            f"to {n_rows - 1:,}."
        )
    mask = np.zeros(n_rows, dtype=np.bool_)
    mask[given] = True
    return mask
