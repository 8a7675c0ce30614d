"""Weights of the gradients' entries in inner products: none (SGD), or Adam's step sizes.

Plain TracIn takes the training step for ``-η ∇ℓ``. Adam's is ``-η m / (√v + ε)``: the inner
product of two gradients is then ``g · P g'`` with P = 1 / (√v̂ + ε), v̂ being the second moment at
the checkpoint, corrected for its start at 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from whence.errors import UnsupportedError
from whence.influence.pieces import Key, Outer, Piece, Rows, as_matrix

WEIGHTINGS = ("sgd", "adam", "adam-factored")


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
        return {name: value * self.entries[name].to(value.dtype) for name, value in vector.items()}


def adam_weights(
    module: nn.Module, names: list[str], optimizer: Mapping[str, Any], *, factored: bool
) -> Weights:
    """Weights from the state of Adam in a checkpoint.

    Parameters
    ----------
    module : torch.nn.Module
        Whose parameters the state belongs to, in their order.
    names : list of str
        The parameters that are looked at.
    optimizer : mapping
        ``state_dict()`` of the optimiser.
    factored : bool
        Take the outer product of row and column means of a matrix's second moments, divided by
        their mean, for the moments, as Adafactor does (Shazeer and Stern, ICML 2018). It keeps
        products of factors cheap.

    Raises
    ------
    UnsupportedError
        If there are no second moments.
    """
    group = (optimizer.get("param_groups") or [{}])[0]
    numbers = {name: number for number, (name, _) in enumerate(module.named_parameters())}
    entries, factors = {}, {}
    for name in names:
        state = optimizer.get("state", {}).get(numbers[name], {})
        if "exp_avg_sq" not in state:
            raise UnsupportedError(
                "The checkpoint has no second moments of Adam, which this weighting needs; train "
                "with optimizer='adam' and checkpoints=..., or take weighting='sgd'."
            )
        parameter = module.get_parameter(name)
        correction = 1.0 - float(group["betas"][1]) ** float(state["step"])
        moments = state["exp_avg_sq"].to(parameter.dtype) / correction
        eps = float(group["eps"])
        if factored and moments.dim() == 2:
            rows, columns = moments.mean(1), moments.mean(0)
            share = moments.mean().clamp(min=torch.finfo(moments.dtype).tiny).sqrt()
            # A small number for each factor, so that their product stays finite as Adam's does.
            small = eps**0.5
            factors[name] = (
                1.0 / ((rows / share).sqrt() + small),
                1.0 / ((columns / share).sqrt() + small),
            )
            entries[name] = torch.outer(*factors[name])
        else:
            entries[name] = 1.0 / (moments.sqrt() + eps)
    return Weights(entries, factors)
