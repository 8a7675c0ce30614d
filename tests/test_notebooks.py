"""The notebooks of the documentation: every cell is run, and shows what it shows there.

``WHENCE_UPDATE_DOCS=1`` writes what comes out into the notebook.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
from pathlib import Path

import pytest
from _snippets import difference

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
UPDATE = os.environ.get("WHENCE_UPDATE_DOCS") == "1"


def run_cell(source, namespace):
    """Run a cell as a notebook does; its outputs in the form of a notebook file."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), namespace)
        value = (
            None
            if last is None
            else eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)
        )
    outputs = []
    if printed.getvalue():
        outputs.append(
            {"name": "stdout", "output_type": "stream", "text": lines(printed.getvalue())}
        )
    if value is not None:
        data = {"text/plain": lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = lines(value._repr_html_())
        outputs.append({"data": data, "metadata": {}, "output_type": "execute_result"})
    return outputs


def lines(text):
    return text.splitlines(keepends=True)


def shown(outputs):
    """What a person reads of the outputs of a cell, as text."""
    parts = [one.get("text") or one["data"]["text/plain"] for one in outputs]
    return "\n".join("".join(part) for part in parts)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_cell(path, tmp_path, monkeypatch):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    namespace = {}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells
    for number, cell in enumerate(cells, start=1):
        outputs = run_cell("".join(cell["source"]), namespace)
        if UPDATE:
            for one in outputs:
                if one["output_type"] == "execute_result":
                    one["execution_count"] = number
            cell |= {"outputs": outputs, "execution_count": number}
        else:
            differ = difference(shown(cell["outputs"]), shown(outputs))
            assert differ is None, f"cell {number}: {differ}"
    if UPDATE:
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")


def test_a_cell_that_shows_something_else_is_found(tmp_path):
    outputs = run_cell("print('one')\n1 + 1", {})
    assert shown(outputs) == "one\n\n2"
    assert difference("one\n\n3", shown(outputs)) is not None


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_with_real_data(path, data_dir, tmp_path, monkeypatch):
    """Where a notebook can take a public data set, all of it runs on that."""
    cells = [
        "".join(cell["source"])
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    if "REAL = False" not in cells[0]:
        pytest.skip("it has generated data only")
    (tmp_path / "data").symlink_to(data_dir)
    monkeypatch.chdir(tmp_path)
    namespace = {}
    outputs = [run_cell(cell.replace("REAL = False", "REAL = True"), namespace) for cell in cells]
    assert any(outputs)
