"""Products of factors whose gradient is made in one pass, for the steps of training.

Torch makes each gathered row and each of its gradients a tensor of its own, and most of the time
of a step goes by in memory. The gradient here is that of the plain formula, but it has no
derivative of its own, so that attributions, which may need one, take the plain formula.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from whence import _native as kernels
from whence.models.training.pairs import gathered


def products(user_factors: Tensor, item_factors: Tensor, users: Tensor, items: Tensor) -> Tensor:
    """Scalar products [B, n] of each user [B] with each of its items [B, n]."""
    own = gathered(user_factors, users).unsqueeze(1)
    return (own * gathered(item_factors, items)).sum(2)


def fused_products(
    user_factors: Tensor, item_factors: Tensor, users: Tensor, items: Tensor
) -> Tensor:
    """As `products`, with a first derivative only; off the CPU it is `products`."""
    if user_factors.device.type != "cpu":
        return products(user_factors, item_factors, users, items)
    result: Tensor = _Products.apply(user_factors, item_factors, users, items)  # type: ignore[no-untyped-call]
    return result


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, user_factors: Tensor, item_factors: Tensor, users: Tensor, items: Tensor
    ) -> Tensor:
        ctx.save_for_backward(user_factors, item_factors, users, items)
        arrays = _arrays(user_factors, item_factors, users, items)
        return torch.from_numpy(kernels.pair_products(*arrays))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        given = ctx.saved_tensors
        users, items = (
            torch.zeros_like(factors, memory_format=torch.contiguous_format)
            for factors in given[:2]
        )
        kernels.add_gradients(*_arrays(*given, gradient, users, items))
        return users, items, None, None


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
