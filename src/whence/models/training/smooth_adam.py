"""Adam with a constant under the root, which makes its steps smooth functions of the gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class SmoothAdam(torch.optim.Optimizer):
    """Adam that divides by ``sqrt(v + eps_root) + eps``, v being the corrected second moment.

    Its state has the names of that of `torch.optim.Adam`.

    Parameters
    ----------
    params : iterable of Tensor
    lr : float
    weight_decay : float
    eps_root : float
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        weight_decay: float = 0.0,
        eps_root: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": weight_decay,
            "eps_root": eps_root,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step."""
        value = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return value

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        number, (first, second) = float(state["step"]), group["betas"]
        if self.decoupled:
            parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
        elif group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        mean = state["exp_avg"].lerp_(gradient, 1.0 - first)
        square = state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1.0 - second)
        root = (square / (1.0 - second**number)).add_(group["eps_root"]).sqrt_().add_(group["eps"])
        parameter.addcdiv_(mean, root, value=-group["lr"] / (1.0 - first**number))


class SmoothAdamW(SmoothAdam):
    """With decoupled decay."""

    decoupled = True
