"""A context that threads share."""

from __future__ import annotations

import threading

import pytest

from whence.engines import Shared


def test_the_first_opens_and_the_last_closes():
    seen = []
    shared = Shared(lambda: seen.append("open"), lambda: seen.append("close"))
    both_inside, first_left = threading.Barrier(2), threading.Event()

    def work():
        with shared:
            both_inside.wait()
            first_left.wait()

    def fail():
        with shared:
            both_inside.wait()
            assert shared.inside == 2
            raise ValueError("left by an error")

    thread = threading.Thread(target=work)
    thread.start()
    with pytest.raises(ValueError, match="left by an error"):
        fail()
    assert seen == ["open"]
    first_left.set()
    thread.join()
    assert seen == ["open", "close"]
    with shared, shared:
        assert seen == ["open", "close", "open"]
    assert seen == ["open", "close"] * 2
