"""Work that is killed in the middle: a script in a process of its own, ended by SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

_PRELUDE = """
import os, signal
from whence.engines import checkpoints

# Everything that is done is kept at once.
checkpoints.Checkpoints.is_due = property(lambda self: self._folder is not None)
_save, _left = checkpoints.Checkpoints.save, [{saves}]


def _save_and_die(self, stage, state):
    _save(self, stage, state)
    if self._folder is not None:
        _left[0] -= 1
        if not _left[0]:
            os.kill(os.getpid(), signal.SIGKILL)


checkpoints.Checkpoints.save = _save_and_die
"""


def kill_after(saves: int, script: str, folder: Path) -> None:
    """Run a script that works in a folder; it is killed once so many states were kept there.

    The script finds the folder as ``folder``, and the tests' own modules.
    """
    code = f"{_PRELUDE.format(saves=saves)}\nfolder = {str(folder)!r}\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(folder.rglob("*.npz")), "nothing was kept"
