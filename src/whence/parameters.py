"""Classes with parameters: declared once, as fields, with their ranges and choices.

From the fields come the constructor, ``repr``, ``get_params`` and ``set_params`` (so that
``sklearn.base.clone`` and searches over parameters work), hints at misspelt names, the types of
configuration files, and the checks before work begins.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field as field
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from weakref import WeakKeyDictionary

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Self, dataclass_transform

from whence.errors import (
    ArgumentError,
    ParameterError,
    WhenceError,
    check_choice,
    check_float,
    check_int,
    did_you_mean,
)

Class = TypeVar("Class", bound=type)

PositiveInt = Annotated[int, Ge(1)]
Count = Annotated[int, Ge(0)]
Seed = Annotated[int, Ge(0)]
NonNegative = Annotated[float, Ge(0.0)]
Positive = Annotated[float, Gt(0.0)]
Share = Annotated[float, Ge(0.0), Le(1.0)]


def positional(default: Any) -> Any:
    """A parameter that may be given by its place, which only a metric may."""
    return dataclasses.field(default=default, kw_only=False)


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(dataclasses.field,))
class Configurable:
    """Base of everything that has parameters.

    A subclass declares them as annotated fields with defaults; they are given by name. The
    constructor stores them as they are, and `_check_params` looks at them before work begins.
    What is learned, or follows from the parameters, is declared with ``field(init=False)``.

    A class may have a constructor of its own instead; its arguments are the parameters then,
    also of its subclasses.

    Examples
    --------
    >>> class Smoothing(Configurable):
    ...     width: PositiveInt = 3
    ...     kind: Literal["box", "triangle"] = "box"
    >>> Smoothing(width=5)
    Smoothing(width=5)
    >>> Smoothing(widht=5)
    Traceback (most recent call last):
        ...
    whence.errors.ArgumentError: Smoothing has no parameter 'widht'. Did you mean 'width'?
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = cls.__init__ is not object.__init__ and not hasattr(cls.__init__, "__wrapped__")
        dataclasses.dataclass(kw_only=True, eq=False, repr=False, init=not own)(cls)
        if not own:
            cls.__init__ = _hinting(cls.__init__)  # type: ignore[method-assign]

    @classmethod
    def parameter_types(cls) -> dict[str, Any]:
        """Type of each parameter, its range included; ``Any`` where it cannot be known."""
        return dict(_parameters(cls)[0])

    @classmethod
    def parameter_defaults(cls) -> dict[str, Any]:
        """Default of each parameter that has one."""
        return dict(_parameters(cls)[1])

    @property
    def params(self) -> dict[str, Any]:
        """The parameters and their values."""
        return {name: getattr(self, name) for name in _parameters(type(self))[0]}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters and their values.

        Parameters
        ----------
        deep : bool
            Also those of parameters that have parameters themselves, as ``outer__inner``.
        """
        found = self.params
        if deep:
            for name, value in list(found.items()):
                if hasattr(value, "get_params") and not isinstance(value, type):
                    inner = value.get_params()
                    found |= {f"{name}__{key}": part for key, part in inner.items()}
        return found

    def set_params(self, **params: Any) -> Self:
        """Change parameters; ``outer__inner`` those of a parameter.

        Raises
        ------
        ArgumentError
            If there is no such parameter.
        """
        known = _parameters(type(self))[0]
        nested: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, _, inner = key.partition("__")
            if name not in known:
                raise _unknown(type(self), name)
            if inner:
                nested.setdefault(name, {})[inner] = value
            else:
                setattr(self, name, value)
        for name, changes in nested.items():
            getattr(self, name).set_params(**changes)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._shown_params())})"

    def _shown_params(self) -> Iterator[str]:
        """Parameters that are not at their defaults, as ``name=value``."""
        usual = _parameters(type(self))[1]
        for name, value in self.params.items():
            # Compared as they are shown, as an argument may be an array.
            if name not in usual or repr(value) != repr(usual[name]):
                yield f"{name}={value!r}"

    def _check_params(self) -> None:
        """Raise ParameterError where a parameter is not of its type, range or choices."""
        for name, kind in _parameters(type(self))[0].items():
            check_value(name, getattr(self, name), kind)


def check_value(name: str, value: Any, kind: Any) -> None:
    """Raise ParameterError unless a value is of its declared type.

    Parameters
    ----------
    name : str
        For the message.
    value : Any
    kind : type annotation
        Numbers with or without bounds (of `annotated_types`), ``bool``, ``str``, choices
        (``Literal``), each of them or None, and ``Sequence`` of them. Other types are not looked
        at.
    """
    base, low, high, above, below = _bounded(kind)
    origin = get_origin(base)
    if origin in (Union, types.UnionType):
        options = [one for one in get_args(base) if one is not type(None)]
        if value is None or len(options) > 1:
            if value is not None or len(options) < len(get_args(base)):
                return
            raise ParameterError(f"{name} must not be None.")
        check_value(name, value, options[0])
    elif origin is Literal:
        choices = get_args(base)
        if value not in choices or isinstance(value, bool):
            check_choice(name, value, [one for one in choices if isinstance(one, str)])
    elif origin is Sequence and get_args(base):
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ParameterError(f"{name} must be a list, not {value!r}.")
        for one in value:
            check_value(name, one, get_args(base)[0])
    elif base is bool:
        if not isinstance(value, (bool, np.bool_)):
            raise ParameterError(f"{name} must be True or False, not {value!r}.")
    elif base is int:
        check_int(name, value, minimum=low, maximum=high)
    elif base is float:
        check_float(name, value, minimum=low, maximum=high, above=above, below=below)
    elif base is str and not isinstance(value, str):
        raise ParameterError(f"{name} must be a text, not {value!r}.")


def _bounded(kind: Any) -> tuple[Any, Any, Any, Any, Any]:
    """A type without its bounds; least, greatest, and exclusive bounds."""
    low = high = above = below = None
    if get_origin(kind) is Annotated:
        kind, *notes = get_args(kind)
        for note in notes:
            low = note.ge if isinstance(note, Ge) else low
            high = note.le if isinstance(note, Le) else high
            above = note.gt if isinstance(note, Gt) else above
            below = note.lt if isinstance(note, Lt) else below
    return kind, low, high, above, below


def _hinting(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that says which name was meant, and names the class that was called."""

    @functools.wraps(init)
    def construct(self: Any, *args: Any, **params: Any) -> None:
        known, defaults = _parameters(type(self))
        for name in params:
            if name not in known:
                raise _unknown(type(self), name)
        try:
            init(self, *args, **params)
        except TypeError as error:
            if isinstance(error, WhenceError):  # what the constructor itself refuses
                raise
            raise _misplaced(type(self), args, params, defaults, error) from error

    return construct


def _by_place(owner: type[Any]) -> list[inspect.Parameter]:
    found = list(inspect.signature(owner.__init__).parameters.values())[1:]
    return [one for one in found if one.kind is one.POSITIONAL_OR_KEYWORD]


def _unknown(owner: type[Any], name: str) -> ArgumentError:
    known = list(_parameters(owner)[0])
    hint = did_you_mean(name, known)
    takes = f" It takes {', '.join(known)}." if known and not hint else ""
    return ArgumentError(f"{owner.__name__} has no parameter {name!r}.{hint}{takes}")


def _misplaced(
    owner: type[Any], args: Any, params: Any, defaults: Any, error: TypeError
) -> TypeError:
    """What is wrong with a call: values without names, or a name without a value."""
    known = list(_parameters(owner)[0])
    missing = [name for name in known if name not in defaults and name not in params]
    if missing and len(args) == 0:
        return ArgumentError(
            f"{owner.__name__} needs {' and '.join(missing)}; write "
            f"{owner.__name__}({missing[0]}=...)."
        )
    if args:
        places = [one.name for one in _by_place(owner)]
        first = next((name for name in known if name not in params and name not in places), None)
        only = f", apart from {places[0]}" if places else ""
        example = f"; write {owner.__name__}({first}=...)" if first else ""
        return ArgumentError(f"{owner.__name__} takes its parameters by name{only}{example}.")
    return error


Known = tuple[Mapping[str, Any], Mapping[str, Any]]
# By class; one that is defined again in a notebook is let go.
_known: WeakKeyDictionary[type[Any], Known] = WeakKeyDictionary()


def _parameters(owner: type[Any]) -> Known:
    """Types and defaults of the parameters of a class, in the order of the constructor."""
    if owner not in _known:
        _known[owner] = _read_parameters(owner)
    return _known[owner]


def _read_parameters(owner: type[Any]) -> Known:
    signature = inspect.signature(owner.__init__)
    named = list(signature.parameters.values())[1:]
    rest = [one for one in named if one.kind is one.VAR_KEYWORD]
    named = [one for one in named if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    hints = _hints(owner)
    home = next(part for part in owner.__mro__ if "__init__" in part.__dict__)
    own = (
        {}
        if dataclasses.is_dataclass(home) and not rest
        else _hints_of(vars(home)["__init__"], home)
    )
    kinds = {one.name: own.get(one.name, hints.get(one.name, Any)) for one in named}
    defaults = {one.name: one.default for one in named if one.default is not one.empty}
    factories = {
        one.name: one.default_factory()
        for one in getattr(owner, "__dataclass_fields__", {}).values()
        if one.default_factory is not dataclasses.MISSING and one.name in defaults
    }
    defaults |= factories
    if rest:  # handed on to the class it derives from
        for base in home.__mro__[1:]:
            if base is not object and "__init__" in base.__dict__:
                more, usual = _parameters(base)
                kinds = {**kinds, **{k: v for k, v in more.items() if k not in kinds}}
                defaults = {**usual, **defaults}
                break
    return kinds, defaults


def _hints(owner: type[Any]) -> dict[str, Any]:
    """Resolved annotations of a class and its bases; those that cannot be are left out."""
    found: dict[str, Any] = {}
    for part in reversed(owner.__mro__):
        found |= _hints_of(part, part)
    return found


def _hints_of(holder: Any, home: type[Any]) -> dict[str, Any]:
    names = dict(vars(sys.modules.get(home.__module__, types)))
    found = {}
    for name, hint in inspect.get_annotations(holder).items():
        try:
            found[name] = eval(hint, names, dict(vars(home))) if isinstance(hint, str) else hint
        except Exception:  # imported for the type checker only, or local to a function
            continue
    return found
