"""What an explanation can do, and what many say together."""

from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pytest
from explanation_oracles import knn, neural
from matplotlib import pyplot
from matplotlib.figure import Figure

torch = pytest.importorskip("torch")

from whence import Attribution, Run  # noqa: E402
from whence.errors import (  # noqa: E402
    ColumnError,
    DataError,
    FileFormatError,
    OutputExistsError,
    ParameterError,
    UnsupportedError,
)
from whence.explanation import Explanation, explain, explain_many, fidelity  # noqa: E402
from whence.plots import explanation as plots  # noqa: E402

CODES = [4, 1, 8, 1, 2, 0]


@pytest.fixture(scope="module")
def model():
    return neural("GRU4Rec", learning_rate=0.1)


@pytest.fixture(scope="module")
def history(model):
    ids = model.vocabulary.items.to_list()
    return [ids[code] for code in CODES]


@pytest.fixture(scope="module")
def found(model, history):
    titles = {item: f"Item number {item}" for item in model.vocabulary.items.to_list()}
    return explain(model, history, k=4, masking="pad", titles=titles)


def test_the_table_and_the_verbs(found, history):
    frame = found.to_frame()
    assert frame.columns == ["event", "item", "title", "n_events", "label", "score"]
    assert frame["item"].to_list() == history
    assert frame["event"].to_list() == list(range(6))
    assert frame["label"].to_list() == [f"Item number {item}" for item in history]
    best = found.top(2)
    assert best["score"].to_list() == sorted(found.scores, reverse=True)[:2]
    assert found.bottom(1)["score"][0] == found.scores.min()
    assert isinstance(found, Attribution)
    assert found.items.columns == ["item", "title", "score"]
    assert found.items.height == 4
    assert "6 events" in repr(found)
    assert "masking pad" in found.summary()
    assert "Item number" in found.summary()
    with pytest.raises(UnsupportedError, match="not training data"):
        found.prune(pl.DataFrame({"a": [1]}), n=1)


def test_everything_that_was_decided_is_recorded(model, history):
    drawn = explain(
        model, history, k=4, masking=("item", history[0]), method="permutation", budget=4000,
        tolerance=0.1, seed=3, target=("log_probability", history[1]),
    )  # fmt: skip
    about = drawn.metadata
    assert about["method"] == "permutation"
    assert about["metric"] == f"log-probability of item {history[1]!r}"
    assert about["masking"] == f"item={history[0]!r}"
    assert about["seed"] == 3
    assert about["model"] == "GRU4Rec"
    assert about["model_params"]["hidden_dim"] == 5
    assert about["params"]["tolerance"] == 0.1
    assert about["params"]["budget"] == 4000
    assert about["params"]["k"] == 4
    assert about["stopped"] == "exact"  # six events have few orders
    assert about["level"] == "event"
    assert about["n_given"] == 6
    assert len(about["items"]) == 4
    assert about["fingerprint"]["train"] == model.train_.fingerprint
    assert about["n_values"] > 0
    assert about["value_all"] - about["value_nothing"] == pytest.approx(drawn.scores.sum())
    assert set(drawn.to_frame().columns) >= {"score", "std_error"}


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_saving(found, tmp_path, ending):
    path = found.save(tmp_path / f"values{ending}")
    again = Explanation.load(path)
    assert again.to_frame().equals(found.to_frame())
    assert again.metadata == found.metadata
    assert again.items.equals(found.items)
    assert again.value_all == found.value_all
    assert again.plot(ax=Figure().subplots()).get_title(loc="left") == found.title
    for ask in (lambda: again.value(np.ones((1, 6))), again.counterfactual):
        with pytest.raises(UnsupportedError, match="loaded from a file"):
            ask()
    with pytest.raises(OutputExistsError):
        found.save(path)


def test_interactions_are_saved_and_other_values_are_refused(model, history, tmp_path):
    pairs = explain(model, history, k=4, masking="pad", method="kernel", order=2)
    again = Explanation.load(pairs.save(tmp_path / "pairs.parquet"))
    np.testing.assert_array_equal(again.interactions, pairs.interactions)
    assert pairs.interactions.shape == (6, 6)
    table = pl.DataFrame({"session_id": [1], "score": [0.5]})
    path = Attribution(table, source="session_id", metadata={}).save(tmp_path / "other.parquet")
    with pytest.raises(FileFormatError, match=r"Attribution\.load"):
        Explanation.load(path)


def test_values_of_subsets(found):
    kept = np.array([[True] * 6, [False] * 6])
    # The model computes in float32, and rounds differently in batches of another size.
    wanted = [found.value_all, found.value_nothing]
    np.testing.assert_allclose(found.value(kept), wanted, rtol=1e-6)
    with pytest.raises(ParameterError, match="6 truth values"):
        found.value([[True]])


def test_for_shap(found, model, history):
    shap = pytest.importorskip("shap")
    given = found.to_shap()
    assert isinstance(given, shap.Explanation)
    np.testing.assert_array_equal(given.values, found.scores)
    assert given.base_values == found.value_nothing
    assert given.feature_names == found.labels
    shap.plots.waterfall(given, show=False)
    pyplot.close("all")


def test_without_shap(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'whence\[shap\]'"):
        found.to_shap()


# Counterfactuals


@pytest.mark.parametrize("name", ["GRU4Rec", "SASRec", "VMISKNN"])
def test_the_smallest_set_that_drops_an_item(name):
    import itertools

    model = neural(name, learning_rate=0.1) if name != "VMISKNN" else knn(name)
    ids = model.vocabulary.items.to_list()
    history = [ids[code] for code in CODES]
    explanation = explain(model, history, k=3)
    seen = set(history)
    some = 0
    for item in explanation.items["item"].to_list():
        counterfactual = explanation.counterfactual(item, max_size=6)

        def in_top(kept, item=item):
            problem = explanation.problem
            left = [event for event, there in zip(history, kept) if there]
            tokens = np.array([[ids.index(e) for e in left] or [-1]])
            scores = problem.asker.scores(tokens, problem.history, None)[0]
            own = scores[ids.index(item)]
            ahead = sum(
                scores[i] >= own for i in range(len(ids)) if ids[i] not in seen and ids[i] != item
            )
            return ahead < 3

        sizes = [
            size
            for size in range(1, 7)
            for gone in itertools.combinations(range(6), size)
            if not in_top([row not in gone for row in range(6)])
        ]
        assert counterfactual.found == bool(sizes)
        if sizes:
            some += 1
            assert counterfactual.smallest
            assert len(counterfactual.players) == min(sizes)
            assert not in_top([row not in counterfactual.players for row in range(6)])
            assert "Without" in str(counterfactual)
            assert "fewest" in str(counterfactual)
        else:
            assert "stays in the top 3" in str(counterfactual)
    assert some or name != "VMISKNN"  # lists of networks hardly move


def test_a_counterfactual_speaks_of_titles(found, history):
    item = found.items["item"][0]
    assert f"Item number {item} " in str(found.counterfactual(item))
    untitled = explain(found.problem.asker.model, history, k=4).counterfactual()
    assert f"item {untitled.item!r} " in str(untitled)


def test_counterfactual_of_an_item_that_is_not_there(found, history):
    with pytest.raises(DataError, match="not recommended"):
        found.counterfactual(history[0])


# Fidelity


def test_curves_have_the_right_ends_and_areas(found):
    deletion, insertion = fidelity.deletion_curve(found), fidelity.insertion_curve(found)
    assert deletion.values[[0, -1]] == pytest.approx([1.0, 0.0], abs=1e-6)
    assert insertion.values[[0, -1]] == pytest.approx([0.0, 1.0], abs=1e-6)
    order = fidelity.order_of(found)
    kept = np.ones((1, 6), dtype=bool)
    kept[0, order[0]] = False
    gap = found.value_all - found.value_nothing
    want = (found.value(kept)[0] - found.value_nothing) / gap
    assert deletion.values[1] == pytest.approx(want, rel=1e-5)
    assert deletion.auc == pytest.approx(np.trapezoid(deletion.values) / 6)
    assert fidelity.comprehensiveness(found, 1) == pytest.approx(1 - deletion.values[1], abs=1e-5)
    assert fidelity.sufficiency(found, 2) == pytest.approx(1 - insertion.values[2], abs=1e-5)
    back = fidelity.deletion_curve(found, order[::-1])
    assert back.values[-2] == pytest.approx(fidelity.insertion_curve(found).values[1])
    assert 0.0 <= fidelity.still_recommended(found, 3) <= 1.0
    for bad in ([0, 1], [0, 0, 1, 2, 3, 4]):
        with pytest.raises(ParameterError, match="permutation"):
            fidelity.deletion_curve(found, bad)


def test_still_recommended_counts_the_frozen_items(model, history):
    found = explain(model, history, k=4)
    order = fidelity.order_of(found)
    kept = [event for row, event in enumerate(history) if row not in set(order[:2].tolist())]
    ids = model.vocabulary.items.to_list()
    scores = found.problem.asker.scores(
        np.array([[ids.index(event) for event in kept]]), found.problem.history, None
    )[0]
    scores[[ids.index(event) for event in history]] = -np.inf
    now = {ids[i] for i in np.argsort(-scores, kind="stable")[:4]}
    frozen = found.items["item"].to_list()
    assert fidelity.still_recommended(found, 2) == pytest.approx(
        np.mean([item in now for item in frozen])
    )


def test_explanations_beat_their_controls(model):
    ids = model.vocabulary.items.to_list()
    rng = np.random.default_rng(5)
    histories = [[ids[c] for c in rng.integers(0, 12, 7)] for _ in range(12)]
    many = explain_many(model, histories, k=3, masking="pad")
    table = fidelity.measure(
        many, n=2, orders={"reverse": [fidelity.order_of(e)[::-1] for e in many]}
    )
    assert table["order"].to_list() == ["explanation", "random", "recency", "popularity", "reverse"]
    assert set(table["masking"]) == {"pad"}
    row = {r["order"]: r for r in table.iter_rows(named=True)}
    for control in ("random", "popularity", "reverse"):
        assert row["explanation"]["deletion_auc"] < row[control]["deletion_auc"]
        assert row["explanation"]["insertion_auc"] > row[control]["insertion_auc"]
        assert row["explanation"]["comprehensiveness"] > row[control]["comprehensiveness"]
        assert row["explanation"]["sufficiency"] < row[control]["sufficiency"]
    again = fidelity.measure(many, n=2)
    assert again.equals(table.head(4))
    each = fidelity.measure_each(many, n=2)
    assert each["history"].to_list() == np.repeat(np.arange(12), 4).tolist()
    for order, mean in again.select("order", "sufficiency").iter_rows():
        own = each.filter(pl.col("order") == order)["sufficiency"]
        assert own.mean() == pytest.approx(mean)
    with pytest.raises(UnsupportedError, match="anything to explain"):
        fidelity.measure(explain(knn("Popularity"), histories[0], k=2))


# Many


def test_many_are_as_one_each_whatever_the_threads(model):
    ids = model.vocabulary.items.to_list()
    rng = np.random.default_rng(7)
    histories = {f"u{n}": [ids[c] for c in rng.integers(0, 12, n % 5 + 5)] for n in range(9)}
    options = {"k": 3, "method": "permutation", "budget": 600, "tolerance": 0}
    one = explain_many(model, histories, threads=1, **options)
    two = explain_many(model, histories, threads=2, run=Run(progress=True), **options)
    assert one.ids == list(histories)
    for a, b in zip(one, two):
        np.testing.assert_array_equal(a.scores, b.scores)
    exact = explain_many(model, histories, k=3)
    for name, explanation in zip(exact.ids, exact):
        single = explain(model, histories[name], k=3)
        assert explanation.metadata["method"] == "exact"
        np.testing.assert_allclose(explanation.scores, single.scores, atol=1e-5)
        assert explanation.items["item"].to_list() == single.items["item"].to_list()
    assert len(exact[2:4]) == 2
    assert exact[2:4].ids == ["u2", "u3"]


def test_the_global_report(model, tmp_path):
    ids = model.vocabulary.items.to_list()
    histories = [[ids[4], ids[1]], [ids[8], ids[1], ids[4]], [ids[2]]]
    many = explain_many(model, histories, k=3)
    frame = many.to_frame()
    assert frame["recency"].to_list() == [1, 0, 2, 1, 0, 0]
    assert frame["history"].to_list() == [0, 0, 1, 1, 1, 2]
    report = many.report()
    last = np.abs([many[0].scores[1], many[1].scores[2], many[2].scores[0]])
    assert report["recency"].to_list() == [0, 1, 2]
    assert report["n"].to_list() == [3, 2, 1]
    assert report["mean_abs"][0] == pytest.approx(last.mean())
    assert report["std_error"][0] == pytest.approx(last.std(ddof=1) / np.sqrt(3))
    items = many.report("item")
    shares = many.to_frame().with_columns(pl.col("score").abs())
    for item, error in items.select("item", "std_error").iter_rows():
        part = shares.filter(pl.col("item") == item)
        sums = (
            part.with_columns(rest=pl.col("score") - pl.col("score").mean())
            .group_by("history")
            .agg(pl.col("rest").sum())["rest"]
            .to_numpy()
        )
        if len(sums) < 2:
            assert error is None
        else:  # histories are independent of each other, their events are not
            expected = np.sqrt(len(sums) / (len(sums) - 1) * (sums @ sums)) / len(part)
            assert error == pytest.approx(expected, abs=1e-9)
    assert items["mean_abs"].to_list() == sorted(items["mean_abs"], reverse=True)
    assert dict(items.select("item", "n").iter_rows())[ids[4]] == 2
    with pytest.raises(ParameterError, match="no feature"):
        many.report("feature")
    assert pl.read_parquet(many.save(tmp_path / "many.parquet")).equals(frame)
    assert pl.read_csv(many.save(tmp_path / "many.csv")).height == 6
    with pytest.raises(ParameterError, match="ending"):
        many.save(tmp_path / "many.json")
    assert "3 histories" in repr(many)


def test_no_history_and_a_bad_one(model):
    with pytest.raises(DataError, match="no history"):
        explain_many(model, [])
    with pytest.raises(DataError, match="History 'b': The history is empty"):
        explain_many(model, {"a": [model.vocabulary.items[0]], "b": []}, k=2)


# Pictures


@pytest.fixture
def ax():
    return Figure().subplots()


def test_bars_show_order_sign_errors_and_items(found, model, history, ax):
    found.plot(ax=ax)
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, found.scores)
    assert ax.yaxis_inverted()
    titles = [f"{number}  {label}" for number, label in enumerate(found.labels)]
    assert [text.get_text() for text in ax.get_yticklabels()] == titles
    colours = {bar.get_width() < 0: bar.get_facecolor() for bar in ax.patches}
    assert len(set(colours.values())) == len(colours)
    shown = "\n".join(text.get_text() for text in ax.texts)
    assert all(title in shown for title in found.items["title"])
    fewer = plots.bars(found.to_frame(), ax=Figure().subplots(), n=2)
    assert len(fewer.patches) == 2
    assert "4 smaller" in fewer.get_ylabel()
    drawn = explain(model, history, k=4, method="permutation", tolerance=0.1)
    assert len(drawn.plot(ax=Figure().subplots()).containers) == 2


def test_waterfall_goes_from_nothing_to_everything(found, ax):
    found.plot(ax=ax, kind="waterfall")
    bars = ax.patches
    assert bars[0].get_x() == pytest.approx(found.value_nothing)
    assert bars[-1].get_x() + bars[-1].get_width() == pytest.approx(found.value_all)
    few = plots.waterfall(
        found.to_frame(), found.value_nothing, found.value_all, ax=Figure().subplots(), n=3
    )
    assert len(few.patches) == 3
    assert few.get_yticklabels()[0].get_text() == "4 others"
    gap = plots.waterfall(found.to_frame(), 0.0, 100.0, ax=Figure().subplots())
    assert gap.get_yticklabels()[-1].get_text() == "not divided"


def test_heatmap_of_cells(found):
    def scores(histories):
        return np.array([[sum(e["a"] * e["item"] for e in h), 1.0, 0.0] for h in histories])

    events = [{"item": 5, "a": 1.0}, {"item": 7, "a": 2.0}]
    base = {"item": 4, "a": 0.0}
    cells = explain(scores, events, k=1, level="cell", masking=("item", base))
    ax = cells.plot(ax=Figure().subplots())
    grid = ax.images[0].get_array()
    np.testing.assert_allclose(grid, cells.scores.reshape(2, 2))
    some = explain(scores, events, k=1, level="cell", masking=("item", base), cells=([0], ["a"]))
    assert "other cells" in some.plot(ax=Figure().subplots()).get_xlabel()
    with pytest.raises(UnsupportedError, match="level='cell'"):
        found.plot(kind="heatmap")


def test_pictures_of_many(model, tmp_path):
    ids = model.vocabulary.items.to_list()
    many = explain_many(model, [[ids[4], ids[1]], [ids[8], ids[1], ids[4]], [ids[2]]], k=3)
    ax = many.plot(ax=Figure().subplots())
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], many.report()["mean_abs"])
    ax = many.plot(ax=Figure().subplots(), kind="beeswarm")
    assert sum(len(points.get_offsets()) for points in ax.collections) == 6
    ax = plots.beeswarm(many.to_frame(), ax=Figure().subplots(), by="item", n=2)
    assert len(ax.get_yticks()) == 2
    ax.figure.savefig(tmp_path / "picture.png")


def test_maskings_side_by_side(model, history):
    """One bar per event and masking, below each other, in a colour for each masking."""
    tables = {name: explain(model, history, k=3, masking=name).frame for name in ("remove", "pad")}
    ax = plots.maskings(tables, ax=Figure().subplots())
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, [*tables["remove"]["score"], *tables["pad"]["score"]])
    first, second = ax.patches[0], ax.patches[len(history)]
    assert first.get_y() + first.get_height() <= second.get_y() + 1e-9
    assert first.get_facecolor() != second.get_facecolor()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "masking remove",
        "masking pad",
    ]
    with pytest.raises(DataError, match="explain the same history"):
        plots.maskings({"remove": tables["remove"], "pad": tables["pad"].head(2)})
    with pytest.raises(DataError, match="at least one masking"):
        plots.maskings({})


def test_pictures_say_what_they_lack():
    with pytest.raises(ColumnError, match="'label'"):
        plots.bars(pl.DataFrame({"score": [1.0]}))
    with pytest.raises(DataError, match="nothing to draw"):
        plots.bars(pl.DataFrame({"score": [], "label": []}))
    with pytest.raises(DataError, match="no cells"):
        plots.heatmap(
            pl.DataFrame({"event": [None], "item": [None], "feature": [None], "score": [1.0]})
        )


def _count(histories):
    """Scores of three items: how many events there are, and what their hours sum up to."""
    hours = [sum(event.get("hour", 0) for event in history) for history in histories]
    return np.array([[hour, len(h), 0.5] for hour, h in zip(hours, histories)], dtype=float)


def test_events_without_an_item_are_named_by_their_features():
    events = [{"hour": 3, "genre": "Comedy"}, {"hour": 1, "genre": "Drama"}]
    found = explain(_count, events, k=2, items=["a", "b", "c"])
    assert found.labels == ["hour=3, genre=Comedy", "hour=1, genre=Drama"]
    assert found.frame["item"].to_list() == found.labels


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (lambda h: [[0.5, 0.4]] * len(h), "Nothing of the history changes the mean score"),
        (lambda h: [[-len(x), -9.0] for x in h], "is as good as the history, so that shares only"),
        (
            lambda h: [[float("a" in x) - 0.5, -9.0] for x in h],
            "1 event has a share of 0: what stands in for it is as good.",
        ),
    ],
)
def test_what_stands_in_for_events_and_is_as_good_is_said(scores, said):
    found = explain(lambda h: np.array(scores(h), dtype=float), ["a", "b"], k=1, items=["x", "y"])
    assert said in found.summary()
