"""Whether an example has a loss, and so a gradient, of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from whence.errors import UnsupportedError

_RELATIVE, _ABSOLUTE = 1e-3, 1e-5


def check_alone(model: Any, batch: dict[str, Tensor]) -> None:
    """Refuse a loss of examples that depends on the batch they are in.

    Such are losses whose negatives are the other items of the batch, modules that normalise by
    batches, and those that draw random numbers in evaluation mode.

    Parameters
    ----------
    model : Any
        With ``example_loss``, its module in evaluation mode.
    batch : dict of str to Tensor
        A few examples.

    Raises
    ------
    UnsupportedError
        If the loss of one of them alone is another than beside the others.
    """
    with torch.no_grad():
        together = model.example_loss(batch).flatten()
        alone = [
            model.example_loss({name: values[k : k + 1] for name, values in batch.items()}).sum()
            for k in range(len(together))
        ]
    for one, beside in zip(alone, together):
        if not torch.isclose(one, beside, rtol=_RELATIVE, atol=_ABSOLUTE):
            raise UnsupportedError(
                f"The loss of an example of this {type(model).__name__} depends on the batch that "
                f"it is in: it is {float(one):.4g} alone and {float(beside):.4g} beside "
                f"{len(alone) - 1} others, so that no example has a gradient of its own; choose a "
                "loss over drawn negatives or over all items instead of those of the batch."
            )
