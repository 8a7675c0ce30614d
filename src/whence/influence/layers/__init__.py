"""How each kind of layer gives the gradients of single examples: one file per kind."""

from whence.influence.layers import (
    attention,
    cells,
    convolution,
    embedding,
    gru,
    linear,
    lstm,
    norm,
    parameter,
    recurrent,
)
from whence.influence.layers.registry import Call, register_layer, rule_of

__all__ = [
    "Call",
    "attention",
    "cells",
    "convolution",
    "embedding",
    "gru",
    "linear",
    "lstm",
    "norm",
    "parameter",
    "recurrent",
    "register_layer",
    "rule_of",
]
