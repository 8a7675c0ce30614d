"""What stands in the place of an event that is not in a coalition."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError, UnsupportedError, check_choice, check_int, check_list
from whence.explanation._askers import Asker
from whence.explanation._histories import History
from whence.explanation._targets import recommendable

IntArray = npt.NDArray[np.int64]
RULES = ("highest", "median", "lowest")
NAMES = ("remove", "pad", "item", "items", *RULES, "mean_embedding", "marginal", "mask_token")
_DRAWS = 8
_STREAM = 0x6D617267


@dataclass(frozen=True)
class Masking:
    """What was asked for.

    Attributes
    ----------
    kind : str
        One of `NAMES`.
    item : id or event, or list of one per place, optional
        Of ``"item"``, ``"items"``, and of a rule, once the item is known that it chooses.
    draws : int
        Of ``"marginal"``: histories of random items over which a value is averaged.
    """

    kind: str
    item: Any = None
    draws: int = _DRAWS

    @property
    def label(self) -> str:
        """For people and metadata."""
        if self.kind == "item":
            return f"item={self.item!r}"
        if self.kind == "items":
            return f"a sequence of {len(self.item)} events"
        if self.kind in RULES and self.item is not None:
            return f"{self.kind} (item {self.item!r})"
        return f"marginal over {self.draws} draws" if self.kind == "marginal" else self.kind


def parse_masking(masking: Any) -> Masking:
    """Understand a name, ``("item", id)`` or ``("marginal", draws)``.

    Raises
    ------
    ParameterError
        If it is none of them.
    """
    if isinstance(masking, Masking):
        return masking
    if isinstance(masking, (tuple, list)) and len(masking) == 2:
        kind, detail = masking
        check_choice("masking", kind, ("item", "items", "marginal"))
        if kind == "item":
            return Masking("item", detail)
        if kind == "items":
            return Masking("items", check_list("items of masking 'items'", detail, "events"))
        return Masking("marginal", draws=check_int("draws of masking 'marginal'", detail, 1))
    if masking == "item":
        raise ParameterError("masking 'item' needs an item: say masking=('item', id).")
    if masking == "items":
        raise ParameterError("masking 'items' needs an event per place: masking=('items', [...]).")
    check_choice("masking", masking, [name for name in NAMES if name[:4] != "item"])
    return Masking(masking)


def tokens_off(masking: Masking, asker: Asker, history: History, seed: int) -> IntArray | None:
    """Tokens that stand for masked events, int64 [draws, L]; None where nothing does.

    Raises
    ------
    UnsupportedError
        If the model cannot do that.
    """
    length, kind = len(history), masking.kind
    if kind == "remove":
        return None
    if kind == "marginal":
        counts = asker.counts
        if counts is None:
            raise _cannot(asker, kind, "no training data to draw items from is known")
        rng = np.random.default_rng([seed, _STREAM])
        share = counts / counts.sum()
        return rng.choice(len(counts), size=(masking.draws, length), p=share).astype(np.int64)
    if kind == "items":
        if len(masking.item) != length:
            raise ParameterError(
                f"masking=('items', …) has {len(masking.item)} events for a history of {length}; "
                "give one for each place."
            )
        return np.array([[asker.item_token(one, history) for one in masking.item]])
    if kind == "item" or kind in RULES:
        return np.full((1, length), asker.item_token(masking.item, history))
    if kind == "pad":
        if asker.pad is None:
            raise _cannot(asker, kind, "it has no padding")
        return np.full((1, length), asker.pad)
    if kind == "mask_token":
        if asker.mask_token is None:
            raise _cannot(asker, kind, "it was not trained with a token for masked events")
        return np.full((1, length), asker.mask_token)
    if not asker.has_embeddings:
        raise _cannot(asker, kind, "it has no embeddings of items")
    return np.full((1, length), asker.mean_token)


def of_history(
    masking: Masking, asker: Asker, history: History, scores: npt.NDArray[np.floating[Any]]
) -> Masking:
    """The masking of one history: a rule chooses the item of highest, median or lowest score.

    Among the items that may be recommended after the whole history, by their scores.

    Raises
    ------
    UnsupportedError
        If the model's events are not items.
    """
    if masking.kind not in RULES:
        return masking
    if not asker.takes_items:
        raise UnsupportedError(
            f"masking={masking.kind!r} puts an item in the place of an event, and events of "
            f"{asker.name} are not items alone; give masking=('item', event)."
        )
    return replace(masking, item=asker.item_ids[by_score(asker, history, scores)[masking.kind]])


def by_score(
    asker: Asker, history: History, scores: npt.NDArray[np.floating[Any]]
) -> dict[str, int]:
    """Numbers of the items of the highest, the median and the lowest score."""
    order = ordered_by_score(asker, history, scores)
    places = {"highest": -1, "median": len(order) // 2, "lowest": 0}
    return {rule: int(order[place]) for rule, place in places.items()}


def ordered_by_score(
    asker: Asker, history: History, scores: npt.NDArray[np.floating[Any]]
) -> IntArray:
    """Numbers of the items that may be recommended, the lowest score first, int64."""
    allowed = np.flatnonzero(recommendable(asker, history) & np.isfinite(scores))
    order: IntArray = allowed[np.argsort(scores[allowed], kind="stable")]
    return order


def _cannot(asker: Asker, kind: str, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"{asker.name} cannot be explained with masking={kind!r}, because {why}; use 'remove'"
        + (", 'marginal'" if kind != "marginal" else "")
        + " or ('item', id)."
    )
