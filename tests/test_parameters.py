"""Classes with parameters: constructor, repr, get and set, checks and hints."""

from typing import Any, Literal

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from whence.errors import ArgumentError, ParameterError
from whence.parameters import (
    Configurable,
    NonNegative,
    Positive,
    PositiveInt,
    Share,
    field,
    positional,
)


class Inner(Configurable):
    depth: PositiveInt = 2


class Outer(Configurable):
    metric: Any = positional("mrr@20")
    width: PositiveInt = 3
    kind: Literal["box", "triangle"] = "box"
    limit: PositiveInt | None = None
    rate: Positive = 0.5
    share: Share = 0.1
    decay: NonNegative = 0.0
    fast: bool = True
    label: str = "a"
    inner: Any = None
    found_: int = field(init=False)


class Needy(Configurable):
    first: int


class Narrow(Outer):
    width: PositiveInt = 9


class Old(Outer):
    def __init__(self, first: PositiveInt, *, second: int = 2, **rest: Any) -> None:
        super().__init__(**rest)
        self.first, self.second = first, second


def test_constructor_stores_and_does_nothing_else():
    outer = Outer("ndcg@5", width=np.int64(4), rate="not looked at yet")
    assert (outer.metric, outer.width, outer.rate) == ("ndcg@5", 4, "not looked at yet")
    assert not hasattr(outer, "found_")
    assert "found_" not in outer.params


def test_defaults_are_inherited_and_changed():
    assert Narrow().width == 9
    assert Narrow().rate == 0.5
    assert Narrow.parameter_defaults()["width"] == 9
    assert Narrow.parameter_types()["width"] == PositiveInt


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(Outer()) == "Outer()"
    assert repr(Narrow("a", width=1, kind="triangle")) == (
        "Narrow(metric='a', width=1, kind='triangle')"
    )
    assert eval(repr(Outer(width=5))).params == Outer(width=5).params


def test_old_constructors_hand_on_to_their_bases():
    old = Old(1, second=3, width=7)
    assert old.params["first"] == 1
    assert old.params["width"] == 7
    assert repr(old) == "Old(first=1, second=3, width=7)"
    with pytest.raises(ArgumentError, match=r"Old has no parameter 'widht'\. Did you mean"):
        Old(1, widht=2)


def test_get_and_set_params_with_nested_ones():
    outer = Outer(inner=Inner(depth=4))
    assert outer.get_params()["inner__depth"] == 4
    assert "inner__depth" not in outer.get_params(deep=False)
    assert outer.set_params(inner__depth=5, width=6) is outer
    assert (outer.inner.depth, outer.width) == (5, 6)
    with pytest.raises(ArgumentError, match="no parameter 'widht'"):
        outer.set_params(widht=1)


def test_works_with_scikit_learn():
    outer = Outer("recall@5", width=8, inner=Inner(depth=3))
    twin = clone(outer)
    assert twin is not outer
    assert twin.inner is not outer.inner
    assert twin.get_params(deep=False).keys() == outer.get_params(deep=False).keys()
    assert repr(twin) == repr(outer)
    grid = ParameterGrid({"width": [1, 2], "inner__depth": [3, 4]})
    found = {(clone(outer).set_params(**one).width, one["inner__depth"]) for one in grid}
    assert found == {(1, 3), (1, 4), (2, 3), (2, 4)}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"width": 0}, "width must be an integer of at least 1, not 0."),
        ({"width": 2.0}, "width must be an integer of at least 1, not 2.0."),
        ({"width": True}, "width must be an integer"),
        ({"limit": 0}, "limit must be an integer of at least 1"),
        ({"kind": "bx"}, "kind must be one of 'box', 'triangle', not 'bx'. Did you mean 'box'?"),
        ({"rate": 0}, "rate must be a number above 0"),
        ({"rate": float("nan")}, "rate must be a number above 0"),
        ({"share": 1.5}, "share must be a number between 0.0 and 1.0"),
        ({"decay": -1e-9}, "decay must be a number of at least 0"),
        ({"fast": "yes"}, "fast must be True or False"),
        ({"label": 3}, "label must be a text"),
    ],
)
def test_checks_name_the_parameter(params, message):
    with pytest.raises(ParameterError) as caught:
        Outer(**params)._check_params()
    assert message in str(caught.value)


def test_what_is_right_passes():
    Outer(width=np.int32(2), rate=np.float32(1.0), limit=7, fast=np.True_)._check_params()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Outer(widht=3), "Outer has no parameter 'widht'. Did you mean 'width'?"),
        (lambda: Outer(zzzz=3), "It takes metric, width, kind"),
        (lambda: Outer("a", 3), "takes its parameters by name, apart from metric"),
        (lambda: Inner(3), "Inner takes its parameters by name; write Inner(depth=...)."),
        (lambda: Needy(), "Needy needs first; write Needy(first=...)."),
    ],
)
def test_wrong_calls_name_the_class_that_was_called(call, message):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert message in str(caught.value)
    assert isinstance(caught.value, TypeError)
