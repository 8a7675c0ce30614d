"""An attribution in a few lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from whence._words import counted

if TYPE_CHECKING:
    from whence.attribution import Attribution

_FEW = 8
_STOPPED = {
    "tolerance": "the requested precision was reached",
    "max_permutations": "the largest number of permutations was reached",
    "interrupted": "it was interrupted; the values so far are given",
}


def summarise(attribution: Attribution) -> str:
    """Describe method, outcome, spread of the values and precision, one fact per line."""
    about = attribution.metadata
    lines = [_headline(attribution)]
    if about.get("n_queries") is not None:
        lines.append(_queries(about))
    if about.get("value_all") is not None and about.get("value_nothing") is not None:
        lines.append(
            f"{about.get('metric') or 'The metric'} is {about['value_all']:.4f} with all of them "
            f"and {about['value_nothing']:.4f} with none."
        )
    lines.append(_spread(attribution))
    precision = _precision(about)
    if precision:
        lines.append(precision)
    return "\n".join(lines)


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _headline(attribution: Attribution) -> str:
    about = attribution.metadata
    line = f"{attribution.title} of {counted(len(attribution), attribution.noun)}"
    if about.get("metric"):
        line += f" for {about['metric']}"
    if about.get("model"):
        params = {k: v for k, v in (about.get("model_params") or {}).items() if v is not None}
        few = list(params.items())[:_FEW]
        given = ", ".join(f"{name}={value}" for name, value in few)
        given += ", …" if len(params) > _FEW else ""
        line += f", {about['model']}({given})"
    return line + "."


def _queries(about: dict[str, Any]) -> str:
    many = about["n_queries"] != 1
    line = f"{about['n_queries']:,} evaluation {'queries' if many else 'query'}"
    if about.get("n_empty_queries"):
        line += f", {about['n_empty_queries']:,} of them with nothing known to the model"
    if about.get("n_unknown_rows"):
        rows = counted(about["n_unknown_rows"], "evaluation rows")
        line += f"; {rows} {_have(about['n_unknown_rows'])} an item unknown to it"
    return line + "."


def _spread(attribution: Attribution) -> str:
    totals, count = attribution.totals, max(len(attribution), 1)
    negative, zero = int(np.sum(totals < 0)), int(np.sum(totals == 0))
    line = (
        f"{counted(negative, attribution.noun)} ({negative / count:.1%}) {_have(negative)} a "
        f"negative value, {zero:,} ({zero / count:.1%}) {_have(zero)} none, and "
        f"{len(attribution) - negative - zero:,} a positive one"
    )
    errors = attribution.total_errors
    if errors is not None:
        sure = int(np.sum(totals + 2 * errors < 0))
        line += (
            f"; {sure:,} {'is' if sure == 1 else 'are'} negative by more than two standard errors"
        )
    return line + "."


def _precision(about: dict[str, Any]) -> str:
    parts = []
    if about.get("relative_error") is not None:
        parts.append(
            f"the mean standard error is {about['relative_error']:.1%} of the mean |value|"
        )
    if about.get("stopped") in _STOPPED:
        parts.append(_STOPPED[about["stopped"]])
    line = "; ".join(parts)
    if about.get("elapsed_seconds") is not None:
        line += (
            f" after {about['elapsed_seconds']:.1f} s"
            if line
            else (f"computed in {about['elapsed_seconds']:.1f} s")
        )
    return line[:1].upper() + line[1:] + "." if line else ""
