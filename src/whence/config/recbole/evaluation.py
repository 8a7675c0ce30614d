"""RecBole's metrics and ``eval_args``: what is measured, how data is split, what is ranked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from whence.config.recbole.keys import DEFAULTS, NO_METRICS, SPLIT, SPLIT_OF_SEQUENCES
from whence.errors import ConfigError, MetricError, did_you_mean

if TYPE_CHECKING:
    from whence.config.recbole.translation import Translation


def metrics(found: Translation, value: Any) -> None:
    """Translate ``metrics``, each with each of ``topk``."""
    from whence.evaluation._names import WHOLE_NAMES, split_name

    lengths = found.raw.get("topk") or DEFAULTS["topk"]
    lengths = lengths if isinstance(lengths, (list, tuple)) else [lengths]
    names: list[str] = []
    for metric in [value] if isinstance(value, str) else value:
        plain = str(metric).strip().lower()
        if plain in NO_METRICS:
            found.note(f"The metric {metric} is not offered and is left out.")
            continue
        if plain == "auc":
            found.note(
                "The metric AUC is that of each user, averaged; RecBole's is that of all pairs "
                "together."
            )
        try:
            base, _ = split_name(plain if plain in (*WHOLE_NAMES, "gauc") else f"{plain}@10")
        except MetricError as error:
            raise ConfigError(f"metrics: {error}") from error
        names += [base] if base in WHOLE_NAMES else [f"{base}@{k}" for k in lengths]
    if not names:
        raise ConfigError(
            f"metrics in this RecBole configuration names none that is offered: {value!r}; write "
            "for example [Recall, MRR, NDCG]."
        )
    found.set("evaluation.metrics", names)


def eval_args(found: Translation, value: Any) -> None:
    """Translate ``eval_args``: split, order, group_by and mode."""
    unknown = [key for key in value if key not in SPLIT]
    if unknown:
        raise ConfigError(
            f"eval_args has no key {unknown[0]!r}.{did_you_mean(unknown[0], SPLIT)} Its keys are "
            f"{', '.join(SPLIT)}."
        )
    # Sequential models have no other order in RecBole.
    args = {**(SPLIT_OF_SEQUENCES if found.is_sequential else SPLIT), **value}
    by_user = args.get("group_by", "user") == "user"
    _split(found, args["split"], str(args["order"]).upper(), by_user=by_user, given=value)
    _mode(found, args["mode"])


def _mode(found: Translation, mode: Any) -> None:
    """How items are ranked. What is said for one part only goes for the other, too."""
    parts = mode if isinstance(mode, Mapping) else {"valid": mode, "test": mode}
    unknown = [key for key in parts if key not in ("valid", "test")]
    if unknown:
        raise ConfigError(f"The mode of eval_args is said of valid and test, not {unknown[0]!r}.")
    usual = parts.get("valid", parts.get("test", "full"))
    numbers = {part: _negatives(parts.get(part, usual)) for part in ("valid", "test")}
    if numbers["test"]:
        found.set("evaluation.negatives", numbers["test"])
    if numbers["valid"]:
        found.note(
            f"Validation during training ranks all items, not {numbers['valid']} negatives, so "
            "that another epoch may be the best."
        )


def _negatives(mode: Any) -> int:
    """Negatives among which a target is ranked; 0 for all items."""
    drawn = re.fullmatch(r"uni([1-9]\d*)", str(mode))
    if not drawn and mode not in ("full", None):
        raise ConfigError(
            f"eval_args has the mode {mode!r}, which is not offered; say full, or uni100 for "
            "100 negatives."
        )
    return int(drawn[1]) if drawn else 0


def _split(
    found: Translation, split: Any, order: str, *, by_user: bool, given: Mapping[str, Any]
) -> None:
    kind, how = next(iter(split.items())) if isinstance(split, Mapping) and split else ("", "")
    if kind == "LS" and order == "TO" and by_user and how in ("valid_and_test", "valid_only"):
        found.set("split.method", "last" if how == "valid_only" else "leave-one-out")
    elif kind == "RS" and order == "RO":
        found.set("split.method", "rows")
        found.set("split.per_user", by_user)
    elif kind == "RS" and order == "TO" and not (by_user and found.is_sequential):
        # Of sequential models RecBole cuts the histories that it makes, one fewer than rows.
        found.set("split.method", "time")
        found.set("split.per_user", by_user)
    else:
        by_default = "" if "order" in given else ", RecBole's default,"
        raise ConfigError(
            f"eval_args has the split {split!r} with order {order}{by_default}"
            f"{' grouped by user' if by_user else ''}, which is not offered for {found.name}; say "
            "RS with order RO, RS with order TO and group_by none, or LS with order TO and "
            "valid_and_test or valid_only."
        )
    if kind == "RS":
        shares = [float(share) for share in how]
        if len(shares) != 3 or min(shares) < 0 or not 0 < sum(shares) < float("inf"):
            raise ConfigError(
                f"RS in eval_args takes three shares, such as [0.8, 0.1, 0.1], not {how!r}."
            )
        found.set("split.fractions", [share / sum(shares) for share in shares])
