"""Why these films, feature by feature: GRU4Rec with genres, years, users and ratings on MovieLens.

    python examples/explain_features.py PATH OUTPUT

PATH is the folder or the file of interactions of MovieLens 100K in RecBole's atomic files. The
network is trained for ten epochs; this and the explanations take half a minute of one core.
Pictures, on light and on dark paper, and tables are written to OUTPUT.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import polars as pl

import whence
from whence.explanation import by_group
from whence.plots import picture

FEATURES = {
    "item_features": ["class", "release_year"],
    "user_features": ["gender", "age", "occupation"],
    "context_features": ["rating"],
}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", help="folder or file of MovieLens 100K")
    parser.add_argument("output", type=Path, help="folder for pictures and tables")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--user", default="42", help="whose recommendations are explained")
    parser.add_argument("--users", type=int, default=100, help="users of the global report")
    given = parser.parse_args()
    run(whence.read_interactions(given.path), given.output, given.epochs, given.user, given.users)


def run(
    data: whence.Interactions,
    output: Path,
    epochs: int = 10,
    user: str = "42",
    n_users: int = 100,
    features: dict[str, list[str]] = FEATURES,
) -> dict[str, object]:
    """Train, explain, and write everything down."""
    output.mkdir(parents=True, exist_ok=True)
    train, test = whence.split_last(data, 1)
    started = time.process_time()
    model = whence.GRU4Rec(
        embedding_dim=32,
        hidden_dim=64,
        epochs=epochs,
        batch_size=128,
        learning_rate=5e-3,
        seed=1,
        **features,
    ).fit(train)
    recall = whence.evaluate(model, test, "recall@10")["recall@10"]
    print(f"Trained in {time.process_time() - started:.0f} CPU s, recall@10 {recall:.3f}")
    histories = {name: one[-20:] for name, one in model.event_histories(train).items()}
    own = next(one for name, one in histories.items() if str(name) == user)
    found: dict[str, object] = {}
    for level, settings in (("feature", {}), ("cell", {"cells": ("top", 5, 3)})):
        started = time.process_time()
        one = whence.explain(model, own, level=level, **settings)
        print()
        print(one.summary())
        print(f"{time.process_time() - started:.2f} CPU s, {one.metadata['n_values']:,} values")
        print(one.to_frame().select("label", "score"))
        draw(one.plot, output, f"explanation-{level}s")
        found[level] = one
    chosen = dict(list(histories.items())[:: max(1, len(histories) // n_users)][:n_users])
    started = time.process_time()
    many = whence.explain_many(model, chosen, level="feature")
    table = by_group(many.to_frame(), "feature")
    print()
    print(f"{len(many)} users in {time.process_time() - started:.0f} CPU s")
    with pl.Config(tbl_rows=20):
        print(table)
    table.write_csv(output / "explanation-features-users.csv")
    draw(lambda ax: many.plot(ax, kind="beeswarm"), output, "explanation-features-users")
    return {**found, "many": many}


def draw(plot: object, output: Path, name: str) -> None:
    """Draw on light and on dark paper."""
    for dark in (False, True):
        path = output / f"{name}{'-dark' if dark else ''}.png"
        with picture(path, overwrite=True, on_dark=dark) as axes:
            plot(ax=axes)  # type: ignore[operator]


if __name__ == "__main__":
    main()
