"""Work that is killed, interrupted, or done by any number of threads ends with the same bits."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from pathlib import Path

import long_work
import numpy as np
import pytest
from long_work import TORCH, WORK, digest

import whence
from whence import engines
from whence.engines import Interrupted, Run
from whence.errors import OutputExistsError, ParameterError

NAMES = [*WORK, *TORCH]


def some(quick):
    """All names; those that are not among the quick ones are slow: each is a process of its own."""
    assert set(quick) <= set(NAMES)
    return [pytest.param(one, marks=() if one in quick else pytest.mark.slow) for one in NAMES]


def work(name, **how):
    if name in TORCH:
        pytest.importorskip("torch")
    return {**WORK, **TORCH}[name](Run(**how))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize("name", some(("shapley", "leave-one-out", "tracin")))
def test_killed_and_resumed(name, tmp_path):
    if name in TORCH:
        pytest.importorskip("torch")
    rng = np.random.default_rng(NAMES.index(name))
    saves, delay = int(rng.integers(1, 4)), float(rng.uniform(0, 0.03))
    script = Path(long_work.__file__)
    command = [sys.executable, str(script), name, str(tmp_path), str(saves), str(delay)]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list((tmp_path / "unfinished").glob("*.np[yz]"))
    with pytest.raises(OutputExistsError, match="resume=True"):
        work(name, folder=tmp_path)
    seen = []
    told = {"progress": lambda *what: seen.append(what)}
    resumed = work(name, folder=tmp_path, resume=True, threads=1, **told)
    assert not (tmp_path / "unfinished").exists()
    assert digest(resumed) == digest(work(name))


@pytest.mark.parametrize("name", some(("shapley", "leave-one-out", "tracin", "trak")))
def test_threads_do_not_matter(name):
    digests = {digest(work(name, threads=threads)) for threads in (1, 2, 3)}
    assert len(digests) == 1


class Pressing:
    """Progress that presses Ctrl-C when so many parts have been told of."""

    def __init__(self, after):
        self.after = after

    def __call__(self, done, total, message):
        self.after -= done > 0
        if self.after == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "name", ["shapley", "leave-one-out", "retraining-leave-one-out", "retraining-shapley", "tracin"]
)
def test_interrupted_and_resumed(name, tmp_path):
    try:
        found = work(name, folder=tmp_path, progress=Pressing(3))
    except KeyboardInterrupt:
        pass
    else:
        assert found.metadata["stopped"] == "interrupted"
    assert list((tmp_path / "unfinished").glob("*.npz"))
    resumed = work(name, folder=tmp_path, resume=True)
    assert digest(resumed) == digest(work(name))
    assert not (tmp_path / "unfinished").exists()


def test_other_questions_are_not_gone_on_with(tmp_path):
    model, data = long_work.neighbours(), long_work.clicks()
    with pytest.raises(Interrupted):
        work("leave-one-out", folder=tmp_path, progress=Pressing(1))
    going_on = Run(folder=tmp_path, resume=True)
    for method, asked, what in (
        (whence.LeaveOneOut("ndcg@5"), data.validation, "metric"),
        (whence.LeaveOneOut("mrr@5", unknown="drop"), data.validation, "parameters"),
        (whence.LeaveOneOut("mrr@5"), data.train, "queries"),
        (whence.Shapley("mrr@5"), data.validation, "method"),
    ):
        with pytest.raises(ParameterError, match=f"of other .*{what}"):
            method.attribute(model, asked, run=going_on)


def test_jobs_can_be_sent(monkeypatch):
    """To another process: a job that was pickled gives the same parts."""
    sent = []
    threads = engines.ENGINES["threads"]

    class Elsewhere(engines.Engine):
        def parts(self, job, shards, run):
            sent.append(type(job).__name__)
            return threads.parts(pickle.loads(pickle.dumps(job)), shards, run)

    names = ["shapley", "banzhaf", "leave-one-out", "leave-one-out by interaction",
             "retraining-leave-one-out", "retraining-shapley"]  # fmt: skip
    want = [digest(work(name)) for name in names]
    monkeypatch.setitem(engines.ENGINES._entries, "threads", Elsewhere())
    assert [digest(work(name)) for name in names] == want
    assert {"Round", "LeaveOut", "LeaveRowsOut", "WithoutOne", "Prefixes"} <= set(sent)
