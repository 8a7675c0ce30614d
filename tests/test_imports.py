"""What a name of the public face loads, and what it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest


def loaded_by(code):
    """Names of the packages outside the standard library that a statement loads."""
    shown = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name for name in shown.stdout.split() if name.split(".")[0] not in OWN}


OWN = {"__main__", "whence", *sys.stdlib_module_names}


def test_the_package_alone_loads_next_to_nothing():
    assert not loaded_by("import whence") & {"numpy", "polars", "torch"}


@pytest.mark.parametrize("name", ["Interactions", "Shapley", "LeaveOneOut", "VMISKNN", "evaluate"])
def test_names_load_what_they_need(name):
    loaded = loaded_by(f"import whence; whence.{name}")
    assert "numpy" in loaded
    heavy = {
        "torch",
        "matplotlib",
        "pydantic",
        "pandas",
        "narwhals",
        "scipy",
        "rich",
    }
    assert not loaded & heavy


def test_experiments_on_neighbour_models_load_no_torch():
    names = ("Removal", "Prune", "Scaling", "Corruption")
    each = "; ".join(f"whence.{name}Experiment" for name in names)
    chosen = "whence.CorruptionExperiment()._chosen(whence.VMISKNN())"
    assert "torch" not in loaded_by(f"import whence; {each}; {chosen}")
