"""Hessian and Gauss-Newton matrix of torch modules, by their products with vectors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from whence.influence.functions.objective import Equations, FloatArray, Hessian
from whence.models.training.loop import torch_threads

if TYPE_CHECKING:
    from whence.influence.functions.modules import ModuleObjective

_PROBES = 4


class ModuleHessian(Hessian):
    """Products with the Hessian by differentiating twice."""

    def __init__(self, objective: ModuleObjective, damping: float) -> None:
        self.objective = objective
        self.ridge = objective.ridge + damping

    @property
    def n_parameters(self) -> int:
        """P."""
        return len(self.objective.vector)

    def apply(self, rows: FloatArray) -> FloatArray:
        """Product with each row; see `Hessian`."""
        objective = self.objective
        parameters, out = objective.placed(), np.zeros_like(rows)
        ways = [objective.split(row) for row in rows]
        for numbers, losses in objective.batches():
            weights = objective.tensor(objective.weights[numbers])
            slopes = torch.autograd.grad(
                losses @ weights, parameters, create_graph=True, allow_unused=True
            )
            for row, way in enumerate(ways):
                along = derivative_along(slopes, way)
                if along is None or not along.requires_grad:
                    continue
                bent = torch.autograd.grad(along, parameters, retain_graph=True, allow_unused=True)
                out[row] += flat(bent, parameters)
        product: FloatArray = out / objective.n_terms + self.ridge * rows
        return product

    def equations(self, rows: FloatArray) -> Equations:
        """The equations as they are, the diagonal as preconditioner; see `Hessian`."""
        diagonal = self._diagonal
        return Equations(self.apply, lambda r: r / diagonal, rows, lambda x: x)

    @cached_property
    def _diagonal(self) -> FloatArray:
        """Diagonal, estimated by products with random signs (Hutchinson), one value per row.

        The rows of a table of embeddings differ by how often they are used, the entries of one row
        little, so that their mean is a better estimate than each of them.
        """
        rng = np.random.default_rng(0)
        signs = rng.choice([-1.0, 1.0], size=(_PROBES, self.n_parameters))
        estimate = (signs * self.apply(signs)).mean(axis=0)
        parts = []
        for part in self.objective.split(estimate):
            means = part.reshape(len(part), -1).mean(1, keepdim=True) if part.dim() > 1 else part
            parts.append(means.expand_as(part.reshape(len(part), -1) if part.dim() > 1 else part))
        sizes = torch.cat([part.reshape(-1) for part in parts]).abs().cpu().numpy()
        floor = max(self.ridge, 1e-3 * float(sizes.mean()))
        result: FloatArray = np.maximum(sizes, floor)
        return result


class ModuleGaussNewton(ModuleHessian):
    """Products with the Gauss-Newton matrix: to the scores, through the loss, and back."""

    def apply(self, rows: FloatArray) -> FloatArray:
        """Product with each row; see `Hessian`."""
        objective = self.objective
        parameters, out = objective.placed(), np.zeros_like(rows)
        ways = [objective.split(row) for row in rows]
        for numbers, losses, cut in objective.cut_batches():
            weights = objective.tensor(objective.weights[numbers])
            slopes = torch.autograd.grad(losses @ weights, cut.leaves, create_graph=True)
            # Pulled back to the parameters by `weights` that are differentiated in their turn,
            # scores give their derivatives along a direction.
            pulls = [torch.zeros_like(scores, requires_grad=True) for scores in cut.scores]
            pulled = torch.autograd.grad(
                cut.scores, parameters, pulls, create_graph=True, allow_unused=True
            )
            for row, way in enumerate(ways):
                along = derivative_along(pulled, way)
                if along is None:
                    continue
                pushed = torch.autograd.grad(
                    along, pulls, retain_graph=True, materialize_grads=True
                )
                bent = torch.autograd.grad(
                    slopes, cut.leaves, pushed, retain_graph=True, materialize_grads=True
                )
                back = torch.autograd.grad(
                    cut.scores, parameters, bent, retain_graph=True, allow_unused=True
                )
                out[row] += flat(back, parameters)
        product: FloatArray = out / objective.n_terms + self.ridge * rows
        return product


def derivative_along(slopes: tuple[Tensor | None, ...], way: list[Tensor]) -> Tensor | None:
    """Inner product of gradients by parameter with a direction; None if they are nothing."""
    parts = [(slope * part).sum() for slope, part in zip(slopes, way) if slope is not None]
    return torch.stack(parts).sum() if parts else None


def flat(gradients: tuple[Tensor | None, ...], parameters: list[nn.Parameter]) -> FloatArray:
    """Gradients by parameter as one vector [P], zeros for what there is no gradient of."""
    parts = [
        torch.zeros_like(p).reshape(-1) if g is None else g.detach().reshape(-1)
        for g, p in zip(gradients, parameters)
    ]
    flat: FloatArray = torch.cat(parts).cpu().numpy()
    return flat


@contextmanager
def twice_differentiable(threads: int) -> Iterator[None]:
    """Attention and recurrent layers in a form that has second derivatives, not the fused one.

    By as many threads of torch as the model is trained with: their number changes rounding.
    """
    before = torch._C._get_mkldnn_enabled()
    with (
        torch_threads(threads),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.cudnn.flags(enabled=False),
    ):
        # torch.backends.mkldnn.flags does this, too, and warns of devices that nobody asked for.
        torch._C._set_mkldnn_enabled(False)
        try:
            yield
        finally:
            torch._C._set_mkldnn_enabled(before)
