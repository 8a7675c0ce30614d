"""Embeddings, and rows of parameters that are looked up by number."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from whence.influence.layers.registry import Call, View, register_layer
from whence.influence.pieces import Piece, Rows


@register_layer(functional.embedding, torch.embedding)
def embedding(call: Call) -> Any:
    """Rows of a table: the gradient of the output, at the rows looked up but that of padding."""
    if call.function is functional.embedding:
        numbers, weight = call.args[0], call.argument(1, "weight")
        padding, max_norm = call.argument(2, "padding_idx"), call.argument(3, "max_norm")
    else:
        weight, numbers = call.args[0], call.args[1]
        padding, max_norm = call.argument(2, "padding_idx", -1), None
        padding = None if padding == -1 else padding
    view = call.recorder.view_of(weight)
    if view is None or view.transposed or max_norm is not None:
        return NotImplemented
    if padding is not None and padding < 0:
        padding += len(weight)
    return _looked_up(call, weight, view, numbers, padding)


@register_layer(torch.index_select, torch.Tensor.index_select)
def index_select(call: Call) -> Any:
    """``weight.index_select(0, numbers)``."""
    weight, numbers = call.args[0], call.argument(2, "index")
    view = call.recorder.view_of(weight)
    if view is None or view.transposed or call.argument(1, "dim") != 0:
        return NotImplemented
    return _looked_up(call, weight, view, numbers, None)


@register_layer(torch.Tensor.__getitem__)
def getitem(call: Call) -> Any:
    """``weight[numbers]``."""
    weight, index = call.args
    view = call.recorder.view_of(weight)
    if view is None or view.transposed or not isinstance(index, Tensor):
        return NotImplemented
    if index.dtype not in (torch.int64, torch.int32):
        return NotImplemented
    return _looked_up(call, weight, view, index, None)


@register_layer(functional.pad)
def pad(call: Call) -> Any:
    """A table with rows of zeros around it, to be looked up by numbers that stand for nothing."""
    weight, sizes = call.args[0], call.argument(1, "pad")
    view = call.recorder.view_of(weight)
    mode, value = call.argument(2, "mode", "constant"), call.argument(3, "value")
    if view is None or view.transposed or mode != "constant" or value not in (None, 0):
        return NotImplemented
    *around, before, after = sizes
    if any(around) or len(sizes) != 2 * weight.dim() or min(before, after) < 0:
        return NotImplemented
    rows = (view.rows[0] - before, view.rows[1] + after)
    padded = dataclasses.replace(view, rows=rows, padded=True)
    return call.recorder.mark(functional.pad(weight, sizes), padded)


@register_layer(functional.embedding_bag)
def embedding_bag(call: Call) -> Any:
    """Rows looked up one by one, and summed, averaged or compared where a bag has several."""
    numbers, weight = call.args[0], call.argument(1, "weight")
    offsets, max_norm = call.argument(2, "offsets"), call.argument(3, "max_norm")
    mode, weights = call.argument(6, "mode", "mean"), call.argument(8, "per_sample_weights")
    padding = call.argument(10, "padding_idx")
    view, recorder = call.recorder.view_of(weight), call.recorder
    if view is None or view.transposed or max_norm is not None or numbers.is_floating_point():
        return NotImplemented
    if offsets is not None and not recorder.is_batched(offsets):
        return NotImplemented
    inside = torch.ones_like(numbers, dtype=torch.bool)
    if offsets is not None:
        ends = torch.cat([offsets[1:], offsets.new_tensor([len(numbers)])])
        if call.argument(9, "include_last_offset", False):
            return NotImplemented
        place = offsets.unsqueeze(1) + torch.arange(int((ends - offsets).max()))
        inside = place < ends.unsqueeze(1)
        place = torch.where(inside, place, 0)
        numbers = numbers[place]
        weights = None if weights is None else weights[place]
    if padding is not None:
        padding = padding % len(weight)
        inside = inside & (numbers != padding)
    numbers = recorder.batched(numbers)
    rows = _looked_up(call, weight, view, numbers, padding)
    if rows is NotImplemented:
        return rows
    kept = inside.unsqueeze(2)
    if mode == "max":
        lowest = rows.masked_fill(~kept, -torch.inf).amax(1)
        return torch.where(kept.any(1), lowest, 0.0)
    if weights is not None:
        rows = rows * weights.unsqueeze(2)
    total = (rows * kept).sum(1)
    return total if mode == "sum" else total / kept.sum(1).clamp(min=1)


def _looked_up(call: Call, weight: Tensor, view: View, numbers: Tensor, padding: int | None) -> Any:
    recorder = call.recorder
    whole = recorder.parameter(view.name)
    if weight.dim() > 2 or not view.whole_columns(whole):
        return NotImplemented
    if not recorder.is_batched(numbers):
        numbers = numbers.expand(recorder.n, *numbers.shape)
    whose = recorder.said_owners(numbers)
    output = weight[numbers] if weight.dim() == 1 else functional.embedding(numbers, weight)
    n_rows = len(whole)

    def build(grad: Tensor) -> list[Piece]:
        owner, index = recorder.owners(numbers) if whose is None else whose, numbers
        if numbers.dim() > 1:
            owner = owner.view(-1, *(1,) * (numbers.dim() - 1)).expand_as(numbers)
        if grad.dim() == 3 and grad.transpose(0, 1).is_contiguous():
            # As recurrent layers give it, by place: the order of the entries is free.
            owner, index, grad = (part.transpose(0, 1) for part in (owner, index, grad))
        owner, index = owner.reshape(-1), index.reshape(-1).long()
        values = grad.reshape(len(index), -1)
        if padding is not None:
            index = torch.where(index == padding, n_rows - view.start, index)
        index = index + view.start
        if padding is not None or view.padded:
            kept = ((index >= 0) & (index < n_rows)).nonzero()[:, 0]
            if len(kept) < len(index):
                owner, index, values = owner[kept], index[kept], values[kept]
        return [Rows((view.name,), recorder.n, owner, index, values, n_rows)]

    rows = recorder.tap(output, build)
    recorder.note_lookup(rows, numbers, weight)
    return rows
