"""Forgetting by subtraction: equal to fitting on what is left."""

from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import whence
from whence.errors import DataError, NotFittedError, ParameterError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")

COUNTING = {
    "popularity": lambda n: whence.Popularity(),
    "markov": lambda n: whence.MarkovChain(smoothing=0.5 * n),
    "itemknn": lambda n: whence.ItemKNN(k=1 + n, shrinkage=float(n % 2)),
    "jaccard": lambda n: whence.ItemKNN(k=1 + n, similarity="jaccard"),
    "vmis": lambda n: whence.VMISKNN(k=3, m=5),
    "tifu": lambda n: whence.TIFUKNN(k=3, m=1 + n, similarity="euclidean"),
    "tifu-paper": lambda n: whence.TIFUKNN(k=3, m=3, grouping="paper"),
}


def table(draw, *, baskets):
    size = draw(st.integers(2, 40))
    column = lambda most: draw(st.lists(st.integers(0, most), min_size=size, max_size=size))  # noqa: E731
    parts = {"item": column(8), "time": column(12)}
    parts |= {"user": column(5), "basket": column(2)} if baskets else {"session": column(6)}
    return pl.DataFrame(parts)


def assert_same(one, other, name):
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, err_msg=name, strict=True)
    elif isinstance(one, tuple):
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{name}[{number}]")
    elif sparse.issparse(one):
        for part in ("data", "indices", "indptr"):
            assert_same(getattr(one, part), getattr(other, part), f"{name}.{part}")
    else:
        assert one == other, name


def assert_equal_models(one, other):
    assert vars(one).keys() == vars(other).keys()
    assert one.train_.fingerprint == other.train_.fingerprint
    for name in vars(one).keys() - {"train_"}:
        assert_same(getattr(one, name), getattr(other, name), name)


def refitted(model, train):
    return type(model)(**model.params).fit(train)


@pytest.mark.parametrize("name", COUNTING)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_subtracting_is_refitting(name, data):
    check_subtracting(name, data)


def check_subtracting(name, data):
    frame = table(data.draw, baskets=name.startswith("tifu"))
    model = COUNTING[name](data.draw(st.integers(0, 5))).fit(frame)
    gone = np.array(data.draw(st.lists(st.booleans(), min_size=len(frame), max_size=len(frame))))
    if data.draw(st.booleans()):  # whole sessions or users
        source = frame[model.train_.columns.source]
        gone = source.is_in(source.filter(pl.Series(gone)).unique().implode()).to_numpy()
    if gone.all() or not gone.any():
        return
    before = copy.deepcopy(model)
    forgotten = whence.forget(model, gone)
    assert forgotten.certificate.kind == "exact"
    assert forgotten.n_rows == gone.sum()
    assert_equal_models(forgotten.model, refitted(model, model.train_.keep_rows(~gone)))
    assert_equal_models(model, before)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_many_sessions_as_few(data):
    """Both ways to change an index, for the same requests."""
    from whence.curation.forgetting import neighbours

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_FEW", data.draw(st.sampled_from([0, 100])))
        check_subtracting("vmis", data)


@pytest.fixture
def sessions():
    return whence.make_sessions(
        n_sessions=150, n_validation=20, n_test=20, n_items=100, seed=3
    ).train


@pytest.mark.parametrize("name", [name for name in COUNTING if not name.startswith("tifu")])
def test_a_stream_of_requests_is_refitting_without_them_all(name, sessions, tmp_path):
    model = COUNTING[name](4).fit(sessions)
    ids = sessions.source_ids[::7].to_list()
    whole = refitted(model, sessions.without(ids))
    assert_equal_models(whence.forget(model, sessions=ids, repeated=5).model, whole)
    for one in ids:
        model = whence.forget(model, sessions=[one]).model
    assert_equal_models(model, whole)
    loaded = whence.load_model(model.save(tmp_path / "model.whence"))
    queries = [sessions.item_ids[3:6].to_list()]
    np.testing.assert_array_equal(loaded.score(queries), whole.score(queries))
    more = sessions.source_ids[1:2].to_list()
    np.testing.assert_array_equal(
        whence.forget(loaded, sessions=more).model.score(queries),
        refitted(model, sessions.without(ids + more)).score(queries),
    )


def test_baskets_of_a_user_among_many():
    train = whence.make_baskets(n_users=80, n_items=100, seed=1).train
    model = whence.TIFUKNN(k=10, m=3).fit(train)
    some = train.source_ids[[3, 40, 70]].to_list()
    forgotten = whence.forget(model, users=some)
    assert_equal_models(forgotten.model, refitted(model, train.without(some)))
    assert forgotten.n_sources == 3


def test_the_model_itself_changes_only_if_asked(sessions):
    model = whence.VMISKNN(k=5, m=20).fit(sessions)
    one = sessions.source_ids[:1].to_list()
    assert whence.forget(model, sessions=one).original is model
    assert model.train_ is sessions
    changed = whence.forget(model, sessions=one, in_place=True)
    assert changed.model is model
    assert changed.original.train_ is sessions
    assert_equal_models(model, refitted(model, sessions.without(one)))


def test_sessions_of_a_user():
    clicks = pl.DataFrame(
        {"user": [1, 1, 2, 2, 1], "session": [1, 1, 2, 2, 3], "item": list("abbcc")}
    )
    model = whence.VMISKNN(k=2, m=2).fit(clicks)
    forgotten = whence.forget(model, users=[1])
    assert forgotten.model.train_.frame["session"].to_list() == [2, 2]
    assert forgotten.n_sources == 2


def test_rows_by_number_mask_and_table():
    clicks = pl.DataFrame({"user": [1, 1, 2, 2], "item": list("abab"), "timestamp": [1, 2, 3, 4]})
    model = whence.Popularity().fit(clicks)
    for rows in (
        [1],
        np.array([False, True, False, False]),
        clicks[1:2],
        pl.DataFrame({"user": [1], "item": ["b"]}),
        clicks[1:2].to_pandas(),
    ):
        assert whence.forget(model, rows).model.train_.frame.rows() == [
            (1, "a", 1), (2, "a", 3), (2, "b", 4)
        ]  # fmt: skip


def test_downdates_of_ease_are_exact(sessions, tmp_path):
    model = whence.EASE(l2=20.0).fit(sessions)
    for ids in (sessions.source_ids[:1].to_list(), sessions.source_ids[1:6].to_list()):
        forgotten = whence.forget(model, sessions=ids)
        assert forgotten.certificate.kind == "rounding"
        assert forgotten.certificate.figures["residual"] < 1e-9
        found, wanted = forgotten.model.weights_, refitted(model, sessions.without(ids)).weights_
        np.testing.assert_allclose(found, wanted, atol=1e-10)
    stream = sessions.source_ids[::3].to_list()
    served = whence.forget(model, sessions=stream, repeated=len(stream)).model
    np.testing.assert_allclose(
        served.weights_, refitted(model, sessions.without(stream)).weights_, atol=1e-8
    )
    rows = np.arange(0, 40, 3)
    left = sessions.keep_rows(~np.isin(np.arange(sessions.n_rows), rows))
    np.testing.assert_allclose(
        whence.forget(model, rows[:2]).model.train_.n_rows, sessions.n_rows - 2
    )
    np.testing.assert_allclose(
        whence.forget(model, rows, repeated=2).model.weights_,
        refitted(model, left).weights_,
        atol=1e-8,
    )
    loaded = whence.load_model(served.save(tmp_path / "model.whence"))
    one = sessions.source_ids[1:2].to_list()
    np.testing.assert_allclose(
        whence.forget(loaded, sessions=one).model.weights_,
        whence.forget(served, sessions=one).model.weights_,
        atol=1e-12,
    )


def test_ease_of_an_older_file_has_the_same_inverse(sessions):
    model = whence.EASE(l2=20.0).fit(sessions)
    older = copy.copy(model)
    older._restore({"weights": model.weights_})
    np.testing.assert_allclose(older._diagonal, model._diagonal, rtol=1e-12)


def test_most_of_ease_is_fitted_again(sessions):
    model = whence.EASE(l2=20.0).fit(sessions)
    most = sessions.source_ids[:120].to_list()
    np.testing.assert_allclose(
        whence.forget(model, sessions=most).model.weights_,
        refitted(model, sessions.without(most)).weights_,
        atol=1e-12,
    )


def test_als_fits_what_is_left_as_well_as_a_new_fit(sessions):
    pytest.importorskip("implicit")

    def loss(model):
        has = (model._counts.toarray() > 0).astype(float)
        errors = (has - model.user_factors_ @ model.item_factors_.T) ** 2
        return (errors * np.where(has > 0, model.alpha * model._counts.toarray(), 1.0)).sum()

    model = whence.ALS(factors=8, l2=0.1, alpha=5.0, iterations=12).fit(sessions)
    gone = sessions.source_ids[:5].to_list()
    before = model.item_factors_.copy()
    forgotten = whence.forget(model, sessions=gone)
    assert forgotten.certificate.kind == "audit"
    assert 0 < forgotten.certificate.figures["last_change"] < 0.1
    assert loss(forgotten.model) <= 1.02 * loss(refitted(model, sessions.without(gone)))
    assert not forgotten.model.user_factors_[:5].any()
    np.testing.assert_array_equal(model.item_factors_, before)


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        ({}, ParameterError, "in one way"),
        ({"rows": [0], "users": [1]}, ParameterError, "in one way"),
        ({"users": [9]}, DataError, "user 9 is not in"),
        ({"users": "1"}, ParameterError, "list of ids"),
        ({"sessions": [1]}, DataError, "no sessions"),
        ({"users": []}, DataError, "nothing to forget"),
        ({"users": [1, 2]}, DataError, "would be left"),
        ({"rows": [7]}, ParameterError, "no row 7"),
        ({"rows": "all"}, ParameterError, "list of numbers"),
        ({"rows": [0.5]}, ParameterError, "numbers of rows"),
        ({"rows": pl.DataFrame({"user": [1], "item": ["z"]})}, DataError, "no row with"),
        ({"rows": pl.DataFrame({"user": [1]})}, DataError, "needs the columns"),
        ({"users": [1], "epochs": 2}, ParameterError, "not trained in epochs"),
        ({"users": [1], "epochs": -1}, ParameterError, "at least 0"),
        ({"users": [1], "repeated": 0}, ParameterError, "at least 1"),
        ({"users": [1], "repeated": 4}, ParameterError, "more than the 2"),
    ],
)
def test_what_cannot_be_asked(request_, error, words):
    model = whence.Popularity().fit(pl.DataFrame({"user": [1, 1, 2], "item": list("aba")}))
    with pytest.raises(error, match=words):
        whence.forget(model, **request_)


def test_what_cannot_forget():
    clicks = pl.DataFrame({"user": [1, 1, 2], "item": list("aba")})

    class Other(whence.Popularity):
        def _fit(self, train, run):
            super()._fit(train, run)
            self.counts_ = 2 * self.counts_

    with pytest.raises(UnsupportedError, match="Other cannot forget"):
        whence.forget(Other().fit(clicks), users=[1])
    with pytest.raises(UnsupportedError, match="object is none"):
        whence.forget(object(), users=[1])
    with pytest.raises(NotFittedError):
        whence.forget(whence.Popularity(), users=[1])
    again = whence.forget(whence.Popularity().fit(clicks), users=[1]).model
    with pytest.raises(DataError, match="no rows left"):
        whence.forget(again, users=[1])


def test_a_session_without_a_user_has_none():
    clicks = pl.DataFrame({"session": [1, 1, 2], "item": list("aba")})
    with pytest.raises(DataError, match="whose they are"):
        whence.forget(whence.Popularity().fit(clicks), users=[1])
