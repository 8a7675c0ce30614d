"""Disclosure as an estimator, and work that is broken off."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from disclosing import fitted, parts
from killing import kill_after
from sklearn.base import clone

from whence import Disclosure, DisclosureProblem, Run
from whence.engines import Checkpoints
from whence.errors import ArgumentError, DataWarning, OutputExistsError, ParameterError
from whence.influence.functions import InfluenceFunction

SCRIPT = """
import warnings
from disclosing import fitted, parts
from whence import Disclosure, Run

warnings.simplefilter("ignore")
train, validation, test = parts()
model = fitted(train)
disclosure = Disclosure(strategy="trust_region", lam=0.02, rounds=4)
asked = {"willingness": "no", "run": Run(folder=folder)}
compared = {"strategies": ("social", "none"), "test": test, "seeds": (0, 1), "metrics": ()}
"""


@pytest.fixture(scope="module")
def data():
    train, validation, test = parts()
    return fitted(train), validation, test


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        yield


def same(plan, other):
    assert plan.frame.equals(other.frame)
    facts = [dict(one.metadata) for one in (plan, other)]
    assert facts[0] == facts[1]


# One state is the influences; calibration keeps its retrainings; then come the anchors.
@pytest.mark.parametrize("saves", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (9, 24))])
def test_killed_and_resumed_a_plan_ends_with_the_same_bits(data, tmp_path, saves):
    model, validation, _ = data
    kill_after(saves, SCRIPT + "disclosure.solve(model, validation, **asked)", tmp_path)
    disclosure = Disclosure(strategy="trust_region", lam=0.02, rounds=4)
    with pytest.raises(OutputExistsError, match="resume=True"):
        disclosure.solve(model, validation, willingness="no", run=Run(folder=tmp_path))
    run = Run(folder=tmp_path, resume=True)
    with pytest.raises(ParameterError, match="is of other rounds"):
        clone(disclosure).set_params(rounds=3).solve(model, validation, willingness="no", run=run)
    found = disclosure.solve(model, validation, willingness="no", run=run)
    same(found, disclosure.solve(model, validation, willingness="no"))
    assert not list(tmp_path.rglob("*.npz"))


@pytest.mark.slow
def test_killed_and_resumed_a_comparison_ends_with_the_same_bits(data, tmp_path):
    model, validation, test = data
    kill_after(40, SCRIPT + "disclosure.compare(model, validation, **compared, **asked)", tmp_path)
    disclosure = Disclosure(strategy="trust_region", lam=0.02, rounds=4)
    options = {"strategies": ("social", "none"), "test": test, "seeds": (0, 1), "metrics": ()}
    told = []
    run = Run(folder=tmp_path, resume=True, progress=lambda *what: told.append(what))
    found = disclosure.compare(model, validation, willingness="no", run=run, **options)
    assert 0 < next(done for done, total, _ in told if total == 24) < 24
    expected = disclosure.compare(model, validation, willingness="no", **options)
    assert found.runs.equals(expected.runs)
    assert (found.lam, found.lam_ref) == (expected.lam, expected.lam_ref)


def test_ctrl_c_keeps_the_points_of_a_frontier(data, tmp_path):
    model, validation, test = data
    told = []

    def stop(done, total, message):
        told.append(done)
        if done == 2 and total == 3:
            raise KeyboardInterrupt

    lams = (0.001, 0.01, 0.1)
    disclosure = Disclosure(calibrate=False)

    def asked(**how):
        run = Run(folder=tmp_path, **how)
        problem = disclosure.pose(model, validation, willingness="no", run=run)
        return problem.frontier(lams, strategies=("social",), test=test)

    with pytest.raises(KeyboardInterrupt):
        asked(progress=stop)
    again = []
    found = asked(resume=True, progress=lambda *what: again.append(what[0]))
    assert again == [2, 3]
    problem = disclosure.pose(model, validation, willingness="no")
    assert found.equals(problem.frontier(lams, strategies=("social",), test=test))


def test_several_pieces_of_work_share_checkpoints(data, tmp_path, monkeypatch):
    """What was measured for the plan serves the comparison, in this process and the next."""
    model, validation, test = data
    counted = []
    real = InfluenceFunction.work_on
    monkeypatch.setattr(
        InfluenceFunction, "work_on", lambda *a, **k: counted.append(1) or real(*a, **k)
    )
    run = Run(folder=tmp_path, resume=True)
    disclosure = Disclosure(lam=0.02, calibrate=False)

    def work(stop):
        with Checkpoints(run, {"command": "disclose"}) as kept:
            problem = disclosure.pose(model, validation, willingness="no", run=run, kept=kept)
            plan = problem.solve()
            if stop:
                raise KeyboardInterrupt
            return plan, problem.compare(("none",), test=test, seeds=(0,), metrics=())

    with pytest.raises(KeyboardInterrupt):
        work(True)
    assert len(counted) == 1
    plan, comparison = work(False)
    assert len(counted) == 1 + 1  # that of the seed
    same(plan, disclosure.solve(model, validation, willingness="no"))
    assert comparison.runs.height == 1


def test_parameters(data):
    disclosure = Disclosure(strategy="budget", n=5, influence=InfluenceFunction(solver="cg"))
    assert clone(disclosure).get_params(deep=False).keys() == disclosure.params.keys()
    assert disclosure.set_params(n=7).params["n"] == 7
    with pytest.raises(ArgumentError, match=r"no parameter .strategie.\. Did you mean .strategy."):
        Disclosure(strategie="all")
    with pytest.raises(ArgumentError, match="by name"):
        Disclosure("no")
    model, validation, _ = data
    problem = Disclosure(calibrate=False).pose(model, validation, willingness="no")
    assert isinstance(problem, DisclosureProblem)
    assert problem.lam == problem.lam_ref
    assert problem.solve().metadata["lam"] == problem.lam_ref
    assert problem.solve("budget", n=7).n_disclosed == 7
    with pytest.raises(ParameterError, match="tolerance decides what is measured"):
        problem.solve(tolerance=0.1)
    with pytest.raises(ArgumentError, match="no parameter 'size'"):
        problem.solve("budget", size=3)


def test_a_plan_is_one_call(data):
    model, validation, _ = data
    disclosure = Disclosure(lam=0.01, calibrate=False)
    plan = disclosure.solve(model, validation, willingness="no")
    beta = model.train_.frame["no"].to_numpy()
    again = disclosure.solve(model, validation, willingness=beta, run=Run(seed=42))
    same(plan, again)
    problem = disclosure.pose(model, validation, willingness=beta)
    np.testing.assert_array_equal(plan.disclosed, problem.values > 0.01 * beta)
