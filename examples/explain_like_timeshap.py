"""What GRU4Rec's ten recommendations are due to, as TimeSHAP would be asked, with one command.

    python examples/explain_like_timeshap.py DATA OUTPUT

DATA is anything that Whence reads: MovieLens 1M as GroupLens gives it, a file of clicks or ratings,
or a folder of given splits such as ReChorus's (train.csv, dev.csv, test.csv). GRU4Rec is trained,
a user's ten recommended items are frozen, and the events of the user are explained with them
removed, and with the item of the lowest, the median and the highest score in their place; then one
stand-in after another, a local report of the user, and a global one of many users. Pictures and
tables are written to OUTPUT.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import polars as pl

import whence
from whence.explanation import explain, global_report, local_report, stand_ins
from whence.plots import explanation as plots
from whence.plots import picture

MASKINGS = ("remove", "lowest", "median", "highest")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="data: a file, or a folder")
    parser.add_argument("output", type=Path, help="folder for pictures and tables")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--user", help="whose recommendations are explained; the first if absent")
    parser.add_argument("--events", type=int, default=20, help="latest events that are explained")
    parser.add_argument("--users", type=int, default=500, help="users of the global report")
    parser.add_argument("--model", type=Path, help="a trained model, in place of training one")
    given = parser.parse_args()
    train, test = parts(given.path)
    if given.model is None:
        model = trained(train, test, given.epochs)
        model.save(given.output / "model.whence")
    else:
        model = whence.load_model(given.model)
    run(model, given.output, given.user, given.events, given.users)


def parts(path: Path) -> tuple[whence.Interactions, whence.Interactions]:
    """Training and test data: as they were split, or the last event of each user for the test."""
    if path.is_dir() and (path / "train.csv").exists() and (path / "test.csv").exists():
        given = whence.read_splits(path)
        return given[0], given[2]
    train, test = whence.split_last(whence.read_interactions(path), 1)
    return train, test


def trained(
    train: whence.Interactions, test: whence.Interactions, epochs: int, **settings: Any
) -> whence.GRU4Rec:
    """A GRU4Rec, and how often what came next is among its first ten."""
    started = time.process_time()
    usual: dict[str, Any] = {
        "embedding_dim": 64, "hidden_dim": 64, "dropout": 0.1, "max_length": 50,
        "batch_size": 128, "learning_rate": 3e-3, "seed": 42,
    }  # fmt: skip
    model = whence.GRU4Rec(epochs=epochs, **{**usual, **settings}).fit(train)
    print(f"Trained for {epochs} epochs: {time.process_time() - started:.0f} CPU s")
    print(whence.evaluate(model, test, ["recall@10", "ndcg@10"]))
    return model


def run(
    model: Any, output: Path, user: str | None = None, n_events: int = 20, n_users: int = 500
) -> dict[str, Any]:
    """Explain one user and many, and write everything down."""
    output.mkdir(parents=True, exist_ok=True)
    histories = histories_of(model, n_events)
    own = next(one for name, one in histories.items() if user is None or str(name) == user)
    by_masking = {name: explain(model, own, k=10, masking=name) for name in MASKINGS}
    columns = {name: one.scores for name, one in by_masking.items()}
    table = pl.DataFrame({"event": by_masking["remove"].labels, **columns})
    table.write_csv(output / "maskings.csv")
    with picture(output / "maskings.png", overwrite=True) as axes:
        plots.maskings({name: one.frame for name, one in by_masking.items()}, ax=axes)
    print()
    print(by_masking["remove"].summary())
    for name, one in by_masking.items():
        close = table.select(pl.corr("remove", name, method="spearman")).item()
        print(
            f"masking {one.metadata['masking']}: {one.value_nothing:.2f} to {one.value_all:.2f}, "
            f"rank correlation with remove {close:.2f}"
        )
    sweep = stand_ins(model, own, n=11, k=10)
    sweep.table.write_csv(output / "stand-ins.csv")
    with picture(output / "stand-ins.png", overwrite=True) as axes:
        sweep.plot(axes)
    print()
    print(sweep.table)
    print(by_masking["remove"].because())
    print(by_masking["remove"].counterfactual())
    local_report(model, own, k=10).save(output / "user", overwrite=True)
    chosen = list(histories.items())
    chosen = chosen[:: max(1, len(chosen) // n_users)][:n_users]
    started = time.process_time()
    many = global_report(model, dict(chosen), k=10)
    many.save(output / "users", overwrite=True)
    print()
    print(f"{len(chosen)} users: {time.process_time() - started:.0f} CPU s")
    print(many.pruning.statistics())
    print(many.events.report("recency"))
    return {"maskings": by_masking, "stand_ins": sweep, "global": many}


def histories_of(model: Any, n_events: int) -> dict[Any, list[Any]]:
    """The latest events of those who have so many."""
    train = model.train_
    offsets, ids = train.sequences.offsets, train.vocabulary.items
    return {
        user: ids.gather(train.sequences.items[end - n_events : end]).to_list()
        for user, start, end in zip(train.vocabulary.sources, offsets[:-1], offsets[1:])
        if end - start >= n_events
    }


if __name__ == "__main__":
    main()
