"""Gradients of single examples, in the form that a layer gives them: factors, not matrices.

The gradient of a parameter, a matrix of R rows and C columns, is held for n examples at once as

- `Outer`: a sum over T places of outer products of a left vector (the gradient of the layer's
  output) and a right vector (its input), as linear and recurrent layers give it;
- `Rows`: a few rows of a table, as an embedding gives it;
- `Dense`: the gradient itself, for small parameters.

A parameter that is used twice (an embedding that is also the output matrix) has one piece for
each use; its gradient is their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence import _native as kernels

_FEW_PLACES = 12

Key = tuple[str, ...]
"""Parameters whose columns lie side by side: the matrix of a layer, and its bias."""


@dataclass(frozen=True)
class Outer:
    """Gradients Σ_t left_t ⊗ right_t of parameters that share the left side.

    Attributes
    ----------
    key : tuple of str
        The parameters, one for each of `rights`.
    left : Tensor [n, T, R]
    rights : tuple of Tensor [n, T, C_k] or None
        None for a bias: a column of ones. Biases come last.
    start : int
        Row of the parameter that the first row of `left` belongs to.
    """

    key: Key
    left: Tensor
    rights: tuple[Tensor | None, ...]
    start: int = 0

    def __len__(self) -> int:
        return len(self.left)

    @cached_property
    def right(self) -> Tensor:
        """All right sides side by side, [n, T, C]."""
        ones = self.left.new_ones(1).expand(*self.left.shape[:2], 1)
        parts = [ones if part is None else part for part in self.rights]
        if len(parts) == 1:
            return parts[0]
        if self._is_by_place:
            return torch.cat([part.transpose(0, 1) for part in parts], 2).transpose(0, 1)
        return torch.cat(parts, 2)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (of `left`) and columns of the gradient."""
        columns = sum(1 if part is None else part.shape[2] for part in self.rights)
        return self.left.shape[2], columns

    @property
    def places(self) -> int:
        """T."""
        return self.left.shape[1]

    @property
    def _is_by_place(self) -> bool:
        """Whether memory has all examples of the first place first, as recurrent layers do."""
        return self.left.transpose(0, 1).is_contiguous()

    @property
    def n_numbers(self) -> int:
        """Numbers held."""
        return self.left.numel() + sum(part.numel() for part in self.rights if part is not None)

    def split(self) -> list[Outer]:
        """The same gradients with each parameter by itself."""
        return [
            Outer((name,), self.left, (right,), self.start)
            for name, right in zip(self.key, self.rights)
        ]

    def write(self, out: Tensor, *, add: bool = True) -> None:
        """Add the gradients, transposed, to a tensor [n, C, R], or put them there."""
        rows = self.left.shape[2]
        target = out[:, :, self.start : self.start + rows]
        if not add and target.shape != out.shape:
            out.zero_()
        # All places of an example side by side: products of strided ones wait for memory.
        left = self.left.contiguous()
        inputs = [right for right in self.rights if right is not None]
        first, n_biases = 0, len(self.rights) - len(inputs)
        if inputs:
            right = torch.cat(inputs, 2) if len(inputs) > 1 else inputs[0].contiguous()
            first = right.shape[2]
            columns = target[:, :first]
            if self.places <= _FEW_PLACES:
                kernels.write_products(left.numpy(), right.numpy(), add, columns.numpy())
            else:
                beta = 1.0 if add else 0.0
                torch.baddbmm(columns, right.transpose(1, 2), left, beta=beta, out=columns)
        if n_biases:
            columns = target[:, first:]
            total = left.sum(1, keepdim=True)
            columns.copy_(total + columns if add else total.expand_as(columns))

    def contract(self, direction: Tensor, out: npt.NDArray[np.float64]) -> None:
        """Add the inner products with one matrix [rows, C] to float64 [n]."""
        rows = self.left.shape[2]
        left = self.left.transpose(0, 1).reshape(-1, rows)
        widths = [1 if part is None else part.shape[2] for part in self.rights]
        parts = torch.split(direction[self.start : self.start + rows], widths, 1)
        for right, matrix in zip(self.rights, parts):
            if right is None:
                out += (left @ matrix).view(-1, len(self)).sum(0, dtype=torch.float64).numpy()
                continue
            inputs = right.transpose(0, 1).reshape(-1, right.shape[2])
            # The product with the longer side of the matrix is the smaller one.
            by_left = rows >= right.shape[2]
            pair = (left @ matrix, inputs) if by_left else (inputs @ matrix.T, left)
            kernels.add_dots(*(part.contiguous().numpy() for part in pair), len(self), out)

    def scaled(self, rows: Tensor, columns: Tensor) -> Outer:
        """Gradients times ``rows[r] * columns[c]``; of one parameter, not of a bias."""
        part = rows[self.start : self.start + self.left.shape[2]]
        return Outer(self.key, self.left * part, (self.right * columns,), self.start)

    def taken(self, numbers: Tensor) -> Outer:
        """Those of some examples."""
        rights = tuple(None if part is None else part[numbers] for part in self.rights)
        return Outer(self.key, self.left[numbers], rights, self.start)


@dataclass(frozen=True)
class Rows:
    """Gradients of a table that touch a few of its rows.

    Attributes
    ----------
    key : tuple of str
        The parameter.
    n : int
        Number of examples.
    owner : int64 Tensor [N]
        Example of each entry, in any order.
    index : int64 Tensor [N]
        Row of the table; an example may touch a row more than once.
    values : Tensor [N, C]
    n_rows : int
        Rows of the table.
    """

    key: Key
    n: int
    owner: Tensor
    index: Tensor
    values: Tensor
    n_rows: int

    def __len__(self) -> int:
        return self.n

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the table."""
        return self.n_rows, self.values.shape[1]

    @property
    def n_numbers(self) -> int:
        """Numbers held."""
        return self.values.numel() + 2 * len(self.owner)

    @property
    def per_example(self) -> float:
        """Entries per example."""
        return len(self.owner) / max(self.n, 1)

    @cached_property
    def by_example(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sorted by example: offsets [n + 1], rows of the table [N], values [N, C]."""
        order = torch.argsort(self.owner, stable=True)
        counts = torch.bincount(self.owner, minlength=self.n)
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return offsets, self.index[order], self.values[order]

    @cached_property
    def by_row(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sorted by row of the table: offsets [n_rows + 1], owners [N], values [N, C]."""
        order = torch.argsort(self.index, stable=True)
        counts = torch.bincount(self.index, minlength=self.n_rows)
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return offsets, self.owner[order], self.values[order]

    def write(self, out: Tensor, *, add: bool = True) -> None:
        """Add the gradients, transposed, to a tensor [n, C, R], or put them there."""
        if not add:
            out.zero_()
        # Advanced indices are moved to the front: entries [N, C].
        flat = out.transpose(1, 2)
        flat.index_put_((self.owner, self.index), self.values, accumulate=True)

    def contract(self, direction: Tensor, out: npt.NDArray[np.float64]) -> None:
        """Add the inner products with one matrix [n_rows, C] to float64 [n]."""
        kernels.add_dots_with_rows(
            self.owner.numpy(),
            self.index.numpy(),
            self.values.contiguous().numpy(),
            direction.contiguous().numpy(),
            out,
        )

    def scaled(self, scale: Tensor) -> Rows:
        """Gradients times a matrix [n_rows, C], entry by entry."""
        values = self.values * scale[self.index]
        return Rows(self.key, self.n, self.owner, self.index, values, self.n_rows)


@dataclass(frozen=True)
class Dense:
    """Gradients of a small parameter, written out.

    Attributes
    ----------
    key : tuple of str
        The parameter.
    values : Tensor [n, R, C]
        C is 1 for a vector.
    """

    key: Key
    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the parameter."""
        return self.values.shape[1], self.values.shape[2]

    @property
    def n_numbers(self) -> int:
        """Numbers held."""
        return self.values.numel()

    def write(self, out: Tensor, *, add: bool = True) -> None:
        """Add the gradients, transposed, to a tensor [n, C, R], or put them there."""
        if not add:
            out.zero_()
        out += self.values.transpose(1, 2)

    def contract(self, direction: Tensor, out: npt.NDArray[np.float64]) -> None:
        """Add the inner products with one matrix [R, C] to float64 [n]."""
        out += (self.values.flatten(1) @ direction.flatten()).numpy()


Piece = Outer | Rows | Dense


def by_time(
    recorder: Any,
    grad: Tensor,
    views: Sequence[Any],
    rights: Sequence[Tensor | None],
    owners: Tensor | None = None,
) -> list[Piece]:
    """Pieces of a recurrent layer, from tensors [T, B, ...] and views of its tracked weights.

    `owners` are the examples of the B sequences, where these are not in the examples' order.
    """
    kept = [(view, right) for view, right in zip(views, rights) if view is not None]
    if not kept:
        return []

    def ordered(tensor: Tensor) -> Tensor:
        by_sequence = tensor.transpose(0, 1)
        if owners is None and len(by_sequence) == recorder.n:
            return by_sequence
        found: Tensor = recorder.by_example(by_sequence, owners=owners)
        return found

    parts = tuple(None if right is None else ordered(right) for _, right in kept)
    return [Outer(tuple(view.name for view, _ in kept), ordered(grad), parts)]


def merged(pieces: list[Piece]) -> list[Piece]:
    """The same gradients, with the uses of a layer at several times as places of one use."""
    groups: dict[Any, list[Outer]] = {}
    for piece in pieces:
        if isinstance(piece, Outer):
            groups.setdefault((piece.key, piece.start, piece.shape), []).append(piece)
    out: list[Piece] = []
    for piece in pieces:
        if not isinstance(piece, Outer):
            out.append(piece)
            continue
        group = groups.pop((piece.key, piece.start, piece.shape), None)
        if group is not None:
            out.append(group[0] if len(group) == 1 else _one_use(group))
    return out


def _one_use(group: list[Outer]) -> Outer:
    rights = tuple(
        None if part is None else torch.cat([piece.rights[k] for piece in group], 1)  # type: ignore[misc]
        for k, part in enumerate(group[0].rights)
    )
    left = torch.cat([piece.left for piece in group], 1)
    return Outer(group[0].key, left, rights, group[0].start)


def as_matrix(tensor: Tensor) -> Tensor:
    """A parameter, or its gradient, as a matrix [R, C]: a vector is a column."""
    return tensor.reshape(len(tensor), -1) if tensor.dim() else tensor.reshape(1, 1)


def joined(batches: list[Piece]) -> Piece:
    """Pieces of the same kind and key, of several batches, as those of one batch."""
    first = batches[0]
    if len(batches) == 1:
        return first
    if isinstance(first, Rows):
        rows = [piece for piece in batches if isinstance(piece, Rows)]
        starts = np.cumsum([0, *(piece.n for piece in rows)])
        return Rows(
            first.key,
            int(starts[-1]),
            torch.cat([piece.owner + int(start) for piece, start in zip(rows, starts)]),
            torch.cat([piece.index for piece in rows]),
            torch.cat([piece.values for piece in rows]),
            first.n_rows,
        )
    if isinstance(first, Outer):
        outers = [piece for piece in batches if isinstance(piece, Outer)]
        places = max(piece.places for piece in outers)
        left = torch.cat([_padded(piece.left, places) for piece in outers])
        rights = tuple(
            None
            if part is None
            else torch.cat([_padded(piece.rights[k], places) for piece in outers])  # type: ignore[arg-type]
            for k, part in enumerate(first.rights)
        )
        return Outer(first.key, left, rights, first.start)
    return Dense(first.key, torch.cat([piece.values for piece in batches]))  # type: ignore[union-attr]


def _padded(tensor: Tensor, places: int) -> Tensor:
    missing = places - tensor.shape[1]
    return tensor if not missing else torch.nn.functional.pad(tensor, (0, 0, 0, missing))
