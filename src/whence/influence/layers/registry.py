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

from whence.errors import ParameterError
from whence.influence.pieces import Piece

Build = Callable[[Tensor], list[Piece]]


@dataclass(frozen=True)
class View:
    """A parameter as a function was given it: whole, a part of it, or transposed.

    Attributes
    ----------
    name : str
        Of the parameter.
    rows, columns : (int, int)
        First and last (exclusive) row and column of the part, the parameter being a matrix (a
        vector is a column).
    transposed : bool
    padded : bool
        Whether it has rows of zeros around, so that `rows` go beyond the parameter's.
    """

    name: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    transposed: bool = False
    padded: bool = False

    @classmethod
    def of(cls, name: str, parameter: Tensor, part: Tensor) -> View | None:
        """Find out which part of a parameter a tensor with the same memory is.

        None for what is no block of rows and columns.
        """
        whole = parameter.reshape(len(parameter), -1) if parameter.dim() else parameter.view(1, 1)
        width = whole.shape[1]
        if part is parameter:
            return cls(name, (0, len(whole)), (0, width))
        sizes = [(size, step) for size, step in zip(part.shape, part.stride()) if size != 1]
        first_row, first_column = divmod(
            int(part.storage_offset()) - int(parameter.storage_offset()), width
        )
        n_rows = n_columns = 1
        transposed = part.dim() == 2 and part.stride(0) == 1 and part.stride(1) == width
        for size, step in sizes:
            if step == width and n_rows == 1:
                n_rows = size
            elif step == 1 and n_columns == 1:
                n_columns = size
            else:
                return None
        if width == 1:
            transposed = False
        rows = (first_row, first_row + n_rows)
        return cls(name, rows, (first_column, first_column + n_columns), transposed)

    @property
    def start(self) -> int:
        """First row."""
        return self.rows[0]

    def whole_columns(self, parameter: Tensor) -> bool:
        """Whether no column of the parameter is left out."""
        width = parameter[0].numel() if parameter.dim() > 1 else 1
        return self.columns == (0, width)


class Recorder(Protocol):
    """What a rule may ask; see `whence.influence.capture.Capture`."""

    n: int

    def view_of(self, tensor: Any) -> View | None:
        """What an argument is of a tracked parameter."""

    def mark(self, tensor: Tensor, view: View) -> Tensor:
        """Say that a tensor stands for (a part of) a parameter."""

    def parameter(self, name: str) -> Tensor:
        """The parameter itself."""

    def whole(self, tensor: Tensor) -> str | None:
        """Name of the tracked parameter that a tensor is, as it stands."""

    def note_lookup(self, rows: Tensor, numbers: Tensor, weight: Tensor) -> None:
        """Say that `rows` are those of a table with some numbers."""

    def looked_up(self, rows: Tensor) -> tuple[Tensor, str] | None:
        """Numbers of the rows of a tracked parameter that a tensor consists of, and its name."""

    def table(self, key: Any, make: Callable[[], Tensor]) -> Tensor | None:
        """What follows from the parameters alone, if such is kept."""

    def is_batched(self, tensor: Tensor) -> bool:
        """Whether a tensor comes from the batch, so that its rows belong to examples."""

    def owners(self, tensor: Tensor) -> Tensor:
        """Example of each index of the first dimension, int64 [N]."""

    def batched(self, tensor: Tensor, like: Tensor | None = None) -> Tensor:
        """Say that the rows of a tensor belong to examples, as those of another."""

    def call(self, function: Any, *args: Any) -> Any:
        """Call a torch function with tracked parameters, by its rule."""

    def said_owners(self, tensor: Tensor) -> Tensor | None:
        """Example of each row of a tensor whose rows are in an order of their own."""

    def by_example(self, tensor: Tensor, keep: int = 1, owners: Tensor | None = None) -> Tensor:
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


ANYWHERE: set[Any] = set()
"""Functions whose rules know themselves which dimension of their arguments the batch is."""


def register_layer(*functions: Any, anywhere: bool = False) -> Callable[[Rule], Rule]:
    """Register the rule for torch functions that are given a parameter.

    Parameters
    ----------
    *functions : callable
        Such as ``torch.nn.functional.linear``.
    anywhere : bool
        Whether the rule knows itself which dimension of the arguments the batch is; else the
        first argument has it first, and so must the output.

    Returns
    -------
    callable
        A decorator for ``rule(call) -> output``. The rule returns what the function would, and
        says by ``call.recorder.tap(output, build)`` whose gradient it needs; ``build(gradient)``
        makes the pieces. It returns NotImplemented for a use that it does not know.

    Notes
    -----
    The outputs of a rule must have the examples of the batch in their first dimension.

    Raises
    ------
    ParameterError
        If another rule is registered for one of the functions.
    """

    def register(rule: Rule) -> Rule:
        for function in functions:
            taken = _RULES.get(function)
            if taken is not None and _origin(taken) != _origin(rule):
                raise ParameterError(
                    f"{getattr(function, '__name__', function)} has a rule already, "
                    f"{taken.__module__}.{taken.__qualname__}; leave one of them out."
                )
            _RULES[function] = rule
            if anywhere:
                ANYWHERE.add(function)
        return rule

    return register


def _origin(rule: Rule) -> tuple[str, str]:
    return rule.__module__, rule.__qualname__


def rule_of(function: Any) -> Rule | None:
    """Find the rule for a function."""
    return _RULES.get(function)


# What gives a part of a parameter, or the parameter in another shape.
VIEWS = frozenset(
    {
        torch.t, torch.transpose, torch.squeeze, torch.unsqueeze, torch.narrow, torch.select,
        torch.flatten, torch.reshape,
        *(
            getattr(torch.Tensor, name)
            for name in (
                "t", "transpose", "squeeze", "unsqueeze", "narrow", "select", "view", "reshape",
                "flatten", "contiguous",
            )
        ),
        torch.Tensor.T.__get__, torch.Tensor.mT.__get__,  # type: ignore[attr-defined]
    }
)  # fmt: skip

# What asks a tensor for facts, or takes it out of the gradient.
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
        torch.Tensor.detach,
        torch.Tensor.data.__get__,  # type: ignore[attr-defined]
        *(
            getattr(torch.Tensor, name).__get__
            for name in (
                "shape", "dtype", "device", "ndim", "is_cuda", "requires_grad", "layout",
                "is_sparse", "is_nested", "is_leaf", "is_quantized", "is_meta", "itemsize",
            )
        ),
    }
)  # fmt: skip
