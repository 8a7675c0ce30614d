"""RecBole's keys about training and models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from whence.config.recbole.keys import DEFAULTS, POINTWISE
from whence.config.recbole.values import negatives, truth
from whence.errors import ConfigError

if TYPE_CHECKING:
    from whence.config.recbole.translation import Translation

_NEGATIVES = ("train_neg_sample_args", "neg_sampling", "training_neg_sample_num")


def seed(found: Translation, value: Any) -> None:
    """One seed for all."""
    for section in ("training", "split", "evaluation", "tune"):
        found.set(f"{section}.seed", value)


def device(found: Translation, value: Any) -> None:
    """The GPU, where one is wanted and there."""
    raw = found.raw
    wanted = truth("use_gpu", raw.get("use_gpu") or raw.get("use_gpu") is None)
    if not wanted or raw.get("device") == "cpu" or raw.get("gpu_id") == "":
        found.set("training.device", "cpu")
        return
    import torch

    there = torch.cuda.is_available()
    found.set("training.device", "cuda" if there else "cpu")
    if not there:
        found.note("There is no GPU here, so the model is trained on the CPU.")


def learner(found: Translation, value: Any) -> None:
    """The optimiser."""
    found.set("training.optimizer", str(value).lower())


def clip(found: Translation, value: Any) -> None:
    """The greatest norm of a gradient: a number, or RecBole's ``{max_norm, norm_type}``."""
    norm = value.get("norm_type", 2) if isinstance(value, Mapping) else 2
    if norm not in (2, 2.0):
        raise ConfigError(
            f"clip_grad_norm has the norm_type {norm!r}, but gradients are clipped by their "
            "Euclidean norm; leave norm_type out."
        )
    found.set("training.gradient_clip", value["max_norm"] if isinstance(value, Mapping) else value)


def eval_step(found: Translation, value: Any) -> None:
    """Epochs between validations, at most all of them."""
    if int(value) < 1:
        raise ConfigError(
            f"eval_step is {value!r}: training without validation is not offered; give a number of "
            "epochs."
        )
    epochs = found.raw.get("epochs", DEFAULTS["epochs"])
    most = epochs if isinstance(epochs, int) and epochs > 0 else int(value)
    found.set("training.eval_every", min(int(value), most))


def patience(found: Translation, value: Any) -> None:
    """RecBole stops after more than stopping_step validations without a better value."""
    found.set("training.patience", int(value) + 1)


def loss(found: Translation, value: Any) -> None:
    """CE or BPR, for models that have a choice."""
    known = {"CE": "cross_entropy", "BPR": "bpr"}
    if found.is_sequential and "loss" in found.accepted:
        found.set("model.loss", known.get(str(value).upper(), value))
        found.set("model.positions", "last")
    else:
        found.no_use("loss_type")


def drawn(found: Translation, value: Any) -> None:
    """How many negatives there are for each interaction."""
    number = negatives(value)
    if "n_negatives" not in found.accepted or _is_of_all_items(found):
        return
    if not number:
        raise ConfigError(
            f"{found.name} is trained with negatives, as labels are not offered; give "
            "train_neg_sample_args, such as {distribution: uniform, sample_num: 1}."
        )
    found.set("model.n_negatives", number)


def batch(found: Translation, value: Any) -> None:
    """Examples of a step, of which RecBole counts the negatives."""
    given = [found.raw[name] for name in _NEGATIVES if name in found.raw]
    number = (negatives(given[0]) if given else 1) or 0
    if _is_of_all_items(found):
        number = 1
    elif found.model in POINTWISE:
        number += 1
    found.set("training.batch_size", max(int(value) // max(number, 1), 1))


def _is_of_all_items(found: Translation) -> bool:
    """Whether the loss looks at all items, so that no negatives are drawn."""
    return found.is_sequential and str(found.raw.get("loss_type", "CE")).upper() == "CE"


def repeatable(found: Translation, value: Any) -> None:
    """Sequential models rank what was seen, others what the key says."""
    repeats = truth("repeatable", value)
    if "exclude_seen" not in found.accepted:
        return
    found.set("model.exclude_seen", not (repeats or found.is_sequential))
    if found.is_sequential and "repeatable" in found.raw and not repeats:
        found.note(
            f"repeatable: False has no use for {found.name}: in RecBole sequential models always "
            "rank the items that were seen."
        )


def inner_size(found: Translation, value: Any) -> None:
    """Width of the feed-forward network of SASRec."""
    _of_sasrec(found, "inner_size", "inner_dim", value)


def hidden_act(found: Translation, value: Any) -> None:
    """Activation in the feed-forward network of SASRec."""
    _of_sasrec(found, "hidden_act", "activation", value)


def _of_sasrec(found: Translation, key: str, name: str, value: Any) -> None:
    if name in found.accepted:
        found.set(f"model.{name}", value)
        found.set("model.norm_first", False)  # as in RecBole
    else:
        found.no_use(key)
