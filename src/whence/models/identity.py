"""What tells one fitted model or table from another, so that work on them is not mixed up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from whence.data import Interactions
from whence.engines import identity_of


def model_identity(model: Any) -> dict[str, Any]:
    """Return what a model is and what it has learned, JSON-able, the same in every process.

    Parameters
    ----------
    model : object
        Of Whence or of another library, fitted or not.

    Returns
    -------
    dict
        ``class``, ``params``, and of fitted ones ``train`` (fingerprint of the training data) and
        ``learned`` (a hash of the learned arrays).
    """
    kind = model if hasattr(model, "__qualname__") else type(model)
    found: dict[str, Any] = {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "params": told_apart(getattr(model, "params", {})),
    }
    train = getattr(model, "train_", None)
    if train is not None:
        found["train"] = getattr(train, "fingerprint", None)
        found["learned"] = _learned(model)
    return found


def data_identity(data: Any) -> str:
    """Return a hash of interactions, of a table of them (ratings included), or of queries."""
    if hasattr(data, "history_items"):
        return identity_of(told_apart(vars(data)))
    interactions = Interactions.from_frame(data)
    rating = interactions.columns.rating
    ratings = None if rating is None else told_apart(interactions.frame[rating].to_list())
    return f"{interactions.fingerprint} {identity_of(ratings)}"


def told_apart(value: Any) -> Any:
    """Return a setting as plain values that are the same in every process.

    Functions and objects that are no plain value are named by where they come from, as their
    ``repr`` may hold an address.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
    if isinstance(value, Mapping):
        return {str(key): told_apart(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [told_apart(one) for one in value]
    if hasattr(value, "to_numpy"):
        return told_apart(value.to_numpy().tolist())
    if hasattr(value, "train_"):
        return model_identity(value)
    if hasattr(value, "params") and not isinstance(value, type):
        return {"class": type(value).__qualname__, "params": told_apart(value.params)}
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _learned(model: Any) -> str:
    """Hash of the arrays that a model has learned."""
    content = hashlib.sha256()
    for name, value in sorted(vars(model).items()):
        if name.endswith("_") and isinstance(value, np.ndarray):
            content.update(name.encode())
            content.update(np.ascontiguousarray(value).tobytes())
    module = getattr(model, "module_", None)
    if module is not None:
        for name, value in sorted(module.state_dict().items()):
            content.update(name.encode())
            content.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return content.hexdigest()[:16]
