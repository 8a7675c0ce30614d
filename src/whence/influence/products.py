"""Inner products of gradients that are held as factors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whence import _native as kernels
from whence.influence.pieces import Dense, Outer, Piece, Rows

_ENTRIES = 1 << 24
"""Most numbers in a temporary product."""


def add_inner(a: list[Piece], b: list[Piece], out: Tensor, metric: Tensor | None = None) -> None:
    """Add the inner products of the gradients of one block, [n, m].

    Parameters
    ----------
    a, b : list of pieces
        Of n and of m examples; the gradients are the sums of the pieces.
    out : Tensor [n, m]
    metric : Tensor [R, C], optional
        Weights of the entries in the products of `Outer` with others, whose factors cannot carry
        them; `Rows` carry their square roots already.
    """
    for left in a:
        for right in b:
            if isinstance(left, Outer) and isinstance(right, Outer):
                _outer_outer(left, right, out, metric)
            elif isinstance(left, Rows) and isinstance(right, Rows):
                _rows_rows(left, right, out)
            elif isinstance(left, Rows) and isinstance(right, Outer):
                _rows_outer(left, right, out, metric)
            elif isinstance(left, Outer) and isinstance(right, Rows):
                _rows_outer(right, left, out.T, metric)
            else:
                _written(left, right, out, metric)


def add_norms(
    pieces: list[Piece], out: npt.NDArray[np.float64], metric: Tensor | None = None
) -> None:
    """Add the squared norms of the gradients of one block to float64 [n]; see `add_inner`."""
    for place, piece in enumerate(pieces):
        if isinstance(piece, Rows):
            offsets, index, values = (tensor.numpy() for tensor in piece.by_example)
            kernels.row_norms(offsets, index, values, out)
        elif isinstance(piece, Outer):
            out += _outer_norms(piece, metric).numpy()
        else:
            out += piece.values.square().sum((1, 2), dtype=torch.float64).numpy()
        for other in pieces[place + 1 :]:
            out += 2.0 * _paired(piece, other, metric).numpy()


def _outer_outer(a: Outer, b: Outer, out: Tensor, metric: Tensor | None) -> None:
    """Σ_ts (l_t · l'_s)(r_t · r'_s)."""
    if metric is not None:
        _weighted(a, b, out, metric)
        return
    a_rows, b_rows = _overlap(a, b)
    for s in range(b.places):
        left, right = b.left[:, s, b_rows].T, b.right[:, s].T
        for t in range(a.places):
            out.addcmul_(a.left[:, t, a_rows] @ left, a.right[:, t] @ right)


def _overlap(a: Outer, b: Outer) -> tuple[slice, slice]:
    """Rows of the parameter that both have, as places in each."""
    start = max(a.start, b.start)
    stop = min(a.start + a.left.shape[2], b.start + b.left.shape[2])
    return slice(start - a.start, stop - a.start), slice(start - b.start, stop - b.start)


def _weighted(a: Outer, b: Outer, out: Tensor, metric: Tensor) -> None:
    """Σ_ts (l_t ⊗ r_t) · M ⊙ (l'_s ⊗ r'_s), one example of b after another."""
    a_rows, b_rows = _overlap(a, b)
    start = max(a.start, b.start)
    weights = metric[start : start + (a_rows.stop - a_rows.start)]
    left = a.left[:, :, a_rows].reshape(-1, a_rows.stop - a_rows.start)
    right = a.right.reshape(len(left), -1)
    for j in range(len(b)):
        for s in range(b.places):
            products = ((left * b.left[j, s, b_rows]) @ weights) * right
            out[:, j] += (products @ b.right[j, s]).view(len(a), -1).sum(1)


def _rows_rows(a: Rows, b: Rows, out: Tensor) -> None:
    """A join over the rows of the table that both touch."""
    offsets, owner, values = b.by_row
    kernels.join_rows(
        a.owner.numpy(),
        a.index.numpy(),
        a.values.contiguous().numpy(),
        offsets.numpy(),
        owner.numpy(),
        values.contiguous().numpy(),
        out.numpy(),
    )


def _rows_outer(a: Rows, b: Outer, out: Tensor, metric: Tensor | None) -> None:
    """Σ_k Σ_t l_t[row_k] (v_k · r_t): the entries of a against the rows of b's left sides."""
    inside = (a.index >= b.start) & (a.index < b.start + b.left.shape[2])
    entries = inside.nonzero()[:, 0]
    step = max(1, _ENTRIES // max(1, len(b)))
    for t in range(b.places):
        left, right = b.left[:, t].T.contiguous(), b.right[:, t].T
        for first in range(0, len(entries), step):
            some = entries[first : first + step]
            values = a.values[some]
            if metric is not None:
                values = values * metric[a.index[some]].sqrt()
            products = (values @ right) * left.index_select(0, a.index[some] - b.start)
            out.index_add_(0, a.owner[some], products)


def _written(a: Piece, b: Piece, out: Tensor, metric: Tensor | None) -> None:
    """Any two pieces, written out as matrices: for parameters so small that it is no matter."""
    sizes = [piece.shape for piece in (a, b)]
    rows, columns = max(size[0] for size in sizes), sizes[0][1]
    whole = []
    for piece in (a, b):
        matrix = out.new_zeros(len(piece), columns, rows)
        piece.write(matrix)
        if metric is not None and isinstance(piece, Outer):
            matrix *= metric.T.sqrt()
        whole.append(matrix.flatten(1))
    out.addmm_(whole[0], whole[1].T)


def _outer_norms(piece: Outer, metric: Tensor | None) -> Tensor:
    """‖Σ_t l_t ⊗ r_t‖² of each example, float64 [n]."""
    left, right = piece.left, piece.right
    if metric is not None:
        return _weighted_norms(piece, metric)
    if piece.places == 1:
        lengths = left[:, 0].square().sum(1, dtype=torch.float64)
        return lengths * right[:, 0].square().sum(1, dtype=torch.float64)
    products = (left @ left.transpose(1, 2)) * (right @ right.transpose(1, 2))
    return products.sum((1, 2), dtype=torch.float64)


def _weighted_norms(piece: Outer, metric: Tensor) -> Tensor:
    weights = metric[piece.start : piece.start + piece.left.shape[2]]
    if piece.places == 1:
        products = (piece.left[:, 0].square() @ weights) * piece.right[:, 0].square()
        return products.sum(1, dtype=torch.float64)
    norms = torch.empty(len(piece), dtype=torch.float64)
    for number in range(len(piece)):
        matrix = piece.left[number].T @ piece.right[number]
        norms[number] = (matrix.square() * weights).sum(dtype=torch.float64)
    return norms


def _paired(a: Piece, b: Piece, metric: Tensor | None) -> Tensor:
    """Inner product of two pieces of the same example, float64 [n]."""
    if isinstance(a, Outer) and isinstance(b, Rows):
        return _paired(b, a, metric)
    if isinstance(a, Rows) and isinstance(b, Outer):
        inside = (a.index >= b.start) & (a.index < b.start + b.left.shape[2])
        owner, index, values = a.owner[inside], a.index[inside], a.values[inside]
        if metric is not None:
            values = values * metric[index].sqrt()
        total = torch.zeros(len(a), dtype=torch.float64)
        for t in range(b.places):
            products = (values * b.right[owner, t]).sum(1) * b.left[owner, t, index - b.start]
            total.index_add_(0, owner, products.double())
        return total
    total = torch.zeros(len(a), dtype=torch.float64)
    for number in range(len(a)):
        out = torch.zeros(1, 1, dtype=_values(a).dtype)
        _pair_inner(_one(a, number), _one(b, number), out, metric)
        total[number] = out[0, 0].double()
    return total


def _pair_inner(a: Piece, b: Piece, out: Tensor, metric: Tensor | None) -> None:
    add_inner([a], [b], out, metric)


def _one(piece: Piece, number: int) -> Piece:
    """The piece of one example."""
    if isinstance(piece, Outer):
        return piece.taken(torch.tensor([number]))
    if isinstance(piece, Dense):
        return Dense(piece.key, piece.values[number : number + 1])
    chosen = piece.owner == number
    owner = piece.owner[chosen] - number
    return Rows(piece.key, 1, owner, piece.index[chosen], piece.values[chosen], piece.n_rows)


def _values(piece: Piece) -> Tensor:
    return piece.left if isinstance(piece, Outer) else piece.values
