"""`Explainer`: its parameters, one history or many, and work that is broken off."""

from __future__ import annotations

import numpy as np
import pytest
from explanation_oracles import knn
from killing import kill_after
from sklearn.base import clone

from whence import Explainer, Explanation, Run
from whence.attribution import METHODS
from whence.errors import ArgumentError, DataError, OutputExistsError, ParameterError
from whence.evaluation import make_queries
from whence.explanation import Explanations, explain, explain_many
from whence.explanation._estimates import Estimate
from whence.explanation._players import Players
from whence.explanation._solving import Solved, Solving

SCRIPT = """
import numpy as np
from explanation_oracles import knn
from whence import Explainer, Run

model = knn("EASE")
ids = model.vocabulary.items.to_list()
rng = np.random.default_rng(7)
histories = {f"u{n}": [ids[c] for c in rng.integers(0, 12, n % 5 + 6)] for n in range(30)}
explainer = Explainer(k=3, method="kernel", order=2, budget=120, tolerance=0.0, prune=0.05)
"""


def made():
    names: dict = {}
    exec(SCRIPT, names)
    return names["model"], names["histories"], names["explainer"]


def same(found, expected):
    assert found.ids == expected.ids
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.std_errors, other.std_errors)
        np.testing.assert_array_equal(one.interactions, other.interactions)
        frames = one.frame, other.frame
        assert frames[0].equals(frames[1])
        left_out = {"elapsed_seconds"}
        assert {k: v for k, v in one.metadata.items() if k not in left_out} == {
            k: v for k, v in other.metadata.items() if k not in left_out
        }


@pytest.mark.parametrize("saves", [1, 17])
def test_killed_and_resumed_it_ends_with_the_same_bits(tmp_path, saves):
    model, histories, explainer = made()
    kill_after(saves, SCRIPT + "explainer.attribute(model, histories, run=Run(folder=folder))",
               tmp_path)  # fmt: skip
    seen = []
    run = Run(folder=tmp_path, resume=True, threads=2, progress=lambda *told: seen.append(told))
    found = explainer.attribute(model, histories, run=run)
    assert seen[0][0] > 0  # not from the beginning
    assert seen[-1][0] == seen[-1][1]
    same(found, explainer.attribute(model, histories))
    assert not list(tmp_path.rglob("*.npz"))
    # What was taken up has its model: it can be asked further.
    value = found[0].value(np.ones((1, len(found[0])), dtype=bool))
    assert value[0] == pytest.approx(found[0].value_all)
    assert {one.metadata["n_pruned"] > 0 for one in found} == {True, False}


def test_ctrl_c_keeps_what_is_done_and_other_work_is_refused(tmp_path):
    model, histories, explainer = made()

    def stop(done, total, message):
        if done > total / 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explainer.attribute(model, histories, run=Run(folder=tmp_path, progress=stop))
    assert list(tmp_path.rglob("*.npz"))
    with pytest.raises(OutputExistsError, match="resume=True"):
        explainer.attribute(model, histories, run=Run(folder=tmp_path))
    again = Run(folder=tmp_path, resume=True)
    with pytest.raises(ParameterError, match="is of other tolerance"):
        clone(explainer).set_params(tolerance=0.5).attribute(model, histories, run=again)
    with pytest.raises(ParameterError, match="is of other histories"):
        explainer.attribute(model, dict(list(histories.items())[1:]), run=again)
    with pytest.raises(ParameterError, match="and model"):
        explainer.attribute(knn("ItemKNN"), histories, run=again)
    same(explainer.attribute(model, histories, run=again), explainer.attribute(model, histories))


def test_the_state_of_solved_games_is_complete():
    phi, errors = np.array([0.1, 0.2]), np.array([0.01, 0.02])
    some = [
        Solved("exact", Estimate(phi), 1.0, 0.1, 4, 0.5),
        Solved(
            "kernel",
            Estimate(phi, errors, "budget", {"order": 2}, np.eye(2)),
            0.3, -0.0, 9, 0.25,
            Players(np.array([0, 0, 1]), ["2 earlier events", "b"], "event", True),
        ),
    ]  # fmt: skip
    job = Solving([], {})
    for given in (some, some[:1], []):
        found = job.unpack(job.pack(given))
        assert len(found) == len(given)
        for one, other in zip(found, given):
            assert repr(one) == repr(other)


def test_parameters():
    explainer = Explainer(k=3, masking=("item", 4))
    assert repr(explainer) == "Explainer(k=3, masking=('item', 4))"
    assert clone(explainer).get_params() == explainer.get_params()
    assert explainer.set_params(method="kernel").method == "kernel"
    assert METHODS["explainer"] is Explainer
    with pytest.raises(ArgumentError, match=r"Explainer has no parameter .budgte.\. Did you mean"):
        Explainer(budgte=3)
    model, histories, _ = made()
    for wrong in (
        {"k": 0}, {"level": "row"}, {"method": "guess"}, {"budget": 3}, {"tolerance": -1.0},
        {"prune": 2.0}, {"order": 3}, {"n_steps": 0}, {"seed": -1}, {"threads": 0},
        {"masking": "mask"}, {"target": "best"}, {"groups": "item", "level": "cell"},
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            explain(model, histories["u0"], **wrong)


def test_data_are_one_history_or_many():
    model, histories, _ = made()
    explainer = Explainer(k=2)
    one = explainer.attribute(model, histories["u1"])
    assert isinstance(one, Explanation)
    assert one.metadata["params"]["tolerance"] == 0.02
    many = explainer.attribute(model, histories)
    assert isinstance(many, Explanations)
    assert many[0].metadata["params"]["tolerance"] == 0.05
    train = model.train_
    of_train = explainer.attribute(model, train)
    assert of_train.ids == train.vocabulary.sources.to_list()
    first = train.sequences.items[: train.sequences.offsets[1]]
    expected = explain(model, train.vocabulary.items.gather(first).to_list(), k=2)
    np.testing.assert_allclose(of_train[0].scores, expected.scores, atol=1e-12)
    queries = make_queries(model, train)
    asked = explain_many(model, queries, k=2)
    assert len(asked) == int((~queries.is_empty).sum())
    with pytest.raises(DataError, match="no history"):
        explainer.attribute(model, {})


def test_baskets_are_histories_too():
    model = knn("TIFUKNN")
    many = Explainer(k=2, masking="remove").attribute(model, model.train_)
    assert many.ids == model.train_.vocabulary.sources.to_list()
    sequences = model.train_.sequences
    assert [len(one) for one in many] == np.diff(sequences.offsets).tolist()


def test_the_seed_of_the_run_goes_before_that_of_the_method():
    model, histories, _ = made()
    options = {"k": 2, "method": "permutation", "budget": 200, "tolerance": 0.0}
    first = explain(model, histories["u4"], seed=1, **options)
    second = explain(model, histories["u4"], run=Run(seed=1), **options)
    assert first.metadata["seed"] == second.metadata["seed"] == 1
    np.testing.assert_array_equal(first.scores, second.scores)
