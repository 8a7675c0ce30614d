"""Freed memory that stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading

import numpy as np
import pytest

from whence.engines import kept_memory, memory

N = 6_000_000  # 48 MB, which glibc gets from the system each time

FAULTS = """
import resource

import numpy as np

from whence.engines import kept_memory


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        np.ones(6_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


outside = faults()
with kept_memory():
    np.ones(6_000_000)
    print(outside, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_arrays_use_the_same_memory():
    # In a process of its own: what was done before decides where arrays go.
    found = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True)
    outside, inside = map(int, found.stdout.split())
    assert 0 <= inside < 0.2 * outside


def test_nested_blocks_and_threads():
    def work():
        with kept_memory(), kept_memory():
            assert np.ones(N).sum() == N

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(ZeroDivisionError), kept_memory():
        1 / 0
    assert memory._memory.inside == 0


def test_nothing_happens_elsewhere(monkeypatch):
    memory._glibc.cache_clear()
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with kept_memory():
        assert memory._glibc() is None
        assert memory._memory.inside == 1
    memory._glibc.cache_clear()
