"""How a function becomes a command: each of its options is stated once.

A command is a function with three kinds of options: those of its own signature, keys of the
configuration (`Key`), and parameters of a class (`Parameters`). What was given of the last two
comes as one argument, `given`. Everything is put together when the command is called, so that
``whence --help`` needs none of it.
"""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from whence.cli._descriptions import described
from whence.cli._terminal import Wording, terminal
from whence.errors import ConfigError

if TYPE_CHECKING:
    from whence.config import Config

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What is wrong with the words of a command, whichever package Typer parses them with."""

RENAMED = {
    "--session": "--session-column", "--item": "--item-column", "--time": "--time-column",
    "--basket": "--basket-column", "--rating": "--rating-column", "--validation": "--valid",
    "--n": "-n", "--k": "-k", "--events": "--n-events", "--self": "--self-influence",
}  # fmt: skip
"""Older spellings that are understood, as they mean what they meant."""
CHANGED = {
    "--user": "--user-column", "--k": "--neighbours", "--users": "--n-users", "--data": "--test",
}  # fmt: skip
"""Older spellings that mean something else elsewhere, so that the newer one is asked for."""


@dataclass(frozen=True)
class Key:
    """An option that sets a key of the configuration.

    Parameters
    ----------
    keys : str
        Such as "data.train"; several, with spaces between, that get the same value.
    names : tuple of str
        Of the option.
    kind : type
        What is given; the configuration checks it further.
    panel : str
        Of the help.
    help : str, optional
        The description of the key if absent.
    """

    keys: str
    names: tuple[str, ...]
    kind: Any = str
    panel: str = "Run"
    help: str | None = None

    @property
    def name(self) -> str:
        """Of the parameter."""
        return self.keys.replace(".", "__").replace(" ", "___")

    def parameter(self) -> inspect.Parameter:
        """Return the parameter that Typer makes an option of."""
        words = self.help
        if words is None:
            from whence.config import Config

            section, _, key = self.keys.split()[0].partition(".")
            fields = Config.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
            words = fields[key].description
        if self.kind is bool:
            return _parameter(self.name, bool, self.names, words, self.panel, False)
        return _parameter(self.name, self.kind | None, self.names, words, self.panel, None)


@dataclass(frozen=True)
class Parameters:
    """Options that are the parameters of a class: its types, its defaults, its words.

    Parameters
    ----------
    owner : callable
        From the arguments of the command to the class.
    section : str, optional
        Of the configuration that they are keys of; else they come as ``given.parameters``.
    without : tuple of str
        Parameters that are no options, or stated otherwise.
    names : mapping
        Names of options that are not those of the parameter.
    panel : str
        Of the help.
    """

    owner: Callable[[list[str]], Any]
    section: str | None = None
    without: tuple[str, ...] = ()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    panel: str = "Method"

    def parameters(self, arguments: list[str], taken: set[str]) -> list[inspect.Parameter]:
        """Return the parameters that Typer makes options of; `taken` are names of others."""
        owner = self.owner(arguments)
        if owner is None:
            return []
        usual, words = owner.parameter_defaults(), described(owner)
        made = []
        for name, kind in owner.parameter_types().items():
            if name in self.without:
                continue
            default = usual.get(name)
            plain, choices = _plain(kind, default)
            help_ = words.get(name, "")
            if choices:
                help_ = f"{help_} One of {', '.join(map(str, choices))}.".strip()
            if isinstance(default, (int, float, str)) and default != "":
                help_ += f" ({str(default).lower() if isinstance(default, bool) else default})"
            dashed = f"--{name.strip('_').replace('_', '-')}"
            if dashed in taken:
                dashed = f"--{self.panel.lower()}-{dashed[2:]}"
            names = self.names.get(name, (dashed,))
            if plain is bool and name not in self.names:
                names = (f"{dashed}/--no-{dashed[2:]}",)
            own = f"{self.section or 'parameter'}__{name}"
            made.append(_parameter(own, plain | None, names, help_, self.panel, None))
        return made


class Given:
    """What was given of the keys of the configuration, and of the parameters of a class."""

    def __init__(
        self, keys: Mapping[str, Any], parameters: dict[str, Any], extra: list[str]
    ) -> None:
        self.keys, self.parameters, self.extra = dict(keys), parameters, extra

    def has(self, key: str) -> bool:
        """Whether a key was given, as an option or with ``--set``."""
        return key in self.keys or any(text.startswith(f"{key}=") for text in self.extra)

    def config(self, file: Path | None = None, **more: Any) -> Config:
        """Return the configuration of a file, the options and ``--set``, the later winning.

        Parameters
        ----------
        file : Path, optional
        **more
            ``section__key``: what is used where it was not given.
        """
        from whence.config import load_config
        from whence.config.reading import as_pairs

        usual = {name.replace("__", ".", 1): value for name, value in more.items()}
        if "data.path" in self.keys:  # instead of the files that the configuration names
            usual |= dict.fromkeys(("data.train", "data.validation", "data.test"))
        elif "data.train" in self.keys:
            usual["data.path"] = None
        return load_config(file, {**usual, **self.keys, **dict(as_pairs(self.extra))})


def command(*options: Key | Parameters) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function the options that are not in its signature; it takes them as `given`."""

    def marked(function: Callable[..., Any]) -> Callable[..., Any]:
        function.options = options  # type: ignore[attr-defined]
        return function

    return marked


class Commands(TyperGroup):
    """A group whose commands are imported and put together when they are called."""

    homes: Mapping[str, str] = {}
    """Name of each command to ``module:function``, the function in the order of the help."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order of the help."""
        return [*self.homes, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command as the help lists it."""
        if cmd_name not in self.homes:
            return super().get_command(ctx, cmd_name)
        found = self._found(cmd_name)
        if isinstance(found, typer.Typer):
            group = typer.main.get_command(found)
            group.name = cmd_name
            return group
        return TyperCommand(name=cmd_name, help=inspect.getdoc(found), params=[])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is called, whole, and its arguments."""
        name, rest = args[0], args[1:]
        if name not in self.homes:
            return super().resolve_command(ctx, args)
        found = self._found(name)
        if isinstance(found, typer.Typer):
            return name, typer.main.get_command(found), rest
        made = _built(found, name, rest)
        terminal.wording = Wording.of(made.params)
        return name, made, _respelt(rest, made)

    def _found(self, name: str) -> Any:
        module, _, function = self.homes[name].partition(":")
        return getattr(importlib.import_module(module), function)


def _built(function: Callable[..., Any], name: str, arguments: list[str]) -> Any:
    """Make the command of a function."""
    hints = get_type_hints(function, include_extras=True)
    own = [
        one.replace(annotation=hints[one.name])
        for one in inspect.signature(function).parameters.values()
        if one.name != "given"
    ]
    options = getattr(function, "options", ())
    keys = {one.name: one.keys for one in options if isinstance(one, Key)}
    more = [one.parameter() for one in options if isinstance(one, Key)]
    taken = {name for one in options if isinstance(one, Key) for name in one.names}
    for group in options:
        if isinstance(group, Parameters):
            made = group.parameters(arguments, taken)
            more += made
            if group.section:
                keys |= {one.name: one.name.replace("__", ".", 1) for one in made}
    places = [one for one in own if _is_argument(one)]
    parameters = [*places, *more, *(one for one in own if one not in places), *_COMMON]
    elsewhere = name not in _HERE and any(one.name == "threads" for one in own)
    if elsewhere:
        parameters += _ELSEWHERE
    if keys:
        parameters.append(_SET)
    whole = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]

    def run(**values: Any) -> Any:
        terminal.quiet, terminal.verbose = values.pop("quiet_"), values.pop("verbose_")
        terminal.start()
        how = [values.pop(one.name) for one in _ELSEWHERE] if elsewhere else [None, None]
        for one in whole:
            if one.name in values:
                _check(one, values[one.name])
        terminal.work_by(*how)
        if "given" in inspect.signature(function).parameters:
            values = {**{one.name: values[one.name] for one in own}, "given": _given(values, keys)}
        return function(**values)

    shown = [one.replace(annotation=_without_bounds(one.annotation)) for one in whole]
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in shown}
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(run)
    return typer.main.get_command(app)


def _without_bounds(kind: Any) -> Any:
    """A type without the bounds of its numbers, which are checked here in words of our own."""
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        options = [note for note in notes if hasattr(note, "param_decls")]
        inner = _without_bounds(inner)
        return Annotated[(inner, *options)] if options else inner
    if get_origin(kind) in (Union, types.UnionType):
        parts = tuple(_without_bounds(part) for part in get_args(kind))
        return Union[parts]  # noqa: UP007 (made of a tuple)
    if get_origin(kind) is list:
        return list[_without_bounds(get_args(kind)[0])]  # type: ignore[misc]
    return kind


def _given(values: Mapping[str, Any], keys: Mapping[str, str]) -> Given:
    found: dict[str, Any] = {}
    for name, targets in keys.items():
        value = values[name]
        if value is not None and value is not False and value != []:
            plain = str(value) if isinstance(value, Path) else value
            found |= dict.fromkeys(targets.split(), plain)
    prefix = "parameter__"
    parameters = {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix) and value is not None and value != []
    }
    return Given(found, parameters, list(values.get("set_") or []))


def _respelt(arguments: list[str], made: Any) -> list[str]:
    """Older spellings of options as they are now."""
    known = {name for one in made.params for name in (*one.opts, *one.secondary_opts)}
    newer: list[str] = []
    for place, text in enumerate(arguments):
        if text == "--":
            return [*newer, *arguments[place:]]
        name, equals, value = text.partition("=")
        if name not in known and RENAMED.get(name) in known:
            short = not RENAMED[name].startswith("--")
            newer += (
                [RENAMED[name], value] if equals and short else [RENAMED[name] + equals + value]
            )
            continue
        if name not in known and CHANGED.get(name) in known:
            raise ConfigError(
                f"{name} is called {CHANGED[name]} here now, as {name} means something else in "
                "other commands."
            )
        newer.append(text)
    return newer


def _check(one: inspect.Parameter, value: Any) -> None:
    """Refuse a value that is out of the range of its type, naming the option."""
    from whence.parameters import check_value

    if value is None:
        return
    kind, *notes = get_args(one.annotation)
    info = next(note for note in notes if hasattr(note, "param_decls"))
    # In an annotation, the first name of an option is where Typer has its default.
    written = (info.default, *(info.param_decls or ()))
    names = [name for name in written if isinstance(name, str) and name.startswith("-")]
    option = max(names, key=len) if names else f"--{one.name.strip('_').replace('_', '-')}"
    bounds = tuple(note for note in notes if note is not info)
    kind = Annotated[(kind, *bounds)] if bounds else kind
    inner = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) in (Union, types.UnionType) and len(inner) == 1:
        kind = inner[0]
    each = get_args(kind)[0] if get_origin(kind) is list else kind
    if get_origin(each) in (Annotated, Literal):
        for part in value if get_origin(kind) is list else [value]:
            check_value(option, part, each)


def _parameter(
    name: str, kind: Any, names: Sequence[str], words: str, panel: str, default: Any
) -> inspect.Parameter:
    option = typer.Option(*names, help=words, rich_help_panel=panel, show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _is_argument(one: inspect.Parameter) -> bool:
    return any(type(note).__name__ == "ArgumentInfo" for note in get_args(one.annotation)[1:])


_SET = _parameter(
    "set_", list[str] | None, ("--set",),
    "Any key of the configuration, such as training.epochs=5; may be repeated.", "Run", None,
)  # fmt: skip
_COMMON = [
    _parameter("quiet_", bool, ("--quiet", "-q"), "No progress and no notes.", "Run", False),
    _parameter("verbose_", bool, ("--verbose",), "Say more of what is done.", "Run", False),
]
_ELSEWHERE = [
    _parameter(
        "engine_", Literal["threads", "ray"] | None, ("--engine",),
        "What works: threads of this process, or Ray's processes, with so many threads for a task. "
        "Results do not depend on it.", "Run", None,
    ),
    _parameter(
        "address_", str | None, ("--address",),
        "host:port of the Ray cluster that this machine is part of, or auto; this machine alone "
        "if absent.", "Run", None,
    ),
]  # fmt: skip
_HERE = ("train", "tune", "forget", "demo")
"""Commands whose work is done in this process, whatever else there is."""


# Classes


def _plain(kind: Any, default: Any) -> tuple[Any, tuple[Any, ...]]:
    """What a person gives for a parameter of a type, and its choices."""
    if get_origin(kind) is Annotated:
        plain, choices = _plain(get_args(kind)[0], default)
        return plain, choices
    if get_origin(kind) in (Union, types.UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        found = [_plain(part, default) for part in parts]
        choices = tuple(choice for _, own in found for choice in own)
        same = {plain for plain, _ in found if plain is not str} or {str}
        return (same.pop() if len(same) == 1 else str), choices
    if get_origin(kind) is Literal:
        return str, get_args(kind)
    if kind in (int, float, bool, str):
        return kind, ()
    if get_origin(kind) is not None and issubclass(get_origin(kind), Iterable):
        inner, choices = _plain(next(iter(get_args(kind)), str), None)
        return list[inner], choices  # type: ignore[valid-type]
    return (type(default) if type(default) in (int, float, bool) else str), ()


def chosen_by(option: str, key: str, usual: str) -> Callable[[list[str]], str]:
    """Return a function from arguments to what an option, ``--set`` or the configuration choose."""

    def chosen(arguments: list[str]) -> str:
        section, _, name = key.partition(".")
        found = usual
        for text in arguments:
            path = Path(text)
            path = path / "config.yaml" if path.is_dir() else path
            if path.suffix in (".yaml", ".yml", ".toml") and path.is_file():
                from whence.config.reading import read_raw

                part = read_raw(path).get(section)
                found = str(part.get(name, found)) if isinstance(part, dict) else found
                break
        pairs = zip(arguments, [*arguments[1:], ""])
        for text, after in pairs:
            for start in (f"{option}=", f"--set={key}="):
                found = text.removeprefix(start) if text.startswith(start) else found
            if text == option:
                found = after
            if text == "--set" and after.startswith(f"{key}="):
                found = after.removeprefix(f"{key}=")
        return found

    return chosen
