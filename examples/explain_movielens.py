"""Why these films: GRU4Rec on MovieLens 1M, explained film by film, for one user and for 500.

    python examples/explain_movielens.py PATH OUTPUT

PATH is the folder of MovieLens 1M, as GroupLens gives it or as RecBole's atomic files. The network
is trained for three epochs, in about four minutes of one core; the explanations take a quarter of
a minute. Pictures and tables are written to OUTPUT.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl

import whence
from whence.plots import explanation as plots
from whence.plots import picture

MASKINGS = ("remove", "pad")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", help="folder of MovieLens 1M")
    parser.add_argument("output", type=Path, help="folder for pictures and tables")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--user", default="1", help="whose recommendations are explained")
    parser.add_argument("--users", type=int, default=500, help="users of the global report")
    given = parser.parse_args()
    run(whence.read_interactions(given.path), given.output, given.epochs, given.user, given.users)


def run(
    data: whence.Interactions,
    output: Path,
    epochs: int = 3,
    user: str = "1",
    n_users: int = 500,
    lengths: tuple[int, int] = (20, 50),
) -> dict[str, object]:
    """Train, explain, and write everything down."""
    output.mkdir(parents=True, exist_ok=True)
    train, test = whence.split_last(data, 1)
    model = trained(train, test, epochs)
    films = histories(train)
    own = next(one for name, one in films.items() if str(name) == user)
    short, long = lengths
    found = {
        "short": explain_one(model, own[-short:], "exact", output / "explanation-exact.png"),
        "long": explain_one(model, own[-long:], "permutation", output / "explanation-long.png"),
        "maskings": two_maskings(model, own[-short:], output),
    }
    many = {name: one[-short:] for name, one in films.items() if len(one) >= short}
    step = max(1, len(many) // n_users)
    chosen = dict(list(many.items())[::step][:n_users])
    found["many"] = global_report(model, chosen, output)
    found["padded"] = other_masking(model, chosen, found["many"])
    return found


def trained(train: whence.Interactions, test: whence.Interactions, epochs: int) -> whence.GRU4Rec:
    """A GRU4Rec, and how good it is at the film that each user watched next."""
    started = time.process_time()
    model = whence.GRU4Rec(
        embedding_dim=64,
        hidden_dim=64,
        dropout=0.1,
        max_length=50,
        epochs=epochs,
        batch_size=128,
        learning_rate=3e-3,
        seed=42,
    ).fit(train)
    found = whence.evaluate(model, test, ["recall@10"])["recall@10"]
    popular = whence.Popularity(exclude_seen=True).fit(train)
    other = whence.evaluate(popular, test, ["recall@10"])["recall@10"]
    print(f"Trained for {epochs} epochs: {time.process_time() - started:.0f} CPU s")
    print(f"recall@10 on the last film of each user: {found:.3f}, by popularity {other:.3f}")
    return model


def histories(train: whence.Interactions) -> dict[object, list[object]]:
    """Films of each user, oldest first."""
    offsets, ids = train.sequences.offsets, train.vocabulary.items
    return {
        user: ids.gather(train.sequences.items[start:end]).to_list()
        for user, start, end in zip(train.vocabulary.sources, offsets[:-1], offsets[1:])
    }


def explain_one(
    model: whence.GRU4Rec, films: list[object], method: str, path: Path
) -> whence.Explanation:
    """The ten films recommended to one user, by the films watched."""
    started = time.process_time()
    found = whence.explain(model, films, k=10, method=method, tolerance=0.005)
    seconds = time.process_time() - started
    print()
    print(found.summary())
    print(f"{seconds:.1f} CPU s, {found.metadata['n_values']:,} values")
    with picture(path, overwrite=True) as axes:
        found.plot(ax=axes, title=f"Why these films? ({found.metadata['method']})")
    return found


def two_maskings(model: whence.GRU4Rec, films: list[object], output: Path) -> pl.DataFrame:
    """The same films recommended, the same method, and two meanings of "not watched"."""
    found = {name: whence.explain(model, films, k=10, masking=name) for name in MASKINGS}
    with picture(output / "explanation-maskings.png", overwrite=True) as axes:
        plots.maskings({name: one.frame for name, one in found.items()}, ax=axes)
    columns = {name: one.scores for name, one in found.items()}
    table = pl.DataFrame({"film": found["remove"].labels, **columns})
    table.write_csv(output / "explanation-maskings.csv")
    rank = table.select(pl.corr("remove", "pad", method="spearman")).item()
    print()
    for name, one in found.items():
        print(f"masking {name}: {one.value_nothing:.2f} to {one.value_all:.2f}, most of it by")
        for row in one.top(3).iter_rows(named=True):
            print(f"  {row['label']} {row['score']:+.2f}")
    print(f"rank correlation of the two: {rank:.2f}")
    print(found["remove"].counterfactual())
    return table


def global_report(
    model: whence.GRU4Rec, films: dict[object, list[object]], output: Path
) -> whence.Explanations:
    """What matters in the histories of many users."""
    started = time.process_time()
    many = whence.explain_many(model, films, k=10, method="permutation", tolerance=0.05)
    print()
    print(f"{len(many)} users explained in {time.process_time() - started:.0f} CPU s")
    recency = many.report("recency")
    recency.write_csv(output / "explanation-recency.csv")
    often = many.report("item").filter(pl.col("n") >= 10)
    often.write_csv(output / "explanation-films.csv")
    say_recency(many)
    with pl.Config(tbl_rows=20, fmt_str_lengths=40):
        print(recency)
        print(often.head(5))
    for kind, title in (
        ("recency", f"How far back it matters: {len(many)} users"),
        ("beeswarm", f"Every share of {len(many)} users"),
    ):
        with picture(output / f"explanation-{kind}.png", overwrite=True) as axes:
            many.plot(ax=axes, kind=kind, title=title)
    return many


def other_masking(
    model: whence.GRU4Rec, films: dict[object, list[object]], removed: whence.Explanations
) -> whence.Explanations:
    """How far the answers for many users depend on the masking."""
    padded = whence.explain_many(
        model, films, k=10, masking="pad", method="permutation", tolerance=0.05
    )
    print()
    print("with padding in the place of events:")
    say_recency(padded)
    pairs = list(zip(removed, padded))
    same = np.mean([one.scores.argmax() == other.scores.argmax() for one, other in pairs])
    ranks = [
        pl.select(pl.corr(pl.Series(a.scores), pl.Series(b.scores), method="spearman")).item()
        for a, b in pairs
    ]
    print(f"the same film comes first for {same:.0%} of users;")
    print(f"mean rank correlation of a user's shares: {np.mean(ranks):.2f}")
    return padded


def say_recency(many: whence.Explanations) -> None:
    """Print how much of all absolute shares the latest events have."""
    strength = many.report("recency")["mean_abs"]
    share = strength / strength.sum()
    print(f"of all absolute shares, {share[0]:.0%} are the last event's,")
    print(f"{share[:5].sum():.0%} those of the last five")


if __name__ == "__main__":
    main()
