"""Compiled kernels are kept where that is possible, and everything runs where it is not."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import numba.core.event
import pytest
from numba.core.compiler import Flags
from numba.core.registry import cpu_target

import whence
from whence.engines import compiling

PACKAGE = Path(whence.__file__).parent
# One module of kernels in each room, by room.
KERNELS = {
    path.relative_to(PACKAGE).parts[0]: ".".join(
        ("whence", *path.relative_to(PACKAGE).with_suffix("").parts)
    )
    for path in sorted(PACKAGE.rglob("*_kernels.py"))
}

FIT = """
import whence
data = whence.make_sessions(n_sessions=60, n_validation=5, n_test=5, seed=1)
print(whence.Popularity().fit(data.train).recommend(data.train.item_ids.to_list()[:1], k=2)[0])
print(whence.evaluate(whence.Popularity().fit(data.train), data.test, ["mrr@5"]))
"""


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """Run Python with a copy of the package that cannot be written to, for a user without a home.

    Files in the place of folders keep even an administrator from writing there.
    """
    here = tmp_path_factory.mktemp("locked")
    shutil.copytree(PACKAGE, here / "whence", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [here / "whence", *(here / "whence").rglob("*")]:
        if folder.is_dir():
            (folder / "__pycache__").touch()
    (here / "home").touch()
    (here / "tmp").mkdir()
    keep = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    environment = keep | {
        "HOME": str(here / "home"),
        "USERPROFILE": str(here / "home"),
        "LOCALAPPDATA": str(here / "home"),
        "TMPDIR": str(here / "tmp"),
        "TEMP": str(here / "tmp"),
        "PYTHONPATH": str(here),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "Agg",
    }

    def run(code):
        return subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=here / "tmp",
        )

    return run


def test_a_temporary_folder_is_used_and_told_of_once(locked):
    first = locked(FIT + "print(whence.engines.compiling.cache_folder())")
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("CacheWarning: Compiled kernels can be kept neither") == 1
    assert "NUMBA_CACHE_DIR" in first.stderr
    folder = Path(first.stdout.splitlines()[-1])
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nbc")}
    assert kept
    assert folder.stat().st_mode & 0o077 == 0
    again = locked(FIT)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.nbc")} == kept


def test_the_command_line_says_it_in_one_line(locked):
    result = locked(
        """
import pathlib, sys
from whence.cli import main
rows = "session_id,item_id,timestamp\\n1,a,1\\n1,b,2\\n2,a,3\\n2,b,4\\n"
pathlib.Path("clicks.csv").write_text(rows)
pathlib.Path("run.yaml").write_text(
    "data: {train: clicks.csv, test: clicks.csv}\\nmodel: {name: popularity}"
)
sys.argv = ["whence", "evaluate", "run.yaml"]
main()
"""
    )
    assert result.returncode == 0, result.stderr
    notes = [line for line in result.stderr.splitlines() if "Compiled kernels" in line]
    assert len(notes) == 1
    assert notes[0].startswith("Note: ")
    assert "Traceback" not in result.stderr


def test_without_any_folder_each_run_compiles(locked):
    nowhere = "import tempfile, pathlib; tempfile.tempdir = str(pathlib.Path.home())\n"
    result = locked(nowhere + FIT)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("so each run compiles them anew") == 1


def test_a_temporary_folder_that_others_can_write_to_is_not_used(tmp_path, monkeypatch):
    if not hasattr(os, "getuid"):
        pytest.skip("temporary folders are the user's own here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = tmp_path / f"whence-{os.getuid()}"
    assert compiling._temporary_folder() == own
    assert compiling._temporary_folder() == own
    own.chmod(0o777)
    other = compiling._temporary_folder()
    assert other != own
    assert other.stat().st_mode & 0o077 == 0
    own.rmdir()
    own.symlink_to(other)
    assert compiling._temporary_folder() not in (own, other)
    own.unlink()
    own.touch()
    assert compiling._temporary_folder() not in (own, None)


@pytest.mark.parametrize("room", KERNELS)
def test_it_is_settled_before_any_kernel(room):
    if room == "influence":
        pytest.importorskip("torch")
    code = f"import sys, {KERNELS[room]}\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    names = [name for name in loaded.split() if name.startswith("whence.")]
    kernels = [name for name in names if name.endswith("_kernels")]
    assert KERNELS[room] in kernels
    assert all(names.index("whence.engines.compiling") < names.index(name) for name in kernels)


def test_options_are_compared_as_numba_does():
    def options(**some):
        flags = Flags()
        cpu_target.options.parse_as_flags(flags, some)
        return flags

    kinds = [{}, {"nogil": True}, {"_nrt": False}, {"nogil": True, "_nrt": False}, {"nogil": False}]
    for one, other in product([options(**kind) for kind in kinds], repeat=2):
        assert (one == other) == (one.values() == other.values())
    assert options() != 1


def test_garbage_is_collected_after_compiling():
    @numba.njit
    def add_one(x):
        return x + 1

    seen = []

    class Listener(numba.core.event.Listener):
        def on_start(self, event):
            seen.append(gc.isenabled())

        def on_end(self, event):
            pass

    with numba.core.event.install_listener("numba:compile", Listener()):
        assert add_one(1) == 2
    assert seen == [False]
    assert gc.isenabled()
    gc.disable()
    try:
        assert add_one(1.0) == 2.0
        assert not gc.isenabled()
    finally:
        gc.enable()
