"""README, docs and docstrings say what is true: all of their code is run."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import matplotlib as mpl
import pytest
from _snippets import (
    Snippet,
    WandB,
    Workshop,
    check_configuration,
    difference,
    run_console,
    run_python,
    same_line,
    snippets,
)

from whence.config import Config

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src"
UPDATE = os.environ.get("WHENCE_UPDATE_DOCS") == "1"
DOCUMENTS = [
    REPOSITORY / "README.md",
    *sorted(
        path
        for path in (REPOSITORY / "docs").rglob("*.md")
        if "_build" not in path.relative_to(REPOSITORY).parts
    ),
]
WITH_EXAMPLES = sorted(path for path in SOURCE.rglob("*.py") if ">>> " in path.read_text("utf-8"))


def _name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def _cases():
    for document in DOCUMENTS:
        for snippet in snippets(document):
            marks = [pytest.mark.slow] if snippet.slow else []
            yield pytest.param(snippet, marks=marks, id=f"{_name(document)}:{snippet.line}")


@pytest.fixture(scope="module")
def workshops(tmp_path_factory):
    """A folder and a namespace for each document."""
    made = {path: Workshop(tmp_path_factory.mktemp(path.stem)) for path in DOCUMENTS}
    yield made
    if UPDATE:  # the pictures of the documentation are those that its code makes
        for picture in (REPOSITORY / "docs" / "images").glob("*.png"):
            for workshop in made.values():
                if (workshop.folder / picture.name).exists():
                    shutil.copy(workshop.folder / picture.name, picture)


@pytest.fixture
def workshop(request, workshops, monkeypatch):
    """Those of the document of the snippet at hand, with the real data where it needs them."""
    snippet: Snippet = request.node.callspec.params["snippet"]
    here = workshops[snippet.document]
    if here.no_data:
        pytest.skip("an earlier snippet of this document needs the real data, which are absent")
    if snippet.needs_data and not (here.folder / "data").exists():
        here.no_data = True  # unless the next line finds them
        (here.folder / "data").symlink_to(request.getfixturevalue("data_dir"))
        here.no_data = False
    monkeypatch.chdir(here.folder)
    monkeypatch.setitem(sys.modules, "wandb", WandB())
    with mpl.rc_context({"backend": "Agg"}):
        yield here


@pytest.mark.parametrize("snippet", list(_cases()))
def test_snippet(snippet, workshop):
    if snippet.language in ("yaml", "toml"):
        check_configuration(snippet, workshop)
        return
    if snippet.language == "console":
        block = run_console(snippet, workshop)
        if UPDATE:
            _write(snippet, re.escape(snippet.text), block)
        return
    printed = run_python(snippet, workshop)
    if UPDATE and snippet.output is not None:
        before = rf"{re.escape(snippet.text)}```\s*```output\n"
        _write(snippet, re.escape(snippet.output) + "(?=```)", printed.rstrip() + "\n", before)
    elif snippet.output is not None:
        differ = difference(snippet.output, printed)
        assert differ is None, differ


def _write(snippet: Snippet, old: str, new: str, before: str = "") -> None:
    """Put what came out now into the document, in place of what a pattern matches."""
    text = snippet.document.read_text(encoding="utf-8")
    changed, count = re.subn(f"({before}){old}", lambda found: found[1] + new, text, count=1)
    assert count == 1
    snippet.document.write_text(changed, encoding="utf-8")


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=_name)
def test_examples_of_docstrings(path):
    parts = path.relative_to(SOURCE).with_suffix("").parts
    module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0


def configuration_rows():
    """The rows that describe each section's keys in the page about the configuration."""
    for name, section in Config.model_fields.items():
        yield name, [_row(key, field) for key, field in section.annotation.model_fields.items()]


def _row(key, field):
    default = "" if field.default is None else f"`{json.dumps(field.default)}`"
    parts = [field.annotation, *get_args(field.annotation)]
    words = [
        f"`{word}`" for part in parts if get_origin(part) is Literal for word in get_args(part)
    ]
    about = field.description + (f" One of {', '.join(words)}." if words else "")
    return f"| `{key}` | {default} | {about} |".replace("|value|", r"\|value\|")


@pytest.mark.parametrize(("section", "rows"), list(configuration_rows()))
def test_every_key_of_the_configuration_is_documented(section, rows):
    page = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    _, _, part = page.partition(f"### `{section}`\n")
    table = [line for line in part.partition("###")[0].splitlines() if line.startswith("| `")]
    assert table == rows


def test_every_document_is_found():
    assert {"README.md", "docs/index.md", "docs/valuation.md"} <= set(map(_name, DOCUMENTS))


@pytest.mark.parametrize(
    ("shown", "real", "same"),
    [
        ("value 0.1731, 12 of 30", "value  0.1733, 12 of 30", True),
        ("value 0.1731, 12 of 30", "value 0.1731, 13 of 30", False),
        ("value 0.1731", "value 0.1831", False),
        ("worth 1.2e-05", "worth 1.21e-05", True),
        ("after 0.9 s.", "after 31.4 s.", True),
        ("a -0.0012", "a 0.0012", False),
        ("12,455 queries", "12,467 queries", True),
        ("12,455 queries", "13,455 queries", False),
        ("session 12455", "session 12456", False),
    ],
)
def test_lines_are_compared_with_sense(shown, real, same):
    assert same_line(shown, real) is same


def test_left_out_lines_match_anything():
    real = "head\none\ntwo\nend\n"
    assert difference("head\n...\nend", real) is None
    assert difference("head\n...", real) is None
    assert "leaves out" in (difference("head\none", real) or "")
    assert "end of all" in (difference("head\n...\nend of all", real) or "")
