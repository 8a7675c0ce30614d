"""BPR-MF against the formulas, and what it must refuse."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

import gradient_checks as checks  # noqa: E402

import whence  # noqa: E402
from whence import evaluate, read_interactions  # noqa: E402
from whence.data.splits import split_rows  # noqa: E402
from whence.errors import DataError, ParameterError  # noqa: E402
from whence.models.matrix.bpr import BPRMF  # noqa: E402


@pytest.fixture(scope="module")
def train():
    return checks.rated_users()


def make(**options):
    return BPRMF(**{"embedding_dim": 5, "epochs": 2, "batch_size": 8, **options})


@pytest.mark.parametrize("n", [1, 3])
def test_loss_equals_the_formula(train, n):
    model = checks.shaken(make(n_negatives=n).fit(train))
    p = checks.parameters(model)
    batch = model.examples_.batch(np.arange(len(model.examples_)), epoch=4)
    losses = model.example_loss(batch).detach().numpy()
    owned = set(zip(train.source_codes.tolist(), train.item_codes.tolist()))
    for number, (user, item) in enumerate(zip(train.source_codes, train.item_codes)):
        own = p["users.weight"][user]
        others = batch["negatives"][number].tolist()
        assert not {(int(user), other) for other in others} & owned
        wins = [own @ (p["items.weight"][item] - p["items.weight"][other]) for other in others]
        expected = -np.mean(np.log(1 / (1 + np.exp(-np.array(wins)))))
        np.testing.assert_allclose(losses[number], expected, rtol=1e-9)


@pytest.mark.parametrize("n", [1, 3])
def test_losses_and_gradients(train, n):
    for check in (
        checks.check_losses_of_examples,
        checks.check_training_loss,
        checks.check_finite_differences,
        checks.check_second_derivatives,
    ):
        check(make(n_negatives=n).fit(train))


def test_scores(train, tmp_path):
    checks.check_scores_are_those_of_pairs(make, train)
    checks.check_strangers(make, train)
    checks.check_same_seed_and_saving(make, train, tmp_path)


def test_first_parameters_are_xavier_normal():
    data = checks.rated_users(n_users=400, n_items=300)
    model = BPRMF(embedding_dim=50, epochs=1, learning_rate=0.0, weight_decay=0.0).fit(data)
    for factors, n in (("users", data.n_sources), ("items", data.n_items)):
        weight = checks.parameters(model)[f"{factors}.weight"]
        assert weight.shape == (n, 50)
        np.testing.assert_allclose(weight.std(), np.sqrt(2 / (n + 50)), rtol=0.05)


def test_sessions_take_the_place_of_users():
    data = whence.make_sessions(n_sessions=60, seed=1)
    model = make().fit(data.train)
    session = data.train.source_ids[0]
    items, _ = model.recommend([session], k=3)
    mine = data.train.frame.filter(pl.col(data.train.columns.source) == session)
    assert not set(items[0].tolist()) & set(mine[data.train.columns.item].to_list())


def test_a_user_with_every_item_is_refused(train):
    items = train.vocabulary.items.to_list()
    greedy = pl.DataFrame({"user_id": ["all"] * len(items), "item_id": items})
    table = pl.concat([train.frame.select("user_id", "item_id"), greedy])
    with pytest.raises(DataError, match=r"'all' has every item"):
        make().fit(table)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("embedding_dim", 0), ("embedding_dim", 2.5), ("n_negatives", 0), ("batch_size", -1)],
)
def test_bad_arguments(train, argument, value):
    with pytest.raises(ParameterError, match=f"{argument} must be an integer"):
        make(**{argument: value}).fit(train)


@pytest.mark.slow
def test_quality_on_real_data(data_dir):
    """RecBole's BPR reaches Recall@10 .246 and NDCG@10 .288 on such a split."""
    data = read_interactions(data_dir / "ml-100k" / "u.data")
    train, valid, test = split_rows(data, seed=1)
    model = BPRMF(seed=1).fit(train, validation=valid, eval_every=5)
    scores = evaluate(model, test, ["recall@10", "ndcg@10"], history=valid).scores
    assert scores["recall@10"] > 0.24
    assert scores["ndcg@10"] > 0.28
