"""RecBole's loss of a batch, for each example by itself.

RecBole gives one number for a batch, in general the mean over its rows. The loss of an example is
that number for a batch of it alone. Asking for it example by example is slow; where the model's
loss modules are the only place in which rows meet, they are made to give a number for each row,
and all examples are done at once. Whether that is the same is tried out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whence.models.adapters._recbole_data import FIELD, RecBoleExamples, RecBolePairs
from whence.models.training import Batch

_TRIED = 3


def single_losses(module: Any, examples: RecBoleExamples, batch: Batch, *, at_once: bool) -> Tensor:
    """Loss of each example, [B].

    Parameters
    ----------
    module : recbole.model.abstract_recommender.AbstractRecommender
    examples : RecBolePairs or RecBoleWindows
    batch : Batch
        B of them.
    at_once : bool
        Take the loss apart by rows (see `can_be_taken_apart`), rather than ask B times.
    """
    size = len(next(iter(batch.values())))
    if at_once:
        with _by_row(module):
            found = _total(module.calculate_loss(_interaction(examples, batch)))
        return found.reshape(size, -1).mean(1)
    values = []
    for number in range(size):
        single = {name: values[number : number + 1] for name, values in batch.items()}
        values.append(_total(module.calculate_loss(_interaction(examples, single))).reshape(()))
    return torch.stack(values) if values else torch.zeros(0)


def can_be_taken_apart(module: nn.Module, examples: RecBoleExamples) -> bool:
    """Whether losses by rows are those of single examples, tried with a few of them."""
    try:
        with torch.no_grad():
            batch = examples.batch(np.arange(min(_TRIED, len(examples))))
            batch = {name: one.to(_device(module)) for name, one in batch.items()}
            apart = single_losses(module, examples, batch, at_once=True)
            single = single_losses(module, examples, batch, at_once=False)
    except Exception:
        # Whatever a model does that rows cannot do: it is asked one by one, and then says why.
        return False
    return apart.shape == single.shape and torch.allclose(apart, single, rtol=1e-4, atol=1e-6)


def why_inseparable(module: nn.Module, examples: RecBoleExamples) -> str | None:
    """Why single examples have no loss of their own, as the end of a sentence; None if they have.

    Tried with a few of them: their losses must be the same again, and others for another item.
    """
    key = "item" if isinstance(examples, RecBolePairs) else "target"
    batch = examples.batch(np.arange(min(_TRIED, len(examples))))
    batch = {name: one.to(_device(module)) for name, one in batch.items()}
    other = {**batch, key: (batch[key] + 1) % examples.data.train.n_items}
    try:
        with torch.no_grad():
            once, again, others = (
                single_losses(module, examples, one, at_once=False) for one in (batch, batch, other)
            )
    except KeyError as error:
        return (
            f"its loss needs the field {error}, which RecBole makes anew for each batch, such as "
            "by masking"
        )
    if not torch.equal(once, again):
        return "its loss of the same rows changes from call to call"
    if torch.equal(once, others):
        return (
            "its loss is that of all items of a user together, so that the rows of the training "
            "data have none of their own"
        )
    return None


def _interaction(examples: RecBoleExamples, batch: Batch) -> Any:
    """The Interaction that RecBole's loader makes of examples, those of each in a row.

    Where negatives are compared with the item there is a row for each; where they are rows with
    labels, the item comes first.
    """
    data = examples.data
    fields = {
        name.removeprefix(FIELD): one for name, one in batch.items() if name.startswith(FIELD)
    }
    device = next(iter(batch.values())).device
    users, items = data.user_numbers.to(device), data.item_numbers.to(device)
    if isinstance(examples, RecBolePairs):
        fields[data.user_field] = users[batch["user"]]
        fields[data.item_field] = items[batch["item"]]
    else:
        fields[data.window_field] = items[batch["items"]]
        fields[data.length_field] = batch["length"]
        fields[data.item_field] = items[batch["target"]]
    if "negatives" not in batch:
        return data.interaction(fields)
    drawn = items[batch["negatives"]]
    times = drawn.shape[1] + (0 if examples.is_pairwise else 1)
    repeated = {name: one.repeat_interleave(times, 0) for name, one in fields.items()}
    settings = data.dataset.config
    if examples.is_pairwise:
        made = data.interaction(repeated)
        others = data.interaction({data.item_field: drawn.flatten()})
        others.add_prefix(settings["NEG_PREFIX"])
        made.update(others)
        return made
    own = fields[data.item_field].unsqueeze(1)
    repeated[data.item_field] = torch.cat([own, drawn], 1).flatten()
    is_own = torch.arange(times, device=device) == 0
    repeated[settings["LABEL_FIELD"]] = is_own.float().repeat(len(own))
    return data.interaction(repeated)


@contextmanager
def _by_row(module: nn.Module) -> Iterator[None]:
    """Let the loss modules give a number for each row, theirs for that row alone."""
    modules = [one for one in module.modules() if _is_loss(one)]
    for one in modules:
        one.forward = partial(_each_row, one.forward)
    try:
        yield
    finally:
        for one in modules:
            del one.forward


def _each_row(forward: Callable[..., Tensor], *tensors: Tensor, **options: Any) -> Tensor:
    def of_row(*rows: Tensor) -> Tensor:
        return forward(*(row.unsqueeze(0) for row in rows), **options).squeeze()

    losses: Tensor = torch.vmap(of_row)(*tensors)
    return losses


def _is_loss(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.loss._Loss) or type(module).__name__.endswith("Loss")


def _total(losses: Any) -> Tensor:
    """RecBole adds up the parts of a loss that come as a tuple."""
    total: Tensor = reduce(add, losses) if isinstance(losses, tuple) else losses
    return total


def _device(module: nn.Module) -> torch.device:
    return next(iter(module.parameters()), torch.zeros(0)).device
