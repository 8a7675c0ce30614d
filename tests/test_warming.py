"""What `warm_up` compiles is what the usual work needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
import whence
from numba.core.dispatcher import Dispatcher
from whence.cli import app

def compiled():
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("whence.")]
    return {
        (kernel.py_func.__module__, kernel.py_func.__name__, signature)
        for module in modules
        for kernel in vars(module).values()
        if isinstance(kernel, Dispatcher)
        for signature in kernel.signatures
    }

told = []
folder = whence.warm_up(progress=lambda *numbers: told.append(numbers))
assert folder.is_dir()
done, totals, titles = zip(*told)
assert done == tuple(range(len(told))) and set(totals) == {len(told) - 1}
assert "Shapley of VMISKNN" in titles and len(set(titles)) == len(titles)

app(["warm-up"], standalone_mode=False)
before = compiled()
app(["demo", "--sessions", "400", "--output", "demo"], standalone_mode=False)
new = compiled() - before
assert not new, new
"""


def test_it_says_what_it_does_and_leaves_nothing_to_compile_for_the_demonstration(tmp_path):
    pytest.importorskip("torch")
    result = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    first = result.stdout.splitlines()[0]
    assert first.startswith("Compiled in ")
    assert first.endswith(".")
    assert "kept in " in first
