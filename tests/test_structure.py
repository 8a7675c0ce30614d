"""What holds of the source code as a whole."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import whence

SOURCE = Path(whence.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))

MOST_POSITIONAL = 10


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def too_long(path: Path) -> list[str]:
    """Functions with more parameters than can be told apart by place."""
    found = []
    for function in functions(path):
        count = len(function.args.posonlyargs) + len(function.args.args)
        if count > MOST_POSITIONAL:
            found.append(f"{path.relative_to(SOURCE)}:{function.lineno} {function.name}: {count}")
    return found


def test_no_function_has_too_many_positional_parameters():
    assert len(MODULES) > 100
    assert [line for path in MODULES for line in too_long(path)] == []


@pytest.mark.parametrize(("count", "found"), [(10, 0), (11, 1)])
def test_too_many_are_found(tmp_path, monkeypatch, count, found):
    monkeypatch.setattr(f"{__name__}.SOURCE", tmp_path)
    path = tmp_path / "a.py"
    path.write_text(f"def f({', '.join(f'p{i}' for i in range(count))}): ...\n")
    assert len(too_long(path)) == found
