"""Weights of the gradients' entries in inner products: none (SGD), or the optimiser's step sizes.

Plain TracIn takes the training step for ``-η ∇ℓ``. Adam's is ``-η m / (√v + ε)``: the inner
product of two gradients is then ``g · P g'`` with P = 1 / (√v̂ + ε), v̂ being the second moment at
the checkpoint, corrected for its start at 0. Adagrad's is ``-η g / (√s + ε)`` with s the sum of all
squares so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from whence.errors import UnsupportedError
from whence.influence.pieces import Key, Outer, Piece, Rows, as_matrix

Weighting = Literal["sgd", "adam", "adam-factored", "adagrad"]


@dataclass(frozen=True)
class Weights:
    """P of each parameter; without any, plain inner products.

    Attributes
    ----------
    entries : dict of str to Tensor
        P, shaped as the parameter.
    factors : dict of str to (Tensor [R], Tensor [C])
        Where P is an outer product of these.
    """

    entries: dict[str, Tensor] = field(default_factory=dict)
    factors: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether there are none."""
        return not self.entries

    def of_pieces(self, key: Key, pieces: list[Piece]) -> list[Piece]:
        """Pieces times √P, as far as factors can carry it; see `metric` for the rest."""
        if self.plain:
            return pieces
        (name,) = key
        scaled: list[Piece] = []
        for piece in pieces:
            if isinstance(piece, Rows):
                piece = piece.scaled(as_matrix(self.entries[name]).sqrt())
            elif isinstance(piece, Outer) and name in self.factors:
                rows, columns = self.factors[name]
                piece = piece.scaled(rows.sqrt(), columns.sqrt())
            scaled.append(piece)
        return scaled

    def metric(self, key: Key) -> Tensor | None:
        """P of a block whose outer products cannot carry it, [R, C]."""
        if self.plain or key[0] in self.factors:
            return None
        return as_matrix(self.entries[key[0]])

    def scale_written(self, key: Key, part: Tensor) -> None:
        """Multiply gradients written out, [n, C, R], by √P."""
        if not self.plain:
            part *= as_matrix(self.entries[key[0]]).T.sqrt()

    def times(self, vector: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """P times a vector over parameters."""
        if self.plain:
            return dict(vector)
        return {name: value * self.entries[name].to(value) for name, value in vector.items()}


def weighting_of(optimizer: Mapping[str, Any]) -> Weighting:
    """The weighting that is right for an optimiser, by its ``state_dict()``; "sgd" without one.

    Adam's is the factored one: it predicts retraining as well, and pairs stay products of factors.
    """
    states = list(optimizer.get("state", {}).values())
    if states and all("exp_avg_sq" in state for state in states):
        return "adam-factored"
    if states and all("sum" in state for state in states):
        return "adagrad"
    return "sgd"


def optimizer_weights(
    module: nn.Module, names: list[str], optimizer: Mapping[str, Any], weighting: str
) -> Weights:
    """Weights from the state of an optimiser in a checkpoint.

    Parameters
    ----------
    module : torch.nn.Module
        Whose parameters the state belongs to, in their order.
    names : list of str
        The parameters that are looked at.
    optimizer : mapping
        ``state_dict()`` of the optimiser.
    weighting : {"adam", "adam-factored", "adagrad"}
        "adam-factored": with r and c the means of a matrix's second moments by row and by column,
        and m that of all, P is the outer product of ``1 / (√(r/√m) + √ε)`` and
        ``1 / (√(c/√m) + √ε)``. So v̂ is taken for ``r cᵀ / m``, as by Adafactor (Shazeer and
        Stern, ICML 2018), and each factor has its part of ε. It keeps products of factors cheap.

    Raises
    ------
    UnsupportedError
        If the state is not that of such an optimiser.
    """
    group = (optimizer.get("param_groups") or [{}])[0]
    numbers = {name: number for number, (name, _) in enumerate(module.named_parameters())}
    entries, factors = {}, {}
    for name in names:
        parameter = module.get_parameter(name)
        state = optimizer.get("state", {}).get(numbers[name], {})
        moments = _moments(state, group, weighting).to(parameter)
        eps = float(group["eps"])
        if weighting == "adam-factored" and moments.dim() == 2:
            rows, columns = moments.mean(1), moments.mean(0)
            share = moments.mean().clamp(min=torch.finfo(moments.dtype).tiny).sqrt()
            factors[name] = (
                1.0 / ((rows / share).sqrt() + eps**0.5),
                1.0 / ((columns / share).sqrt() + eps**0.5),
            )
            entries[name] = torch.outer(*factors[name])
        else:
            entries[name] = 1.0 / (moments.sqrt() + eps)
    return Weights(entries, factors)


def _moments(state: Mapping[str, Any], group: Mapping[str, Any], weighting: str) -> Tensor:
    """Squares that the steps of a parameter are divided by the root of."""
    name = "sum" if weighting == "adagrad" else "exp_avg_sq"
    if name not in state:
        optimizer = "Adagrad" if weighting == "adagrad" else "Adam"
        raise UnsupportedError(
            f"The checkpoint has no second moments of {optimizer}, which "
            f"weighting={weighting!r} needs; train with optimizer={optimizer.lower()!r} and "
            "checkpoints=..., or leave weighting out."
        )
    moments: Tensor = state[name]
    if weighting == "adagrad":
        return moments
    corrected: Tensor = moments / (1.0 - float(group["betas"][1]) ** float(state["step"]))
    # Of Adam with a constant under the root; see `whence.smooth`.
    return corrected + float(group.get("eps_root", 0.0))
