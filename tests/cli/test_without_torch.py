"""What needs torch says so in one sentence where it is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HIDE = "import sys; sys.modules['torch'] = None; "


def run(code):
    return subprocess.run(
        [sys.executable, "-c", HIDE + code], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "command", [["disclose", "--simulate", "0.5", "--data"], ["experiment", "fidelity"]]
)
def test_commands(command, tmp_path):
    table = tmp_path / "ratings.csv"
    table.write_text("user_id,item_id,rating\n1,1,3\n")
    arguments = ["whence", *command, str(table), "--output", str(tmp_path / "out")]
    result = run(f"sys.argv = {arguments!r}; from whence.cli import app; app()")
    assert result.returncode == 2
    assert "needs torch, which is not installed" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_library():
    code = """
import whence
for name in ("InfluenceFunction", "TracIn", "FidelityExperiment", "Disclosure"):
    try:
        getattr(whence, name)
    except whence.errors.UnsupportedError as error:
        assert "torch" in str(error) and "install" in str(error)
    else:
        raise SystemExit(name)
whence.VMISKNN, whence.Shapley, whence.find_corrupted
"""
    result = run(f"exec({code!r})")
    assert result.returncode == 0, result.stdout + result.stderr
