"""Biased matrix factorisation against the formulas, its predictions, and folding in."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

import gradient_checks as checks  # noqa: E402

from whence import Interactions, evaluate, read_interactions  # noqa: E402
from whence.data.splits import split_rows  # noqa: E402
from whence.errors import DataError, ParameterError  # noqa: E402
from whence.models.matrix.mf import BiasedMF  # noqa: E402

KINDS = [
    {"loss": "squared"},
    {"loss": "logistic", "n_negatives": 2},
    {"loss": "logistic", "n_negatives": 0},
]


@pytest.fixture(scope="module")
def train():
    return checks.rated_users()


def make(**options):
    return BiasedMF(**{"embedding_dim": 3, "epochs": 2, "batch_size": 8, **options})


def labelled(train):
    """The same with ratings 0 and 1."""
    liked = train.frame.with_columns(rating=(pl.col("rating") > 3).cast(pl.Float64))
    return Interactions.from_frame(liked)


def suiting(kind, train):
    return labelled(train) if kind.get("n_negatives") == 0 else train


def naive_score(p, user, item):
    return (
        p["mean"]
        + p["user_bias.weight"][user, 0]
        + p["item_bias.weight"][item, 0]
        + p["users.weight"][user] @ p["items.weight"][item]
    )


def log_loss(label, score):
    chance = 1 / (1 + np.exp(-score))
    return -(label * np.log(chance) + (1 - label) * np.log(1 - chance))


def test_squared_loss_equals_the_formula(train):
    model = make().fit(train)
    ratings = train.frame["rating"].to_numpy()[train.rows]
    np.testing.assert_allclose(checks.parameters(model)["mean"], ratings.mean(), rtol=1e-6)
    p = checks.parameters(checks.shaken(model))
    losses = model.example_loss(model.examples_.batch(np.arange(train.n_rows))).detach().numpy()
    for loss, user, item, rating in zip(losses, train.source_codes, train.item_codes, ratings):
        np.testing.assert_allclose(loss, (naive_score(p, user, item) - rating) ** 2, rtol=1e-7)


def test_logistic_loss_equals_the_formula(train):
    model = checks.shaken(make(**KINDS[1]).fit(train))
    p = checks.parameters(model)
    np.testing.assert_allclose(p["mean"], np.log(1 / 2))
    batch = model.examples_.batch(np.arange(train.n_rows), epoch=2)
    losses = model.example_loss(batch).detach().numpy()
    for number, (user, item) in enumerate(zip(train.source_codes, train.item_codes)):
        expected = log_loss(1, naive_score(p, user, item))
        for other in batch["negatives"][number].tolist():
            expected += log_loss(0, naive_score(p, user, other))
        np.testing.assert_allclose(losses[number], expected, rtol=1e-7)


def test_labels_instead_of_negatives(train):
    binary = labelled(train)
    model = checks.shaken(make(**KINDS[2]).fit(binary))
    p = checks.parameters(model)
    labels = binary.frame["rating"].to_numpy()[binary.rows]
    share = labels.mean()
    np.testing.assert_allclose(p["mean"], np.log(share / (1 - share)), rtol=1e-5)
    losses = model.example_loss(model.examples_.batch(np.arange(binary.n_rows))).detach().numpy()
    for loss, user, item, label in zip(losses, binary.source_codes, binary.item_codes, labels):
        np.testing.assert_allclose(loss, log_loss(label, naive_score(p, user, item)), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_losses_and_gradients(kind, train):
    data = suiting(kind, train)
    for check in (
        checks.check_losses_of_examples,
        checks.check_training_loss,
        checks.check_finite_differences,
        checks.check_second_derivatives,
    ):
        check(make(**kind).fit(data))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_scores(kind, train, tmp_path):
    data = suiting(kind, train)

    def of_kind(**options):
        return make(**kind, **options)

    checks.check_scores_are_those_of_pairs(of_kind, data)
    checks.check_strangers(of_kind, data, folds_in=kind["loss"] == "squared")
    checks.check_same_seed_and_saving(of_kind, data, tmp_path)


def test_predictions_use_what_is_known(train):
    keep = np.ones(train.n_rows, dtype=bool)
    keep[train.rows] = (train.source_codes != 2) & (train.item_codes != 1)
    part = train.keep_rows(keep)
    model = checks.shaken(make().fit(part), scale=0.1)
    p = checks.parameters(model)
    users = np.array([0, -1, 0, -1, 2, 0], dtype=np.int32)
    items = np.array([3, 3, -1, -1, 3, 1], dtype=np.int32)
    user_bias, item_bias = p["user_bias.weight"][0, 0], p["item_bias.weight"][3, 0]
    expected = [
        naive_score(p, 0, 3),
        p["mean"] + item_bias,
        p["mean"] + user_bias,
        p["mean"],
        p["mean"] + item_bias,
        p["mean"] + user_bias,
    ]
    predicted = model.predict_codes(users, items)
    assert predicted.dtype == np.float64
    np.testing.assert_allclose(predicted, expected, rtol=1e-6)
    known = part.source_ids[0], part.item_ids[3]
    np.testing.assert_allclose(
        model.predict([known[0], "nobody"], [known[1], known[1]]), expected[:2], rtol=1e-6
    )


def test_predictions_stay_in_the_range_of_ratings(train):
    model = checks.shaken(make().fit(train), scale=30.0)
    users, items = (np.arange(10, dtype=np.int32) for _ in range(2))
    assert set(model.predict_codes(users, items)) == {1.0, 5.0}
    logistic = checks.shaken(make(**KINDS[1]).fit(train), scale=1.0)
    scores = [naive_score(checks.parameters(logistic), i, i) for i in range(10)]
    np.testing.assert_allclose(
        logistic.predict_codes(users, items), 1 / (1 + np.exp(-np.array(scores))), rtol=1e-6
    )


@pytest.mark.parametrize("weight_decay", [0.05, 0.0])
def test_folding_in_minimises_the_objective_of_the_user(train, weight_decay):
    model = checks.shaken(make(weight_decay=weight_decay, exclude_seen=False).fit(train))
    p = checks.parameters(model)
    histories = [train.item_ids.to_list()[:4], train.item_ids.to_list()[2:9], []]
    ratings = [[1.0, 5.0, 2.0, 4.0], [3.0, 3.0, 1.0, 5.0, 5.0, 2.0, 4.0], []]
    scores = model.score(model.fold_in(histories, ratings))
    assert (scores[2] == -np.inf).all()
    for number, items in enumerate([range(4), range(2, 9)]):
        items = list(items)
        inputs = np.column_stack([np.ones(len(items)), p["items.weight"][items]])
        wanted = np.array(ratings[number]) - p["mean"] - p["item_bias.weight"][items, 0]
        penalty = 0.5 * weight_decay * train.n_rows * np.eye(4)
        solution = np.linalg.pinv(inputs.T @ inputs + penalty) @ inputs.T @ wanted
        expected = p["mean"] + p["item_bias.weight"][:, 0] + solution[0]
        np.testing.assert_allclose(
            scores[number], expected + p["items.weight"] @ solution[1:], rtol=1e-4, atol=1e-4
        )


def test_folding_in_without_ratings_takes_the_highest(train):
    model = make().fit(train)
    items = train.item_ids.to_list()[:3]
    plain = model.score([items, items[:1]])
    rated = model.score(model.fold_in([items, items[:1]], [[5.0] * 3, [5.0]]))
    np.testing.assert_array_equal(plain, rated)
    unknown = model.fold_in([[999, *items]], [[1.0, 5.0, 5.0, 5.0]])
    assert unknown.n_unknown_rows == 1
    np.testing.assert_allclose(model.score(unknown)[0], plain[0], rtol=1e-6)
    assert (model.score(model.fold_in([items], [[1.0] * 3])) != plain[:1]).any()


def test_one_more_fold_in_of_a_user_at_the_optimum_changes_nothing(train):
    """At the minimum of F a user's own parameters are what folding their rows in gives."""
    model = make(weight_decay=0.02, epochs=1, exclude_seen=False).fit(train)
    module = model.module_.double()
    optimizer = torch.optim.LBFGS(
        module.parameters(), max_iter=2000, tolerance_grad=1e-12, tolerance_change=0
    )
    batch = model.examples_.batch(np.arange(train.n_rows))

    def objective():
        optimizer.zero_grad()
        penalty = sum(p.square().sum() for p in module.parameters())
        value = model.example_loss(batch).mean() + 0.5 * model.weight_decay * penalty
        value.backward()
        return value

    optimizer.step(objective)
    offsets = train.sequences.offsets
    items = train.sequences.items[offsets[0] : offsets[1]]
    rows = train.sequences.rows[offsets[0] : offsets[1]]
    history = train.item_ids.gather(items).to_list()
    ratings = train.frame["rating"].gather(rows).to_list()
    folded = model.score(model.fold_in([history], [ratings]))[0]
    np.testing.assert_allclose(folded, model.score(train.source_ids[0]), rtol=1e-5)


def test_bad_input(train):
    with pytest.raises(DataError, match="no rating column"):
        make().fit(train.frame.drop("rating"))
    with pytest.raises(DataError, match="labels from 0 to 1, but they go from 1 to 5"):
        make(**KINDS[2]).fit(train)
    with pytest.raises(ParameterError, match="loss must be one of"):
        make(loss="hinge").fit(train)
    with pytest.raises(ParameterError, match="n_negatives must be an integer of at least 0"):
        make(n_negatives=-1).fit(train)
    with pytest.raises(ParameterError, match="embedding_dim must be an integer of at least 1"):
        make(embedding_dim=0).fit(train)
    model = make().fit(train)
    items = train.item_ids.to_list()[:2]
    with pytest.raises(ParameterError, match="one rating for each item"):
        model.fold_in([items], [[1.0]])
    with pytest.raises(ParameterError, match="missing or not finite"):
        model.fold_in([items], [[1.0, float("nan")]])


@pytest.mark.slow
def test_quality_on_real_data(data_dir):
    """Cornac's MF (k=10, 25 iterations) reaches .913 on this split."""
    data = read_interactions(data_dir / "ml-100k" / "u.data")
    train, test = split_rows(data, (0.8, 0.2), seed=1, per_source=False)
    model = BiasedMF(seed=1).fit(train)
    assert evaluate(model, test, "rmse").scores["rmse"] < 0.912
