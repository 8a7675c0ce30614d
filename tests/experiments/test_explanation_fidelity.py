"""The fidelity experiment: rows, paired intervals, resumption, bad input."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from killing import kill_after
from sklearn.base import clone

pytest.importorskip("torch")

import whence
from whence.errors import DataError, ParameterError, UnsupportedError
from whence.experiments import ExplanationFidelityExperiment, explanation_fidelity
from whence.explanation import fidelity

N_EVENTS, N_USERS = 6, 12


def make(seed):
    return whence.GRU4Rec(
        embedding_dim=8,
        hidden_dim=8,
        max_length=10,
        dropout=0.0,
        epochs=6,
        batch_size=16,
        learning_rate=0.02,
        seed=seed,
    )


@pytest.fixture(scope="module")
def data():
    return ring()


def ring():
    """Users who walk along a ring of items, one step at a time."""
    rng = np.random.default_rng(0)
    steps = np.arange(12)
    items = (rng.integers(0, 20, 40)[:, None] + steps + (rng.random((40, 12)) < 0.2)) % 20
    return whence.Interactions.from_frame(
        pl.DataFrame(
            {
                "user_id": np.repeat(np.arange(40), 12),
                "item_id": items.ravel(),
                "timestamp": np.tile(steps, 40),
            }
        )
    )


@pytest.fixture(scope="module", autouse=True)
def _in_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explanation_fidelity, "_AT_ONCE", 8)
        yield


@pytest.fixture(scope="module")
def small():
    return {"model": make, "n_users": N_USERS, "n_events": N_EVENTS, "k": 3, "n": 2, "budget": 60}


@pytest.fixture(scope="module")
def result(data, small):
    return ExplanationFidelityExperiment(**small).run(data)


def test_every_method_beside_every_control(result):
    assert result.maskings == ["remove", "pad"]
    controls = ["random", "recency", "popularity"]
    shapley = ["exact", "permutation", "kernel", "occlusion"]
    assert result.orders("remove") == [*shapley, *controls]
    assert result.orders("pad") == [*shapley, "integrated_gradients", *controls]
    assert result.rows.height == N_USERS * (7 + 8)
    assert list(result.settings["left_out"]) == ["remove, integrated_gradients"]
    assert 0.0 < result.settings["accuracy"] <= 1.0


def test_rows_are_those_of_the_measures(data, small, result):
    """One history by hand: same items, same orders, same numbers."""
    train = whence.split_last(data, 1)[0]
    model = make(42).fit(train)
    user = int(result.rows["history"][0])
    own = train.frame.filter(pl.col("user_id") == user).sort("timestamp")["item_id"].to_list()
    one = whence.explain(model, own[-N_EVENTS:], k=3, masking="pad", method="exact")
    rows = result.rows.filter(pl.col("masking") == "pad", pl.col("history") == str(user))
    table = {row["order"]: row for row in rows.iter_rows(named=True)}
    recency = np.arange(N_EVENTS)[::-1]
    for name, order in (("exact", fidelity.order_of(one)), ("recency", recency)):
        row = table[name]
        assert row["deletion_auc"] == pytest.approx(fidelity.deletion_curve(one, order).auc)
        assert row["sufficiency"] == pytest.approx(fidelity.sufficiency(one, 2, order))
        assert row["still_recommended"] == fidelity.still_recommended(one, 2, order)
    assert table["exact"]["relative_l2"] == 0.0
    assert table["occlusion"]["relative_l2"] > 0.0
    assert table["recency"]["relative_l2"] is None
    assert table["exact"]["n_values"] >= 2**N_EVENTS


def test_intervals_are_of_paired_differences(result):
    from scipy import stats

    frame = result.to_frame()
    row = frame.row(
        by_predicate=(pl.col("masking") == "pad")
        & (pl.col("measure") == "deletion_auc")
        & (pl.col("order") == "exact"),
        named=True,
    )
    here = result.rows.filter(pl.col("masking") == "pad")
    values = {
        order: here.filter(pl.col("order") == order)["deletion_auc"].to_numpy()
        for order in ("exact", "random")
    }
    difference = values["exact"] - values["random"]
    expected = stats.ttest_1samp(difference, 0.0).confidence_interval(0.95)
    assert row["mean"] == pytest.approx(values["exact"].mean())
    assert row["vs_random"] == pytest.approx(difference.mean())
    assert row["vs_random_low"] == pytest.approx(expected.low)
    assert row["vs_random_high"] == pytest.approx(expected.high)
    random = frame.filter(pl.col("order") == "random")
    assert random["vs_random"].null_count() == random.height
    assert set(random["measure"]) == set(fidelity.MEASURES)


def test_explanations_are_truer_than_random_orders(result):
    frame = result.to_frame().filter(pl.col("order") == "exact")
    by_measure = {(row["masking"], row["measure"]): row for row in frame.iter_rows(named=True)}
    for masking in result.maskings:
        assert by_measure[masking, "deletion_auc"]["vs_random_high"] < 0
        assert by_measure[masking, "insertion_auc"]["vs_random_low"] > 0


def test_it_goes_on_where_it_stopped(data, small, result, tmp_path):
    def stop(done, total, message):
        assert total == 2 * 2  # maskings, parts of 8 histories
        if done == 3:
            raise KeyboardInterrupt

    experiment = ExplanationFidelityExperiment(**small)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(data, run=whence.Run(folder=tmp_path, progress=stop))
    model = next(tmp_path.rglob("model.whence"))
    written = model.stat().st_mtime_ns
    told = []

    def tell(done, total, message):
        told.append(done)
        assert model.stat().st_mtime_ns == written  # it is not fitted again

    run = whence.Run(folder=tmp_path, resume=True, progress=tell)
    with pytest.raises(ParameterError, match="is of other k; ask the same again"):
        clone(experiment).set_params(k=2).run(data, run=run)
    same(experiment.run(data, run=run), result)
    assert told == [3, 4]
    assert not model.exists()


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(data, small, result, tmp_path):
    script = """
import whence
from test_explanation_fidelity import make, ring
from whence.experiments import ExplanationFidelityExperiment, explanation_fidelity

explanation_fidelity._AT_ONCE = 8
experiment = ExplanationFidelityExperiment(model=make, **{small})
experiment.run(ring(), run=whence.Run(folder=folder))
""".replace("{small}", repr({k: v for k, v in small.items() if k != "model"}))
    kill_after(2, script, tmp_path)
    run = whence.Run(folder=tmp_path, resume=True)
    same(ExplanationFidelityExperiment(**small).run(data, run=run), result)


def same(found, expected):
    """Everything but the seconds."""
    assert found.rows.drop("seconds").equals(expected.rows.drop("seconds"))
    assert found.settings == expected.settings


def test_a_fitted_model_of_neighbours_and_a_masking_of_its_own(data):
    model = whence.ItemKNN(k=10).fit(data)
    found = ExplanationFidelityExperiment(
        model=model,
        methods=("exact", "occlusion", "integrated_gradients"),
        maskings=("remove", ("item", 3)),
        n_users=5,
        n_events=4,
        k=2,
    ).run(data)
    assert found.maskings == ["remove", "item=3"]
    assert found.orders("item=3") == ["exact", "occlusion", "random", "recency", "popularity"]
    assert found.settings["accuracy"] is None
    assert len(found.settings["left_out"]) == 2


def test_tables_and_pictures(result):
    text = result.to_markdown(against=["recency"])
    assert f"Masking remove, {N_USERS} histories: means" in text
    assert "differences from recency (95%)" in text
    assert "differences from random" not in text
    assert "Left out (remove, integrated_gradients): Integrated gradients need" in text
    with mpl.rc_context({"backend": "Agg"}):
        axes = result.plot("insertion_auc")
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "exact"
    assert names[-1] == "popularity"
    assert "integrated gradients" in names
    with pytest.raises(ParameterError, match="deletion_auc"):
        result.plot("auc")
    with pytest.raises(ParameterError, match="recency"):
        result.to_markdown(against=["recent"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_users": 1}, "n_users"),
        ({"methods": ("shap",)}, "methods"),
        ({"methods": "exact"}, "methods must be a list"),
        ({"maskings": ()}, "maskings is a list"),
        ({"maskings": ("padding",)}, "masking"),
        ({"n": 7}, "7, but the histories have 6"),
        ({"model": 3}, "not int"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_bad_settings(data, small, changes, words):
    with pytest.raises(ParameterError, match=words):
        ExplanationFidelityExperiment(**{**small, **changes}).run(data)


def test_bad_data_and_models(data, small):
    with pytest.raises(DataError, match="Only 0 of the 40 users have 30 items"):
        ExplanationFidelityExperiment(**{**small, "n_events": 30}).run(data)
    with pytest.raises(ParameterError, match="fitted; leave it out"):
        ExplanationFidelityExperiment(model=whence.ItemKNN().fit(data), epochs=2).run(data)
    users_only = whence.BPRMF(epochs=1).fit(data)
    with pytest.raises(UnsupportedError, match="takes no history"):
        ExplanationFidelityExperiment(model=users_only, n_users=3, n_events=4, k=2).run(data)
    neighbours = whence.ItemKNN(k=10).fit(data)
    with pytest.raises(UnsupportedError, match="it has no padding"):
        ExplanationFidelityExperiment(model=neighbours, n_users=3, n_events=4, k=2).run(data)
    baskets = whence.make_baskets(n_users=10, seed=1).train
    with pytest.raises(DataError, match="without baskets"):
        ExplanationFidelityExperiment(**small).run(baskets)
