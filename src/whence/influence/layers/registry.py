"""Which rule belongs to which use of a parameter.

Rules are found by the torch function that is given the parameter (``linear``, ``embedding``,
``lstm``, ...), not by the class of the layer: so a parameter that is used outside its own layer,
as an embedding that is also the output matrix, is seen there, too, and a use for which there is
no rule cannot be overlooked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from whence.influence.pieces import Piece

Build = Callable[[Tensor], list[Piece]]


@dataclass(frozen=True)
class View:
    """A parameter as a function was given it: whole, some rows of it, or transposed.

    Attributes
    ----------
    name : str
        Of the parameter.
    start : int
        Its first row in the view.
    transposed : bool
    """

    name: str
    start: int = 0
    transposed: bool = False


class Recorder(Protocol):
    """What a rule may ask; see `whence.influence.capture.Capture`."""

    n: int

    def view_of(self, tensor: Any) -> View | None:
        """What an argument is of a tracked parameter."""

    def mark(self, tensor: Tensor, view: View) -> Tensor:
        """Say that a tensor is a view of a parameter."""

    def parameter(self, name: str) -> Tensor:
        """The parameter itself."""

    def is_batched(self, tensor: Tensor) -> bool:
        """Whether a tensor comes from the batch, so that its rows belong to examples."""

    def owners(self, tensor: Tensor) -> Tensor:
        """Example of each index of the first dimension, int64 [N]."""

    def by_example(self, tensor: Tensor, keep: int = 1) -> Tensor:
        """The tensor as [n, T, ...]; its last `keep` dimensions stay."""

    def tap(self, output: Tensor, build: Build) -> Tensor:
        """Ask for the gradient of `output`, of which `build` makes pieces."""


@dataclass(frozen=True)
class Call:
    """A call of a torch function with a tracked parameter among its arguments."""

    recorder: Recorder
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument, by place or by name."""
        return self.args[place] if place < len(self.args) else self.kwargs.get(name, default)


Rule = Callable[[Call], Any]
_RULES: dict[Any, Rule] = {}


def register_layer(*functions: Any) -> Callable[[Rule], Rule]:
    """Register the rule for torch functions that are given a parameter.

    Parameters
    ----------
    *functions : callable
        Such as ``torch.nn.functional.linear``.

    Returns
    -------
    callable
        A decorator for ``rule(call) -> output``. The rule returns what the function would, and
        says by ``call.recorder.tap(output, build)`` whose gradient it needs; ``build(gradient)``
        makes the pieces. It returns NotImplemented for a use that it does not know.

    Notes
    -----
    The outputs of a rule must have the examples of the batch in their first dimension.
    """

    def register(rule: Rule) -> Rule:
        for function in functions:
            _RULES[function] = rule
        return rule

    return register


def rule_of(function: Any) -> Rule | None:
    """Find the rule for a function."""
    return _RULES.get(function)


# What asks a tensor for facts, and touches no value.
HARMLESS = frozenset(
    {
        torch.Tensor.size,
        torch.Tensor.dim,
        torch.Tensor.ndimension,
        torch.Tensor.numel,
        torch.Tensor.nelement,
        torch.Tensor.__len__,
        torch.Tensor.stride,
        torch.Tensor.is_contiguous,
        torch.Tensor.is_floating_point,
        torch.Tensor.get_device,
        torch.Tensor.__repr__,
        *(
            getattr(torch.Tensor, name).__get__
            for name in (
                "shape", "dtype", "device", "ndim", "is_cuda", "requires_grad", "layout",
                "is_sparse", "is_nested", "is_leaf", "is_quantized", "is_meta", "itemsize",
            )
        ),
    }
)  # fmt: skip
