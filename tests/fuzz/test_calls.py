"""Calls with arguments of the wrong type are refused in one sentence."""

from __future__ import annotations

import polars as pl
import pytest
from mutants import untyped

import whence
from whence import data as splits
from whence.data import write_interactions
from whence.errors import ParameterError
from whence.evaluation import make_queries

CLICKS = pl.DataFrame(
    {
        "user_id": [s for s in range(8) for _ in range(4)],
        "item_id": [(s * j + j) % 7 for s in range(8) for j in range(4)],
        "timestamp": list(range(32)),
    }
)
STRANGE = [
    None, 5, "ab", "", [], [None], {}, object(), float("nan"), [1, "a"], b"x", [[None]], ["ab"],
    float("inf"), True, {"a": 1}, ("x", 1), 2**70, -1, [2**70], [object()],
]  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    """Interactions, and models of users and of sessions."""
    users = whence.Interactions.from_frame(CLICKS)
    sessions = CLICKS.rename({"user_id": "session_id"})
    return users, whence.ItemKNN().fit(users), whence.VMISKNN().fit(sessions)


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: repr(value)[:20])
def test_a_value_of_another_type_is_refused_or_understood(fitted, tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)  # a text is a name for a file
    data, of_users, of_sessions = fitted
    calls = {
        "split_random": lambda: splits.split_random(data, value),
        "split_rows": lambda: splits.split_rows(data, value),
        "split_time": lambda: splits.split_time(data, value),
        "split_time at": lambda: splits.split_time(data, at=value),
        "split_temporal": lambda: splits.split_temporal(data, value),
        "split_last": lambda: splits.split_last(data, value),
        "k_fold": lambda: splits.k_fold(data, value),
        "seed of a split": lambda: splits.split_random(data, seed=value),
        "evaluate": lambda: whence.evaluate(of_users, value),
        "metrics": lambda: whence.evaluate(of_users, data, value),
        "negatives": lambda: whence.evaluate(of_users, data, negatives=value),
        "queries": lambda: make_queries(of_users, value),
        "recommend": lambda: of_users.recommend(value),
        "recommend after": lambda: of_sessions.recommend(value),
        "k": lambda: of_users.recommend([1], value),
        "score": lambda: of_users.score(value),
        "items": lambda: of_users.score([1], value),
        "fold_in": lambda: of_users.fold_in(value),
        "user_queries": lambda: of_users.user_queries(value),
        "predict": lambda: of_users.predict(value, value),
        "fit": lambda: whence.ItemKNN().fit(value),
        "load_model": lambda: whence.load_model(value),
        "read": lambda: whence.read_interactions(value),
        "load values": lambda: whence.Attribution.load(value),
        "from_frame": lambda: whence.Interactions.from_frame(value),
        "Shapley": lambda: whence.Shapley(value).attribute(of_sessions, data),
        "attribute": lambda: whence.Shapley("mrr@2").attribute(of_sessions, value),
        "a model": lambda: whence.Shapley("mrr@2").attribute(value, data),
        "explain": lambda: whence.explain(of_sessions, value, k=2),
        "explain_many": lambda: whence.explain_many(of_sessions, value, k=2),
        "explain by": lambda: whence.explain(value, [1, 2], k=2),
        "compare": lambda: whence.evaluation.compare(value, value),
        "write": lambda: write_interactions(value, tmp_path / "x.csv", overwrite=True),
        "path": lambda: write_interactions(data, value),
        "save": lambda: of_users.save(value),
    }
    wrong = {name: untyped(call) for name, call in calls.items()}
    assert {name: said for name, said in wrong.items() if said is not None} == {}


def test_a_text_is_no_list_of_letters(fitted):
    _, of_users, of_sessions = fitted
    with pytest.raises(ParameterError, match=r"users must be a list of ids, not 'tea'; give \['t"):
        of_users.user_queries("tea")
    with pytest.raises(whence.errors.DataError, match="A history is a list of item ids"):
        of_sessions.recommend("tea", 2)
