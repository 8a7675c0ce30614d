"""What can be chosen by name: models, methods, metrics, formats. Each registers itself."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Iterator
from functools import cached_property
from importlib import metadata
from typing import Any, Generic, TypeVar

from whence.errors import ParameterError, UnsupportedError, brief, did_you_mean

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """Names and what they stand for.

    Whence's own entries register when their module is imported, which happens when they are
    first asked for: the module of the same name first, then the others. Other packages offer
    theirs by entry points of the group, which are loaded when they are asked for.

    Parameters
    ----------
    noun : str
        What an entry is, for messages, such as "model".
    homes : tuple of str
        Packages whose modules hold the entries of Whence.
    group : str, optional
        Of the entry points.
    """

    def __init__(self, noun: str, homes: tuple[str, ...] = (), group: str | None = None) -> None:
        self.noun = noun
        self._homes = homes
        self._group = group
        self._entries: dict[str, Entry] = {}
        self._aliases: dict[str, str] = {}
        self._classes: dict[str, str] = {}
        self._lacking: dict[str, str] = {}

    def add(
        self, name: str, entry: Entry, aliases: tuple[str, ...] = (), *, by_class: str = ""
    ) -> Entry:
        """Register an entry.

        Parameters
        ----------
        name : str
        entry : object
        aliases : tuple of str
            Other names of it.
        by_class : str
            Name of its class, by which it is found, too, where nothing has that as its name.

        Raises
        ------
        ParameterError
            If the name stands for something else already. The same class defined again, as in a
            notebook, replaces what it was.
        """
        own = _origin(entry)[0].startswith("whence.")
        if not own:
            self._load_namesake(self._spelt(name))
        for one in (name, *aliases):
            taken = self._entries.get(self._plain(one))
            if taken is not None and _origin(taken) != _origin(entry):
                raise ParameterError(
                    f"There is a {self.noun} {one!r} already, {_described(taken)}; register "
                    f"{_described(entry)} under another name."
                )
        self._entries[self._spelt(name)] = entry
        self._aliases |= {self._spelt(alias): self._spelt(name) for alias in aliases}
        if by_class:
            names = self._aliases if own else self._classes
            names.setdefault(self._spelt(by_class), self._spelt(name))
        return entry

    def find(self, name: Any) -> Entry | None:
        """Return the entry of a name, or None."""
        if not isinstance(name, str):
            return None
        plain = self._plain(name)
        if plain not in self._entries:
            self._search(plain)
            plain = self._plain(name)
            plain = plain if plain in self._entries else self._classes.get(plain, plain)
        return self._entries.get(plain)

    def __getitem__(self, name: str) -> Entry:
        found = self.find(name)
        if found is None:
            raise self.unknown(name)
        return found

    def unknown(self, name: Any) -> ParameterError:
        """Return the error that says that there is no such name, and which was meant."""
        known = self.names()
        lacking = sorted(set(self._lacking.values()))
        # Where some could not be imported, the one that is meant may be among them.
        hint = did_you_mean(name, [*known, *self._aliases], cutoff=0.8 if lacking else 0.6)
        missing = "".join(
            f" Others need {package}, which is not installed; install it with "
            f"pip install 'whence[{package}]'."
            for package in lacking
        )
        return ParameterError(
            f"There is no {self.noun} {brief(name)}.{hint} There are {', '.join(known)}.{missing}"
        )

    def __contains__(self, name: object) -> bool:
        return self.find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def items(self) -> list[tuple[str, Entry]]:
        """All names with their entries; those of other packages are loaded."""
        return [(name, self[name]) for name in self.names()]

    def names(self) -> list[str]:
        """All names, those of Whence first, in the order of their modules."""
        for module in list(self._modules):
            self._load(module)
        place = {module: number for number, module in enumerate(self._own)}
        own = sorted(
            self._entries, key=lambda name: place.get(_origin(self._entries[name])[0], len(place))
        )
        return own + [name for name in self._points if name not in self._entries]

    def loaded(self) -> list[str]:
        """Names of the entries that are here already."""
        return list(self._entries)

    def name_of(self, entry: Any) -> str | None:
        """Return the name of an entry, None if it has none."""
        names = (name for name, one in self._entries.items() if one is entry)
        return next(names, None)

    def plain(self, name: Any) -> Any:
        """Return the name under which an entry is registered, for any of its names."""
        entry = self.find(name)
        return name if entry is None else self.name_of(entry)

    # Where entries come from

    def _search(self, name: str) -> None:
        """Import modules until one registers the name."""
        self._load_namesake(name)
        if self._plain(name) in self._entries:
            return
        for module in list(self._modules):
            self._load(module)
            if self._plain(name) in self._entries:
                return
        point = self._points.get(name)
        if point is not None:
            self._load_point(name, point)

    def _load_namesake(self, name: str) -> None:
        """Import the module that is called as an entry is."""
        likely = name.replace("-", "").replace("_", "")
        for module in list(self._modules):
            if module.rsplit(".", 1)[-1].replace("_", "") == likely:
                self._load(module)

    @cached_property
    def _modules(self) -> list[str]:
        """Modules that have not been imported yet."""
        return list(self._own)

    @cached_property
    def _own(self) -> list[str]:
        """Modules of Whence's entries; a package's own are found by its path."""
        return list(dict.fromkeys(name for home in self._homes for name in _modules_of(home)))

    def _load(self, module: str) -> None:
        if module not in self._modules:  # imported by another meanwhile
            return
        self._modules.remove(module)
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("whence"):
                raise
            self._lacking[module] = str(error.name)

    @cached_property
    def _points(self) -> dict[str, metadata.EntryPoint]:
        if self._group is None:
            return {}
        return {
            self._spelt(point.name): point for point in metadata.entry_points(group=self._group)
        }

    def _load_point(self, name: str, point: metadata.EntryPoint) -> None:
        try:
            entry = point.load()
        except Exception as error:
            package = f" of the package {point.dist.name}" if point.dist else ""
            raise UnsupportedError(
                f"The {self.noun} {name!r}{package} cannot be loaded: {type(error).__name__}: "
                f"{error}. Update or remove that package."
            ) from error
        if name not in self._entries:
            self.add(name, entry)

    def _plain(self, name: str) -> str:
        spelt = self._spelt(name)
        return spelt if spelt in self._entries else self._aliases.get(spelt, spelt)

    @staticmethod
    def _spelt(name: str) -> str:
        return name.strip().lower()


def _modules_of(home: str) -> list[str]:
    """Public modules of a package, which is not imported for it; what is a module, is."""
    spec = importlib.util.find_spec(home)
    if spec is None or spec.submodule_search_locations is None:
        importlib.import_module(home)  # its entries are registered now
        return []
    return [one for path in spec.submodule_search_locations for one in _modules_in(path, home)]


def _modules_in(folder: str, package: str) -> Iterator[str]:
    for part in pkgutil.iter_modules([folder], f"{package}."):
        if "._" not in part.name:
            yield part.name
            if part.ispkg:
                below = os.path.join(folder, part.name.rpartition(".")[2])
                yield from _modules_in(below, part.name)


def _origin(entry: Any) -> tuple[Any, Any]:
    """Where an entry was defined."""
    kind = entry if hasattr(entry, "__qualname__") else type(entry)
    name = getattr(entry, "__qualname__", None) or getattr(entry, "name", None)
    return kind.__module__, name


def _described(entry: Any) -> str:
    module, name = _origin(entry)
    return f"{module}.{name}"
