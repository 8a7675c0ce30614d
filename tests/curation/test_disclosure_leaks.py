"""What is not disclosed must not reach anything: losses, histories, derived numbers."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
from disclosing import fitted, parts

import whence
from whence import GRU4Rec, LSTMRec, make_queries
from whence.curation.disclosure import Disclosure, DisclosurePlan
from whence.data import Interactions
from whence.errors import DataWarning, UnsupportedError
from whence.influence.functions import InfluenceFunction


def secret(train, rng):
    """A mask, and the same data with everything changed that the mask withholds.

    But for the order of the rows in time, by which random numbers are drawn, the same ones as for
    all data.
    """
    mask = rng.random(len(train)) < 0.5
    hidden = ~mask
    items, ratings = train["item"].to_numpy().copy(), train["rating"].to_numpy().copy()
    items[hidden] = rng.permutation(np.unique(items))[: hidden.sum() % 7 + 1][0]
    ratings[hidden] = 1.0
    train = train.with_columns(pl.col("time").cast(pl.Float64))
    times = train["time"].to_numpy() + hidden * rng.uniform(0.1, 0.9, len(train))
    changed = train.with_columns(
        item=pl.Series(items), rating=pl.Series(ratings), time=pl.Series(times)
    )
    original = Interactions.from_frame(train, user="user")
    other = Interactions.from_frame(changed, user="user", vocabulary=original.vocabulary)
    return mask, original, other


def plan_of(mask, train):
    table = pl.DataFrame(
        {
            "row": np.arange(len(mask)),
            "disclosed": mask,
            "V": np.zeros(len(mask)),
            "beta": np.zeros(len(mask)),
        }
    )
    return DisclosurePlan(table, metadata={"strategy": "given"})


def test_withheld_ratings_do_not_reach_a_retrained_factorisation():
    train, validation, _ = parts()
    mask, original, other = secret(train, np.random.default_rng(0))
    states = []
    for data in (original, other):
        model = fitted(data.frame)
        model.train_ = data
        asked = Disclosure(calibrate=False).pose(model, validation, willingness=np.zeros(len(mask)))
        retrained = asked.retrained(plan_of(mask, data), seed=3)
        states.append(retrained.module_.state_dict())
        kept = retrained.train_.frame
        assert float(retrained.module_.mean) == pytest.approx(kept["rating"].mean(), rel=1e-6)
    for name, value in states[0].items():
        np.testing.assert_allclose(value.numpy(), states[1][name].numpy(), atol=1e-12)


SMALL = {"embedding_dim": 3, "epochs": 2}
LAST = {**SMALL, "positions": "last"}
FACTORS = {"weight_decay": 0.05, "embedding_dim": 2, "epochs": 3}
RETRAINED = {
    "squared": lambda: whence.BiasedMF(**FACTORS),
    "logistic": lambda: whence.BiasedMF(loss="logistic", n_negatives=2, **FACTORS),
    "bpr": lambda: whence.BPRMF(**FACTORS),
    "neumf": lambda: whence.NeuMF(gmf_dim=3, mlp_dim=2, layers=(4, 2), epochs=2),
    "wide-deep": lambda: whence.WideDeep(layers=(4,), item_features=["kind"], **SMALL),
    "lstm": lambda: LSTMRec(hidden_dim=3, **LAST),
    "gru": lambda: GRU4Rec(hidden_dim=3, **LAST),
    "attention": lambda: whence.SASRec(num_heads=1, **LAST),
}


@pytest.mark.parametrize("name", RETRAINED)
def test_withheld_rows_reach_no_retrained_model(name):
    train, validation, _ = parts()
    kinds = pl.DataFrame({"item": range(100, 120), "kind": ["a", "b"] * 10})
    mask, *both = secret(train, np.random.default_rng(2))
    scores = []
    for data in both:
        model = RETRAINED[name]().fit(data.with_tables(items=kinds))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            asked = Disclosure(calibrate=False).pose(
                model, validation, willingness=np.zeros(len(mask))
            )
        retrained = asked.retrained(plan_of(mask, data), seed=1)
        queries = make_queries(retrained, validation, protocol="users")
        learned = retrained.module_.state_dict().values()
        scores.append([retrained.score_codes(queries), *(part.numpy() for part in learned)])
    for first, second in zip(*scores):  # embeddings of withheld items, too
        np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("name", ["neumf", "gru", "attention"])
def test_withheld_rows_reach_no_model_of_a_search(name):
    """Its models are trained on what is disclosed, and asked with histories of that."""
    train, validation, _ = parts()
    mask, *both = secret(train, np.random.default_rng(5))
    qualities = []
    for data in both:
        model = RETRAINED[name]().fit(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            asked = Disclosure().pose(model, validation, willingness=np.zeros(len(mask)))
            yardstick = asked.measured.yardstick
            trained = asked.measured.recipe.train(data.keep_rows(mask))
            question = yardstick.asked_of(trained)
            if name != "neumf":
                assert question is not yardstick.question
                qualities.append(asked.measured.trained_quality(mask))
            else:  # whose negatives are none of the items of all the data, which differ here
                qualities.append(trained.example_loss(trained.examples_.batch(np.arange(50))).sum())
    assert float(qualities[0]) == pytest.approx(float(qualities[1]), abs=1e-6)


OTHERS = {
    "item neighbours": lambda: whence.ItemKNN(k=5),
    "session neighbours": lambda: whence.VMISKNN(k=5, m=10),
    "transitions": lambda: whence.MarkovChain(),
    "all pairs": lambda: whence.EASE(l2=10.0),
    "popularity": lambda: whence.Popularity(),
    "restricted boltzmann machine": lambda: whence.RBM(hidden_units=3, epochs=2),
}


@pytest.mark.parametrize("name", OTHERS)
def test_withheld_rows_reach_no_neighbours_or_counts(name):
    """What a model derives from all rows, such as which items go together, has the rest only."""
    train, validation, _ = parts()
    mask, *both = secret(train, np.random.default_rng(3))
    lists = []
    for data in both:
        model = OTHERS[name]().fit(plan_of(mask, data).apply(data))
        queries = make_queries(model, validation)
        lists.append(model.recommend(queries, k=10))
    for first, second in zip(*lists):
        assert [list(row) for row in first] == [list(row) for row in second]


def test_a_derived_table_has_the_disclosed_rows_only():
    train, _, _ = parts()
    mask, original, _ = secret(train, np.random.default_rng(4))
    kept = plan_of(mask, original).apply(original)
    rest = train.filter(pl.Series(mask))
    assert kept.frame.equals(rest)
    alone = Interactions.from_frame(rest, user="user", vocabulary=original.vocabulary)
    for name in ("items", "offsets"):
        ours, theirs = (getattr(data.sequences, name) for data in (kept, alone))
        np.testing.assert_array_equal(ours, theirs)


def test_withheld_rows_reach_neither_loss_nor_history_of_a_sequence_model():
    train, validation, _ = parts()
    mask, original, other = secret(train, np.random.default_rng(1))
    scores = []
    for data in (original, other):
        model = LSTMRec(embedding_dim=3, hidden_dim=3, positions="last", epochs=2).fit(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            asked = Disclosure(calibrate=False).pose(
                model, validation, willingness=np.zeros(len(mask))
            )
            retrained = asked.retrained(plan_of(mask, data))
            quality = asked.measured.yardstick.by_user(retrained)
        queries = make_queries(retrained, validation)
        withheld = data.frame.filter(pl.Series(~mask))
        for q in range(len(queries)):
            user = queries.ids["user"][q]
            window = slice(queries.history_start[q], queries.history_end[q])
            known = retrained.vocabulary.items.gather(queries.history_items[window]).to_list()
            gone = withheld.filter(user=user)["item"].to_list()
            kept = retrained.train_.frame.filter(user=user)["item"].to_list()
            assert known == kept
            assert not set(known) & (set(gone) - set(kept))
        scores.append((retrained.score_codes(queries), quality))
    np.testing.assert_array_equal(scores[0][0], scores[1][0])
    np.testing.assert_array_equal(scores[0][1], scores[1][1])


def test_a_sequence_model_is_asked_by_its_targets():
    train, validation, _ = parts(n_users=10)
    data = Interactions.from_frame(train, user="user")
    model = LSTMRec(embedding_dim=3, hidden_dim=3, positions="last", epochs=2).fit(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        quick = InfluenceFunction(solver="cg", max_iterations=20, damping=0.1)
        asked = Disclosure(lam=0.0, calibrate=False, influence=quick).pose(
            model, validation, willingness="no"
        )
        plan = asked.solve()
    first_rows = data.frame.with_row_index("row").group_by("user").agg(pl.col("row").first())
    values = plan.frame["V"].to_numpy()
    assert (values[first_rows["row"].to_numpy()] == 0).all()
    assert np.count_nonzero(values) > len(values) // 2
    windows = GRU4Rec(embedding_dim=3, hidden_dim=3, positions="all", epochs=1).fit(data)
    with pytest.raises(UnsupportedError, match="positions='last'"):
        Disclosure().pose(windows, validation, willingness="no").solve()
