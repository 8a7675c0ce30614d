"""How each kind of layer gives the gradients of single examples: one file per kind."""

from whence.influence.layers import embedding, gru, linear, lstm, norm, parameter
from whence.influence.layers.registry import Call, register_layer, rule_of

__all__ = [
    "Call",
    "embedding",
    "gru",
    "linear",
    "lstm",
    "norm",
    "parameter",
    "register_layer",
    "rule_of",
]
