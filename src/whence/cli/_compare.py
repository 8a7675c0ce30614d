"""Evaluate trained models, and compare several of them query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whence.cli._fitting import described, evaluate_all, queries_of, show, summary
from whence.cli._models import Trained
from whence.cli._terminal import heading, say, table
from whence.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars as pl

    from whence.config import Config, Parts
    from whence.data import Interactions
    from whence.evaluation import Evaluation


def compare_models(
    models: Sequence[Trained],
    config: Config,
    given: Mapping[str, str | None],
    folder: Path | None,
    overwrite: bool,
    threads: int | None = None,
) -> None:
    """Evaluate models on the same data and print their metrics and differences.

    Parameters
    ----------
    models : sequence of Trained
        The differences are those of each other one from the first.
    config : Config
        Of the first, where it is a run.
    given : mapping
        Files for ``validation`` and ``test`` that replace the data of the run.
    folder : Path or None
        Where results are written.
    overwrite : bool
    threads : int, optional
    """
    from whence.cli._output import check_free

    if folder is not None:
        check_free(folder, overwrite=overwrite)
    parts, data = _data(models, config, given)
    results = [
        evaluate_all(trained.model, data, config, parts, threads=threads) for trained in models
    ]
    differences = None
    if len(models) == 1:
        heading(f"{models[0].name}: {described(models[0].model)}")
        show(results[0])
    else:
        differences = _differences(results)
        for number, trained in enumerate(models, 1):
            heading(f"{number}: {trained.source}: {described(trained.model)}")
        _show_values(results)
        say()
        _show(differences)
    if folder is not None:
        sources = [str(trained.source) for trained in models]
        _write(folder, dict(enumerate(zip(sources, results), 1)), differences, overwrite)
        say(f"Written to {folder}.")


def _data(
    models: Sequence[Trained], config: Config, given: Mapping[str, str | None]
) -> tuple[Parts, dict[str, Interactions]]:
    """What is evaluated on: the files given, else the data of the first run."""
    from whence.config import Parts, read_parts

    first = models[0]
    if any(path is not None for path in given.values()):
        files = {name: path for name, path in given.items() if path is not None}
        data = {name: _read_like(first, str(path), config) for name, path in files.items()}
        return Parts(first.model.train_, data.get("validation"), data.get("test")), data
    if not first.data:
        raise ConfigError(
            f"{first.source} is a model without data to evaluate it on; name a file with --test or "
            "--valid."
        )
    parts = read_parts(config)
    found = {"validation": parts.validation, "test": parts.test}
    data = {name: part for name, part in found.items() if part is not None}
    if not data:
        raise ConfigError(
            f"{first.source} was trained without validation and test data; name a file with "
            "--test or --valid."
        )
    for trained in models:
        _check_same_data(trained, first, data)
    return parts, data


def _check_same_data(trained: Trained, first: Trained, data: Mapping[str, Interactions]) -> None:
    """Refuse a model that may have learned from what it is to be tested on."""
    for name, part in data.items():
        recorded = trained.data.get(name, {}).get("fingerprint")
        if recorded == part.fingerprint:
            continue
        if trained is first:
            raise DataError(
                f"The {name} data of {first.source} have changed since it was trained (their "
                "fingerprint differs); train it again, or name other data with --test."
            )
        raise DataError(
            f"{trained.source} has other {name} data than {first.source} (their fingerprint "
            "differs), from which it may have learned; train both on the same split, or name "
            "other data with --test."
        )


def _read_like(first: Trained, path: str, config: Config) -> Interactions:
    """Read a file with the columns named, else those that the model was trained with."""
    from whence.config.parts import reading
    from whence.data import read_interactions
    from whence.errors import ColumnError

    known = first.model.train_
    named = config.data.model_dump(
        include={"session", "user", "item", "time", "basket", "rating", "negatives"},
        exclude_none=True,
    )
    how = reading(config)
    if not named:
        try:
            return read_interactions(path, kind=known.kind, **how, **known.columns.as_arguments())
        except ColumnError:
            pass
    return read_interactions(path, kind=known.kind, **how, **named)


def _differences(results: Sequence[Mapping[str, Evaluation]]) -> pl.DataFrame:
    """Compare each evaluation with the first, on each set and by each metric of queries."""
    import polars as pl

    from whence.evaluation import compare

    rows = []
    for name in results[0]:
        for number, other in enumerate(results[1:], 2):
            a, b = other[name], results[0][name]
            for metric in a.scores:
                if metric in a.aggregates and metric not in a.per_query.columns:
                    continue
                found = compare(a, b, metric)
                rows.append(
                    {"set": name, "a": number, "b": 1, **found.to_frame().row(0, named=True)}
                )
    return pl.DataFrame(rows)


def _show_values(results: Sequence[Mapping[str, Evaluation]]) -> None:
    """A row per metric and set, a column per model."""
    rows = [
        [f"{metric} on {name}", *(f"{sets[name].scores[metric]:.4f}" for sets in results)]
        for name, first in results[0].items()
        for metric in first.scores
    ]
    table(["metric", *map(str, range(1, len(results) + 1))], rows)
    for name, first in results[0].items():
        say(f"{name}: {queries_of(first)}.")


def _show(differences: pl.DataFrame) -> None:
    rows = [
        [
            f"{row['metric']} on {row['set']}: {row['a']} - {row['b']}",
            f"{row['difference']:+.4f}",
            f"{row['low']:+.4f} to {row['high']:+.4f}",
            f"{row['p_value']:.2g}",
        ]
        for row in differences.iter_rows(named=True)
    ]
    table(["difference of", "", "95% interval", "p-value"], rows)


def _write(
    folder: Path,
    results: Mapping[int, tuple[str, Mapping[str, Evaluation]]],
    differences: pl.DataFrame | None,
    overwrite: bool,
) -> None:
    from whence.attribution.record import versions
    from whence.cli._output import SUMMARY, Results, marked, write_json

    found = [
        {"model": label, **{name: summary(one) for name, one in sets.items()}}
        for label, sets in results.values()
    ]
    question = marked("evaluate", models=[label for label, _ in results.values()])
    with Results(folder, question, overwrite=overwrite).open():
        for number, (_, sets) in results.items():
            for name, result in sets.items():
                prefix = "" if len(results) == 1 else f"{number}-"
                result.per_query.write_parquet(folder / f"{prefix}{name}-queries.parquet")
        if differences is not None:
            differences.write_csv(folder / "differences.csv")
        write_json({"results": found, "versions": versions()}, folder / SUMMARY)
