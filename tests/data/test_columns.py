from __future__ import annotations

import polars as pl
import pytest

from whence.data import Columns, Interactions
from whence.data.columns import resolve_columns
from whence.errors import ColumnError, DataWarning, ParameterError


def resolve(names, kind=None, **given):
    return resolve_columns(names, given, kind)


@pytest.mark.parametrize(
    "names",
    [
        ["session_id", "item_id", "timestamp"],
        ["SessionId", "ItemId", "Time"],
        ["SESSION", "product_id", "ts"],
        ["Session ID", "movie-id", "date_time"],
        ["session", "aid", "eventdate"],
    ],
)
def test_usual_names_are_recognised(names):
    assert resolve(names) == ("sessions", Columns(names[0], names[1], time=names[2]))


def test_kind_follows_from_the_columns():
    assert resolve(["user_id", "item_id"])[1] == Columns("user_id", "item_id", user="user_id")
    kind, columns = resolve(["user", "order_id", "item", "rating", "date", "colour"])
    assert kind == "baskets"
    assert columns == Columns("user", "item", "date", "order_id", "user", "rating", ("colour",))
    kind, columns = resolve(["session", "user", "item"])
    assert (kind, columns.source, columns.user) == ("sessions", "session", "user")


def test_given_names_come_before_recognised_ones():
    _, columns = resolve(["item_id", "sku", "session"], item="sku")
    assert (columns.item, columns.extras) == ("sku", ("item_id",))
    _, columns = resolve(["a", "b", "c"], session="b", item="c", time="a")
    assert columns == Columns("b", "c", time="a")


def test_both_session_and_basket_need_a_word():
    names = ["user", "session", "basket", "item"]
    with pytest.raises(ColumnError, match="say which it is with kind='sessions' or kind='baskets'"):
        resolve(names)
    assert resolve(names, kind="baskets")[1].source == "user"
    _, columns = resolve(names, kind="sessions")
    assert (columns.source, columns.basket, columns.extras) == ("session", None, ("basket",))
    assert resolve(names, basket="basket")[0] == "baskets"
    assert resolve(names, session="session")[0] == "sessions"


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (["session_id", "itm_id"], {}, "No item column is recognised .* Did you mean 'itm_id'?"),
        (["sesion_id", "item"], {}, "No session or user column .* Did you mean 'sesion_id'?"),
        (["session_id", "item_id"], {"item": "itemid"}, "no column 'itemid' .* mean 'item_id'?"),
        (["session_id", "item_id"], {"kind": "baskets"}, "No user column is recognised"),
        (["user_id", "item_id"], {"kind": "baskets"}, "No basket column is recognised"),
        (["user_id", "item_id"], {"session": "item_id", "item": "item_id"}, "as source and as"),
        (["user", "item"], {"user": "user", "session": "item"}, "No item column"),
        (["SessionId", "session_id", "item"], {}, "could each be the session; say which"),
        ([f"c{i}" for i in range(40)], {}, r"\(40 in all\)"),
    ],
)
def test_missing_misnamed_and_ambiguous_columns(names, given, message):
    with pytest.raises(ColumnError, match=message):
        resolve(names, **given)


def test_unknown_kind():
    with pytest.raises(ParameterError, match="Did you mean 'baskets'"):
        resolve(["user", "item", "basket"], kind="basket")


def test_a_misspelt_optional_column_is_warned_about_at_the_caller():
    frame = pl.DataFrame({"session": [1], "item": [2], "timestmp": [3]})
    with pytest.warns(DataWarning, match="No time column .* say time='timestmp'") as caught:
        Interactions.from_frame(frame)
    assert caught[0].filename == __file__
    with pytest.warns(DataWarning, match="No basket column .* if 'baskt_id' is the basket"):
        resolve(["user_id", "baskt_id", "item_id", "time"])


def test_order_is_a_time_of_last_resort():
    assert resolve(["user", "item", "order"])[1].time == "order"
    _, columns = resolve(["user", "item", "order", "timestamp"])
    assert (columns.time, columns.extras) == ("timestamp", ("order",))
    _, columns = resolve(["user", "item", "order", "at"], time="at")
    assert (columns.time, columns.extras) == ("at", ("order",))


@pytest.mark.parametrize("name", ["neg_items", "neg_item_list", "negatives", "NegItems"])
def test_negatives_are_recognised_where_they_are_lists(name):
    frame = pl.DataFrame({"user": [1], "item": [2], name: [[3, 4]]})
    data = Interactions.from_frame(frame)
    assert (data.columns.negatives, data.columns.extras) == (name, ())
    assert Interactions.from_frame(frame, **data.columns.as_arguments()).columns == data.columns
    number = Interactions.from_frame(frame.with_columns(pl.lit(3).alias(name)))
    assert (number.columns.negatives, number.columns.extras) == (None, (name,))
    with pytest.raises(ColumnError, match="negatives must be lists of item ids"):
        Interactions.from_frame(number.frame, negatives=name)


def test_text_is_no_order_in_time():
    frame = pl.DataFrame({"user": [1], "order": ["first"], "item": [2]})
    data = Interactions.from_frame(frame)
    assert (data.columns.time, data.columns.extras) == (None, ("order",))


@pytest.mark.parametrize(
    ("names", "given"),
    [
        (["session", "item", "time", "x"], {}),
        (["a", "b", "c", "d"], {"session": "b", "item": "c", "time": "a", "user": "d"}),
        (["a", "b"], {"user": "a", "item": "b"}),
        (["user", "basket", "item", "rating", "session"], {"kind": "baskets"}),
    ],
)
def test_as_arguments_gives_the_same_roles_again(names, given):
    kind, columns = resolve(names, **given)
    assert resolve(names, kind=kind, **columns.as_arguments()) == (kind, columns)
