"""Compiled kernels take arrays as they are, or not at all."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from whence import Recommender, _native
from whence.evaluation.queries import QueryArrays
from whence.evaluation.utility import Utility
from whence.influence.functions.outcome_blocks import Factors, OutcomeTerms, TrainingTerms
from whence.models.knn.tifu import UserIndex, UserVectors
from whence.models.knn.vmis import SessionIndex
from whence.valuation._deletions import Clicks, Variants
from whence.valuation.games import Plan, Sessions, Users
from whence.valuation.weights import Weights

TUPLES = [
    Clicks,
    Factors,
    OutcomeTerms,
    Plan,
    QueryArrays,
    SessionIndex,
    Sessions,
    TrainingTerms,
    UserIndex,
    UserVectors,
    Users,
    Utility,
    Variants,
    Weights,
]

ITEMS = np.arange(10, dtype=np.int32)
STARTS, ENDS = np.array([0, 3]), np.array([4, 9])


def test_what_is_returned_is_of_numpys_own_types():
    windows, lengths = _native.padded_windows(ITEMS, STARTS, ENDS, 3, -1)
    assert windows.tolist() == [[1, 2, 3], [6, 7, 8]]
    assert windows.dtype.char == np.dtype(np.int64).char
    assert lengths.flags.writeable


@pytest.mark.parametrize(
    "items",
    [ITEMS.astype(np.int64), ITEMS[::2], ITEMS[None], ITEMS.tolist(), None],
    ids=["type", "strides", "dimensions", "list", "none"],
)
def test_nothing_is_converted(items):
    with pytest.raises(TypeError):
        _native.padded_windows(items, STARTS, ENDS, 3, -1)


def test_read_only_arrays_are_read():
    items = ITEMS.copy()
    items.flags.writeable = False
    windows, _ = _native.padded_windows(items, STARTS, ENDS, 3, -1)
    assert windows.tolist() == [[1, 2, 3], [6, 7, 8]]


def test_structs_have_the_fields_of_the_named_tuples():
    assert _native.layouts() == {of.__name__: ", ".join(of._fields) for of in TUPLES}


def test_what_was_not_compiled_says_so_on_the_command_line(tmp_path):
    (tmp_path / "clicks.csv").write_text("session_id,item_id,timestamp\n1,2,3\n1,4,5\n")
    code = (
        "import sys; from whence import _unbuilt; sys.modules['whence._native'] = _unbuilt;"
        "from whence.cli import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, "evaluate", "--train", "clicks.csv", "--valid", "clicks.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2
    assert "The compiled part of Whence is missing" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_parts_of_larger_arrays_are_written():
    stream = np.random.default_rng(0)
    left, right = stream.normal(size=(2, 3, 4)), stream.normal(size=(2, 3, 5))
    whole = np.ones((2, 7, 6))
    part = whole[:, 1:6, 2:]
    _native.write_products(left, right, True, part)
    np.testing.assert_allclose(part, 1.0 + np.einsum("ntr,ntc->ncr", left, right))
    assert whole.sum() == pytest.approx(part.sum() + whole.size - part.size)
    with pytest.raises(TypeError):
        _native.write_products(left, right, True, whole[:, 1:6, ::2])


@pytest.mark.parametrize("length", [10**15, 2**58, 2**62, 2**63 - 1])
def test_what_does_not_fit_into_memory_is_an_error(length):
    with pytest.raises(MemoryError):
        _native.padded_windows(ITEMS, STARTS, ENDS, length, -1)


class Falling(Recommender):
    """Scores fall with the number of the item, as an array of another type and layout."""

    def _fit(self, train, run):
        """Nothing to learn."""

    def score_codes(self, queries, *, threads=None):
        scores = np.tile(np.arange(self.n_items, 0, -1), (len(queries), 1))
        return np.asarray(scores, self.of_type, order="F")


@pytest.mark.parametrize("of_type", [np.int64, np.float16, np.float32, np.float64])
def test_scores_of_any_type_and_layout_are_ranked(of_type):
    model = Falling().fit(pl.DataFrame({"session_id": [1, 1, 1], "item_id": ["a", "b", "c"]}))
    model.of_type = of_type
    lists, scores = model.recommend([["a"], ["b"]], k=2)
    assert [row.tolist() for row in lists] == [["a", "b"]] * 2
    assert [row.tolist() for row in scores] == [[3.0, 2.0]] * 2
