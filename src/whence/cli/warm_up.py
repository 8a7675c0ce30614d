"""``whence warm-up``: compile ahead what the other commands need."""

from __future__ import annotations

import time

from whence.cli._terminal import say, working


def warm_up() -> None:
    """Compile the numeric kernels of the usual work, so that nobody waits for them later.

    Do it once after the installation, for instance while an image is built. Where those who use
    the package cannot write to it, let NUMBA_CACHE_DIR name a folder that they can write to, now
    and later.
    """
    from whence.warming import warm_up as compile_ahead

    started = time.monotonic()
    with working("compiling") as run:
        folder = compile_ahead(progress=run.progress)
    seconds = time.monotonic() - started
    if folder is None:
        say(f"Compiled in {seconds:.0f} s, and kept nowhere: set NUMBA_CACHE_DIR to a folder.")
    else:
        say(f"Compiled in {seconds:.0f} s; kept in {folder}.")
