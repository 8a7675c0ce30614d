"""Queries whose answers would mislead: what is refused, and what is warned of."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from whence import _native as kernels
from whence.data import Interactions, Vocabulary
from whence.errors import DataError, DataWarning
from whence.evaluation.queries import Queries, positions_of_windows

SHARE_OF_SEEN = 0.1
"""Share of targets that cannot be found as they were seen, above which that is said."""
SHARE_OF_A_SOURCE = 0.05
"""Share of the queries that a single session or user asks, above which it is named."""
TIMES_ITS_SHARE = 5
"""How many times its share as one of many such a source must ask, where sources are few."""


def check_answerable(
    queries: Queries, known: Vocabulary, asked: Vocabulary | None = None, stacklevel: int = 3
) -> None:
    """Refuse queries of which none can be answered, and warn where that is half of them.

    Parameters
    ----------
    queries : Queries
    known : Vocabulary
        Of the training data, to show what its ids look like.
    asked : Vocabulary, optional
        Of the validation data, likewise.
    stacklevel : int
        Of the warning.

    Raises
    ------
    DataError
        If nothing is known of any query, or the two share no item.
    """
    if not len(queries):
        return
    n_empty, n = int(queries.is_empty.sum()), len(queries)
    of_users = queries.kind != "sessions"
    noun = "users" if of_users else "items that they begin with"
    if n_empty == n:
        raise DataError(
            f"None of the {n} queries can be answered, as the training data knows none of the "
            f"{noun}{_looks(known, asked, of_users)}; give validation data that belongs to the "
            "training data, with the same ids."
        )
    if 2 * n_empty >= n:
        warnings.warn(
            f"Nothing is known of {n_empty} of the {n} queries, which count with the value 0: the "
            f"training data does not know the {noun}; check that both use the same ids.",
            DataWarning,
            stacklevel=stacklevel,
        )
    lengths = queries.target_end - queries.target_start
    targets = queries.target_items[positions_of_windows(queries.target_start, lengths)]
    if not len(targets) or (targets >= 0).any():
        return
    if asked is not None and not (known.item_codes(asked.items) >= 0).any():
        raise DataError(
            "The validation data shares no item with the training data"
            f"{_looks(known, asked)}; give validation data that belongs to the training data, with "
            "the same ids."
        )
    warnings.warn(
        f"None of the {len(targets)} items to be found is in the training data, so that none can "
        "be found; check that both use the same ids.",
        DataWarning,
        stacklevel=stacklevel,
    )


def _looks(known: Vocabulary, asked: Vocabulary | None, of_users: bool = False) -> str:
    """What ids look like on both sides."""
    if asked is None:
        return ""
    ours, theirs = (one.sources if of_users else one.items for one in (known, asked))
    if not len(ours) or not len(theirs):
        return ""
    return f" (there are ids such as {ours[0]!r} there, and such as {theirs[0]!r} here)"


def warn_of_other_protocol(
    queries: Queries, train: Interactions | None, data: Interactions, stacklevel: int = 3
) -> None:
    """Warn where most queries have no history, or half of one, that another protocol would give.

    Parameters
    ----------
    queries : Queries
    train : Interactions or None
        The training data, where there is any.
    data : Interactions
        What the queries were made of.
    stacklevel : int
        Of the warning.
    """
    n = len(queries)
    if queries.kind == "users" and 2 * queries.n_new_users > n:
        warnings.warn(
            f"{queries.n_new_users} of the {n} users are unknown to the training data. With "
            "protocol='users' each of them is asked for the last of their rows, given those before "
            "it; protocol='prefixes' asks for all of their rows but the first. Check that both "
            "data use the same ids; a model that knows users by number alone has no answer.",
            DataWarning,
            stacklevel=stacklevel,
        )
    elif queries.kind == "sessions" and train is not None and train.by_user and data.by_user:
        known = train.vocabulary.source_codes(queries.ids[data.columns.source]) >= 0
        if 2 * int((queries.is_empty & known).sum()) > n:
            warnings.warn(
                f"With protocol='prefixes' nothing is known of {int(queries.is_empty.sum())} of "
                f"the {n} queries, although most are of users of the training data; "
                "protocol='users' asks with what they have there.",
                DataWarning,
                stacklevel=stacklevel,
            )


def count_seen_targets(queries: Queries, train: Interactions | None) -> tuple[int, int]:
    """Targets that are in the history of their query already, and how many targets there are.

    Of the beginnings of a session the next item alone is looked at, so that each row of the
    validation data counts once.

    Parameters
    ----------
    queries : Queries
    train : Interactions or None
        Of baskets: has the histories of the users.

    Returns
    -------
    n_seen, n_targets : int
    """
    history = queries.history_items, queries.history_start, queries.history_end
    if queries.kind == "baskets" and train is not None:
        offsets, users = train.sequences.offsets, queries.users
        own = np.where(users >= 0, offsets[users], 0)
        history = train.sequences.items, own, np.where(users >= 0, offsets[users + 1], 0)
    items, start, end = history
    stop = queries.target_end
    if queries.kind == "sessions":
        stop = np.minimum(queries.target_start + 1, stop)
    n_seen = kernels.count_seen(
        np.ascontiguousarray(items, dtype=np.int32),
        np.ascontiguousarray(start, dtype=np.int64),
        np.ascontiguousarray(end, dtype=np.int64),
        queries.arrays.target_items,
        queries.arrays.target_start,
        np.ascontiguousarray(stop),
        int(items.max(initial=-1)) + 1,
    )
    return int(n_seen), int((stop - queries.target_start).sum())


def leaves_out_seen(model: Any, queries: Queries) -> bool | None:
    """Whether a model never recommends what is in the history; None if that is not known."""
    own = getattr(model, "_leaves_out_seen", None)
    if own is not None:
        return bool(own(queries))
    said = getattr(model, "exclude_seen", None)
    return None if said is None else bool(said)


def warn_of_seen(model: Any, n_seen: int, n_targets: int, stacklevel: int = 4) -> None:
    """Warn where many targets cannot be found by a model that leaves out what was seen."""
    if n_seen > SHARE_OF_SEEN * n_targets:
        warnings.warn(
            f"{n_seen} of the {n_targets} targets cannot be found, as they are in the history "
            f"already and {type(model).__name__} leaves out what was seen there; if people come "
            "back to the same items, make the model with exclude_seen=False; if rows are there "
            "twice, drop them with filter_duplicates before splitting.",
            DataWarning,
            stacklevel=stacklevel,
        )


def warn_of_ineligible(
    queries: Queries, eligible: npt.NDArray[np.bool_], stacklevel: int = 4
) -> None:
    """Warn where many targets are not among the items that may be recommended."""
    stop = queries.target_end
    if queries.kind == "sessions":
        stop = np.minimum(queries.target_start + 1, stop)
    lengths = stop - queries.target_start
    targets = queries.target_items[positions_of_windows(queries.target_start, lengths)]
    known = targets[targets >= 0]
    n_others = int((~eligible[known]).sum())
    if n_others > SHARE_OF_SEEN * len(targets):
        warnings.warn(
            f"{n_others} of the {len(targets)} targets are not among the items that may be "
            "recommended, and so cannot be found; leave those rows out, or give more items.",
            DataWarning,
            stacklevel=stacklevel,
        )


def warn_of_dominance(queries: Queries, advice: str | None = None, stacklevel: int = 4) -> None:
    """Warn where one session or user asks a large share of the queries, and so decides the mean.

    Parameters
    ----------
    queries : Queries
    advice : str, optional
        What can be done about it; what `evaluate` has for it by default.
    stacklevel : int
        Of the warning.
    """
    if not len(queries):
        return
    source = queries.ids.columns[0]
    counts = queries.ids.group_by(source, maintain_order=True).len()
    most, n = counts.sort("len", descending=True, maintain_order=True).row(0), len(queries)
    if most[1] > max(SHARE_OF_A_SOURCE, TIMES_ITS_SHARE / len(counts)) * n:
        if advice is None:
            advice = f"per='source' lets every {source} count alike"
            if queries.kind == "sessions":
                advice += ", and max_prefixes= limits how many queries one can ask"
        warnings.warn(
            f"{source} {most[0]!r} asks {most[1]} of the {n} queries ({most[1] / n:.0%}), and so "
            f"decides much of the result; {advice}.",
            DataWarning,
            stacklevel=stacklevel,
        )
