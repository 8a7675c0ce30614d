"""Work by Ray: the same bits as by threads, whatever is lost on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from killing import kill_after
from long_experiments import EXPERIMENTS, digest_of_rows
from long_work import TORCH, WORK, clicks, digest, few, neighbours

import whence
from whence.engines import Checkpoints, Interrupted, Job, ListJob, Run, run
from whence.engines import _connection as connections
from whence.engines import checkpoints as keeping
from whence.engines._sending import pack, unpack
from whence.engines.cluster import tasks_of
from whence.engines.jobs import Threads
from whence.errors import DataWarning, EngineError, ParameterError, UnsupportedError

ray = pytest.importorskip("ray")
_QUICK = ("shapley", "leave-one-out by item")


@dataclass(frozen=True)
class Sums(Job):
    """Noise summed in shards; in floating point the order of the sum shows."""

    lasting = ("weights",)

    weights: np.ndarray = field(default_factory=lambda: np.linspace(0.1, 3.0, 5000))
    marker: str = ""
    dies_at: int = -1
    dies_again: bool = False
    warns: bool = False

    def run(self, shard):
        if shard == self.dies_at and (self.dies_again or not Path(self.marker).exists()):
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.warns:
            warnings.warn("Something about the data.", DataWarning, stacklevel=1)
        noise = np.random.default_rng(shard).normal(size=len(self.weights))
        return noise * self.weights

    def start(self):
        return np.zeros(len(self.weights))

    def add(self, total, part):
        part *= 0.5  # it is the total's
        total += part
        return total


@dataclass(frozen=True)
class Failing(ListJob):
    def run(self, shard):
        raise ParameterError("choose another shard.")


@pytest.fixture(scope="module")
def cluster():
    """Two nodes on this machine, of one processor each, that only this machine reaches."""
    from ray._private import ray_constants
    from ray.cluster_utils import Cluster

    patch, ended_by = pytest.MonkeyPatch(), signal.getsignal(signal.SIGTERM)
    for name, value in (("RAY_AUTH_MODE", "disabled"), ("RAY_USAGE_STATS_ENABLED", "0")):
        patch.setenv(name, value)
    patch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    found.add_node(num_cpus=1)
    signal.signal(signal.SIGTERM, ended_by)
    yield found
    connections.disconnect()
    found.shutdown()
    patch.undo()


@pytest.fixture
def by_ray(cluster):
    return Run(engine="ray", address=cluster.address, threads=1)


@pytest.fixture(autouse=True)
def _save_always(monkeypatch):
    monkeypatch.setattr(keeping, "_SECONDS", 0.0)
    monkeypatch.setattr(keeping, "_LONGEST_SHARE", float("inf"))


def names():
    every = [*WORK, *TORCH]
    return [pytest.param(one, marks=() if one in _QUICK else pytest.mark.slow) for one in every]


@pytest.mark.parametrize("name", names())
def test_the_engine_does_not_matter(name, by_ray):
    if name in TORCH:
        pytest.importorskip("torch")
    method = {**WORK, **TORCH}[name]
    assert digest(method(by_ray)) == digest(method(Run(threads=2)))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_engine_does_not_matter_to_experiments(name, by_ray, tmp_path):
    pytest.importorskip("torch")
    experiment = EXPERIMENTS[name]
    found = {
        digest_of_rows(experiment(run.changed(folder=tmp_path / str(number))))
        for number, run in enumerate((by_ray, Run(threads=1), Run(threads=2)))
    }
    assert len(found) == 1


@pytest.mark.parametrize("name", names())
def test_what_is_sent_is_left_as_it_is(name, monkeypatch):
    """All processes of a node share it."""
    if name in TORCH:
        pytest.importorskip("torch")

    def parts(self, job, shards, run):
        content, *arrays = pack(job)
        sent, before = [one.copy() for one in arrays], [one.tobytes() for one in arrays]
        for array in sent:
            array.flags.writeable = False
        yield from map(unpack([content, *sent]).run, shards)
        for array, was in zip(sent, before):
            assert array.tobytes() == was

    want = {**WORK, **TORCH}[name](Run(threads=2))
    monkeypatch.setattr(Threads, "parts", parts)
    assert digest({**WORK, **TORCH}[name](Run())) == digest(want)


def test_models_are_evaluated_alike(by_ray, monkeypatch):
    monkeypatch.setattr("whence.evaluation._shards._QUERIES", 64)
    model, data = neighbours(), clicks()
    for metrics in (["mrr@5", "coverage@5"], ["auc"]):
        found = whence.evaluate(model, data.validation, metrics, run=by_ray)
        assert found.scores == whence.evaluate(model, data.validation, metrics).scores


@pytest.mark.slow
def test_runs_of_training_are_gone_through_alike(by_ray, tmp_path):
    pytest.importorskip("torch")
    data = few()
    small = whence.GRU4Rec(embedding_dim=4, hidden_dim=4, dropout=0.0, epochs=2, torch_threads=1)
    model = whence.smooth(small).fit(data.train)
    for method in ("attribute", "matrix"):
        replay = getattr(whence.Replay(runs=3), method)
        found = replay(model, data.validation, run=by_ray.changed(folder=tmp_path / method))
        assert digest(found) == digest(replay(model, data.validation))


def test_what_is_interrupted_goes_on_with_another_engine(by_ray, tmp_path):
    seen = []

    def press(done, total, message):
        seen.append(done)
        if done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted), Checkpoints(Run(folder=tmp_path), {}) as kept:
        run(Sums(), range(40), by_ray.changed(progress=press), kept=kept)
    with Checkpoints(Run(folder=tmp_path, resume=True), {}) as kept:
        assert kept.load("work")["done"] == 20
        found = run(Sums(), range(40), Run(threads=2), kept=kept)
    assert found.tobytes() == run(Sums(), range(40), Run(threads=1)).tobytes()


def test_a_worker_that_is_killed_loses_nothing(by_ray, tmp_path):
    job = Sums(marker=str(tmp_path / "died"), dies_at=7)
    found = run(job, range(12), by_ray)
    assert Path(job.marker).exists()
    assert found.tobytes() == run(Sums(), range(12), Run(threads=1)).tobytes()


@pytest.mark.slow
def test_what_fails_three_times_is_said_and_the_rest_is_kept(by_ray, tmp_path):
    job = Sums(marker=str(tmp_path / "died"), dies_at=30, dies_again=True)
    with (
        pytest.raises(EngineError, match=r"Parts \d+ to \d+ of 40 of the work failed 3 times"),
        Checkpoints(Run(folder=tmp_path), {}) as kept,
    ):
        run(job, range(40), by_ray, kept=kept)
    with Checkpoints(Run(folder=tmp_path, resume=True), {}) as kept:
        assert kept.load("work")["done"] > 0
        found = run(Sums(), range(40), by_ray, kept=kept)
    assert found.tobytes() == run(Sums(), range(40), Run(threads=1)).tobytes()


def test_errors_and_warnings_of_the_work_are_those_of_threads(by_ray):
    with pytest.raises(ParameterError, match="choose another shard"):
        run(Failing(), range(3), by_ray)
    with pytest.warns(DataWarning, match="Something about the data") as heard:
        run(Sums(warns=True), range(8), by_ray)
    assert len(heard) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ray.exceptions.ObjectStoreFullError, "object store is full"),
        (ray.exceptions.OutOfDiskError, "disk of a node is full"),
    ],
)
def test_a_full_object_store_or_disk_loses_nothing(by_ray, tmp_path, monkeypatch, error, said):
    """Of two pieces of work, the second cannot be sent; what the first has found is kept."""
    put, sent = ray.put, []

    def full(packed):
        sent.append(packed)
        if len(sent) > 3:  # the weights and the rest of the first, the weights of the second
            raise error("...")
        return put(packed)

    def both(how, kept=None):
        jobs = Sums(), Sums(np.linspace(0.2, 1.0, 500))
        return [
            run(job, range(6), how, kept=kept, stage=str(number)).tobytes()
            for number, job in enumerate(jobs)
        ]

    with monkeypatch.context() as patch:
        patch.setattr(ray, "put", full)
        with (
            pytest.raises(EngineError, match=said) as caught,
            Checkpoints(Run(folder=tmp_path), {}) as kept,
        ):
            both(by_ray, kept)
    assert "\n" not in str(caught.value)
    assert "cannot be put" in str(caught.value)
    with Checkpoints(Run(folder=tmp_path, resume=True), {}) as kept:
        assert kept.load("0")["done"] == 6
        assert both(by_ray, kept) == both(Run(threads=1))


@pytest.mark.parametrize("engine", ["threads", "ray"])
def test_a_full_disk_of_what_is_kept_is_one_sentence(engine, by_ray, tmp_path, monkeypatch):
    """The state before is kept, and gone on from when there is room."""
    how = by_ray if engine == "ray" else Run(threads=1)
    write, kept_so_far = keeping.write_state, []

    def full(*arguments):
        if len(kept_so_far) >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        kept_so_far.append(arguments)
        return write(*arguments)

    monkeypatch.setattr(keeping, "write_state", full)
    with pytest.raises(OSError, match="No space left"), Checkpoints(Run(folder=tmp_path), {}) as k:
        run(Sums(), range(12), how, kept=k)
    monkeypatch.setattr(keeping, "write_state", write)
    with Checkpoints(Run(folder=tmp_path, resume=True), {}) as kept:
        assert kept.load("work")["done"] > 0
        found = run(Sums(), range(12), how, kept=kept)
    assert found.tobytes() == run(Sums(), range(12), Run(threads=1)).tobytes()


@pytest.mark.slow
def test_a_node_that_is_killed_loses_nothing(cluster, by_ray):
    lost = cluster.add_node(num_cpus=1)
    killed = []

    def kill(done, total, message):
        if done >= 5 and not killed:
            killed.append(done)
            cluster.remove_node(lost, allow_graceful=False)

    found = run(Sums(), range(60), by_ray.changed(progress=kill))
    assert killed
    assert found.tobytes() == run(Sums(), range(60), Run(threads=1)).tobytes()


def running(folder):
    """Processes whose command names a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in place.read_bytes():
                found.append(place.parent.name)
    return found


@pytest.mark.slow
def test_the_process_that_asks_is_killed_and_nothing_is_left(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="w", dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", short)
        monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
        script = (
            "from long_work import WORK, Run\n"
            "WORK['shapley'](Run(folder=folder, engine='ray', threads=1))"
        )
        kill_after(2, script, tmp_path)
        until = time.monotonic() + 60
        while running(short) and time.monotonic() < until:
            time.sleep(0.5)
        assert running(short) == []
        again = (
            "import sys\nfrom long_work import WORK, Run, digest\n"
            f"run = Run(folder={str(tmp_path)!r}, engine='ray', threads=1, resume=True)\n"
            "print(digest(WORK['shapley'](run)))"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-c", again], env=environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.stdout.split() == [digest(WORK["shapley"](Run(threads=1)))]
        assert done.stderr == ""
        assert list(Path(short).iterdir()) == []
        assert running(short) == []


# Without Ray


def test_shards_of_a_task():
    for n, threads, places in ((1, 1, 2), (64, 1, 2), (64, 2, 1), (64, 32, 20), (7, 4, 3)):
        tasks = tasks_of(Sums(), range(n), threads, places)
        assert [one for a, b in tasks for one in range(a, b)] == list(range(n))
        assert len(tasks) == min(n, len(tasks))
        if n >= places:
            assert len(tasks) >= places


def test_arrays_are_shared_and_come_back_alone():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "none": np.empty(0), "b": np.arange(3)}
    packed = pack(arrays)
    for one in packed[1:]:
        one.flags.writeable = False
    shared, own = unpack(packed), unpack(packed, own=True)
    assert np.shares_memory(shared["a"], packed[1])
    assert not np.shares_memory(own["a"], packed[1])
    for found in (shared, own):
        assert {name: one.tolist() for name, one in found.items()} == {
            name: one.tolist() for name, one in arrays.items()
        }
        assert all(one.flags.writeable for one in found.values())
    with pytest.raises(UnsupportedError, match="cannot be handed to other processes"):
        pack(socket.socket())


def test_an_array_in_a_file_is_shared_as_others_are(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(1000.0))
    packed = pack({"a": np.load(tmp_path / "a.npy", mmap_mode="r"), "f": lambda: 3})
    assert [len(one) for one in packed[1:]] == [8000]
    found = unpack(packed)
    assert found["a"].tolist() == list(range(1000))
    assert not found["a"].flags.writeable
    assert found["f"]() == 3


def test_a_run_is_another_one_elsewhere(tmp_path):
    here = Run(seed=3, threads=2, folder=tmp_path, progress=lambda *_: None, engine="ray")
    there = pickle.loads(pickle.dumps(here))
    assert there == Run(seed=3, threads=2)


def test_what_cannot_be_is_refused_before_work_begins(monkeypatch):
    with pytest.raises(ParameterError, match="engine='ray'"):
        Run(address="auto")
    with pytest.raises(ParameterError, match="host:port"):
        Run(engine="ray", address="ray://somewhere:10001")
    with pytest.raises(ParameterError, match="host:port"):
        run(Sums(), range(2), Run(engine="ray", address="nowhere"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(EngineError, match=f"No Ray cluster answers at {address}"):
        run(Sums(), range(2), Run(engine="ray", address=address))
    monkeypatch.setattr(connections, "REACHING", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(EngineError, match="timed out"):
            run(Sums(), range(2), Run(engine="ray", address=address))
    monkeypatch.setattr("whence.engines.cluster.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"pip install 'whence\[ray\]'"):
        Run(engine="ray")


@pytest.mark.parametrize("package", ["Python", "Whence", "NumPy"])
def test_other_versions_are_refused(package):
    ask = connections._asked_elsewhere()
    same = connections._versions()
    assert ask(same, None) is None
    assert ask(same, ("os.path", "basename"), "a/b") == "b"
    said = ask({**same, package: "0.0"}, None)
    assert f"has {package} {same[package]}, and this one 0.0" in said
    assert "Node " in ask({**same, "Nothing": "1"}, None)


def test_what_ray_says_becomes_one_sentence():
    errors = ray.exceptions
    for error, said in (
        (errors.OutOfMemoryError("..."), "ran out of memory"),
        (errors.ObjectStoreFullError("..."), "object store is full"),
        (errors.OutOfDiskError("..."), "disk of a node is full"),
        (errors.WorkerCrashedError(), "went away each time"),
        (errors.RaySystemError("First.\nSecond."), "First"),
    ):
        with pytest.raises(EngineError, match=said) as caught, connections._in_words("Part 1"):
            raise error
        assert "\n" not in str(caught.value)
        assert "resume=True" in str(caught.value)
