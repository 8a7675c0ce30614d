"""What is called the quality of recommendations, in words: what is good, and in which unit."""

from __future__ import annotations

from typing import Any, Literal

Outcome = Literal["loss", "ndcg"]

_LOSSES = {
    "squared": "squared error of the predicted rating, in squares of a step of the rating scale",
    "labels": "cross-entropy of the predicted label, in nats",
    "bce": "cross-entropy of a row and its {n} drawn negatives, summed over them, in nats",
    "bpr": "-log of the chance to rank a row above {n} drawn negatives, in nats",
    "cross_entropy": "cross-entropy of the next item among all items, in nats",
    "sampled_cross_entropy": "cross-entropy of the next item among {n} drawn negatives, in nats",
    "bpr_max": "-log of the chance to rank the next item above {n} drawn negatives, in nats",
}


def quality_in_words(model: Any, outcome: Outcome = "loss") -> str:
    """One sentence that says what the quality of a model is.

    Parameters
    ----------
    model : differentiable model
    outcome : {"loss", "ndcg"}
        As of `Disclosure`.
    """
    if outcome == "ndcg":
        return (
            "Quality is nDCG with soft ranks over all items that a user did not have in the "
            "training data, mean over users: from 0 to 1, larger is better."
        )
    named = _LOSSES.get(_name_of(model), "training loss of a row, in its own unit")
    what = named.format(n=getattr(model, "n_negatives", ""))
    return (
        f"Quality is minus the {what}, mean over the rows of each user and then over users: at "
        "most 0, nearer to 0 is better."
    )


def _name_of(model: Any) -> str:
    """Short name of a model's loss; "" where it is not known."""
    from whence.influence.functions import factor_loss

    named = getattr(model, "loss_", None) or getattr(model, "loss", None)
    loss = factor_loss(model) or named
    if loss == "logistic":
        return "bce"
    if loss is None and hasattr(model, "n_negatives"):
        # NeuMF and WideDeep have no other; a sequence model chooses when it is fitted.
        return "cross_entropy" if hasattr(model, "loss") else "bce"
    return str(loss)
