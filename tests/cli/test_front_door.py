"""What somebody sees who only just met the command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from whence.cli import app

START = [sys.executable, "-c", "from whence.cli import main; main()"]


def test_help_speaks_of_all_five_uses():
    shown = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    for use in ("evaluate it", "value its training data", "taught it", "explain", "withhold"):
        assert use in shown.partition("Options")[0]
    for command in ("train", "value", "trace", "explain", "disclose", "whence demo"):
        assert command in shown


@pytest.mark.parametrize(("typed", "offered"), [("whence tu", "tune"), ("whence exp", "explain")])
def test_a_shell_completes_commands(typed, offered):
    asked = {"_WHENCE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": "1"}
    result = subprocess.run(
        [*START], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert offered in result.stdout.split(), result.stderr


def test_the_shell_is_told_how():
    options = CliRunner().invoke(app, ["--help"]).output
    assert "--install-completion" in options
