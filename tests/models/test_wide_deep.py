"""Wide & Deep against a naive version over dictionaries, and the features it finds in tables."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

import gradient_checks as checks  # noqa: E402

import whence  # noqa: E402
from whence import evaluate, read_interactions  # noqa: E402
from whence.data.splits import split_rows  # noqa: E402
from whence.errors import ColumnError, DataError, ParameterError  # noqa: E402
from whence.models.neural._columns import usable_kind  # noqa: E402
from whence.models.neural._features import make_features  # noqa: E402
from whence.models.neural.wide_deep import WideDeep  # noqa: E402

GENRES = ["Drama", "Comedy", "War"]


@pytest.fixture(scope="module")
def train():
    """With features of nearly all users and items, some of them missing."""
    plain = checks.rated_users()
    rng = np.random.default_rng(3)
    users, items = plain.source_ids, plain.item_ids
    n = len(users)
    user_table = pl.DataFrame(
        {
            "user_id": users,
            "age": [None, *rng.normal(40, 10, n - 1)],
            "gender": [*rng.choice(["f", "m"], n - 1), None],
            "name": [f"name {i}" for i in range(n)],
        }
    )
    item_table = pl.DataFrame(
        {
            "item_id": items,
            "genres": [GENRES[: i % 4] for i in range(len(items))],
            "year": [1990 + i % 3 for i in range(len(items))],
            "price": rng.uniform(1, 9, len(items)),
        }
    )
    return plain.with_tables(
        users=user_table[rng.permutation(n)[: n - 2]], items=item_table[::-1][:-1]
    )


def make(**options):
    small = {"embedding_dim": 4, "feature_dim": 3, "layers": (6, 3), "n_negatives": 2}
    return WideDeep(**{**small, "epochs": 2, "batch_size": 8, **options})


def values_of(table, ids, name, kind):
    """Values of a column by id, as sets; or standardised numbers."""
    found = dict(zip(table.to_series(0).to_list(), table[name].to_list()))
    given = [found.get(one) for one in ids.to_list()]
    if kind == "number":
        known = np.array([v for v in given if v is not None])
        return [0.0 if v is None else (v - known.mean()) / known.std() for v in given]
    return [set() if v is None else set(v) if kind == "bag" else {v} for v in given]


class Naive:
    """The equations with dictionaries instead of numbers of values."""

    def __init__(self, model):
        self.p = checks.parameters(model)
        train, module = model.train_, model.module_
        self.sides = {}
        for side, table, ids in (
            ("users", train.user_table, train.source_ids),
            ("items", train.item_table, train.item_ids),
        ):
            kinds = model.features_[side[:-1]]
            columns = {n: values_of(table, ids, n, k) for n, k in kinds.items()}
            # Which number stands for a value is read off the module.
            numbers = {}
            slots = getattr(module, side).slots
            coded = [n for n, k in kinds.items() if k != "number"]
            for name, (start, stop) in zip(coded, slots):
                codes = getattr(module, side).values[:, start:stop].numpy()
                for row, values in enumerate(columns[name]):
                    assert np.count_nonzero(codes[row]) == len(values)
                    if len(values) == 1:
                        numbers.setdefault((name, *values), codes[row].max() - 1)
            self.sides[side] = kinds, columns, numbers

    def terms(self, side, row):
        p = {n.removeprefix(f"{side}."): v for n, v in self.p.items() if n.startswith(side)}
        kinds, columns, numbers = self.sides[side]
        wide, deep, values = p["weight"][row, 0], [p["embedding"][row]], []
        measures = [columns[n][row] for n, k in kinds.items() if k == "number"]
        for name, kind in kinds.items():
            if kind == "number":
                continue
            own = [numbers[name, value] for value in columns[name][row]]
            values += own
            wide += p["value_weight"][own, 0].sum()
            mean = p["value_embedding"][own].mean(0) if own else np.zeros(3)
            deep.append(mean)
        wide += np.dot(measures, p["number_weight"])
        return wide, np.concatenate([*deep, measures]), values

    def score(self, user, item):
        p = self.p
        user_wide, user_deep, user_values = self.terms("users", user)
        item_wide, item_deep, item_values = self.terms("items", item)
        crossed = sum(p["cross"][a, b] for a in user_values for b in item_values)
        first = p["deep.user_layer.weight"] @ user_deep + p["deep.item_layer.weight"] @ item_deep
        hidden = np.maximum(first + p["deep.user_layer.bias"], 0)
        hidden = np.maximum(p["deep.hidden.0.weight"] @ hidden + p["deep.hidden.0.bias"], 0)
        deep = p["deep.output.weight"][0] @ hidden + p["deep.output.bias"][0]
        return user_wide + item_wide + crossed + deep


def with_single_genres(train):
    """As the naive version learns the numbers of values from those that stand alone."""
    genres = [[GENRES[i % 3]] if i % 4 else GENRES[:2] for i in range(train.n_items)]
    table = (
        train.item_table.join(
            pl.DataFrame({"item_id": train.item_ids, "genres": genres}), on="item_id", how="left"
        )
        .drop("genres")
        .rename({"genres_right": "genres"})
    )
    return train.with_tables(items=table)


def test_scores_and_loss_equal_the_equations(train):
    data = with_single_genres(train)
    model = checks.shaken(make(exclude_seen=False).fit(data))
    assert model.features_ == {
        "user": {"age": "number", "gender": "category"},
        "item": {"year": "category", "price": "number", "genres": "bag"},
    }
    naive = Naive(model)
    expected = np.array(
        [[naive.score(u, i) for i in range(data.n_items)] for u in range(data.n_sources)]
    )
    scores = model.score_codes(model.user_queries(data.source_ids))
    # Numbers are kept in 32 bits.
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
    batch = model.examples_.batch(np.arange(data.n_rows), epoch=1)
    losses = model.example_loss(batch).detach().numpy()
    for number, (user, item) in enumerate(zip(data.source_codes, data.item_codes)):
        loss = -np.log(1 / (1 + np.exp(-expected[user, item])))
        for other in batch["negatives"][number].tolist():
            loss -= np.log(1 - 1 / (1 + np.exp(-expected[user, other])))
        np.testing.assert_allclose(losses[number], loss, rtol=1e-5)


VARIANTS = [{}, {"cross": False}, {"user_features": [], "item_features": []}]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_losses_and_gradients(train, options):
    for check in (
        checks.check_losses_of_examples,
        checks.check_training_loss,
        checks.check_finite_differences,
        checks.check_second_derivatives,
    ):
        check(make(**options).fit(train))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_scores(train, options, tmp_path):
    def variant(**others):
        return make(**options, **others)

    checks.check_scores_are_those_of_pairs(variant, train)
    checks.check_strangers(variant, train)
    checks.check_same_seed_and_saving(variant, train, tmp_path)


def test_without_tables(train, tmp_path):
    plain = checks.rated_users()
    model = make().fit(plain)
    assert model.features_ == {"user": {}, "item": {}}
    assert model.module_.cross is None
    checks.check_scores_are_those_of_pairs(make, plain)
    sessions = whence.make_sessions(n_sessions=40, seed=1).train
    assert make().fit(sessions).features_["user"] == {}


def test_tables_in_another_order_change_nothing(train):
    model = make().fit(train)
    queries = model.user_queries(train.source_ids)
    shuffled = train.with_tables(
        items=train.item_table.sample(fraction=1, shuffle=True, seed=1),
        users=train.user_table.sample(fraction=1, shuffle=True, seed=2),
    )
    again = make().fit(shuffled)
    np.testing.assert_allclose(again.score_codes(queries), model.score_codes(queries), rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b", "a", None], "category"),
        ([True, False, None, True], "category"),
        ([1, 2, 1, 2], "category"),
        ([1.5, 2.5, None, 0.0], "number"),
        ([dt.date(2020, 1, 1), dt.date(2021, 1, 1), None, None], "number"),
        ([["a", "b"], ["a"], None, []], "bag"),
        ([[1, 2], [1], None, []], "bag"),
        (["a|b", "a", "", None], "bag"),
        ([[1.0, 2.0], [1.0], None, []], None),
        (["a", "b", "c", "d"], None),
        (["a", "a", "a", "a"], None),
        ([1.0, 1.0, None, 1.0], None),
        ([None, None, None, None], None),
    ],
    ids=str,
)
def test_kinds_of_columns(values, kind):
    assert usable_kind(pl.Series("x", values)) == kind


def test_many_integers_are_numbers():
    assert usable_kind(pl.Series("x", range(100))) == "number"
    assert usable_kind(pl.Series("x", [i % 32 for i in range(100)])) == "category"
    assert usable_kind(pl.Series("x", [i % 33 for i in range(100)])) == "number"


def test_features_of_a_table():
    table = pl.DataFrame(
        {
            "item_id": [3, 1, 2],
            "tags": ["x|y|x", "y", None],
            "price": [2.0, None, 4.0],
            "title": ["A", "B", "C"],
        }
    )
    ids = pl.Series("item_id", [1, 2, 3, 4])
    features = make_features(table, ids, ["title", "tags", "price"], "item")
    assert features.kinds == {"title": "category", "tags": "bag", "price": "number"}
    assert features.slots == [(0, 1), (1, 3)]
    # Numbers by first appearance in the order of the ids: titles B, C, A; then tags y, x.
    assert features.values.tolist() == [[1, 4, 0], [2, 0, 0], [3, 5, 4], [0, 0, 0]]
    assert features.n_values == 5
    np.testing.assert_allclose(features.numbers[:, 0], [0, 1, -1, 0])


def test_bad_input(train):
    with pytest.raises(ColumnError, match=r"no column 'genre'; it has.*Did you mean 'genres'"):
        make(item_features=["genre"]).fit(train)
    with pytest.raises(DataError, match="no table of users to take 'age' from"):
        make(user_features=["age"]).fit(checks.rated_users())
    with pytest.raises(ParameterError, match="item_features must be a list"):
        make(item_features="genres").fit(train)
    with pytest.raises(ParameterError, match="layers must be the widths"):
        make(layers=()).fit(train)
    with pytest.raises(ParameterError, match="dropout must be a number of at least"):
        make(dropout=1).fit(train)
    with pytest.raises(ParameterError, match="cross must be True or False"):
        make(cross="all").fit(train)
    vectors = pl.DataFrame({"item_id": train.item_ids, "vector": [[0.5, 1.0]] * train.n_items})
    with pytest.raises(DataError, match="neither text, number nor list of texts"):
        make(item_features=["vector"]).fit(train.with_tables(items=vectors))


@pytest.mark.slow
def test_features_help_on_real_data(data_dir):
    data = read_interactions(data_dir / "ml-100k" / "ml-100k.inter")
    train, valid, test = split_rows(data, seed=1)
    found = []
    for features in (None, []):
        model = WideDeep(user_features=features, item_features=features, seed=1)
        model.fit(train, validation=valid, eval_every=3)
        found.append(evaluate(model, test, "ndcg@10", history=valid).scores["ndcg@10"])
    assert found[0] > found[1] > 0.24
