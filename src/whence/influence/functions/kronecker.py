"""EK-FAC: a block of the Fisher matrix for each layer, diagonal along the axes of its factors.

The gradient of a layer's matrix for one example is a sum of outer products of the layer's output
gradients and its inputs. The eigenvectors of the mean products of both sides, Q_S and Q_A, are axes
along which the layer's Fisher matrix is nearly diagonal; its diagonal there are the second moments
``λ = (1/Z) Σ_s (Q_Sᵀ G_s Q_A)²`` of the examples' gradients G_s, entry by entry, and the inverse of
the whole is applied by dividing by them.

References
----------
-  George, Laurent, Bouthillier, Ballas and Vincent. Fast approximate natural gradient descent in a
   Kronecker-factored eigenbasis. NeurIPS 2018.
-  Grosse et al. Studying large language model generalization with influence functions. 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whence.engines import Report
from whence.errors import UnsupportedError
from whence.influence.capture import Batch, Blocks, gradients
from whence.influence.functions.labels import slopes_of_drawn_labels
from whence.influence.functions.modules import ModuleObjective
from whence.influence.functions.objective import FloatArray, IntArray
from whence.influence.pieces import Dense, Key, Outer, Piece, Rows, as_matrix
from whence.models.training import losses as loss_functions

_LARGEST_SIDE = 1024
"""Rows up to which a matrix gets axes of its own on the side of its outputs."""
_WRITTEN = 1 << 24
"""Numbers of gradients that are written out at once."""


@dataclass(frozen=True)
class _Block:
    """Axes and second moments of one layer.

    Attributes
    ----------
    rows : Tensor [R, R] or None
        Q_S; None: each row is an axis, as in tables with a row for each user or item.
    columns : Tensor [C, C]
        Q_A.
    moments : Tensor [R, C]
        λ.
    """

    rows: Tensor | None
    columns: Tensor
    moments: Tensor

    def turned(self, matrices: Tensor) -> Tensor:
        """Q_Sᵀ G Q_A of matrices [K, R, C]."""
        turned = matrices @ self.columns
        return turned if self.rows is None else self.rows.T @ turned

    def solved(self, matrices: Tensor, ridge: float) -> Tensor:
        """The inverse of the block, with a ridge, times matrices [K, R, C]."""
        back = self.turned(matrices) / (self.moments + ridge)
        back = back if self.rows is None else self.rows @ back
        return back @ self.columns.T


@dataclass(frozen=True)
class KroneckerFactors:
    """The Fisher matrix of an objective as EK-FAC has it, in double precision.

    Attributes
    ----------
    objective : ModuleObjective
    blocks : dict of tuple of str to block
    fisher : {"model", "empirical"}
        Whether labels were drawn from the model, or those of the data were taken, as is done for
        losses that say no distribution.
    """

    objective: ModuleObjective
    blocks: dict[Key, _Block]
    fisher: str

    @classmethod
    def of(
        cls, objective: ModuleObjective, *, seed: int, report: Report | None = None
    ) -> KroneckerFactors:
        """Go through the training examples twice: for the axes, and for the moments along them.

        Parameters
        ----------
        objective : ModuleObjective
            With weights of 0 and 1.
        seed : int
            Of the labels drawn.
        report : callable, optional

        Raises
        ------
        UnsupportedError
            If there is no rule for the gradients of single examples of a layer.
        """
        if not np.isin(objective.weights, (0.0, 1.0)).all():
            raise UnsupportedError(
                "solver='ekfac' takes training examples as they are or leaves them out; with other "
                "weights choose solver='ggn'."
            )
        sweep = _Sweep(objective, seed, report)
        axes = _axes(sweep)
        return cls(objective, _with_moments(sweep, axes), sweep.fisher)

    def solve(self, rows: FloatArray, damping: float) -> FloatArray:
        """The inverse of the matrix times each row, float64 [R, P].

        Parameters
        ----------
        rows : float64 [R, P]
        damping : float
            Added to the moments, beside the penalty.
        """
        objective = self.objective
        names, shapes = objective.names, [p.shape for p in objective.placed()]
        sizes = [shape.numel() for shape in shapes]
        parts = dict(zip(names, torch.split(torch.from_numpy(rows.copy()), sizes, 1)))
        for key, block in self.blocks.items():
            given = [_matrices(parts[name], shapes[names.index(name)]) for name in key]
            solved = block.solved(torch.cat(given, 2), objective.ridge + damping)
            widths = [part.shape[2] for part in given]
            for name, part in zip(key, torch.split(solved, widths, 2)):
                parts[name] = part.reshape(len(rows), -1)
        found: FloatArray = torch.cat([parts[name] for name in names], 1).numpy()
        return found


def factors_of(
    objective: ModuleObjective, seed: int, report: Report | None = None
) -> KroneckerFactors:
    """The Fisher matrix as EK-FAC has it; made once for an objective and a seed.

    Parameters
    ----------
    objective, seed, report
        See `KroneckerFactors.of`.
    """
    if seed not in objective.factors:
        objective.factors[seed] = KroneckerFactors.of(
            objective.on_processor(), seed=seed, report=report
        )
    return objective.factors[seed]


class _Sweep:
    """Goes through the training examples, with the same labels each time."""

    def __init__(self, objective: ModuleObjective, seed: int, report: Report | None) -> None:
        self.objective, self.seed, self.report = objective, seed, report
        self.fisher = "model" if objective.not_convex is None else "empirical"
        parameters = zip(objective.names, objective.placed())
        self.shapes = {name: tuple(as_matrix(p).shape) for name, p in parameters}
        self.numbers = np.flatnonzero(objective.weights)
        self.size = objective.cut_size
        self.passes = 0

    def __iter__(self) -> Iterator[Blocks]:
        """Gradients of one batch after the other."""
        objective = self.objective
        parameters = objective.placed()
        starts = range(0, len(self.numbers), self.size)
        try:
            for parameter in parameters:
                parameter.requires_grad_(False)
            for place, first in enumerate(starts):
                yield self._gradients(self.numbers[first : first + self.size])
                if self.report is not None:
                    self.report(self.passes * len(starts) + place + 1, 2 * len(starts), "")
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)
        self.passes += 1

    def _gradients(self, numbers: IntArray) -> Blocks:
        objective = self.objective
        loss: Callable[[Batch], Tensor] = objective.model.example_loss
        if self.fisher == "model":
            loss = self._of_drawn_labels(int(numbers[0]), len(numbers))
        module = objective.model.module_
        try:
            with objective.computing():
                return gradients(loss, module, objective.batch(numbers), objective.names)[0]
        except UnsupportedError as error:
            raise UnsupportedError(
                f"A layer of {type(module).__name__} does not tell the factors of its gradients, "
                "which solver='ekfac' is made of; choose solver='ggn' or 'cg', or leave the layer "
                "out with layers=…."
            ) from error

    def _of_drawn_labels(self, first: int, count: int) -> Callable[[Batch], Tensor]:
        """A function whose gradients are those of the losses with labels drawn."""
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence([self.seed, first]).generate_state(1)[0])
        )

        def loss(batch: Batch) -> Tensor:
            with loss_functions.cut_at_scores() as cut:
                self.objective.model.example_loss(batch)
            slopes = slopes_of_drawn_labels(cut, generator)
            total = torch.stack([(s * slope).sum() for s, slope in zip(cut.scores, slopes)]).sum()
            return (total / count).expand(count)

        return loss


def _axes(sweep: _Sweep) -> dict[Key, _Block]:
    """Eigenvectors of the mean products of both sides, by layer; no moments yet."""
    sides: dict[Key, list[Tensor | None]] = {}
    for blocks in sweep:
        for key, pieces in blocks.items():
            rows = max(sweep.shapes[name][0] for name in key)
            columns = sum(sweep.shapes[name][1] for name in key)
            if key not in sides:
                alone = rows > _LARGEST_SIDE or any(isinstance(one, Rows) for one in pieces)
                sides[key] = [None if alone else _zeros(rows, rows), _zeros(columns, columns)]
            for piece in pieces:
                _add_products(piece, *sides[key])
    found = {}
    for key, (left, right) in sides.items():
        assert right is not None
        rows = max(sweep.shapes[name][0] for name in key)
        basis = None if left is None else torch.linalg.eigh(left)[1]
        found[key] = _Block(basis, torch.linalg.eigh(right)[1], _zeros(rows, len(right)))
    return found


def _add_products(piece: Piece, left: Tensor | None, right: Tensor | None) -> None:
    """Add the products of the vectors on both sides of gradients of examples."""
    assert right is not None
    if isinstance(piece, Rows):
        right += (piece.values.T @ piece.values).double()
    elif isinstance(piece, Outer):
        inputs = piece.right.flatten(0, 1)
        right += (inputs.T @ inputs).double()
        if left is not None:
            outputs = piece.left.flatten(0, 1)
            window = slice(piece.start, piece.start + outputs.shape[1])
            left[window, window] += (outputs.T @ outputs).double()
    else:
        values = piece.values.double()
        right += torch.einsum("nrc,nrd->cd", values, values)
        if left is not None:
            left += torch.einsum("nrc,nsc->rs", values, values)


def _with_moments(sweep: _Sweep, axes: dict[Key, _Block]) -> dict[Key, _Block]:
    """Add up squares of the gradients along the axes, over the number of loss terms."""
    near: dict[Key, Any] = {}
    for blocks in sweep:
        for key, pieces in blocks.items():
            block = axes[key]
            if key not in near:
                kind = _kind(pieces[0])
                rows = None if block.rows is None else block.rows.to(kind)
                near[key] = rows, block.columns.to(kind)
            turned = [_turned(piece, *near[key]) for piece in pieces]
            _add_squares(turned, block.moments)
    for block in axes.values():
        block.moments.div_(sweep.objective.n_terms)
    return axes


def _turned(piece: Piece, rows: Tensor | None, columns: Tensor) -> Piece:
    """Gradients Q_Sᵀ G Q_A."""
    if isinstance(piece, Rows):
        values = piece.values @ columns
        return Rows(piece.key, piece.n, piece.owner, piece.index, values, piece.n_rows)
    if isinstance(piece, Dense):
        values = piece.values @ columns
        return Dense(piece.key, values if rows is None else rows.T @ values)
    left, start = piece.left, piece.start
    if rows is not None:
        left, start = left @ rows[start : start + left.shape[2]], 0
    return Outer(piece.key[:1], left, (piece.right @ columns,), start)


def _add_squares(pieces: list[Piece], moments: Tensor) -> None:
    """Add Σ_s G_s², entry by entry, to `moments` [R, C]."""
    (piece, *others) = pieces
    if not others and isinstance(piece, Rows):
        # An example may touch a row more than once: its entries are added up first.
        place = piece.owner * piece.n_rows + piece.index
        unique, inverse = torch.unique(place, return_inverse=True)
        values = piece.values.new_zeros(len(unique), piece.values.shape[1])
        values.index_add_(0, inverse, piece.values)
        moments.index_add_(0, unique % piece.n_rows, values.double().square())
    elif not others and isinstance(piece, Outer) and piece.places == 1:
        window = slice(piece.start, piece.start + piece.left.shape[2])
        squares = piece.left[:, 0].square().T @ piece.right[:, 0].square()
        moments[window] += squares.double()
    else:
        n, (rows, columns) = len(piece), moments.shape
        size = max(1, _WRITTEN // (rows * columns))
        for first in range(0, n, size):
            numbers = torch.arange(first, min(first + size, n))
            room = moments.new_zeros(len(numbers), columns, rows, dtype=_kind(piece))
            for one in pieces:
                _taken(one, numbers).write(room)
            moments += room.square_().sum(0, dtype=torch.float64).T


def _taken(piece: Piece, numbers: Tensor) -> Piece:
    """Gradients of examples in a window."""
    if isinstance(piece, Outer):
        return piece.taken(numbers)
    if isinstance(piece, Dense):
        return Dense(piece.key, piece.values[numbers])
    first = int(numbers[0])
    kept = (piece.owner >= first) & (piece.owner < first + len(numbers))
    return Rows(
        piece.key, len(numbers), piece.owner[kept] - first, piece.index[kept],
        piece.values[kept], piece.n_rows,
    )  # fmt: skip


def _kind(piece: Piece) -> torch.dtype:
    return piece.left.dtype if isinstance(piece, Outer) else piece.values.dtype


def _matrices(rows: Tensor, shape: torch.Size) -> Tensor:
    """Parameters, or gradients, [K, R, C] of rows [K, R C]: a vector is a column."""
    first = shape[0] if len(shape) else 1
    return rows.reshape(len(rows), first, -1)


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64)
