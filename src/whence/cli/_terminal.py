"""What a person sees: tables on standard output, progress and complaints on standard error."""

from __future__ import annotations

import logging
import re
import shlex
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from whence import _words as words
from whence.errors import WhenceWarning

if TYPE_CHECKING:
    from whence.engines import Run

_WIDEST = 2_000
_BREAKS = re.compile(r"[\r\n\t\v\f\x85\u2028\u2029]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters, and those that change the direction of what follows."""
_OF_FILES = ("--sustainable",)
_OF_MODELS = ("loss",)
"""Parameters of models, which are keys of the section `model`, that messages advise on."""
_VALUE = r"'[^']*'|\"[^\"]*\"|\.\.\.|…|\([^)]*\)|[^\s,;:.()]+(?:\.\d+)?"


@dataclass
class Wording:
    """The options of a command in place of Python's arguments in messages.

    Parameters
    ----------
    options : mapping
        Name of a parameter to the option it is given with.
    flags : mapping
        Name of a switch to the options that turn it on and off, "" where there is none.
    keys : mapping
        Key of the configuration to the option that sets it.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, parameters: Iterable[Any]) -> Wording:
        """Return the wording of a command with these parameters."""
        options, flags, keys = {}, {}, {}
        for one in parameters:
            names = [name for name in one.opts if name.startswith("-")]
            if not names:
                continue
            own = str(one.name).rstrip("_").rpartition("__")[2]
            option = max(names, key=len)
            for key in str(one.name).split("___") if "__" in str(one.name) else ():
                keys[key.replace("__", ".", 1)] = option
            if getattr(one, "is_flag", False):
                flags[own] = (option, next(iter(one.secondary_opts), ""))
            else:
                options[own] = option
            if option == "--output":
                options["folder"] = option
        return cls(options, flags, keys)

    def spoken(self, message: str) -> str:
        """Return a message of the library as the command line says it.

        ``by='user'`` becomes ``--by user`` and ``tolerance must be`` becomes ``--tolerance must
        be``, where there is such an option, ``optimizer='adam'`` becomes ``--set
        training.optimizer=adam``, where there is such a key; advice in Python is left out.
        """
        parts = re.split(r"(\b\w+\([^()]*=[^()]*\))", message)  # EASE(l2=3) is not advice
        said = "".join(
            part if number % 2 else self._said(part) for number, part in enumerate(parts)
        )
        first, space, rest = said.partition(" ")
        said = re.sub(r"\b([a-z]+\.[a-z_0-9]+) in the options\b", self._key, said)
        if first in self.options and rest.split(" ")[0] in ("must", "is", "has", "needs"):
            said = self.options[first] + space + rest
        return _without_python(said)

    def _said(self, text: str) -> str:
        text = re.sub(
            rf"(?<![\w.\-])([a-z_][a-z_0-9]*)=({_VALUE}|(?=[.,;\s]|$))", self._option, text
        )
        return re.sub(r"(?<![\w.\-/])[a-z]+_[a-z_]+\b(?!\.\w|[(=/])", self._name, text)

    def _name(self, found: re.Match[str]) -> str:
        return self.options.get(found[0], found[0])

    def _key(self, found: re.Match[str]) -> str:
        return self.keys.get(found[1], f"--set {found[1]}")

    def _option(self, found: re.Match[str]) -> str:
        name, value = found[1], found[2].strip("'\"").replace("…", "...")
        if name in self.flags and value in ("True", "False"):
            return self.flags[name][value == "False"] or found[0]
        if value.isupper():  # item=ID is no argument
            return found[0]
        if value.startswith("["):  # what Python takes as a list, the command reads from a file
            value = "FILE" if self.options.get(name) in _OF_FILES else "..."
        quoted = shlex.quote(value) if " " in value else value or "..."
        if name in self.options:
            return f"{self.options[name]} {quoted}"
        key = _key(name) if self.options else None
        if key is None:
            return found[0] if value or not self.options else name
        return f"--set '{key}={value}'" if " " in value else f"--set {key}={quoted}"


def _key(name: str) -> str | None:
    """Key of the configuration of that name, where there is only one."""
    from whence.config import Config

    keys = [
        f"{section}.{name}"
        for section, part in Config.model_fields.items()
        if name in part.annotation.model_fields  # type: ignore[union-attr]
    ]
    if not keys and name in _OF_MODELS:
        return f"model.{name}"
    return keys[0] if len(keys) == 1 else None


def _without_python(text: str) -> str:
    """Leave out advice that only a program can follow, such as model.fold_in([history])."""
    clauses = re.split(r"(; |, or |, e\.g\. |: )", text)
    kept = clauses[0]
    for mark, clause in zip(clauses[1::2], clauses[2::2]):
        if not re.search(r"(\w\.|\.)[a-z_]+\(|\bpl\.[A-Z]|\bwhence\.[a-z_]+\b(?!/)", clause):
            kept += mark + clause
    return kept if kept.endswith((".", "?", "!")) or not text.endswith(".") else f"{kept}."


class _Terminal:
    """How this command speaks."""

    def __init__(self) -> None:
        self.quiet, self.verbose = False, False
        self.engine: dict[str, Any] = {}
        """What works, as `whence.Run` takes it."""
        self.wording = Wording()
        self.arguments: list[str] = []
        self._told: set[str] = set()

    def start(self) -> None:
        """Begin a command: what was noted before is noted again."""
        self._told = set()
        log = logging.getLogger("whence")
        for handler in [one for one in log.handlers if isinstance(one, _Said)]:
            log.removeHandler(handler)
        if self.verbose:
            log.addHandler(_Said())
            log.setLevel(logging.INFO)

    def work_by(self, engine: str | None, address: str | None) -> None:
        """Let an engine do the work of this command.

        Raises
        ------
        EngineError, UnsupportedError, ParameterError
            If it cannot.
        """
        self.engine = {}
        if engine is None and address is None:
            return
        from whence.engines import Run
        from whence.engines.cluster import machines

        if engine is None and address is not None:
            engine = "ray"
        self.engine = {"engine": engine, "address": address}
        Run(**self.engine)
        if engine == "ray":
            self.note(f"Ray works on {machines(address)}.")

    def note(self, message: object) -> None:
        """Print a note on standard error, each only once."""
        text = self.wording.spoken(str(message))
        if not self.quiet and text not in self._told:
            self._told.add(text)
            complain(f"Note: {text}")

    def warned(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Print a warning: what Whence says of the data as a note, another as Python does."""
        if issubclass(category, WhenceWarning):
            self.note(message)
        else:
            text = warnings.formatwarning(message, category, filename, lineno, line)
            print(text, file=file or sys.stderr, end="")

    def again(self) -> str:
        """Return the command that goes on with what this one has begun."""
        resumed = [] if "--resume" in self.arguments else ["--resume"]
        left = [text for text in self.arguments if text != "--overwrite"]
        return shlex.join(["whence", *left, *resumed])


class _Said(logging.StreamHandler):  # type: ignore[type-arg]
    """What the library logs, on standard error."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("%(message)s"))


terminal = _Terminal()


@contextmanager
def working(title: str, *, silent: bool = False, **how: Any) -> Iterator[Run]:
    """Give the run of some work, with its progress.

    Parameters
    ----------
    title : str
        What the work is.
    silent : bool
        No progress, whatever the command line says.
    **how
        Of `whence.Run`: seed, threads, folder, resume, callbacks.
    """
    from whence.engines import Run, reporter

    with reporter(not (terminal.quiet or silent), title) as report:
        yield Run(progress=report, **{**terminal.engine, **how})


def harmless(text: object, *, lines: bool = True) -> str:
    """Return a text without characters that a terminal takes as commands, as ids may have them.

    Parameters
    ----------
    text : object
    lines : bool
        Whether line breaks stay; they are blanks otherwise.
    """
    said = str(text) if lines else _BREAKS.sub(" ", str(text))
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], said)


def say(text: str = "") -> None:
    """Print lines of plain text."""
    print(harmless(text))


def complain(text: str) -> None:
    """Print a line on standard error."""
    print(harmless(text), file=sys.stderr)


def counted(number: int, noun: str) -> str:
    """Return a number with what it counts, in the singular for one."""
    return words.counted(number, words.plural_of(noun))


def heading(text: str) -> None:
    """Print a line that stands out on a terminal."""
    Console(highlight=False, soft_wrap=True).print(Text(harmless(text), style="bold"))


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    text: Collection[str] = (),
    numbers: Collection[str] = (),
) -> None:
    """Print a table, aligned to the right but for `text` and a first column not of `numbers`."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for position, column in enumerate(columns):
        left = column in text or (position == 0 and column not in numbers)
        name = harmless(column, lines=False)
        shown.add_column(Text(name), justify="left" if left else "right", no_wrap=True)
    for row in rows:
        shown.add_row(*(Text(harmless(cell, lines=False)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:  # in a file or a pipe nothing is to be cut off
        console.width = _WIDEST
        console.width = max(80, console.measure(shown).maximum)
    console.print(shown)


def number(value: float | None) -> str:
    """Format a value of a metric, or of a source, for a table."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    return f"{value:.4f}" if abs(value) >= 0.01 else f"{value:.3e}"
