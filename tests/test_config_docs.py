"""The tables of the documentation say what the models, the sections and RecBole's keys are.

After a change: ``WHENCE_UPDATE_DOCS=1 pytest tests/test_config_docs.py`` writes them anew.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from test_docs import configuration_rows

from whence.cli._options import NOT_OF_METHODS
from whence.config import METHODS, MODELS
from whence.config.models import TrainingConfig, own_parameters
from whence.config.recbole.translation import known_keys, table

DOCS = Path(__file__).resolve().parents[1] / "docs"
UPDATE = os.environ.get("WHENCE_UPDATE_DOCS") == "1"
TRAINING = list(TrainingConfig.model_fields)


def same_table(page, before, rows):
    """Compare the rows of a table that begins after a text, or write them."""
    path = DOCS / page
    text = path.read_text(encoding="utf-8")
    start = text.index(before) + len(before)
    found = re.match(r"(?:\| `.*\n)*", text[start:])
    wanted = "".join(f"{row}\n" for row in rows)
    if UPDATE:
        path.write_text(text[:start] + wanted + text[start + found.end() :], encoding="utf-8")
        return
    assert found[0].splitlines() == wanted.splitlines()


def shown(value):
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def own(registry):
    """Names that are Whence's own, whatever other tests have registered."""
    return [name for name in registry if registry[name].__module__.startswith("whence.")]


def row_of(name):
    wanted = MODELS[name]
    usual = wanted.parameter_defaults()
    own = [f"`{key}: {shown(usual[key])}`" for key in own_parameters(name)]
    shared = [key for key in TRAINING if key in wanted.parameter_types()]
    words = "all" if "epochs" in shared else ", ".join(f"`{key}`" for key in shared)
    return f"| `{name}` | `{wanted.__name__}` | {', '.join(own)} | {words} |"


def test_arguments_of_models():
    pytest.importorskip("torch")
    pytest.importorskip("implicit")
    head = "| `model.name` | class | arguments in `model` | arguments in `training` |\n"
    same_table("training.md", f"{head}|---|---|---|---|\n", [row_of(name) for name in own(MODELS)])


def row_of_method(name):
    method = METHODS[name]
    takes, usual = method.parameter_types(), method.parameter_defaults()
    own = [f"`{key}: {shown(usual[key])}`" for key in takes if key not in NOT_OF_METHODS]
    return f"| `{name}` | `{method.__name__}` | {', '.join(own)} |"


def test_parameters_of_methods():
    pytest.importorskip("torch")
    names = [name for name in own(METHODS) if METHODS[name].of_training]
    head = "| method | class | parameters |\n|---|---|---|\n"
    same_table("cli.md", head, [row_of_method(name) for name in names])


@pytest.mark.parametrize(("section", "rows"), list(configuration_rows()))
def test_keys_of_sections(section, rows):
    same_table("cli.md", f"### `{section}`\n\n| key | default | |\n|---|---|---|\n", rows)


def test_keys_of_recbole():
    head = "| key of RecBole | | becomes, or why |\n|---|---|---|\n"
    same_table("training.md", head, [f"| `{key}` | {how} | {why} |" for key, how, why in table()])
    assert len(set(known_keys())) == len(known_keys())
