"""Sequence models with features: against the equations, unknown values, saved and refitted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

import whence  # noqa: E402
from whence import GRU4Rec, Interactions, LSTMRec, SASRec, make_queries  # noqa: E402
from whence.errors import (  # noqa: E402
    ColumnError,
    DataError,
    FileFormatError,
    ParameterError,
    UnsupportedError,
)

MODELS = [GRU4Rec, LSTMRec, SASRec]
SMALL = {"embedding_dim": 6, "max_length": 4, "epochs": 1, "batch_size": 8, "dropout": 0.0}
WANTED = {
    "item_features": ["genres", "year"],
    "user_features": ["sex"],
    "context_features": ["price", "way"],
}
GENRES = [["a", "b"], ["a"], ["b", "c"], [], None]
ITEMS = pl.DataFrame(
    {"item": range(9), "genres": (GENRES * 2)[:9], "year": [1990.0, None, *range(1992, 1999)]}
)
USERS = pl.DataFrame({"user": range(14), "sex": ["f", "m", None, "m", "f", "m", "f"] * 2})


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    n = 80
    frame = pl.DataFrame(
        {
            "user": rng.integers(0, 10, n),
            "item": rng.integers(0, 9, n),
            "time": rng.permutation(n),
            "price": rng.normal(3, 2, n),
            "way": rng.choice(["view", "buy", "cart"], n),
        }
    ).with_columns(
        price=pl.when(pl.col("price") > 4.5).then(None).otherwise(pl.col("price")),
        way=pl.when(pl.col("way") == "cart").then(None).otherwise(pl.col("way")),
    )
    return Interactions.from_frame(frame).with_tables(items=ITEMS, users=USERS)


@pytest.fixture(scope="module")
def parts(data):
    return whence.split_leave_one_out(data)


@pytest.fixture(scope="module")
def models(parts):
    train = parts[0]
    return {one: one(exclude_seen=False, **SMALL, **WANTED).fit(train) for one in MODELS}


def naive_features(model, event):
    """What the features of an event add to the embedding of its item, from the raw values."""
    state = {k: v.double().numpy() for k, v in model.module_.state_dict().items()}
    table, lines = state["features.values.weight"], state["features.numbers.weight"]
    codes, start = {}, 0
    for column, values in (
        ("genres", ["a", "b", "c"]), ("sex", ["f", "m"]), ("way", ["buy", "view"]),
    ):  # fmt: skip
        codes[column] = {value: start + number for number, value in enumerate(values, 1)}
        start += len(values)
    total = np.zeros(6)
    for column in codes:
        value = event[column]
        known = value if isinstance(value, list) else [value]
        rows = [table[codes[column][one]] for one in known or [] if one in codes[column]]
        total += np.mean(rows, axis=0) if rows else 0.0
    for number, column in enumerate(("year", "price")):
        if event[column] is not None:
            one = next(c for c in model.coding_.columns if c.name == column)
            total += lines[:, number] * (event[column] - one.mean) / one.spread
    return total


def events_of(train, user):
    """The events of a user with all that is known, from the tables."""
    frame = train.frame.filter(pl.col("user") == user).sort("time")
    return frame.join(ITEMS, on="item").join(USERS, on="user").sort("time").to_dicts()


@pytest.mark.parametrize("model_class", MODELS)
def test_scores_are_those_of_the_sums(model_class, parts, models):
    train, model = parts[0], models[model_class]
    users = train.vocabulary.sources.to_list()
    scores = model.score_codes(model.user_queries(users))
    module = model.module_
    for row, user in list(enumerate(users))[::3]:
        events = events_of(train, user)[-4:]
        items = train.vocabulary.item_codes(pl.Series([e["item"] for e in events]))
        inputs = module.embedding.weight[torch.tensor(items)].detach().double()
        inputs += torch.from_numpy(np.array([naive_features(model, e) for e in events]))
        # The rest of the network is as without features, which has its own oracle.
        plain = model_class(exclude_seen=False, **SMALL).fit(train)
        state = {k: v for k, v in module.state_dict().items() if not k.startswith("features.")}
        plain.module_.load_state_dict(state)
        plain.module_.embedding = torch.nn.Embedding.from_pretrained(inputs.float())
        numbers = torch.arange(len(events))[None]
        with torch.no_grad():
            states = plain.module_.eval().states(numbers, torch.tensor([len(events)]))[:, -1]
            np.testing.assert_allclose(
                scores[row], module.item_scores(states)[0], rtol=1e-4, atol=1e-5
            )


def test_initial_parameters_of_the_rest_are_those_without_features(parts):
    one = GRU4Rec(**{**SMALL, "learning_rate": 0.0})
    other = GRU4Rec(**{**SMALL, "learning_rate": 0.0}, **WANTED)
    rest = one.fit(parts[0]).module_.state_dict()
    own = other.fit(parts[0]).module_.state_dict()
    assert all(torch.equal(own[name], value) for name, value in rest.items())
    assert one.features_ == {}
    assert other.features_ == {
        "item": {"genres": "bag", "year": "number"},
        "user": {"sex": "category"},
        "context": {"price": "number", "way": "category"},
    }


@pytest.mark.parametrize("model_class", MODELS)
def test_given_events_are_those_of_the_data(model_class, parts, models):
    train, model = parts[0], models[model_class]
    own = model.event_histories(train)
    users = list(own)
    want = model.score_codes(model.user_queries(users))
    np.testing.assert_allclose(model.score(list(own.values())), want, atol=1e-6)
    # With ids alone the features of items are known, those of users and events are not.
    ids = [[event["item"] for event in history] for history in own.values()]
    nothing = {"sex": None, "price": None, "way": None}
    bare = [[{**event, **nothing} for event in history] for history in own.values()]
    np.testing.assert_allclose(model.score(ids), model.score(bare), atol=1e-6)
    assert np.abs(model.score(ids) - want).max() > 1e-3


def test_queries_of_every_protocol(parts, models):
    train, valid, test = parts
    model = models[GRU4Rec]
    histories = model.event_histories(train)
    later = model.event_histories(valid)
    queries = make_queries(model, test, history=valid)
    users = queries.ids["user"].to_list()
    both = [histories[user] + later.get(user, []) for user in users]
    np.testing.assert_allclose(model.score_codes(queries), model.score(both), atol=1e-6)
    np.testing.assert_allclose(
        model.score_codes(queries.take([3, 1])), model.score([both[3], both[1]]), atol=1e-6
    )
    beginnings = make_queries(model, train, protocol="prefixes")
    first = histories[beginnings.ids["user"][5]][: beginnings.ids["position"][5]]
    np.testing.assert_allclose(model.score_codes(beginnings)[5], model.score([first])[0], atol=1e-6)


def test_users_never_seen_are_asked_by_their_own_rows(data, parts, models):
    train, model = parts[0], models[GRU4Rec]
    frame = pl.DataFrame(
        {"user": [12, 12, 12, 13, 13], "item": [0, 3, 5, 2, 1], "time": range(200, 205),
         "price": [1.0, None, 2.5, 3.0, 1.5], "way": ["buy", "swap", None, "view", "buy"]}
    )  # fmt: skip
    known = pl.concat([train.frame.head(2), frame], how="diagonal_relaxed")
    queries = make_queries(model, Interactions.from_frame(known))
    scores = model.score_codes(queries)
    row = queries.ids["user"].to_list().index(12)
    want = model.score([{"item": 0, "price": 1.0, "way": "buy", "sex": "m"},
                        {"item": 3, "way": None, "sex": "m"}])  # fmt: skip
    np.testing.assert_allclose(scores[row], want, atol=1e-6)


@pytest.mark.parametrize("model_class", MODELS)
def test_what_is_not_known_adds_nothing(model_class, models):
    model = models[model_class]
    plain = model.score([{"item": 3}])
    for unknown in (
        {"way": "swap"}, {"way": None}, {"way": ""}, {"price": None}, {"price": float("nan")},
        {"sex": "x"}, {"genres": []}, {"genres": ["zz"]},
    ):  # fmt: skip
        np.testing.assert_array_equal(model.score([{"item": 3, **unknown}]), plain)
    # Item 3 has no genres, and 4 no list of them.
    nothing = {"genres": None, "year": None}
    for item in (3, 4):
        np.testing.assert_array_equal(
            model.score([{"item": item}]),
            model.score([{"item": item, **nothing, "year": float(ITEMS["year"][item])}]),
        )
    # Values in another form mean the same.
    same = [{"item": 1, "genres": ["b", "a"], "price": 2}, {"item": 1, "genres": "a|b|b"}]
    np.testing.assert_allclose(
        *(model.score([{**event, "price": 2.0}]) for event in same), atol=1e-7
    )


def test_items_without_a_row(parts):
    train = parts[0].with_tables(items=ITEMS.head(5))
    model = GRU4Rec(**SMALL, item_features=["genres"]).fit(train)
    assert np.isfinite(model.score([7, 8])[train.vocabulary.item_codes(pl.Series([1, 2]))]).all()
    assert not model.module_.features.item_rows[train.vocabulary.item_codes(pl.Series([7]))].any()


@pytest.mark.parametrize("model_class", [GRU4Rec, SASRec])
def test_saved_and_loaded(model_class, models, tmp_path):
    model = models[model_class]
    again = whence.load_model(model.save(tmp_path / "model.whence"))
    history = [{"item": 3, "way": "buy", "price": 9.0}, 4]
    np.testing.assert_array_equal(again.score(history), model.score(history))
    assert again.features_ == model.features_
    assert again.module_.features.item_rows.equal(model.module_.features.item_rows)


def test_rows_taken_away_leave_the_numbers_of_values(data, tmp_path):
    # "buy" is gone from what is left, and with it the mean of the prices has moved.
    left = data.keep_rows((data.frame["way"] != "buy").fill_null(True).to_numpy())
    settings = {**SMALL, **WANTED, "learning_rate": 0.0}
    whole, part = GRU4Rec(**settings).fit(data), GRU4Rec(**settings).fit(left)
    assert part.coding_ == whole.coding_
    for name, value in whole.module_.state_dict().items():
        assert torch.equal(part.module_.state_dict()[name], value)
    again = whence.load_model(part.save(tmp_path / "part.whence"))
    assert again.coding_ == whole.coding_
    again.fit(again.train_.keep_rows(np.arange(again.train_.n_rows) % 2 == 0))
    assert again.coding_ == whole.coding_
    # Of their own the rows are numbered anew.
    assert GRU4Rec(**settings).fit(left.rebuild()).coding_ != whole.coding_


def test_left_out_is_as_never_there(data):
    settings = {**SMALL, **WANTED, "epochs": 2, "positions": "last"}
    model = GRU4Rec(**settings).fit(data)
    user = data.vocabulary.sources[0]
    out = np.flatnonzero(model.examples_.sources(np.arange(len(model.examples_))) == 0)
    one = GRU4Rec(**settings).fit(data, without=out).module_.state_dict()
    other = GRU4Rec(**settings).fit(data.without([user])).module_.state_dict()
    assert all(torch.equal(other[name], value) for name, value in one.items())


def test_training_that_was_broken_off_goes_on(data, tmp_path):
    settings = {**SMALL, **WANTED}
    run = whence.Run(folder=tmp_path / "run")
    GRU4Rec(**{**settings, "epochs": 1}).fit(data, run=run)
    resumed = GRU4Rec(**{**settings, "epochs": 2}).fit(data, run=run.changed(resume=True))
    whole = GRU4Rec(**{**settings, "epochs": 2}).fit(data)
    for name, value in whole.module_.state_dict().items():
        assert torch.equal(resumed.module_.state_dict()[name], value)


def test_a_start_keeps_its_numbers_of_values(data, parts, models):
    start = models[GRU4Rec]
    fewer = data.keep_rows((data.frame["way"] != "buy").fill_null(True).to_numpy()).rebuild()
    fewer = fewer.with_tables(items=ITEMS, users=USERS)
    settings = {**SMALL, **WANTED}
    further = GRU4Rec(**settings, start=start).fit(fewer)
    assert further.coding_ == start.coding_
    with pytest.raises(ParameterError, match="give the same, in the same order"):
        GRU4Rec(**{**settings, "context_features": ["way"]}, start=start).fit(fewer)
    with pytest.raises(ParameterError, match=r"features\.coding"):
        GRU4Rec(**SMALL, start=start).fit(fewer)
    plain = GRU4Rec(**SMALL).fit(data)
    with pytest.raises(ParameterError, match=r"has learned from the item_features \[\]"):
        GRU4Rec(**settings, start=plain).fit(fewer)


@pytest.mark.parametrize(
    ("wanted", "error", "said"),
    [
        ({"item_features": ["gnres"]}, ColumnError, "Did you mean 'genres'"),
        ({"user_features": ["job"]}, ColumnError, "The user table has no column 'job'; it has sex"),
        ({"context_features": ["item"]}, ColumnError, "The table of interactions has no column"),
        ({"context_features": "way"}, ParameterError, "context_features must be a list"),
        ({"context_features": ["spans"]}, DataError, "neither text, number nor list of texts"),
        ({"context_features": ["empty"]}, DataError, "'empty' has no value that is known"),
        ({"item_features": ["year"], "context_features": ["year"]}, DataError, "rename one"),
    ],
)
def test_bad_columns_are_refused(data, wanted, error, said):
    frame = data.frame.with_columns(
        spans=pl.Series([{"a": 1}] * data.n_rows), year=pl.lit(1.0),
        empty=pl.lit(None, dtype=pl.Float64),
    )  # fmt: skip
    odd = Interactions.from_frame(frame).with_tables(items=ITEMS, users=USERS)
    with pytest.raises(error, match=said):
        GRU4Rec(**SMALL, **wanted).fit(odd)


def test_what_the_data_lack_is_said(data, parts, models):
    train, valid, test = parts
    with pytest.raises(DataError, match="no table of items to take 'genres' from"):
        GRU4Rec(**SMALL, item_features=["genres"]).fit(data.frame)
    with pytest.raises(ColumnError, match="lack the column 'price'"):
        make_queries(models[GRU4Rec], test, history=valid.frame.drop("price"))
    for history, said in (
        ([{"way": "buy"}], "has no item; give it under 'item'"),
        ([{"item": 3, "wya": "buy"}], "Did you mean 'way'"),
    ):
        with pytest.raises(DataError, match=said):
            models[GRU4Rec].recommend(history)
    with pytest.raises(DataError, match="holds numbers in the training data"):
        models[GRU4Rec].recommend([{"item": 3, "price": "cheap"}])
    with pytest.raises(DataError, match="of the model itself"):
        models[GRU4Rec].score_codes(make_queries(train, test))
    with pytest.raises(DataError, match="of the model itself"):
        whence.TracIn(checkpoints="final").attribute(models[GRU4Rec], make_queries(train, test))
    with pytest.raises(DataError, match="has learned from items alone"):
        GRU4Rec(**SMALL).fit(train).recommend([{"item": 3}])


def test_all_usable_columns_are_taken_where_none_are_named(data):
    model = GRU4Rec(
        **SMALL, item_features=None, user_features=None, context_features=None
    ).fit(data)  # fmt: skip
    assert {side: list(kinds) for side, kinds in model.features_.items()} == {
        "item": ["genres", "year"], "user": ["sex"], "context": ["price", "way"],
    }  # fmt: skip
    bare = Interactions.from_frame(data.frame.select("user", "item", "time"))
    model = GRU4Rec(**SMALL, item_features=None, context_features=None).fit(bare)
    assert model.coding_ is None
    assert np.isfinite(model.recommend([1, 2], k=3)[1]).all()


def test_a_network_of_others_says_that_it_takes_none(data):
    from whence.models.neural.sequential import SequenceModule, SequentialRecommender

    class Bare(SequenceModule):
        def __init__(self, n_items):
            super().__init__()
            self.embedding = torch.nn.Embedding(n_items + 1, 4)

        def states(self, items, lengths):
            return self.embedding(items)

    class Plain(SequentialRecommender):
        def _module(self, train):
            return Bare(train.n_items)

    with pytest.raises(UnsupportedError, match="takes no features of events"):
        Plain(context_features=["way"], epochs=1).fit(data)


def test_a_damaged_file_is_told(models, tmp_path):
    import io
    import zipfile

    path = models[GRU4Rec].save(tmp_path / "model.whence")
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    state = dict(np.load(io.BytesIO(contents["state.npz"])))
    for odd in (b"{}", b"not json", b'{"item": [{"name": 1}], "user": [], "context": []}'):
        state["features.coding"] = np.frombuffer(odd, dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **state)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, buffer.getvalue() if name == "state.npz" else content)
        with pytest.raises(FileFormatError):
            whence.load_model(path)


def test_queries_of_a_model_that_will_be_fitted(parts, models):
    from whence.evaluation import queries_for

    train, _, test = parts
    model = models[GRU4Rec]
    before = queries_for(GRU4Rec(**SMALL, **WANTED), train, test)
    after = make_queries(model, test)
    np.testing.assert_array_equal(before.history_features, after.history_features)
