"""Values over an evaluation set in parts, such as days: each valued by itself, added in order.

A value is a mean over queries, so that the values of several parts are the mean of theirs, each
weighed by its number of queries. What a part adds is kept and can be taken out again, so that a
window moves on without valuing anything twice. Random numbers are keyed by the name of the part,
so that what it adds does not depend on the others: the values of a window are, bit for bit, those
of valuing its parts afresh.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence.attribution.method import METHODS, Attributor
from whence.engines import Checkpoints, Run, identity_of
from whence.errors import ParameterError, UnsupportedError, did_you_mean

if TYPE_CHECKING:
    from whence.attribution import Attribution

_MEANS = ("score", "own_score")
_ERRORS = ("std_error", "own_std_error")
_COUNTS = ("n_queries",)
_FACTS = (
    "n_queries", "n_empty_queries", "n_unknown_rows", "value_all", "value_nothing", "stopped",
    "relative_error", "elapsed_seconds",
)  # fmt: skip
_OF_ALL = ("seed", "fingerprint", "n_exact_queries", "n_sampled_queries", "mean_permutations")


@dataclass(frozen=True)
class Part:
    """What one part of an evaluation set says of the sources.

    Attributes
    ----------
    facts : mapping
        Its name and number of queries, what they are worth, and how precise the values are.
    rows : int64 array [r]
        Positions of the sources that it says anything of.
    columns : mapping of str to array [r]
        Their values, errors and counts.
    """

    facts: Mapping[str, Any]
    rows: npt.NDArray[np.int64]
    columns: Mapping[str, npt.NDArray[Any]]

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.facts["name"])

    @classmethod
    def of(cls, values: Attribution, name: str) -> Part:
        """Return values of one evaluation set as a part of several."""
        names = [one for one in (*_MEANS, *_ERRORS, *_COUNTS) if one in values.frame.columns]
        columns = {one: values.frame[one].to_numpy() for one in names}
        rows = np.flatnonzero(np.any([column != 0 for column in columns.values()], axis=0))
        facts = {one: values.metadata.get(one) for one in _FACTS}
        facts["validation"] = (values.metadata.get("fingerprint") or {}).get("validation")
        return cls(
            {"name": name, **facts}, rows, {one: column[rows] for one, column in columns.items()}
        )


def part_seed(seed: int, name: str) -> int:
    """Return the seed of a part, by its name, so that no two parts draw the same numbers."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def parts_of(values: Attribution) -> list[Part]:
    """Return the parts that values are made of; values of one evaluation set are one, named "1"."""
    listed = values.metadata.get("parts")
    if listed is None:
        return [Part.of(values, "1")]
    state = values.state
    if state is None:
        raise UnsupportedError(
            "What each part adds is not in this file, so that nothing can be added or taken out; "
            "keep the values in a .parquet file."
        )
    found = []
    for number, facts in enumerate(listed):
        start = f"part.{number}."
        arrays = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        if "rows" not in arrays or "score" not in arrays or not isinstance(facts, Mapping):
            raise ParameterError(
                f"Part {number + 1} of these values is damaged; value its data again."
            )
        found.append(Part(facts, arrays.pop("rows"), arrays))
    return found


def added(like: Attribution, parts: Sequence[Part]) -> Attribution:
    """Return the values of several parts.

    Parameters
    ----------
    like : Attribution
        Of one of them or several, for the sources and what else is the same in all.
    parts : sequence of Part
        In the order in which they are added.
    """
    n_queries = sum(part.facts["n_queries"] for part in parts)
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in [one for one in like.frame.columns if one in (*_MEANS, *_ERRORS, *_COUNTS)]:
        total = np.zeros(len(like), dtype=np.int64 if name in _COUNTS else np.float64)
        for part in parts:
            share = part.columns[name]
            if name in _MEANS:
                share = share * part.facts["n_queries"]
            elif name in _ERRORS:
                share = np.square(share * part.facts["n_queries"])
            total[part.rows] += share
        if name in _ERRORS:
            total = np.sqrt(total)
        columns[name] = total if name in _COUNTS else total / n_queries
    state: dict[str, npt.NDArray[Any]] = {}
    for number, part in enumerate(parts):
        arrays = {"rows": part.rows, **part.columns}
        state |= {f"part.{number}.{name}": array for name, array in arrays.items()}
    metadata = {name: value for name, value in like.metadata.items() if name not in _OF_ALL}
    metadata |= _facts_of_all(parts, columns, n_queries)
    metadata["fingerprint"] = {**(like.metadata.get("fingerprint") or {}), "validation": None}
    return type(like)(
        like.frame.with_columns(pl.Series(name, column) for name, column in columns.items()),
        source=like.source,
        metadata=metadata,
        backend=like.backend,
        state=state,
        origin=like.origin,
    )


def _facts_of_all(
    parts: Sequence[Part], columns: Mapping[str, npt.NDArray[Any]], n_queries: int
) -> dict[str, Any]:
    facts: dict[str, Any] = {"parts": [dict(part.facts) for part in parts]}
    for name in ("n_queries", "n_empty_queries", "n_unknown_rows", "elapsed_seconds"):
        facts[name] = sum(part.facts[name] or 0 for part in parts)
    for name in ("value_all", "value_nothing"):
        given = [part.facts[name] for part in parts]
        if None not in given:
            weighed = [part.facts[name] * part.facts["n_queries"] for part in parts]
            facts[name] = sum(weighed) / n_queries
    ways = {part.facts["stopped"] for part in parts}
    facts["stopped"] = next(
        (way for way in ("interrupted", "max_permutations", "tolerance") if way in ways), "exact"
    )
    facts["relative_error"] = None
    if "std_error" in columns:
        size = float(np.abs(columns["score"]).mean())
        facts["relative_error"] = float(columns["std_error"].mean()) / size if size else 0.0
    return facts


def attribute_parts(
    method: Attributor, model: Any, parts: Mapping[str, Any], run: Run | None = None
) -> Attribution:
    """Value training data by an evaluation set in parts; see `Valuation.attribute_parts`."""
    if not isinstance(parts, Mapping) or not parts:
        raise ParameterError(
            "parts must name one evaluation set or more: {'monday': ..., 'tuesday': ...}."
        )
    _check_adds_up(method)
    run = run or Run()
    names = [_checked_name(name) for name in parts]
    identity = {
        "method": repr(method),
        "parts": {name: _identity_of_data(data) for name, data in parts.items()},
        "training data": getattr(getattr(model, "train_", None), "fingerprint", None),
        "seed": run.seed,
    }
    done: list[Part] = []
    like: Attribution | None = None
    with Checkpoints(run, identity, "parts") as kept:
        for number, name in enumerate(names):
            before = kept.load(f"part-{number}")
            if before is not None and not (like is None and number == len(names) - 1):
                done.append(Part(before["facts"], before["rows"], before["columns"]))
                continue
            folder = kept.path(f"part-{number}")
            values = _valued(method, model, parts[name], name, run.changed(folder=folder))
            part = Part.of(values, name)
            like = values
            done.append(part)
            kept.is_finished = values.metadata.get("stopped") != "interrupted"
            if not kept.is_finished:
                break
            kept.save(
                f"part-{number}",
                {"facts": dict(part.facts), "rows": part.rows, "columns": dict(part.columns)},
            )
    assert like is not None
    return _with_seed(added(like, done), method, run)


def _check_adds_up(method: Attributor) -> None:
    if not method.adds_up_over_queries:
        metric = getattr(method, "metric", None)
        what = f" of {metric}" if isinstance(metric, str) else ""
        raise UnsupportedError(
            f"{method.title or type(method).__name__}{what} are not means over queries, so that "
            "those of several evaluation sets do not add up; attribute all of them at once."
        )


def update(
    values: Attribution,
    data: Any,
    *,
    part: str | None = None,
    without: Iterable[str] = (),
    model: Any = None,
    method: Attributor | None = None,
    run: Run | None = None,
) -> Attribution:
    """Add an evaluation set to values, and take out others; see `Attribution.update`."""
    kept = _taken_out(parts_of(values), without)
    if data is None:
        if not kept:
            raise ParameterError("Nothing would be left of the values; take out fewer parts.")
        return added(values, kept)
    own_method, own_model = values.origin or (None, None)
    model = own_model if model is None else model
    method = method or own_method or _method_of(values)
    if model is None:
        raise ParameterError(
            "These values are from a file, so the model is not at hand; give it with model=..."
        )
    _check_adds_up(method)
    trained = (values.metadata.get("fingerprint") or {}).get("train")
    now = getattr(getattr(model, "train_", None), "fingerprint", None)
    if trained != now or values.metadata.get("model") != type(model).__name__:
        raise ParameterError(
            "This model is not the one that the values are of, or was fitted on other data; value "
            "the whole evaluation set again."
        )
    taken = [one.name for one in kept]
    name = _checked_name(part) if part is not None else _free_name(len(kept) + 1, taken)
    if name in taken:
        raise ParameterError(
            f"There is a part {name!r} already; give the new one another name, or take that one "
            "out with without=..."
        )
    new = _valued(method, model, data, name, run or Run())
    for fact in ("method", "metric", "model_params", "by"):
        if new.metadata.get(fact) != values.metadata.get(fact):
            raise ParameterError(
                f"These values cannot be added to: their {fact.replace('_', ' ')} was "
                f"{values.metadata.get(fact)}, now it is {new.metadata.get(fact)}; ask the same "
                "question again."
            )
    if not new.ids.equals(values.ids):
        raise ParameterError(
            f"These values are of {len(values):,} {values.noun} and the new ones of {len(new):,}, "
            "so that they do not add up; value them all."
        )
    found = added(new, [*kept, Part.of(new, name)])
    return _with_seed(found, method, run or Run())


def _valued(method: Attributor, model: Any, data: Any, name: str, run: Run) -> Attribution:
    seed = getattr(method, "seed", None) if run.seed is None else run.seed
    if seed is not None:
        run = run.changed(seed=part_seed(seed, name))
    found: Attribution = method.attribute(model, data, run=run)
    return found


def _with_seed(values: Attribution, method: Attributor, run: Run) -> Attribution:
    """Return the values with the seed that was asked for, of which those of the parts come."""
    seed = getattr(method, "seed", None) if run.seed is None else run.seed
    values.metadata["seed"] = seed
    if "seed" in (values.metadata.get("params") or {}):
        values.metadata["params"] = {**values.metadata["params"], "seed": seed}
    values.origin = (method, (values.origin or (None, None))[1])
    return values


def _method_of(values: Attribution) -> Attributor:
    """Return the method that values are of, as the file says."""
    about = values.metadata
    found = METHODS.find(str(about.get("method")))
    if found is None:
        raise ParameterError(
            f"The method {about.get('method')!r} of these values is not known; give it with "
            "method=..."
        )
    given = dict(about.get("params") or {})
    usual = found.parameter_defaults()
    for name in ("metric", "by"):
        if name in usual and about.get(name) is not None:
            given[name] = about[name]
    return found(**{name: value for name, value in given.items() if name in usual})


def _taken_out(parts: Sequence[Part], without: Iterable[str]) -> list[Part]:
    names = [without] if isinstance(without, str) else list(without)
    known = [part.name for part in parts]
    for name in names:
        if name not in known:
            raise ParameterError(
                f"There is no part {name!r} among {', '.join(map(repr, known))}."
                f"{did_you_mean(str(name), known)}"
            )
    return [part for part in parts if part.name not in names]


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise ParameterError(f"The name of a part must be a text, not {name!r}.")
    return name


def _free_name(number: int, taken: Sequence[str]) -> str:
    while str(number) in taken:
        number += 1
    return str(number)


def _identity_of_data(data: Any) -> Any:
    fingerprint = getattr(data, "fingerprint", None)
    if fingerprint is not None:
        return fingerprint
    if hasattr(data, "target_items"):
        arrays = (data.history_items, data.history_start, data.target_items, data.users)
        return identity_of([identity_of(array) for array in arrays])
    return type(data).__name__
