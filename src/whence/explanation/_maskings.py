"""What stands in the place of an event that is not in a coalition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.errors import ParameterError, UnsupportedError, check_choice, check_int
from whence.explanation._askers import Asker
from whence.explanation._histories import History

IntArray = npt.NDArray[np.int64]
NAMES = ("remove", "pad", "item", "mean_embedding", "marginal", "mask_token")
_DRAWS = 8
_STREAM = 0x6D617267


@dataclass(frozen=True)
class Masking:
    """What was asked for.

    Attributes
    ----------
    kind : str
        One of `NAMES`.
    item : id or event, optional
        Of ``"item"``.
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
        check_choice("masking", kind, ("item", "marginal"))
        if kind == "item":
            return Masking("item", detail)
        return Masking("marginal", draws=check_int("draws of masking 'marginal'", detail, 1))
    if masking == "item":
        raise ParameterError("masking 'item' needs an item: say masking=('item', id).")
    check_choice("masking", masking, [name for name in NAMES if name != "item"])
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
    if kind == "item":
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


def _cannot(asker: Asker, kind: str, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"{asker.name} cannot be explained with masking={kind!r}, because {why}; use 'remove'"
        + (", 'marginal'" if kind != "marginal" else "")
        + " or ('item', id)."
    )
