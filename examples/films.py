"""Which films taught an LSTM to recommend a film, and which taught it not to.

Run ``python examples/films.py RATINGS MOVIES --output films`` with the files of MovieLens 1M (the
ratings in any format that Whence reads, and the table of titles). It trains an LSTM, traces the
predictions of some well-known films back with TracIn, by the film that came next in training, and
writes the table as Markdown. ``--users`` takes some of the users, for a quicker look. For a run of
``whence train`` it is one command: ``whence trace RUN --item "Jaws (1975)" --by target``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

import whence
from whence.influence import query_examples

FILMS = (
    "Star Wars: Episode VI - Return of the Jedi (1983)",
    "Star Trek III: The Search for Spock (1984)",
    "L.A. Confidential (1997)",
    "Citizen Kane (1941)",
    "Top Gun (1986)",
    "Jaws (1975)",
    "G.I. Jane (1997)",
)


def split(data, n_test=10):
    """Training data, and the last items of each user for testing."""
    train, test = whence.split_last(data, n_test)
    return train.with_tables(items=data.item_table), test


def trained(train, epochs=3, seed=0):
    """An LSTM that predicts the next item, with a checkpoint of each epoch."""
    model = whence.LSTMRec(
        embedding_dim=32,
        hidden_dim=32,
        max_length=20,
        epochs=epochs,
        batch_size=256,
        learning_rate=3e-3,
        seed=seed,
    )
    return model.fit(train, checkpoints=1, run=whence.Run(progress=True))


def questions(model, test, films, n, seed=0):
    """Up to n places of the test data, drawn at random, at which each film is next."""
    asked = query_examples(model, test)
    of_query = model.train_.item_titles.gather(asked.targets).to_numpy()
    rng = np.random.default_rng(seed)
    chosen = {}
    for film in films:
        places = np.flatnonzero(of_query == film)
        if len(places):
            chosen[film] = np.sort(rng.choice(places, min(n, len(places)), replace=False))
    numbers = np.concatenate(list(chosen.values()))
    films_of = np.repeat(list(chosen), [len(places) for places in chosen.values()])
    return asked.take(numbers), films_of


def scores_by_film(model, queries, films_of, method, run=None):
    """For each film asked about, what each film taught of it where it came next in training.

    Returns
    -------
    polars.DataFrame
        ``film``, ``taught``, ``score`` (mean over the queries).
    """
    titles, tables = model.train_.item_titles, []
    for film in dict.fromkeys(films_of):
        some = queries.take(np.flatnonzero(films_of == film))
        values = method.attribute(model, some, run=run)
        table = pl.DataFrame({"taught": titles, "score": values.scores / len(some)})
        table = table.filter(pl.col("taught") != film)
        tables.append(table.select(pl.lit(str(film)).alias("film"), pl.all()))
    return pl.concat(tables)


def summary(scores, n=3):
    """One line of Markdown for each film: its strongest proponents and opponents."""
    lines = ["| film | proponents | opponents |", "|---|---|---|"]
    for (film,), table in scores.group_by("film", maintain_order=True):
        order = table.sort("score", descending=True)
        best, worst = order.head(n), order.tail(n).reverse()
        cells = [", ".join(side["taught"].to_list()) for side in (best, worst)]
        lines.append(f"| {film} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def main(arguments=None):
    """Write and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ratings")
    parser.add_argument("movies")
    parser.add_argument("--output", default="films")
    parser.add_argument("--queries", type=int, default=20, help="of each film, at most")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--users", type=int, help="users drawn at random; all by default")
    chosen = parser.parse_args(arguments)
    data = whence.read_interactions(chosen.ratings).with_tables(items=chosen.movies)
    if chosen.users:
        drawn = np.random.default_rng(0).permutation(data.n_sources) < chosen.users
        data = data.keep_sources(drawn)
    train, test = split(data)
    model = trained(train, chosen.epochs)
    print(whence.evaluate(model, test, ["mrr@100", "recall@10"], target="next"))
    queries, films_of = questions(model, test, FILMS, chosen.queries)
    folder = Path(chosen.output)
    folder.mkdir(parents=True, exist_ok=True)
    shown = whence.Run(progress=True)
    for normalise in (None, "cosine"):
        # Plain products, as the study has them.
        method = whence.TracIn(by="target", normalise=normalise, weighting="sgd")
        scores = scores_by_film(model, queries, films_of, method, shown)
        name = "tracin" if normalise is None else "cosine"
        scores.write_csv(folder / f"{name}.csv")
        (folder / f"{name}.md").write_text(summary(scores) + "\n", encoding="utf-8")
        print(f"\n{name}\n{summary(scores)}")


if __name__ == "__main__":
    main()
