from __future__ import annotations

import numpy as np
import pytest

from whence import errors
from whence.errors import (
    ParameterError,
    WhenceError,
    check_choice,
    check_float,
    check_int,
    did_you_mean,
)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.DataError, ValueError),
        (errors.ColumnError, errors.DataError),
        (errors.ParameterError, ValueError),
        (errors.MetricError, errors.ParameterError),
        (errors.NotFittedError, RuntimeError),
        (errors.UnsupportedError, TypeError),
        (errors.FileFormatError, ValueError),
        (errors.OutputExistsError, FileExistsError),
        (errors.ConfigError, ValueError),
        (errors.SizeError, MemoryError),
        (errors.EngineError, RuntimeError),
        (errors.NotBuiltError, ImportError),
    ],
)
def test_errors_are_caught_as_ours_and_as_the_builtin_one(error, builtin):
    assert issubclass(error, WhenceError)
    assert issubclass(error, builtin)


def test_did_you_mean_names_the_nearest_and_keeps_its_case():
    assert did_you_mean("itemid", ["ItemId", "UserId"]) == " Did you mean 'ItemId'?"
    assert did_you_mean("zzz", ["ItemId", "UserId"]) == ""
    assert did_you_mean("x", []) == ""


def test_check_choice():
    assert check_choice("kind", "baskets", ("sessions", "baskets")) == "baskets"
    with pytest.raises(ParameterError, match=r"kind must be .* not 'basket'\. Did you .*'baskets'"):
        check_choice("kind", "basket", ("sessions", "baskets"))
    with pytest.raises(ParameterError, match="not None"):
        check_choice("kind", None, ("sessions", "baskets"))


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint64(3)])
def test_check_int_accepts_integers_of_any_kind(value):
    assert check_int("k", value, 1, 3) == 3
    assert type(check_int("k", value)) is int


@pytest.mark.parametrize("value", [0, 11, 2.0, True, "3", None])
def test_check_int_refuses(value):
    with pytest.raises(ParameterError, match="k must be an integer between 1 and 10, not"):
        check_int("k", value, 1, 10)


def test_check_float():
    assert check_float("alpha", 1, 0, 1) == 1.0
    assert check_float("alpha", np.float32(0.5), 0, 1) == 0.5
    for value in (-0.1, 1.1, float("nan"), float("inf"), "0.5", True, None):
        with pytest.raises(ParameterError, match="alpha must be a number between 0 and 1, not"):
            check_float("alpha", value, 0, 1)
    with pytest.raises(ParameterError, match="of at least 0, not -1"):
        check_float("alpha", -1, minimum=0)
    with pytest.raises(ParameterError, match="of at most 0, not 1"):
        check_float("alpha", 1, maximum=0)


@pytest.mark.parametrize(
    "make", [lambda: np.zeros(2**62), lambda: np.zeros(2**63 - 1), lambda: np.zeros((2**40, 2**40))]
)
def test_what_does_not_fit_into_memory_is_one_sentence(make):
    said = "does not fit into memory; choose smaller sizes"
    with pytest.raises(errors.SizeError, match=said), errors.within_memory():
        make()


def test_other_errors_are_left_as_they_are():
    with pytest.raises(ValueError, match="another"), errors.within_memory():
        raise ValueError("another")
    with pytest.raises(ParameterError, match="allocate memory"), errors.within_memory():
        raise ParameterError("ours, although it can allocate memory")


@pytest.mark.parametrize("value", [None, 3, b"x", ["a"], "a\0b"])
def test_what_is_no_path_is_refused(value):
    with pytest.raises(ParameterError, match="path must be the path of a file, not"):
        errors.check_path("path", value)


def test_texts_and_mappings_are_no_lists():
    assert errors.check_list("metrics", ("a", "b"), "names") == ["a", "b"]
    with pytest.raises(ParameterError, match=r"metrics must be a list of names, not 'ab'; give"):
        errors.check_list("metrics", "ab", "names")
    for value in (3, None, {"a": 1}, np.array(3)):
        with pytest.raises(ParameterError, match=r"metrics must be a list of names, not .*\.$"):
            errors.check_list("metrics", value, "names")
