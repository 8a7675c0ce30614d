"""Sequential networks of Whence, asked for raw scores, and with vectors in place of items."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from whence.errors import UnsupportedError
from whence.explanation._askers import IntArray, RecommenderAsker, ScoreArray, quiet_modules
from whence.explanation._cells import Cell, GRUCell, LSTMCell, TorchCell
from whence.explanation._histories import History
from whence.models.neural.gru4rec import GRUModule
from whence.models.neural.lstm import LSTMModule
from whence.models.neural.sequential import SequenceModule, SequentialRecommender
from whence.models.training.loop import torch_threads

FloatArray = npt.NDArray[np.float64]
Module = TypeVar("Module", bound=nn.Module)
_FLOATS = 1 << 22  # numbers in the states of a batch


class SequentialAsker(RecommenderAsker):
    """A network over the items of a history."""

    model: SequentialRecommender
    has_embeddings = True

    def __init__(self, model: SequentialRecommender) -> None:
        super().__init__(model)
        self.module: SequenceModule = model.module_
        self.pad = self.n_items
        self._asking = 0
        self.mask_token = getattr(self.module, "mask_token", None)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Evaluation mode, no gradients, one thread; all as before afterwards."""
        if self._asking and torch.is_inference_mode_enabled():  # within another, of this thread
            yield
            return
        with quiet_modules([self.module]), torch.inference_mode(), torch_threads(1):
            self._asking += 1
            try:
                yield
            finally:
                self._asking -= 1

    @property
    def embedding(self) -> Tensor:
        """Embeddings of the items and of padding, [n_items + 1, D]."""
        found = getattr(self.module, "embedding", None)
        if not isinstance(found, nn.Embedding):
            raise UnsupportedError(
                f"{self.name} has no embedding of items that could be replaced; choose another "
                "masking, such as 'remove', or another method."
            )
        return found.weight.detach()

    @property
    def mean_embedding(self) -> Tensor:
        """Mean of the embeddings over the events of the training data, [D]."""
        weight = torch.from_numpy(self.counts / self.counts.sum()).to(self.embedding)
        return weight @ self.embedding[: self.n_items]

    @cached_property
    def cell(self) -> Cell | None:
        """The recurrent network as a `Cell`; None for attention."""
        module = self.module
        with torch.inference_mode():
            if type(module) is GRUModule:
                dense, table = module.dense, module.embedding.weight

                def of_products(items: IntArray | None) -> tuple[Tensor, Tensor]:
                    rows = table[: self.n_items] if items is None else table[index_of(items, table)]
                    return (rows @ dense.weight).T.contiguous(), rows @ dense.bias

                return GRUCell(self._embed, module.gru, of_products)
            if type(module) is LSTMModule:
                output = module.output

                def of_layer(items: IntArray | None) -> tuple[Tensor, Tensor]:
                    if items is None:
                        return output.weight.T, output.bias
                    index = index_of(items, output.weight)
                    return output.weight[index].T.contiguous(), output.bias[index]

                return LSTMCell(self._embed, module.lstm, of_layer)
        return None

    def steps_of(self, tokens: IntArray, history: History) -> Any:
        """Products of the inputs of tokens with the first layer's matrix."""
        cell = self.cell
        assert isinstance(cell, TorchCell)
        return cell.of_inputs(self.vectors(tokens, history))

    def vectors(self, tokens: IntArray, history: History) -> Tensor:
        """Inputs of the network, [n, D], of tokens of a history."""
        return self._embed(tokens)

    def _embed(self, tokens: IntArray) -> Tensor:
        """Embeddings [n, D] of tokens: items, padding, the mean."""
        table = self.embedding
        rows = table[index_of(np.minimum(tokens, self.n_items), table)]
        is_mean = tokens == self.mean_token
        if is_mean.any():
            rows[torch.from_numpy(is_mean).to(rows.device)] = self.mean_embedding
        return rows

    def scores(self, tokens: IntArray, history: History, items: IntArray | None) -> ScoreArray:
        """Raw scores of the network; an empty history is a window of padding alone."""
        out = np.empty((len(tokens), self.n_items if items is None else len(items)))
        some = None if items is None else torch.from_numpy(items)
        wide = tokens.shape[1] * max(self.embedding.shape[1], 1)
        size = max(1, _FLOATS // max(wide, self.n_items if items is None else 1))
        with self.quiet():
            for start in range(0, len(tokens), size):
                windows, lengths = left_aligned(tokens[start : start + size], self.n_items)
                table = None
                if (tokens > self.n_items).any() or history.known is not None:
                    kinds, numbers = np.unique(windows.numpy(), return_inverse=True)
                    table = self.vectors(kinds, history)
                    windows = torch.from_numpy(numbers.reshape(windows.shape))
                found = self.answer(windows, lengths, some, table)
                out[start : start + size] = found.double().cpu().numpy()
        return out

    def answer(
        self, windows: Tensor, lengths: Tensor, items: Tensor | None, table: Tensor | None
    ) -> Tensor:
        """Scores [B, n] of windows of items, or of numbers of the rows of a table of inputs."""
        windows, lengths = windows.to(self.model.device), lengths.to(self.model.device)
        if table is None:
            states = self.module.states(windows, lengths)
        else:
            twin = with_parts(self.module, embedding=_Table(table), features=None)
            states = twin.states(windows, lengths)
        last = states[torch.arange(len(windows), device=states.device), lengths - 1]
        if items is None:
            return self.module.item_scores(last)
        return self.module.scores_of(last, items.to(last.device).expand(len(last), -1))


def index_of(items: IntArray, like: Tensor) -> Tensor:
    """Numbers as an index of a tensor."""
    return torch.from_numpy(items).to(like.device)


class _Table(nn.Module):
    """Rows of a tensor, which may have a gradient, in the place of an embedding."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.weight = rows

    def forward(self, numbers: Tensor) -> Tensor:
        """Rows by number."""
        return nn.functional.embedding(numbers, self.weight)


def with_parts(module: Module, **parts: nn.Module | Tensor | None) -> Module:
    """A network that shares all but some parts with another, which is left as it is."""
    twin = copy.copy(module)
    for kind in ("_modules", "_parameters", "_buffers"):
        twin.__dict__[kind] = {**module.__dict__[kind]}
    for name, part in parts.items():
        for kind in ("_modules", "_parameters", "_buffers"):
            if name in twin.__dict__[kind]:
                twin.__dict__[kind][name] = part
    return twin


def left_aligned(tokens: IntArray, padding: int) -> tuple[Tensor, Tensor]:
    """Windows [B, L] without the places of -1, and their lengths, at least 1."""
    there = tokens >= 0
    order = np.argsort(~there, axis=1, kind="stable")
    windows = np.take_along_axis(np.where(there, tokens, padding), order, axis=1)
    lengths = np.maximum(there.sum(axis=1), 1)
    return torch.from_numpy(windows), torch.from_numpy(lengths)


def head_of_scalar(cell: Cell, scalar: Any) -> Callable[[Tensor], FloatArray]:
    """From states [N, width] to values float64 [N]."""
    if scalar.weights is not None and isinstance(cell, TorchCell):
        weight, bias = cell.head(scalar.items)
        share = torch.from_numpy(scalar.weights).to(weight)
        both = ((weight @ share).unsqueeze(1), (bias @ share).unsqueeze(0))

        def linear(states: Tensor) -> FloatArray:
            found: FloatArray = cell.scores(states, both).squeeze(1).double().cpu().numpy()
            return found

        return linear
    head = cell.head(scalar.items)

    def general(states: Tensor) -> FloatArray:
        parts = [
            scalar.of(cell.scores(part, head).double().cpu().numpy())
            for part in torch.split(states, 2048)
        ]
        return np.concatenate(parts)

    return general
