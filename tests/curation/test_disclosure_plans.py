"""Willingness, plans and their files."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from disclosing import fitted, parts

from whence import VMISKNN
from whence.curation.disclosure import (
    Disclosure,
    DisclosurePlan,
    simulate_willingness,
    violations,
    willingness_by_category,
)
from whence.curation.disclosure.masking import RowFile
from whence.data import Interactions
from whence.errors import (
    ColumnError,
    DataError,
    FileFormatError,
    OutputExistsError,
    ParameterError,
    UnsupportedError,
)


@pytest.fixture(scope="module")
def data():
    return parts()


@pytest.fixture(scope="module")
def train(data):
    return Interactions.from_frame(data[0], user="user")


@pytest.fixture(scope="module")
def plan(data):
    return (
        Disclosure(lam=0.01, calibrate=False)
        .pose(fitted(data[0]), data[1], willingness="no")
        .solve()
    )


def test_willingness_from_a_column_or_numbers(train, data):
    expected = data[0]["no"].to_numpy()
    np.testing.assert_array_equal(violations(train, "no"), expected)
    np.testing.assert_array_equal(violations(train, expected.tolist()), expected)


@pytest.mark.parametrize(
    ("value", "match"),
    [(1.2, "of row 4 is 1.2"), (-0.1, "of row 4 is -0.1"), (None, "of row 4 is missing")],
)
def test_willingness_out_of_range_or_missing(data, value, match):
    rows = pl.Series("no", [*data[0]["no"][:4], value, *data[0]["no"][5:]])
    table = Interactions.from_frame(data[0].with_columns(rows), user="user")
    with pytest.raises(DataError, match=match):
        violations(table, "no")


def test_willingness_that_is_none(train, data):
    with pytest.raises(ColumnError, match="Did you mean 'no'"):
        violations(train, "noo")
    with pytest.raises(DataError, match=r"There are 2 willingness violations for \d+ rows"):
        violations(train, [0.0, 1.0])
    words = Interactions.from_frame(data[0].with_columns(no=pl.lit("x")), user="user")
    with pytest.raises(DataError, match="is a number from 0"):
        violations(words, "no")


def test_willingness_by_category(train, data):
    items = pl.DataFrame({"item": list(range(100, 120)), "genres": ["Drama|War", "War"] * 10})
    known = train.with_tables(items=items)
    beta = willingness_by_category(
        known, {"Drama": 0.8, "War": 0.3}, column="genres", separator="|"
    )
    expected = np.where(data[0]["item"].to_numpy() % 2 == 0, 0.8, 0.3)
    np.testing.assert_array_equal(beta, expected)
    lists = known.with_tables(items=items.with_columns(pl.col("genres").str.split("|")))
    again = willingness_by_category(lists, {"Drama": 0.8}, column="genres", default=0.1)
    np.testing.assert_array_equal(again, np.where(expected == 0.8, 0.8, 0.1))
    with pytest.raises(ColumnError, match="Did you mean 'genres'"):
        willingness_by_category(known, {}, column="genre")
    with pytest.raises(ParameterError, match=r"between 0.0 and 1.0"):
        willingness_by_category(known, {"War": 2.0}, column="genres")


def test_simulated_willingness_is_seeded_and_by_user(train):
    beta = simulate_willingness(train, mean=0.3, spread=1.5, seed=4)
    np.testing.assert_array_equal(beta, simulate_willingness(train, mean=0.3, spread=1.5, seed=4))
    assert ((beta > 0) & (beta < 1)).all()
    flat = simulate_willingness(train, mean=0.3, spread=0.0)
    np.testing.assert_allclose(flat, 0.3)
    means = pl.DataFrame({"u": train.frame["user"], "b": beta}).group_by("u").agg(pl.mean("b"))
    assert means["b"].std() > 0.1
    with pytest.raises(ParameterError, match="both excluded"):
        simulate_willingness(train, mean=1.0)


def test_a_plan_masks_any_table(plan, train, data):
    assert plan.frame.columns == ["row", "user", "item", "disclosed", "V", "beta"]
    kept = plan.apply(train)
    assert kept.n_rows == plan.n_disclosed
    assert kept.vocabulary.items.equals(train.vocabulary.items)
    table = plan.apply(data[0])
    assert table.equals(data[0].filter(pl.Series(plan.disclosed)))
    pandas = pytest.importorskip("pandas")
    frame = plan.apply(data[0].to_pandas())
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == plan.n_disclosed
    with pytest.raises(DataError, match="of another table"):
        plan.apply(data[0].reverse())
    with pytest.raises(DataError, match="of another table"):
        plan.apply(data[0].head(5))


def test_a_plan_in_a_file(plan, tmp_path):
    path = plan.save(tmp_path / "plan.parquet")
    again = DisclosurePlan.load(path)
    assert again.frame.equals(plan.frame)
    assert again.metadata["strategy"] == "social"
    assert again.metadata["lam"] == 0.01
    assert repr(again) == repr(plan)
    with pytest.raises(OutputExistsError):
        plan.save(path)
    with pytest.raises(FileFormatError, match=r"\.parquet"):
        plan.save(tmp_path / "plan.csv")
    plan.frame.write_parquet(tmp_path / "other.parquet")
    with pytest.raises(FileFormatError, match="does not hold a plan"):
        DisclosurePlan.load(tmp_path / "other.parquet")


def test_rows_of_a_file_are_kept_as_they_are(data, plan, tmp_path):
    lines = ["user\titem\trating", *(f"{u}\t{i}\t{r}" for u, i, r, *_ in data[0].rows())]
    source = tmp_path / "ratings.tsv"
    source.write_bytes("\r\n".join(lines).encode())
    file = RowFile.of(source, len(plan))
    kept = file.keep(plan.disclosed, tmp_path / "kept.tsv").read_bytes().decode().splitlines()
    assert kept == [lines[0], *(x for x, keep in zip(lines[1:], plan.disclosed) if keep)]
    with pytest.raises(OutputExistsError):
        file.keep(plan.disclosed, tmp_path / "kept.tsv")
    with pytest.raises(DataError, match="The mask is for 3 rows"):
        file.keep(np.ones(3, dtype=bool), tmp_path / "other.tsv")
    with pytest.raises(FileFormatError, match="not a file of one row per line"):
        RowFile.of(source, 7)


def test_what_a_disclosure_needs(data, train):
    with pytest.raises(UnsupportedError, match="Disclosure needs a model"):
        Disclosure().pose(VMISKNN().fit(train), data[1], willingness="no")
    with pytest.raises(ParameterError, match="lam must be a number of at least 0"):
        Disclosure(lam=-0.5).pose(fitted(data[0]), data[1], willingness="no")
