"""What a reader sees in README and docs, found, run and compared with what really comes out.

- ```` ```python ```` is run, one namespace per document;
- ```` ```output ```` right after it is what it prints;
- ```` ```console ````: each command after ``$`` with ``whence`` in it is run by bash, and the lines
  below it are what it prints; other commands, such as ``pip``, are left to the reader;
- ```` ```yaml ```` and ```` ```toml ```` are configurations, kept as ``config.yaml`` and
  ``config.toml`` for the commands after them.

A line ``...`` stands for any number of lines. Numbers that are not whole, and counts of a thousand
or more, may differ by 2%, for other versions of the numeric libraries, and durations altogether.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from sybil.document import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

from whence.config import load_config

SLOW = "<!-- slow -->"
LANGUAGES = ("python", "output", "console", "yaml", "toml")
_OF_WHENCE = re.compile(r"\$ (?!pip ).*\bwhence ")
_DURATION = re.compile(r"\b\d+(\.\d+)? (s|ms|seconds?|minutes?)\b")
_NUMBER = re.compile(r"([+-]?\d[\d,]*\.\d+(?:e[+-]?\d+)?|[+-]?\d+e[+-]?\d+|\b\d{1,3}(?:,\d{3})+\b)")
_TOLERANCE = 0.02


class WandB(ModuleType):
    """Stands in for Weights & Biases, which would send what it is told to a server."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.logged: list[tuple[int, dict[str, Any]]] = []

    def init(self, project: str, config: dict[str, Any]) -> WandB:
        assert project
        assert "epochs" in config
        return self

    def log(self, record: dict[str, Any], step: int) -> None:
        self.logged.append((step, record))

    def finish(self) -> None:
        steps = [step for step, _ in self.logged]
        assert steps == list(range(1, len(steps) + 1))
        assert all({"loss", "metrics"} <= record.keys() for _, record in self.logged)
        assert steps


@dataclass(frozen=True)
class Snippet:
    """A block of code, and what comes out of it according to the document."""

    document: Path
    line: int
    language: str
    text: str
    output: str | None = None
    slow: bool = False

    @property
    def needs_data(self) -> bool:
        return "data/" in self.text


@dataclass
class Workshop:
    """Where the snippets of one document are run, one after another."""

    folder: Path
    namespace: dict[str, Any] = field(default_factory=dict)
    no_data: bool = False


def snippets(document: Path) -> Iterator[Snippet]:
    """Find the snippets of a document."""
    text = document.read_text(encoding="utf-8")
    blocks = list(FencedCodeBlockLexer("|".join(LANGUAGES))(Document(text, str(document))))
    for number, block in enumerate(blocks):
        language, code = block.lexemes["language"], str(block.lexemes["source"])
        if language == "output":
            continue
        after = blocks[number + 1].lexemes if number + 1 < len(blocks) else {"language": None}
        yield Snippet(
            document=document,
            line=text[: block.start].count("\n") + 1,
            language=language,
            text=code,
            output=str(after["source"]) if after["language"] == "output" else None,
            slow=text[: block.start].rstrip().endswith(SLOW),
        )


def run_python(snippet: Snippet, workshop: Workshop) -> str:
    """Run Python and return what it prints."""
    # Line numbers as in the document, for tracebacks.
    code = compile("\n" * snippet.line + snippet.text, str(snippet.document), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, workshop.namespace)
    return printed.getvalue()


def run_console(snippet: Snippet, workshop: Workshop) -> str:
    """Run the commands of Whence and return the block as it should be."""
    lines: list[str] = []
    for command, output in commands(snippet.text):
        lines += command
        if not _OF_WHENCE.match(" ".join(command)):
            lines += output
            continue
        printed = run_whence(command, workshop.folder)
        # A command whose output the document does not show is only run.
        lines += shortened(printed, output) if output else []
        if output and os.environ.get("WHENCE_UPDATE_DOCS") != "1":
            differ = difference("\n".join(output), printed)
            assert differ is None, f"{command[0]}\n{differ}"
        lines += [""] if output and output[-1] == "" else []
    return "\n".join(lines) + "\n"


def commands(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Give each command, a line or several that end in a backslash, and the lines after it."""
    lines = text.rstrip("\n").split("\n")
    assert lines[0].startswith("$ "), f"a console block begins with a command, not {lines[0]!r}"
    position = 0
    while position < len(lines):
        command = [lines[position]]
        while command[-1].endswith("\\"):
            position += 1
            command.append(lines[position])
        position += 1
        output = []
        while position < len(lines) and not lines[position].startswith("$ "):
            output.append(lines[position])
            position += 1
        yield command, output


def run_whence(command: list[str], folder: Path) -> str:
    """Run one command, which must succeed, and return what it prints."""
    text = "\n".join(command).removeprefix("$ ")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", text],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout


def check_configuration(snippet: Snippet, workshop: Workshop) -> None:
    """Keep a configuration for later commands, and read it."""
    path = workshop.folder / f"config.{snippet.language}"
    path.write_text(snippet.text, encoding="utf-8")
    load_config(path)


def difference(expected: str, actual: str) -> str | None:
    """Say where the output differs from what a document shows; None where it does not."""
    shown, found = _lines(expected), _lines(actual)
    position = 0
    for number, part in enumerate(_parts(shown)):
        free = number > 0
        place = _find(part, found, position, free)
        if place is None:
            return (
                "the document shows\n  " + "\n  ".join(part) + "\nbut it is\n  "
                + "\n  ".join(found[position:])
                + "\n(after reading the difference: WHENCE_UPDATE_DOCS=1 pytest tests/test_docs.py)"
            )  # fmt: skip
        position = place + len(part)
    if position < len(found) and shown and shown[-1] != "...":
        return "the document leaves out\n  " + "\n  ".join(found[position:])
    return None


def shortened(actual: str, like: list[str]) -> list[str]:
    """Cut real output as the document does: as many first and last lines, ``...`` between."""
    found, shown = _lines(actual), _lines("\n".join(like))
    if "..." not in shown:
        return found
    first = shown.index("...")
    last = len(shown) - 1 - shown[::-1].index("...")
    tail = len(shown) - 1 - last
    return [*found[:first], "...", *(found[-tail:] if tail else [])]


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").split("\n")]


def _parts(lines: list[str]) -> Iterator[list[str]]:
    """Split lines at ``...``."""
    part: list[str] = []
    for line in lines:
        if line == "...":
            yield part
            part = []
        else:
            part.append(line)
    yield part


def _find(part: list[str], found: list[str], start: int, free: bool) -> int | None:
    """Return where the lines of a part are, at `start` or, if free, anywhere after it."""
    places = range(start, len(found) - len(part) + 1) if free else [start]
    for place in places:
        window = found[place : place + len(part)]
        if len(window) == len(part) and all(map(same_line, part, window)):
            return place
    return None


def same_line(expected: str, actual: str) -> bool:
    """Compare two lines: words and whole numbers exactly, other numbers nearly."""
    left, right = (_NUMBER.split(_DURATION.sub("<time>", line)) for line in (expected, actual))
    if len(left) != len(right):
        return False
    for number, (a, b) in enumerate(zip(left, right)):
        same = _nearly(a, b) if number % 2 else a.split() == b.split()
        if not same:
            return False
    return True


def _nearly(a: str, b: str) -> bool:
    x, y = (float(text.replace(",", "")) for text in (a, b))
    decimals = len(a.partition("e")[0].partition(".")[2])
    step = 10.0**-decimals * 10.0 ** int(a.partition("e")[2] or 0)
    return abs(x - y) <= max(_TOLERANCE * abs(x), 1.001 * step)
