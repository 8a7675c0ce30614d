"""Which parameters count: all, the last layer, the embeddings, or some by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from whence.errors import ParameterError, did_you_mean
from whence.influence.capture import tensors
from whence.influence.checkpoints import State
from whence.influence.layers.registry import HARMLESS


def selected_names(
    state: State, trainable: list[str], layers: str | Iterable[str], batch: dict[str, Any]
) -> list[str]:
    """Names of the parameters that are looked at, in the order of the module.

    Parameters
    ----------
    state : State
    trainable : list of str
        Names of the parameters that training changes.
    layers : {"all", "last", "embedding"} or names
        "last" is the layer whose parameters are used last; names are of parameters or modules.
    batch : dict of str to Tensor
        A few examples, to see which layer is last.

    Raises
    ------
    ParameterError
        If a name is unknown, or nothing is left.
    """
    if layers == "all":
        return trainable
    if layers == "last":
        return _last(state, trainable, batch)
    if layers == "embedding":
        tables = (nn.Embedding, nn.EmbeddingBag)
        modules = state.module.named_modules()
        owners = {name for name, module in modules if isinstance(module, tables)}
        names = [name for name in trainable if name.rpartition(".")[0] in owners]
        if not names:
            raise ParameterError("layers='embedding', but the model has none; take layers='all'.")
        return names
    return _named(trainable, [layers] if isinstance(layers, str) else list(layers))


def _named(trainable: list[str], wanted: list[str]) -> list[str]:
    chosen: set[str] = set()
    for name in wanted:
        found = {p for p in trainable if p == name or p.startswith(f"{name}.")}
        if not found:
            raise ParameterError(
                f"layers names {name!r}, which is neither 'all', 'last' nor 'embedding' nor a "
                f"layer or parameter of the model ({', '.join(trainable)})."
                f"{did_you_mean(name, trainable)}"
            )
        chosen |= found
    if not chosen:
        raise ParameterError("layers is an empty list; name one layer at least.")
    return [name for name in trainable if name in chosen]


def _last(state: State, trainable: list[str], batch: dict[str, Any]) -> list[str]:
    named = state.module.named_parameters()
    watch = _Watch({id(p): name for name, p in named if name in set(trainable)})
    with torch.no_grad(), watch:
        state.model.example_loss(batch)
    if watch.last is None:
        return trainable[-1:]
    layer = watch.last.rpartition(".")[0]
    return _named(trainable, [layer]) if layer else [watch.last]


class _Watch(TorchFunctionMode):
    """Looks which parameter a function is given last."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self._names = names
        self.last: str | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a torch function."""
        if func not in HARMLESS:
            for tensor in tensors((args, kwargs)):
                self.last = self._names.get(id(tensor), self.last)
        return func(*args, **(kwargs or {}))
