"""The house: imports go down from room to room, never up, never sideways, never in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import whence

ROOT = Path(whence.__file__).parent
# From the ground up; rooms of one floor do not import each other.
FLOORS = (
    ("errors",),
    ("registry", "_lazy", "_html", "_unbuilt", "_words"),
    ("parameters",),
    ("engines",),
    ("data",),
    ("evaluation",),
    ("models",),
    ("plots",),
    ("attribution",),
    ("valuation", "influence", "explanation"),
    ("curation",),
    ("experiments",),
    ("illoominate",),
    ("config",),
    ("reporting",),
    ("cli",),
    ("testing",),
)
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}


def modules():
    """All modules by name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path, known, *, in_functions=True):
    """Modules of the package that a module imports, those for type checkers left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found, waiting = set(), [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not in_functions:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        waiting += ast.iter_child_nodes(node)
    return {name for name in found if name in known}


def room(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def test_every_module_has_a_room():
    assert {room(name) for name in modules()} - {None} <= HEIGHT.keys()


def test_imports_go_down():
    known = modules()
    wrong = [
        f"{name} imports {other}"
        for name, path in known.items()
        for other in imported(path, known)
        if room(name)
        and room(other)
        and room(name) != room(other)
        and HEIGHT[room(other)] >= HEIGHT[room(name)]
    ]
    assert wrong == []


def test_no_imports_in_a_circle():
    """Not even by imports within functions."""
    known = modules()
    graph = {name: imported(path, known) - {name} for name, path in known.items()}
    left = dict(graph)
    while True:  # take away what nothing that is left imports, and what imports nothing that is
        free = {name for name, others in left.items() if not others & left.keys()}
        used = set().union(*left.values()) if left else set()
        free |= left.keys() - used
        if not free:
            break
        left = {name: others for name, others in left.items() if name not in free}
    circle = {name: sorted(others & left.keys()) for name, others in left.items()}
    assert circle == {}
