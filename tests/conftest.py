"""Fixtures that all tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real interaction data, which are not part of the repository."""
    named = os.environ.get("WHENCE_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data are not at {folder}; set WHENCE_DATA to their folder")
    return folder


@pytest.fixture(autouse=True)
def _same_draws():
    """What a test draws without a seed of its own is the same in every run."""
    np.random.seed(0)  # noqa: NPY002 (for those that draw from the global stream)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    """What a test draws is not drawn upon by the next."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
