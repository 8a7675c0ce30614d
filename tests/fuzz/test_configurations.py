"""Configurations that are damaged or hostile are read, or refused in one sentence."""

from __future__ import annotations

import pytest
from config_mutants import outcome
from mutants import how_many


def test_every_mutant_is_read_or_refused(tmp_path):
    pytest.importorskip("torch")
    found = [outcome(seed, tmp_path) for seed in range(how_many(300))]
    assert [one for one in found if one.startswith("untyped")] == []
    assert {"fine", "ConfigError"} <= set(found)
