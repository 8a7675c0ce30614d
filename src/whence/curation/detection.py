"""Corrupted sources have low values: who is suspicious, and how well that finds them.

Sources of equal value count by their expectation over every order among them, so that a ranking
with many ties (leave-one-out gives most sources zero) is neither helped nor harmed by the order
of the table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution import Attribution, as_backend
from whence.attribution.pruning import lowest
from whence.curation.oddities import bots, duplicates
from whence.data import Interactions
from whence.data.vocabulary import as_ids, family
from whence.errors import DataError, ParameterError, check_float, check_int

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def find_corrupted(
    attribution: Attribution,
    truth: Iterable[Any] | None = None,
    *,
    fraction: float | None = None,
    n: int | None = None,
    standard_errors: float | None = None,
    level: float | None = None,
    data: Any = None,
) -> Any:
    """List the sources that are probably corrupted: those of the lowest values.

    Parameters
    ----------
    attribution : Attribution
        Values of the sources.
    truth : iterable of ids, optional
        Sources known to be corrupted; adds a column ``corrupted``.
    fraction : float, optional
        Share of the sources to list.
    n : int, optional
        Number of sources to list.
    standard_errors : float, optional
        List only those that are negative by this many standard errors.
    level : float, optional
        List those that are negative beyond doubt: so that with a probability of at most this none
        of them is truly 0 or more. 0.05 if nothing else is given.
    data : Interactions or table, optional
        What the values were computed from; adds a column ``kind``, which says which of the listed
        are duplicates or bots, and why, by `find_duplicates` and `find_bots`.

    Returns
    -------
    data frame of the caller's kind
        Columns of the attribution and ``rank`` (1 = most suspicious), lowest value first; with a
        level, ``p_value``, corrected for the number of sources.

    Raises
    ------
    ParameterError
        If more than one says how many, or one is out of range.
    DataError
        If ids in `truth` are not among the sources.

    Notes
    -----
    The one-sided p values are those of normal errors, as means over many draws have them, and are
    corrected by Holm's step-down procedure, which holds whatever depends on what. An exact negative
    value is beyond doubt. The errors are those of the estimation: with other queries a value may be
    another.

    References
    ----------
    Holm. A simple sequentially rejective multiple test procedure. Scandinavian Journal of
    Statistics 6(2), 1979.
    """
    positions, p_values = suspicious(
        attribution, fraction=fraction, n=n, standard_errors=standard_errors, level=level
    )
    found = attribution.frame[positions].with_columns(
        pl.Series("rank", np.arange(1, len(positions) + 1))
    )
    if p_values is not None:
        found = found.with_columns(pl.Series("p_value", p_values))
    if truth is not None:
        corrupted = _mask(attribution, truth)
        found = found.with_columns(pl.Series("corrupted", corrupted[positions]))
    if data is not None:
        found = found.with_columns(kind=_kinds(found[attribution.source], data))
    return as_backend(found, attribution.backend)


def suspicious(
    attribution: Attribution,
    *,
    fraction: float | None = None,
    n: int | None = None,
    standard_errors: float | None = None,
    level: float | None = None,
) -> tuple[npt.NDArray[np.int64], FloatArray | None]:
    """Positions of what `find_corrupted` lists, and with a level their corrected p values."""
    if level is not None and (fraction, n, standard_errors) != (None, None, None):
        raise ParameterError(
            "Say by one of fraction, n, standard_errors and level how much is listed, not by level "
            "and another."
        )
    if (fraction, n, standard_errors) != (None, None, None):
        chosen = lowest(attribution, fraction=fraction, n=n, standard_errors=standard_errors)
        return chosen, None
    level = check_float("level", 0.05 if level is None else level, 0.0, 1.0)
    p_values = _corrected(attribution)
    order = attribution.order()
    order = order[(p_values[order] <= level) & (attribution.totals[order] < 0)]
    return order, p_values[order]


def _corrected(attribution: Attribution) -> FloatArray:
    """One-sided p values of each value being 0 or more, corrected by Holm's procedure."""
    from scipy import stats

    totals, errors = attribution.totals, attribution.total_errors
    p_values = np.where(totals < 0, 0.0, 1.0)
    if errors is not None:
        p_values = np.where(
            errors > 0, stats.norm.cdf(totals / np.where(errors > 0, errors, 1.0)), p_values
        )
    order = np.argsort(p_values, kind="stable")
    n = len(order)
    stepped = np.maximum.accumulate(p_values[order] * (n - np.arange(n)))
    corrected = np.empty(n)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def _kinds(ids: pl.Series, data: Any) -> pl.Series:
    """What the listed sources look like: a copy, a bot, or ""."""
    interactions = Interactions.from_frame(data)
    said = pl.DataFrame({"id": ids, "kind": [""] * len(ids)})
    for kind, table in (("bot", bots(interactions)), ("duplicate", duplicates(interactions))):
        own = table.select(
            id=pl.nth(0).cast(ids.dtype), why=pl.concat_str(pl.lit(f"{kind}: "), "why")
        )
        said = said.join(own, on="id", how="left", maintain_order="left")
        both = pl.concat_str("kind", "why", separator="; ").str.strip_chars("; ")
        said = said.select("id", kind=pl.when(pl.col("why").is_null()).then("kind").otherwise(both))
    return said["kind"]


def detection_report(
    rankings: Mapping[str, Attribution],
    corrupted: Iterable[Any],
    *,
    n: int | None = None,
    highest_first: Collection[str] = (),
) -> pl.DataFrame:
    """Compare how well rankings find the sources known to be corrupted.

    Parameters
    ----------
    rankings : mapping of str to Attribution
        Values by name; the lowest values are the most suspicious.
    corrupted : iterable of ids
        The corrupted sources.
    n : int, optional
        How many sources are inspected; as many as are corrupted by default, where precision and
        recall are the same.
    highest_first : collection of str
        Names of rankings whose highest values are the most suspicious, such as the length.

    Returns
    -------
    polars.DataFrame
        One row per ranking: ``ranking``, ``n_inspected``, ``precision``, ``recall``, ``auc`` (area
        under the receiver operating characteristic; 0.5 is chance) and ``average_precision``.

    Raises
    ------
    DataError
        If no source, every source, or one that is not in a ranking is given as corrupted.
    ParameterError
        If `highest_first` names no ranking, or n is out of range.
    """
    truth = as_ids(corrupted if isinstance(corrupted, pl.Series) else list(corrupted))
    rows = []
    for name, suspicion, mask in _suspicions(rankings, truth, highest_first):
        inspected = int(mask.sum()) if n is None else check_int("n", n, 1, len(mask))
        hits = _hits(suspicion, mask)[inspected]
        rows.append(
            {
                "ranking": name,
                "n_inspected": inspected,
                "precision": float(hits / inspected),
                "recall": float(hits / mask.sum()),
                "auc": _auc(suspicion, mask),
                "average_precision": _average_precision(suspicion, mask),
            }
        )
    return pl.DataFrame(rows)


def detection_curve(
    rankings: Mapping[str, Attribution],
    corrupted: Iterable[Any],
    *,
    highest_first: Collection[str] = (),
    points: int = 200,
) -> pl.DataFrame:
    """Give precision and recall after inspecting ever more sources, for `plots.detection_curve`.

    Parameters
    ----------
    rankings, corrupted, highest_first
        As in `detection_report`.
    points : int, default 200
        At most about so many numbers of inspected sources, evenly spaced.

    Returns
    -------
    polars.DataFrame
        Columns ``ranking``, ``n_inspected``, ``precision``, ``recall``.
    """
    truth = as_ids(corrupted if isinstance(corrupted, pl.Series) else list(corrupted))
    check_int("points", points, minimum=2)
    parts = []
    for name, suspicion, mask in _suspicions(rankings, truth, highest_first):
        steps = np.linspace(1, len(mask), min(points, len(mask)))
        inspected = np.unique(np.append(np.round(steps).astype(np.int64), mask.sum()))
        hits = _hits(suspicion, mask)[inspected]
        parts.append(
            pl.DataFrame(
                {
                    "ranking": [name] * len(inspected),
                    "n_inspected": inspected,
                    "precision": hits / inspected,
                    "recall": hits / mask.sum(),
                }
            )
        )
    return pl.concat(parts)


def _suspicions(
    rankings: Mapping[str, Attribution], truth: pl.Series, highest_first: Collection[str]
) -> list[tuple[str, FloatArray, Mask]]:
    """Name, suspicion (high = suspicious) and truth of each ranking's sources."""
    if not rankings:
        raise ParameterError("There are no rankings to compare; give at least one.")
    strangers = sorted(set(highest_first) - set(rankings))
    if strangers:
        raise ParameterError(
            f"highest_first names {strangers[0]!r}, which is none of the rankings "
            f"{', '.join(map(repr, rankings))}."
        )
    found = []
    for name, values in rankings.items():
        sign = 1.0 if name in highest_first else -1.0
        mask = _mask(values, truth)
        if mask.all() or not mask.any():
            raise DataError(
                f"{int(mask.sum())} of the {len(mask)} {values.noun} of ranking {name!r} are "
                "corrupted; detection needs some that are and some that are not."
            )
        found.append((name, sign * values.totals, mask))
    return found


def _mask(attribution: Attribution, truth: Iterable[Any]) -> Mask:
    """Which sources are among those known to be corrupted."""
    known = as_ids(truth if isinstance(truth, pl.Series) else list(truth)).unique()
    ids = attribution.ids
    if len(known) and family(known.dtype) != family(ids.dtype):
        raise DataError(
            f"The corrupted {attribution.noun} are given as {known.dtype}, the values have ids of "
            f"type {ids.dtype}; cast one to the other."
        )
    if not len(known):
        return np.zeros(len(ids), dtype=np.bool_)
    mask: Mask = ids.is_in(known.implode()).to_numpy()
    if mask.sum() < len(known):
        stranger = known.filter(~known.is_in(ids.implode()))[0]
        raise DataError(
            f"{stranger!r} is given as corrupted but has no value; give ids of the "
            f"{attribution.noun} that were valued."
        )
    return mask


def _hits(suspicion: FloatArray, mask: Mask) -> FloatArray:
    """Expected corrupted sources among the first 0 … n inspected, shape (n + 1,)."""
    _, group = np.unique(-suspicion, return_inverse=True)
    sizes = np.bincount(group)
    share = np.bincount(group, weights=mask) / sizes
    hits: FloatArray = np.concatenate(([0.0], np.cumsum(np.repeat(share, sizes))))
    return hits


def _auc(suspicion: FloatArray, mask: Mask) -> float:
    """Probability that a corrupted source is more suspicious than another, ties as a half."""
    _, group = np.unique(-suspicion, return_inverse=True)
    bad, good = np.bincount(group, weights=mask), np.bincount(group, weights=~mask)
    beaten = good.sum() - np.cumsum(good) + good / 2
    return float((bad * beaten).sum() / (bad.sum() * good.sum()))


def _average_precision(suspicion: FloatArray, mask: Mask) -> float:
    """Mean of the precision over the steps of recall, tied sources taken in one step."""
    _, group = np.unique(-suspicion, return_inverse=True)
    sizes, hits = np.bincount(group), np.bincount(group, weights=mask)
    precision = np.cumsum(hits) / np.cumsum(sizes)
    return float((precision * hits).sum() / mask.sum())
