from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from whence import plots
from whence.errors import ColumnError, DataError, OutputExistsError, ParameterError
from whence.plots.style import DASHES, SERIES

TABLE = pl.DataFrame(
    {"score": [-0.2, -0.01, 0.0, 0.0, 0.1, 0.5], "std_error": [0.01, 0.0, 0.0, 0.1, 0.1, 0.2]}
)
CURVE = pl.DataFrame(
    {
        "fraction": [0.0, 0.1, 0.2, 0.0, 0.1, 0.2],
        "value": [0.2, 0.25, 0.21, 0.2, 0.19, 0.18],
        "ranking": ["shapley"] * 3 + ["random"] * 3,
    }
)


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.mark.parametrize("draw", [plots.distribution, plots.ranked])
@pytest.mark.parametrize("kind", [lambda t: t, pl.DataFrame.to_pandas, lambda t: t["score"]])
def test_values_can_be_any_table_or_array(ax, draw, kind):
    assert draw(kind(TABLE), ax=ax) is ax
    assert draw(TABLE["score"].to_numpy(), ax=ax) is ax


def test_distribution_counts_every_value_and_splits_at_zero(ax):
    scores = np.random.default_rng(0).normal(size=1000)
    plots.distribution(scores, ax=ax, bins=30)
    bars = ax.patches
    assert sum(bar.get_height() for bar in bars) == 1000
    below = sum(bar.get_height() for bar in bars if bar.get_x() < -1e-12)
    assert below == (scores < 0).sum()
    assert len({bar.get_facecolor() for bar in bars}) == 2
    assert ax.get_yscale() == "log"
    assert any("negative" in text.get_text() for text in ax.texts)


@pytest.mark.parametrize("scores", [[0.0], [0.0, 0.0], [1e-9], [-3.0, -1.0]])
def test_odd_values_are_drawn(ax, scores, tmp_path):
    plots.distribution(scores, ax=ax)
    plots.ranked(scores, ax=ax)
    ax.figure.savefig(tmp_path / "picture.png")


def test_ranked_shows_an_error_band_and_may_leave_out_the_middle(ax):
    plots.ranked(TABLE, ax=ax)
    assert len(ax.collections) == 1
    plots.ranked(TABLE, ax=Figure().subplots(), n=2)
    with pytest.raises(ParameterError):
        plots.ranked(TABLE, ax=ax, n=0)


@pytest.mark.parametrize("draw", [plots.distribution, plots.ranked])
def test_no_values_is_an_error(ax, draw):
    with pytest.raises(DataError):
        draw([], ax=ax)


def test_removal_curve_has_a_line_per_ranking_in_the_order_given(ax):
    plots.removal_curve(CURVE, ax=ax, chosen=0.1, label="mrr@20")
    named = [line.get_label() for line in ax.lines]
    assert named == ["shapley", "random", "chosen"]
    assert ax.get_ylabel() == "mrr@20"
    assert ax.lines[0].get_color() == SERIES[0]
    plots.removal_curve(CURVE.drop("ranking").head(3).to_pandas(), ax=Figure().subplots())
    banded = CURVE.with_columns(low=pl.col("value") - 0.1, high=pl.col("value") + 0.1)
    plots.removal_curve(banded, ax=(other := Figure().subplots()))
    assert len(other.collections) == 2


def test_detection_curve(ax):
    curve = pd.DataFrame(
        {
            "n_inspected": [1, 2, 3],
            "recall": [0.5, 0.5, 1.0],
            "precision": [1.0, 0.5, 0.6],
            "ranking": ["loo"] * 3,
        }
    )
    plots.detection_curve(curve, ax=ax, n_corrupted=2)
    assert ax.get_ylim()[1] <= 1.05
    plots.detection_curve(curve, ax=Figure().subplots(), y="precision")
    with pytest.raises(ColumnError, match="Did you mean 'recall'"):
        plots.detection_curve(curve, ax=ax, y="recal")


def test_lines_differ_by_more_than_colour():
    assert len(set(SERIES)) == len(SERIES) == len(DASHES)


def test_nothing_global_changes_and_no_window_opens(monkeypatch):
    monkeypatch.setattr(pyplot, "show", lambda *_: pytest.fail("show was called"))
    before = dict(matplotlib.rcParams)
    ax = plots.distribution(TABLE)
    try:
        assert dict(matplotlib.rcParams) == before
        assert pyplot.fignum_exists(ax.figure.number)
    finally:
        pyplot.close(ax.figure)


def test_picture_writes_once_and_leaves_nothing_open(tmp_path):
    path = tmp_path / "new" / "picture.png"
    before = pyplot.get_fignums()
    with plots.picture(path) as ax:
        plots.distribution(TABLE, ax=ax)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert pyplot.get_fignums() == before
    with pytest.raises(OutputExistsError), plots.picture(path) as ax:
        plots.distribution(TABLE, ax=ax)
    with plots.picture(path, overwrite=True) as ax:
        plots.ranked(TABLE, ax=ax)
    with pytest.raises(DataError), plots.picture(tmp_path / "b.png") as ax:
        plots.distribution([], ax=ax)
    assert [file.name for file in tmp_path.iterdir()] == ["new"]
