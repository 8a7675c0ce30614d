"""``whence experiment disclosure``: strategies retrained and compared, over λ and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._terminal import heading, progress, say


def disclosure_command(
    data: Annotated[
        Path, typer.Argument(help="Users with their items, and ratings, in any format.")
    ],
    willingness: Annotated[
        str | None,
        typer.Option(
            help="Column of violations from 0 to 1; drawn anew for each seed by default.",
            show_default=False,
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="Such as selfish; may be repeated: social, trust_region, all, none.",
            show_default=False,
        ),
    ] = None,
    share: Annotated[
        list[float] | None,
        typer.Option(
            help="λ as a multiple of lam_ref; may be repeated: 0.1, 0.3, 1, 3, 10.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 3,
    model: options.Model = None,
    set_: options.Set = None,
    metric: options.Metrics = None,
    rating: Annotated[
        str | None, typer.Option(help="Column of the rating.", show_default=False)
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder; a run that was broken off goes on there."),
    ] = Path("disclosure"),
) -> None:
    """Choose what is disclosed by several strategies, retrain for each, and compare.

    For example: whence experiment disclosure ratings.csv --seeds 5 --output disclosure
    """
    from whence.data import read_interactions
    from whence.experiments import DisclosureExperiment

    changes: dict[str, Any] = {
        "strategies": strategy and tuple(strategy),
        "shares": share and tuple(share),
        "metrics": metric and tuple(metric),
        "model": _maker(model, set_),
    }
    given = {name: value for name, value in changes.items() if value is not None}
    experiment = DisclosureExperiment(willingness=willingness, seeds=tuple(range(seeds)), **given)
    interactions = read_interactions(data, rating=rating)
    with progress("Retraining") as report:
        tell: Any = report if callable(report) else None
        found = experiment.run(interactions, folder=output, progress=tell)
    output.mkdir(parents=True, exist_ok=True)
    heading("Strategies of disclosure, retrained and measured on test data")
    say(found.to_markdown())
    _write(found, output)
    say(f"Written to {output}: table.md, table.csv, runs.csv and frontier.png.")


def _maker(model: str | None, extra: list[str] | None) -> Any:
    """Return ``model(train, seed)`` of a configuration; None for the experiment's own model."""
    if model is None and not extra:
        return None
    name = model or "mf"
    options.configured(None, extra, model__name=name).build_model()  # refused here, if at all

    def make(train: Any, seed: int) -> Any:
        config = options.configured(None, extra, model__name=name, training__seed=seed)
        return config.build_model()

    return make


def _write(found: Any, folder: Path) -> None:
    from whence.data import write_interactions
    from whence.data.files import atomic_path
    from whence.plots import picture

    with atomic_path(folder / "table.md", overwrite=True) as temporary:
        temporary.write_text(found.to_markdown() + "\n", encoding="utf-8")
    write_interactions(found.to_frame(), folder / "table.csv", overwrite=True)
    write_interactions(found.rows, folder / "runs.csv", overwrite=True)
    with picture(folder / "frontier.png", overwrite=True) as axes:
        found.plot(axes)
