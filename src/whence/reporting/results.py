"""Results in memory, or in a file of their own, as sections of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from whence.attribution import Attribution
from whence.attribution.files import load
from whence.data import Interactions
from whence.errors import ConfigError, WhenceError
from whence.reporting import decisions, experiments, explanations, metrics, profile, values
from whence.reporting.blocks import Block, Part, Section, Table, Text

Data = Sequence[Interactions]


@dataclass(frozen=True)
class Held:
    """A result, and what the report calls it.

    Attributes
    ----------
    result : object
    name : str
    """

    result: Any
    name: str

    def __str__(self) -> str:
        return _said(self.result)


def read_results(found: Iterable[Any]) -> list[Held]:
    """Name results in memory, and read those in files.

    Parameters
    ----------
    found : iterable of path or result

    Raises
    ------
    ConfigError
        If something is no result, or a file holds none.
    """
    held: list[Held] = []
    taken: dict[str, int] = {}
    for one in found:
        result, name = (_read(one), one.stem) if isinstance(one, Path) else (one, _word(one))
        taken[name] = taken.get(name, 0) + 1
        held.append(Held(result, name if taken[name] == 1 else f"{name} {taken[name]}"))
    return held


def sections(held: Sequence[Held]) -> list[Section]:
    """Return the section of each result; values say what they are of where the data are there."""
    data = [one.result for one in held if isinstance(one.result, Interactions)]
    return [_section(one, data) for one in held]


def _section(one: Held, data: Data) -> Section:
    return _KINDS[_kind(one.result)].make(one.result, one.name, data)


def _values(result: Attribution, name: str, data: Data) -> Section:
    known = result.metadata.get("fingerprint")
    of = known.get("train") if isinstance(known, dict) else None
    own = next((one for one in data if one.fingerprint == of), None)
    return Section(f"Values: {name}", values.value_parts(result, own), values.about(result))


def _explanations(result: Any, name: str, data: Data) -> Section:
    if isinstance(result, pl.DataFrame):  # of a file
        return explanations.section(name, result, [("histories", result["history"].n_unique())])
    facts = [("histories", len(result))]
    return explanations.section(name, result.to_frame(), facts, result.report())


def _table(result: Any, name: str, data: Data) -> Section:
    """Whatever else shows itself as a table."""
    frame = result.to_frame()
    blocks: list[Block] = [Text(_said(result))]
    if isinstance(frame, pl.DataFrame):
        flat = [column for column, dtype in frame.schema.items() if not dtype.is_nested()]
        blocks.append(Table(f"{name.capitalize()}, as a table", frame.select(flat)))
    return Section(name.capitalize(), [Part("What was found", blocks)])


@dataclass(frozen=True)
class _Kind:
    """A class of results, what they are called, and the function that makes their section."""

    home: str
    word: str
    make: Callable[[Any, str, Data], Section]

    def has(self, result: Any) -> bool:
        """Whether a result is of the class, which is not imported to find out."""
        places = [f"{one.__module__}.{one.__name__}" for one in type(result).__mro__]
        return self.home in places


_KINDS = (  # the first that a result is, as some are several
    _Kind("whence.explanation.result.Explanation", "explanation",
          lambda result, name, data: explanations.section_of_one(result, name)),
    _Kind("whence.explanation.many.Explanations", "explanations", _explanations),
    _Kind("polars.dataframe.frame.DataFrame", "explanations", _explanations),
    _Kind("whence.attribution.result.Attribution", "values", _values),
    _Kind("whence.data.interactions.Interactions", "data",
          lambda result, name, data: profile.section_of_data(result, name)),
    _Kind("whence.experiments.results.ExperimentResult", "",
          lambda result, name, data: experiments.section(
              experiments.Found.of_result(result, name))),
    _Kind("whence.evaluation.result.Evaluation", "metrics",
          lambda result, name, data: metrics.section_of_evaluation(result, name)),
    _Kind("whence.curation.forgetting.forgetting.Forgotten", "forgotten",
          lambda result, name, data: decisions.section_of_forgotten(result, name)),
    _Kind("whence.curation.forgetting.audit.Audit", "audit",
          lambda result, name, data: decisions.section_of_audit(result.to_frame(), name)),
    _Kind("whence._html.ShownAsTable", "", _table),
)  # fmt: skip


def _kind(result: Any) -> int:
    """Number of the kind of a result.

    Raises
    ------
    ConfigError
        If it is none.
    """
    is_table = isinstance(result, pl.DataFrame) and not set(result.columns) >= _OF_EXPLANATIONS
    for number, kind in enumerate(_KINDS):
        if kind.has(result) and not is_table:
            return number
    raise ConfigError(
        "A report is made of folders of results and of results in memory, such as values, "
        f"explanations or what an experiment returns, not of a {type(result).__name__}."
    )


def _word(result: Any) -> str:
    """What the report calls a result that has no name."""
    own = getattr(result, "experiment", None)
    return own or _KINDS[_kind(result)].word or type(result).__name__.lower()


def _said(result: Any) -> str:
    if isinstance(result, pl.DataFrame):
        return f"explanations of {result['history'].n_unique():,} histories"
    return repr(result).partition("\n")[0].removeprefix("<").removesuffix(">")


_OF_EXPLANATIONS = {"history", "label", "score"}


def _read(path: Path) -> Any:
    """Values, an explanation or explanations, from a file of their own.

    Raises
    ------
    ConfigError
        If the file holds none of these.
    """
    from whence.explanation import Explanation

    table = _table_of(path)
    if table is not None:
        return table
    try:
        found = load(path)
        of_one = "items" in found["metadata"]
        return Explanation.load(path) if of_one else Attribution(**found)
    except WhenceError as error:
        raise ConfigError(
            f"{path} is neither a folder of results nor a file of values or explanations; give "
            "what whence value, explain and the like have written."
        ) from error


def _table_of(path: Path) -> pl.DataFrame | None:
    """Explanations of many histories, as they are saved; None where it is something else."""
    try:
        read = pl.read_parquet if path.suffix == ".parquet" else pl.read_csv
        frame = read(path)
    except (OSError, pl.exceptions.PolarsError):
        return None
    return frame if set(frame.columns) >= _OF_EXPLANATIONS else None
