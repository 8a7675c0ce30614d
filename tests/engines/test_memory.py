"""Freed memory that stays with the process."""

from __future__ import annotations

import platform
import threading

import numpy as np
import pytest

from whence.engines import kept_memory, memory

N = 6_000_000  # 48 MB, which glibc gets from the system each time


def faults(times=8):
    """Pages that the system had to provide for arrays that were freed at once."""
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(N)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_arrays_use_the_same_memory():
    outside = faults()
    with kept_memory():
        np.ones(N)
        inside = faults()
    assert inside < 0.2 * outside
    assert faults() > 0.5 * outside


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
    assert memory._inside == 0


def test_nothing_happens_elsewhere(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with kept_memory():
        assert memory._inside == 0
