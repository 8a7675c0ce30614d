from __future__ import annotations

import warnings

import matplotlib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from whence import plots
from whence.errors import ColumnError, DataError, OutputExistsError, ParameterError
from whence.plots import dark, explanation, influence, picture, words
from whence.plots.style import DASHES, INK, SERIES, STYLE
from whence.plots.words import short

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


def shares(labels, scores=None):
    """A table of shares of events."""
    scores = np.linspace(-1, 2, len(labels)) if scores is None else scores
    return pl.DataFrame({"event": range(len(labels)), "label": labels, "score": scores})


def ticks(ax):
    return [label.get_text().replace("\u2007", " ") for label in ax.get_yticklabels()]


def drawn(ax, path):
    """Draw the picture; return what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ax.figure.savefig(path)
    return [str(one.message) for one in caught]


def test_events_have_their_number_before_the_title(ax):
    explanation.bars(shares(["first", "second"]), ax=ax)
    assert ticks(ax) == ["0  first", "1  second"]
    together = shares(["3 earlier events", "last"]).with_columns(
        event=pl.Series([2, 3]), n_events=pl.Series([3, 1])
    )
    explanation.bars(together, ax=(other := Figure().subplots()))
    assert ticks(other) == ["3 earlier events", "3  last"]
    explanation.waterfall(shares(["a", "b"]), 0.0, 1.0, ax=(third := Figure().subplots()))
    assert ticks(third) == ["0  a", "1  b"]


def test_long_titles_lose_their_end_or_where_they_would_be_alike_their_middle():
    alike = [f"The same and very long beginning of a film, part {part}" for part in range(3)]
    cut = words.short([*alike, "Another title that is very long as well, and by itself", "short"])
    assert len(set(cut)) == 5
    assert all(len(text) <= 40 for text in cut)
    assert cut[2] == "The same and very long beg…a film, part 2"[:40] or cut[2].endswith("part 2")
    assert cut[3].endswith("…")
    assert cut[4] == "short"
    assert words.short([alike[0], alike[0]])[0].endswith("…")  # equal ones stay as they are


@pytest.mark.parametrize("name", ["two\nlines", "a\ttab", "a\x00b\x1b", "  x\r\n\u2028y "])
def test_titles_are_on_one_line(ax, tmp_path, name):
    explanation.bars(shares([name]), items=pl.DataFrame({"item": [1], "title": [name]}), ax=ax)
    assert "\n" not in ticks(ax)[0]
    assert drawn(ax, tmp_path / "x.png") == []


def test_dollars_are_no_formula(ax, tmp_path):
    explanation.bars(shares(["$5 and $6_", "100% $x^$"]), ax=ax)
    assert drawn(ax, tmp_path / "x.png") == []


@pytest.mark.parametrize(
    "name", ["千と千尋", "สวัสดี", "🎬🍿", "기생충", "mixed 千 é", "\U0001f1eb\ufe0f"]
)
def test_letters_that_no_font_has_are_boxes_with_one_warning(ax, tmp_path, monkeypatch, name):
    monkeypatch.setattr(words, "_FALLBACKS", ())
    table, items = shares([name] * 9), pl.DataFrame({"item": range(5), "title": [name] * 5})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        explanation.bars(table, items=items, ax=ax)
    said = [str(one.message) for one in caught]
    assert len(said) == 1
    assert "No font that is installed has" in said[0]
    assert "□" in ticks(ax)[0]
    assert drawn(ax, tmp_path / "x.png") == []


def test_a_font_that_has_the_letters_is_taken(ax, tmp_path, monkeypatch):
    monkeypatch.setattr(words, "_FALLBACKS", ("Nobody's font", "STIXGeneral"))
    letter = chr(max(words._letters(("STIXGeneral",)) - words._letters(("sans-serif",))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explanation.bars(shares([f"a {letter}"]), ax=ax)
    assert ticks(ax) == [f"0  a {letter}"]
    assert drawn(ax, tmp_path / "x.png") == []


@pytest.mark.parametrize("n", [1, 20, 200, 5000])
def test_pictures_grow_with_their_rows_up_to_what_a_file_can_hold(tmp_path, n):
    table = shares([f"title {k}" for k in range(n)])
    cells = table.select("event", pl.col("label").alias("item"), "score", feature=pl.lit("item"))
    draw = {
        "bars": lambda ax: explanation.bars(table, ax=ax),
        "maskings": lambda ax: explanation.maskings({"a": table, "b": table}, ax=ax),
        "waterfall": lambda ax: explanation.waterfall(table, 0.0, 1.0, ax=ax, n=10_000),
        "heatmap": lambda ax: explanation.heatmap(cells, ax=ax),
    }
    for name, one in draw.items():
        one(ax := Figure(layout="constrained").subplots())
        height, rows = ax.figure.get_size_inches()[1], len(ax.get_yticks())
        assert rows <= 252
        assert height >= 0.2 * rows
        assert height * STYLE["savefig.dpi"] < 2**16  # of what can be saved
        if n <= 20:
            ax.figure.savefig(tmp_path / f"{name}.png")


@pytest.mark.parametrize("draw", ["bars", "waterfall", "heatmap", "maskings", "recency"])
def test_a_model_that_is_constant_gets_a_sentence(ax, draw):
    table = shares(["a", "b"], [0.0, 0.0])
    if draw == "waterfall":
        explanation.waterfall(table, 0.5, 0.5, ax=ax)
    elif draw == "heatmap":
        explanation.heatmap(table.with_columns(item=pl.lit("a"), feature=pl.lit("f")), ax=ax)
    elif draw == "maskings":
        explanation.maskings({"remove": table}, ax=ax)
    elif draw == "recency":
        explanation.recency(pl.DataFrame({"recency": [0, 1], "mean_abs": [0.0, 0.0]}), ax=ax)
    else:
        explanation.bars(table, ax=ax)
    assert any(text.get_text().startswith("Every share is 0") for text in ax.texts)


@pytest.mark.parametrize("draw", [plots.distribution, plots.ranked])
def test_values_that_are_all_0_or_no_numbers(ax, draw):
    draw(np.zeros(4), ax=ax, noun="sessions")
    assert any("all 4 sessions is 0" in text.get_text() for text in ax.texts)
    with pytest.raises(DataError, match="1 of 2 values are not finite"):
        draw([np.nan, 1.0], ax=ax)


def test_pictures_on_dark_paper(tmp_path):
    table = pl.DataFrame({"label": ["a", "b"], "score": [1.0, -2.0], "std_error": [0.1, 0.2]})
    figure = Figure()
    ax = explanation.bars(table, ax=figure.subplots())
    blue, orange = (to_hex(bar.get_facecolor()) for bar in ax.patches[:2])
    assert dark(figure) is figure
    assert to_hex(figure.get_facecolor()) == to_hex(ax.get_facecolor()) == "#16191d"
    assert to_hex(ax.title.get_color()) != to_hex(INK)
    assert all(to_hex(tick.get_color()) == "#e8eaed" for tick in ax.get_yticklabels())
    changed = [to_hex(bar.get_facecolor()) for bar in ax.patches[:2]]
    assert len({blue, orange, *changed}) == 4
    path = tmp_path / "dark.svg"
    with picture(path, on_dark=True) as axes:
        explanation.bars(table, ax=axes)
    assert "#16191d" in path.read_text()


def test_cells_with_what_is_left_of_them(tmp_path):
    table = pl.DataFrame(
        {
            "event": [0, 0, 3, 3, 0, None, None, None],
            "item": ["x", "x", "y", "y", "x", None, None, None],
            "feature": ["hour", "a long name of a feature", "hour", "a long name of a feature",
                        None, "hour", None, None],
            "label": ["", "", "", "", "", "", "other events · other features", "earlier events"],
            "score": [1.0, -1.0, 0.5, 0.2, 0.1, 0.3, -0.4, 0.05],
        }
    )  # fmt: skip
    ax = explanation.heatmap(table, ax=Figure().subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0  x", "3  y", "other events"]
    columns = [label.get_text() for label in ax.get_xticklabels()]
    assert columns == ["hour", "a long name of a feature", "other features"]
    assert ax.get_xlabel() == "other events · other features: -0.4; earlier events: +0.05"
    drawn = {(text.get_position(), text.get_text()) for text in ax.texts}
    assert {((0, 0), "+1"), ((2, 0), "+0.1"), ((0, 2), "+0.3")} <= drawn


def test_numbers_stay_before_titles_that_go_to_the_left():
    assert short(["abc", "שלום"], [1, 2]) == ["1  abc", "\u200e2  שלום"]


@pytest.mark.parametrize("n", [1, 2, 50, 200])
def test_examples_that_taught_with_any_titles(n):
    titles = [
        "A title that goes on and on, far longer than a tick, part 1",
        "שלום",
        "two\nlines",
        "$x$",
    ]
    table = pl.DataFrame(
        {
            "score": np.linspace(1.0, -1.0, n),
            "user_id": range(n),
            "target": [titles[i % 4] for i in range(n)],
        }
    )
    ax = influence.examples(table, asked="a film", ax=Figure(layout="constrained").subplots())
    ticks = [tick.get_text() for tick in ax.get_yticklabels()]
    assert len(ticks) == n == len(set(ticks))
    assert not any("\n" in tick for tick in ticks)
    colours = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert (colours[0], colours[-1]) == ("#0072b2", "#0072b2" if n == 1 else "#d55e00")
    dark(ax.figure).canvas.draw()
    plain = influence.examples(pl.DataFrame({"score": [0.0], "example": [3]}), ax=ax)
    assert [tick.get_text() for tick in plain.get_yticklabels()] == ["example 3"]
    with pytest.raises(ColumnError, match="example"):
        influence.examples(pl.DataFrame({"score": [0.0]}), ax=ax)
