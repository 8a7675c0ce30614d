"""``whence experiment fidelity``: influence functions against retraining."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._terminal import heading, progress, say


def fidelity_command(
    *,
    data: Annotated[
        Path, typer.Argument(help="Users with their items, and ratings, in any format.")
    ],
    model: options.Model = None,
    set_: options.Set = None,
    solver: Annotated[
        list[str] | None,
        typer.Option(
            help="cg, exact, block, lissa or dot; may be repeated: cg, block, dot.",
            show_default=False,
        ),
    ] = None,
    removals: Annotated[
        int, typer.Option(help="Single interactions, half random, half the largest.")
    ] = 100,
    keep: Annotated[
        list[float] | None,
        typer.Option(
            help="Share that random groups leave; may be repeated: 0.9, 0.7, 0.5.",
            show_default=False,
        ),
    ] = None,
    groups: Annotated[int, typer.Option(help="Groups of each share.")] = 10,
    damping: Annotated[float, typer.Option(help="Added to the diagonal of the Hessian.")] = 0.0,
    rating: Annotated[
        str | None, typer.Option(help="Column of the rating.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split, the fit and the draws.")] = 0,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder; a run that was broken off goes on there."),
    ] = Path("fidelity"),
) -> None:
    """Retrain without interactions; compare with what influence functions predict.

    For example: whence experiment fidelity ratings.csv --output fidelity
    """
    from whence.data import read_interactions
    from whence.experiments import FidelityExperiment

    experiment = FidelityExperiment(
        model=_maker(model, set_),
        solvers=tuple(solver or ("cg", "block", "dot")),
        removals=removals,
        keep=tuple((0.9, 0.7, 0.5) if keep is None else keep),
        groups=groups,
        damping=damping,
        seed=seed,
    )
    interactions = read_interactions(data, rating=rating)
    with progress("Retraining") as report:
        tell: Any = report if callable(report) else None
        found = experiment.run(interactions, folder=output, progress=tell)
    output.mkdir(parents=True, exist_ok=True)
    heading("Predicted and actual changes without interactions")
    say(found.to_markdown())
    _write(found, output)
    say(f"Written to {output}: table.md, table.csv, changes.csv, and a picture of each outcome.")


def _maker(model: str | None, extra: list[str] | None) -> Any:
    """Return ``model(seed)`` of a configuration; None for the experiment's own model."""
    if model is None and not extra:
        return None
    # Checked here, and built for each seed with it.
    options.configured(None, extra, model__name=model or "mf").build_model()

    def make(seed: int) -> Any:
        config = options.configured(None, extra, model__name=model or "mf", training__seed=seed)
        return config.build_model()

    return make


def _write(found: Any, folder: Path) -> None:
    from whence.data import write_interactions
    from whence.data.files import atomic_path
    from whence.plots import picture

    with atomic_path(folder / "table.md", overwrite=True) as temporary:
        temporary.write_text(found.to_markdown() + "\n", encoding="utf-8")
    write_interactions(found.to_frame(), folder / "table.csv", overwrite=True)
    write_interactions(found.changes, folder / "changes.csv", overwrite=True)
    for outcome in ("own user", "total"):
        name = f"{outcome.replace(' ', '-')}.png"
        with picture(folder / name, overwrite=True) as axes:
            found.plot(outcome, ax=axes)
