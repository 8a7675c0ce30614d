"""Jobs: the same total whatever the threads and interruptions; what is done is kept."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.engines import Checkpoints, Job, Run, claimed, cut, run
from whence.engines import checkpoints as keeping
from whence.errors import FileFormatError, OutputExistsError, ParameterError


@dataclass(frozen=True)
class Sums(Job):
    """Noise summed in shards; in floating point the order of the sum shows."""

    seed: int
    stop_at: int = -1

    def run(self, shard):
        if shard == self.stop_at:
            raise KeyboardInterrupt
        values = np.random.default_rng([self.seed, shard]).normal(size=50)
        return np.flatnonzero(values > 0), values[values > 0]

    def start(self):
        return np.zeros(50)

    def add(self, total, part):
        places, values = part
        total[places] += values
        return total


@pytest.fixture(autouse=True)
def _save_often(monkeypatch):
    monkeypatch.setattr(keeping, "_SECONDS", 0.0)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_total_does_not_depend_on_threads(threads):
    expected = run(Sums(3), range(40), Run(threads=1))
    found = run(Sums(3), range(40), Run(threads=threads))
    assert found.tobytes() == expected.tobytes()


def test_a_job_can_be_handed_to_another_process():
    job = pickle.loads(pickle.dumps(Sums(3)))
    assert job.run(4)[1].tobytes() == Sums(3).run(4)[1].tobytes()


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_interrupted_goes_on_bit_for_bit(tmp_path, threads):
    expected = run(Sums(3), range(40), Run(threads=1))
    how = Run(folder=tmp_path, threads=threads)
    with pytest.raises(KeyboardInterrupt), Checkpoints(how, {"seed": 3}) as kept:
        run(Sums(3, stop_at=25), range(40), how, kept=kept)
    again = Run(folder=tmp_path, threads=threads, resume=True)
    seen = []
    with Checkpoints(again, {"seed": 3}) as kept:
        assert 0 < kept.load("work")["done"] <= 25
        found = run(
            Sums(3), range(40), again.changed(progress=lambda *told: seen.append(told)), kept=kept
        )
    assert found.tobytes() == expected.tobytes()
    assert seen[0][0] > 0
    assert seen[-1][:2] == (40, 40)
    assert list(tmp_path.iterdir()) == []


def test_killed_at_a_random_moment_it_ends_with_the_same_bits(tmp_path):
    script = tmp_path / "work.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            from dataclasses import dataclass
            import numpy as np
            from whence.engines import Checkpoints, Job, Run, run, checkpoints
            checkpoints._SECONDS = 0.0

            @dataclass(frozen=True)
            class Slow(Job):
                def run(self, shard):
                    time.sleep(0.01)
                    return np.random.default_rng(shard).normal(size=10)
                def start(self):
                    return np.zeros(10)
                def add(self, total, part):
                    return total * 0.999 + part

            how = Run(folder=sys.argv[1], resume=sys.argv[2] == "resume", threads=2)
            with Checkpoints(how, {"a": 1}) as kept:
                print(run(Slow(), range(120), how, kept=kept).tobytes().hex())
            """
        )
    )

    def start(folder, mode):
        command = [sys.executable, str(script), str(folder), mode]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    expected, _ = start(tmp_path / "whole", "new").communicate(timeout=120)
    victim = start(tmp_path / "killed", "new")
    state = tmp_path / "killed" / "unfinished" / "work.npz"
    for _ in range(3000):
        if state.exists():
            break
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert state.exists()
    found, errors = start(tmp_path / "killed", "resume").communicate(timeout=120)
    assert expected
    assert found == expected, errors


def keep(folder, state, identity=None, **options):
    """Leave unfinished work behind."""
    run = Run(folder=folder, **options)
    with (
        contextlib.suppress(KeyboardInterrupt),
        Checkpoints(run, identity or {"data": "a", "seed": 1}) as kept,
    ):
        kept.save("work", state)
        raise KeyboardInterrupt


def test_states_come_back_as_they_were(tmp_path):
    state = {
        "array": np.arange(6.0).reshape(2, 3),
        "number": np.float64(0.1),
        "list": [1, None, "a", {"b": (1, 2.5)}, np.array([True])],
        3: "key that is no text",
    }
    keep(tmp_path, state)
    with Checkpoints(Run(folder=tmp_path, resume=True), {"data": "a", "seed": 1}) as kept:
        found = kept.load("work")
        assert kept.load("other") is None
    assert found["array"].tolist() == state["array"].tolist()
    assert found["number"] == state["number"]
    assert found["list"][:4] == state["list"][:4]
    assert found[3] == state[3]


def test_unfinished_work_is_taken_up_only_when_asked_for(tmp_path):
    keep(tmp_path, 1)
    with pytest.raises(OutputExistsError, match="holds unfinished work; go on with it"):
        keep(tmp_path, 2)


def test_work_of_other_data_or_parameters_is_refused(tmp_path):
    keep(tmp_path, 1)
    with pytest.raises(ParameterError, match="is of other data and seed; ask the same again"):
        keep(tmp_path, 2, {"data": "b", "seed": 2}, resume=True)


def test_damaged_work_is_refused(tmp_path):
    keep(tmp_path, {"a": np.zeros(10)})
    path = tmp_path / "unfinished" / "work.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with Checkpoints(Run(folder=tmp_path, resume=True), {"data": "a", "seed": 1}) as kept:
        with pytest.raises(FileFormatError, match="is not unfinished work of Whence"):
            kept.load("work")
        kept.save("work", 1)
    keep(tmp_path, 1)
    (tmp_path / "unfinished" / "work.json").write_text("[1]")
    with pytest.raises(FileFormatError, match="is damaged; remove"):
        keep(tmp_path, 1, resume=True)


def test_a_folder_belongs_to_one_running_process(tmp_path):
    with claimed(tmp_path / "mine") as folder:
        code = (
            "import sys\nfrom whence.engines import claimed\n"
            "from whence.errors import OutputExistsError\n"
            "try:\n    claimed(sys.argv[1]).__enter__()\n"
            "except OutputExistsError as error:\n    print(error)\n"
        )
        command = [sys.executable, "-c", code, str(folder)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == (
        f"{folder} is in use by another process that is running; wait for it, or choose another "
        "folder.\n"
    )
    assert list(folder.iterdir()) == []


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Checkpoints(Run(), {}) as kept:
        kept.save("work", 1)
        assert kept.load("work") is None
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.floats(0, 1e6), max_size=60), st.integers(1, 20))
def test_shards_cover_all_tasks_in_order(work, shards):
    found = cut(work, shards)
    assert [n for a, b in found for n in range(a, b)] == list(range(len(work)))
    assert len(found) <= shards
    assert all(a < b for a, b in found)


def test_shards_are_of_about_equal_work():
    work = np.random.default_rng(1).pareto(2.0, 5000)
    sums = [work[a:b].sum() for a, b in cut(work, 16)]
    assert max(sums) <= work.sum() / 16 + 2 * work.max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be an integer"),
        ({"seed": 2**63}, "seed must be an integer"),
        ({"threads": 0}, "threads must be an integer of at least 1"),
        ({"progress": "yes"}, "progress must be True, False or a function"),
        ({"resume": True}, "resume=True needs a folder"),
        ({"engine": "thread"}, "no engine 'thread'. Did you mean 'threads'"),
    ],
)
def test_a_run_is_checked_when_it_is_made(options, message):
    with pytest.raises(ParameterError) as caught:
        Run(**options)
    assert message in str(caught.value)
