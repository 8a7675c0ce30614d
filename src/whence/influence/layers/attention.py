"""Multi-head attention: products with its parameters, and attention between them."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from whence.influence.layers.registry import Call, Recorder, register_layer

_SIGNATURE = inspect.signature(functional.multi_head_attention_forward)


@register_layer(functional.multi_head_attention_forward, anywhere=True)
def multi_head_attention(call: Call) -> Any:
    """Its projections are linear layers; what is between them has no parameters.

    Biases of keys and values, and keys and values that are given, are not known here.
    """
    bound = _SIGNATURE.bind(*call.args, **call.kwargs)
    bound.apply_defaults()
    given = bound.arguments
    unknown = ("bias_k", "bias_v", "static_k", "static_v")
    inputs = given["query"], given["key"], given["value"]
    if any(given[name] is not None for name in unknown) or given["add_zero_attn"]:
        return NotImplemented
    if any(x.dim() != 3 for x in inputs) or given["training"]:
        return NotImplemented
    heads, recorder = given["num_heads"], call.recorder
    query, key, value = (
        part.reshape(*part.shape[:2], heads, -1).transpose(1, 2)
        for part in _projected(recorder, given)
    )
    mask = _mask(given, query, key)
    weights = None
    if given["need_weights"]:
        scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
        weights = torch.softmax(scores if mask is None else scores + mask, 3)
        mixed = weights @ value
        if given["average_attn_weights"]:
            weights = weights.mean(1)
    else:
        mixed = functional.scaled_dot_product_attention(query, key, value, mask)
    states = recorder.batched(mixed.transpose(1, 2).flatten(2))
    out = recorder.call(functional.linear, states, given["out_proj_weight"], given["out_proj_bias"])
    return out.transpose(0, 1), weights


def _projected(recorder: Recorder, given: dict[str, Any]) -> list[Tensor]:
    """Queries, keys and values [B, L, E], of inputs [L, B, E]."""
    query, key, value = given["query"], given["key"], given["value"]
    weight, bias = given["in_proj_weight"], given["in_proj_bias"]

    def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        out: Tensor = recorder.call(
            functional.linear, recorder.batched(x.transpose(0, 1)), weight, bias
        )
        return out

    def part(tensor: Any, number: int) -> Any:
        if tensor is None:
            return None
        size = len(tensor) // 3
        return recorder.call(torch.narrow, tensor, 0, number * size, size)

    if given["use_separate_proj_weight"]:
        weights = [given[f"{name}_proj_weight"] for name in "qkv"]
    elif query is key and key is value:
        return list(product(query, weight, bias).chunk(3, 2))
    else:
        weights = [part(weight, number) for number in range(3)]
    return [
        product(x, w, part(bias, number))
        for number, (x, w) in enumerate(zip((query, key, value), weights))
    ]


def _mask(given: dict[str, Any], query: Tensor, key: Tensor) -> Tensor | None:
    """What is added to the scores, broadcast over [B, heads, L, S]."""
    total: Tensor | None = None
    n, heads = query.shape[:2]
    for name in ("attn_mask", "key_padding_mask"):
        mask = given[name]
        if mask is None:
            continue
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask, -torch.inf)
        mask = mask.to(query.dtype)
        if name == "key_padding_mask":
            mask = mask.view(n, 1, 1, key.shape[2])
        elif mask.dim() == 3:
            mask = mask.view(n, heads, *mask.shape[1:])
        total = mask if total is None else total + mask
    return total
