"""Where the batch is in a tensor: which dimension, and which example each of its indices is of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_AXIS, _OWNERS = "_whence_axis", "_whence_owners"
UNKNOWN = -1


def batched(tensor: Tensor, axis: int = 0, owners: Tensor | None = None) -> Tensor:
    """Say that a tensor comes from the batch.

    Parameters
    ----------
    tensor : Tensor
    axis : int
        The dimension of the batch; `UNKNOWN` where nobody can tell.
    owners : int64 Tensor, optional
        Example of each of its indices, where these are not the examples in their order.
    """
    setattr(tensor, _AXIS, axis)
    if owners is not None:
        setattr(tensor, _OWNERS, owners)
    return tensor


def axis_of(tensor: Tensor) -> int | None:
    """The dimension of the batch, None for a tensor that does not come from it."""
    return getattr(tensor, _AXIS, None)


def owners_of(tensor: Tensor) -> Tensor | None:
    """Example of each index, if that was said."""
    return getattr(tensor, _OWNERS, None)


_SWAPS = frozenset(
    {
        torch.transpose, torch.swapaxes, torch.swapdims, torch.Tensor.transpose,
        torch.Tensor.swapaxes, torch.Tensor.swapdims,
    }
)  # fmt: skip
_TURNS: frozenset[Any] = frozenset(getattr(torch.Tensor, name).__get__ for name in ("T", "mT"))
_SHAPES = frozenset(
    getattr(home, name)
    for home, names in (
        (torch, ("reshape", "flatten", "unflatten")),
        (torch.Tensor, ("reshape", "flatten", "unflatten", "view")),
    )
    for name in names
)
_PERMUTES = frozenset({torch.permute, torch.Tensor.permute})
_INDEXES = frozenset({torch.select, torch.Tensor.select})
_REDUCES = frozenset(
    getattr(home, name)
    for home in (torch, torch.Tensor)
    for name in ("sum", "mean", "amax", "amin", "logsumexp", "norm")
)
_ROWS = frozenset({torch.index_select, torch.Tensor.index_select})
_PACK, _UNPACK = torch._VF._pack_padded_sequence, torch._VF._pad_packed_sequence


def followed(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], given: Tensor, n: int
) -> Any:
    """Functions of a result of `func` that say where its batch is, from that of an argument.

    Parameters
    ----------
    func : callable
    args, kwargs
        What it was called with.
    given : Tensor
        The argument from the batch.
    n : int
        Number of examples.

    Returns
    -------
    callable
        From a tensor of the result to the same tensor, with what is known of it.
    """
    axis = axis_of(given)
    assert axis is not None
    if not args or args[0] is not given:
        n_dims = given.dim()
        return lambda one: batched(one, axis if axis == 0 or one.dim() == n_dims else UNKNOWN)
    if func in _ROWS and _dim(args, kwargs, given) == axis:
        chosen = _chosen(given, axis, args[2] if len(args) > 2 else kwargs["index"], n)
        return lambda tensor: batched(tensor, axis, chosen)
    if func is _PACK and axis == (0 if args[2] else 1):
        packed = _packed(given, args[1], axis)
        return lambda tensor: batched(tensor, 0, packed)
    if func is _UNPACK:
        whose, first = owners_of(given), 0 if args[2] else 1
        owners = None if whose is None else whose[: int(args[1][0])]
        return lambda tensor: batched(tensor, UNKNOWN if whose is None else first, owners)
    moved = _axis_after(func, args, kwargs, given, axis)

    def mark(tensor: Tensor) -> Tensor:
        after = moved
        if after is None:
            after = axis if tensor.dim() == given.dim() else UNKNOWN
        owners = owners_of(given)
        same = axis == after == 0 and tensor.shape[:1] == given.shape[:1]
        return batched(tensor, after, owners if same and func not in _TURNS else None)

    return mark


def _axis_after(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], given: Tensor, axis: int
) -> int | None:
    """Where the batch goes; None where that depends on the result's number of dimensions."""
    if axis == UNKNOWN:
        return UNKNOWN
    n = given.dim()
    if func in _SWAPS:
        first, second = (int(value) % n for value in (*args[1:], *kwargs.values())[:2])
        return {first: second, second: first}.get(axis, axis)
    if func in _TURNS:
        if n != 2:
            return UNKNOWN
        return 1 - axis
    if func in _PERMUTES:
        dims = args[1:] if len(args) > 2 else (args[1] if len(args) > 1 else kwargs["dims"])
        return [int(dim) % n for dim in dims].index(axis)
    if axis == 0:
        return 0  # what is made of rows of the batch has them first
    if func in _SHAPES:
        return UNKNOWN
    if func is torch.Tensor.__getitem__:
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        if not all(isinstance(one, (int, slice)) for one in index):
            return UNKNOWN
        return axis - sum(isinstance(one, int) for one in index[:axis])
    if func in _INDEXES:
        return axis - (int(args[1]) % n < axis)
    if func in _REDUCES:
        dim = _dim(args, kwargs, given)
        if dim is None or dim == axis:
            return UNKNOWN
        return None if kwargs.get("keepdim") or len(args) > 2 else axis - (dim < axis)
    return None


def _dim(args: tuple[Any, ...], kwargs: dict[str, Any], given: Tensor) -> int | None:
    """Argument that names a dimension."""
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    if isinstance(dim, (list, tuple)) and len(dim) == 1:
        dim = dim[0]
    return dim % given.dim() if isinstance(dim, int) and given.dim() else None


def _chosen(given: Tensor, axis: int, index: Tensor, n: int) -> Tensor | None:
    """Examples of some indices; None where they are in order, or nobody can tell."""
    owners, size = owners_of(given), given.shape[axis]
    if owners is not None:
        found = owners[index]
    elif size % n == 0 and (size == n or axis == 0):
        found = index // (size // n)
    else:
        return None
    in_order = len(found) == n and torch.equal(found, torch.arange(n))
    return None if in_order else found


def _packed(given: Tensor, lengths: Tensor, axis: int) -> Tensor:
    """Example of each row of a packed sequence, its sequences being in the order of `given`."""
    owners = owners_of(given)
    if owners is None:
        owners = torch.arange(given.shape[axis])
    steps = torch.arange(int(lengths.max())).unsqueeze(1)
    return owners.expand(len(steps), -1)[steps < lengths.cpu()]
