"""Without torch, what needs no gradients works, and the rest says in one sentence why not."""

from __future__ import annotations

import subprocess
import sys

import pytest

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, Hidden())
"""


def run(code, **options):
    return subprocess.run(
        [sys.executable, "-c", HIDE + code], capture_output=True, text=True, check=False, **options
    )


def command(*arguments, **options):
    code = f"sys.argv = {['whence', *map(str, arguments)]!r}\nfrom whence.cli import app\napp()"
    return run(code, **options)


@pytest.mark.parametrize(
    "arguments", [["disclose", "--simulate", "0.5", "--data"], ["experiment", "fidelity"]]
)
def test_commands_that_need_it(arguments, tmp_path):
    table = tmp_path / "ratings.csv"
    table.write_text("user_id,item_id,rating\n1,1,3\n")
    result = command(*arguments, table, "--output", tmp_path / "out")
    assert result.returncode == 2
    assert "needs torch, which is not installed" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_names_that_need_it():
    code = """
import whence
for name in ("InfluenceFunction", "TracIn", "FidelityExperiment", "Disclosure", "GRU4Rec"):
    try:
        getattr(whence, name)
    except whence.errors.UnsupportedError as error:
        assert "torch" in str(error) and "install" in str(error)
    else:
        raise SystemExit(name)
"""
    result = run(code)
    assert result.returncode == 0, result.stdout + result.stderr


def test_commands_that_do_not(tmp_path):
    shown = command("demo", "--sessions", 400, "--output", "demo", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    for steps in (
        ["value", "demo/config.yaml", "--output", "values"],
        ["train", "demo/config.yaml", "--output", "run"],
    ):
        result = command(*steps, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    items = (tmp_path / "demo" / "data" / "train.csv").read_text().splitlines()[1].split(",")
    result = command("explain", "run", "--history", items[1], "-k", 2, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Recommended" in result.stdout


def test_the_library_of_models_without_gradients():
    code = """
import numpy as np, whence
data = whence.make_sessions(n_sessions=300, n_validation=60, n_test=60, seed=1)
baskets = whence.make_baskets(n_users=100, seed=1)
history = data.train.item_ids.to_list()[:4]
sessions = [whence.VMISKNN(k=30), whence.ItemKNN(), whence.Popularity(), whence.MarkovChain(),
            whence.EASE()]
asked = [(model.fit(data.train), data.test, history) for model in sessions]
tifu = whence.TIFUKNN(k=10).fit(baskets.train)
bought = baskets.train.item_ids.to_list()
asked.append((tifu, baskets.test, [bought[:2], bought[2:4], bought[4:6], bought[6:7]]))
for model, test, history in asked:
    if model is not tifu:
        assert len(model.recommend(history, k=3)[0])
    assert len(whence.explain_many(model, [history, history[:3]], k=2)) == 2
    n_events = np.hstack(history).size
    for method in ("auto", "kernel", "occlusion"):
        assert len(whence.explain(model, history, k=2, method=method)) == n_events
    try:
        whence.explain(model, history, k=2, method="integrated_gradients")
    except whence.errors.UnsupportedError as error:
        assert "network" in str(error)
    else:
        raise SystemExit("integrated gradients of no network")
    assert 0 <= whence.evaluate(model, test, ["mrr@20"]).scores["mrr@20"] <= 1
for model, valid in ((sessions[0], data.validation), (tifu, baskets.validation)):
    for method in (whence.Shapley(tolerance=0.5), whence.LeaveOneOut()):
        assert np.isfinite(method.attribute(model, valid).scores).all()

class Recurrent:  # of another library
    def initial_state(self, n):
        return np.zeros((n, 3))
    def step(self, state, events):
        return 0.5 * state + np.eye(3)[np.asarray(events)]
    def scores_from_state(self, state):
        return state
    def scores(self, histories):
        state = [self.initial_state(1) for _ in histories]
        for row, history in enumerate(histories):
            for event in history:
                state[row] = self.step(state[row], [event])
        return np.concatenate(state)
found = whence.explain(Recurrent(), [0, 1, 1], k=1, target=("item", 0))
np.testing.assert_allclose(found.scores, [7 / 12, -1 / 6, -1 / 6])
assert "torch" not in sys.modules
"""
    result = run(code)
    assert result.returncode == 0, result.stdout + result.stderr
