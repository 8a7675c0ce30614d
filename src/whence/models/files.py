"""Models as files: one archive with the parameters, the training data and what was learned."""

from __future__ import annotations

import importlib
import io
import json
import platform
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from whence.data import Interactions, Vocabulary
from whence.data._whole import Whole
from whence.data.files import UNREADABLE, atomic_path
from whence.errors import (
    FileFormatError,
    ParameterError,
    UnsupportedError,
    WhenceError,
    check_path,
)
from whence.models._registered import MODELS

if TYPE_CHECKING:
    from whence.models.base import Recommender

Model = TypeVar("Model", bound="Recommender")

_FORMAT = "whence-model-2"
_TYPES: dict[str, type] = {
    "model": str,
    "params": dict,
    "kind": str,
    "columns": dict,
    "has_state": bool,
}
"""Of the metadata that a file must have."""
_DAMAGED = (WhenceError, MemoryError, OverflowError, *UNREADABLE)
"""What making a model of damaged parts ends in."""


def write_model(model: Recommender, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a fitted model, whole or not at all; see `Recommender.save`."""
    from whence import __version__

    train, state = model.train_, model._state()
    metadata = {
        "format": _FORMAT,
        "model": type(model).__qualname__,
        "module": type(model).__module__,
        "name": MODELS.name_of(type(model)),
        "params": model._saved_params(),
        "kind": train.kind,
        "columns": train.columns.as_arguments(),
        "has_state": bool(state),
        "record": model._record(),
        "versions": {"whence": __version__, "python": platform.python_version()},
    }
    tables = {
        "train": train.frame,
        "items": train.vocabulary.items.to_frame(),
        "sources": train.vocabulary.sources.to_frame(),
        "item_table": train.item_table,
        "user_table": train.user_table,
        **({} if train.whole.is_complete else train.whole.to_tables()),
    }
    with (
        atomic_path(path, overwrite=overwrite) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
    ):
        archive.writestr("model.json", json.dumps(metadata, indent=1))
        for name, table in tables.items():
            if table is not None:
                buffer = io.BytesIO()
                table.write_parquet(buffer)
                archive.writestr(f"{name}.parquet", buffer.getvalue())
        buffer = io.BytesIO()
        np.savez(buffer, **state)  # type: ignore[arg-type]
        archive.writestr("state.npz", buffer.getvalue())
    return Path(path)


def load_model(path: str | Path, **arguments: Any) -> Recommender:
    """Load any model saved by `Recommender.save`.

    The class of the model is one that is registered, or that is in a module imported already; no
    file makes Whence import a module of others.

    Parameters
    ----------
    path : path
    **arguments
        Parameters that no file can hold, such as the module of a `TorchModel`.

    Raises
    ------
    FileFormatError
        If the file is not a saved model, is truncated, or unreadable, or its class is not there.
    """
    model: Recommender = read_model(path, None, arguments)
    return model


def read_model(path: str | Path, wanted: type[Model] | None, arguments: Mapping[str, Any]) -> Any:
    """Read a model that is of a class, or of any.

    Parameters
    ----------
    path : path
    wanted : type of Recommender or None
        What the model must be.
    arguments : mapping
        Parameters that no file can hold.

    Raises
    ------
    FileFormatError
        See `load_model`.
    """
    path = check_path("path", path)
    metadata, tables, state = read_model_file(path)
    model_class = _class_of(metadata, wanted, path)
    params = _as_given(model_class, {**metadata["params"], **arguments})
    try:
        items, sources = (tables[name].to_series() for name in ("items", "sources"))
        if items.n_unique() < len(items) or sources.n_unique() < len(sources):
            raise ValueError("an id is there twice")
        vocabulary = Vocabulary(items, sources)
        train = Interactions.from_frame(
            tables["train"], kind=metadata["kind"], vocabulary=vocabulary, **metadata["columns"]
        ).with_tables(items=tables.get("item_table"), users=tables.get("user_table"))
        if "places" in tables:
            train = train.part_of(Whole.from_tables(tables, train.n_sources))
    except _DAMAGED as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(
            f"{path} is damaged: its training data cannot be read ({why}); save the model again."
        ) from error
    unknown = [name for name in params if name not in model_class.parameter_types()]
    if unknown:
        raise FileFormatError(
            f"{path} has the parameter {unknown[0]!r}, which {model_class.__name__} does not "
            "take; it was saved by another version of that class."
        )
    try:
        model = model_class(**params)
        model._check_params()
    except UnsupportedError:  # what a file cannot hold, and how to give it
        raise
    except (ParameterError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path} has parameters that cannot be: {error}") from error
    model.train_ = train
    try:
        model._restore(state if metadata["has_state"] else {})
        model._take_record(metadata.get("record", {}))
    except _DAMAGED as error:
        why = " ".join(str(error).split())
        raise FileFormatError(
            f"{path} does not hold what a {model_class.__name__} has learned ({why}); it is "
            "damaged, or was saved by another version of that class."
        ) from error
    return model


def _class_of(
    metadata: Mapping[str, Any], wanted: type[Model] | None, path: Path
) -> type[Recommender]:
    """The class that a file names; that which is wanted, if the file can mean it."""
    written, module, name = (metadata.get(key) for key in ("model", "module", "name"))
    if wanted is not None and wanted.__qualname__ == written:
        return wanted
    found = MODELS.find(name or written) or _imported(str(module), str(written))
    if found is not None and wanted is not None and not issubclass(found, wanted):
        raise FileFormatError(
            f"{path} holds a {written}, not a {wanted.__name__}; load it with whence.load_model."
        )
    if found is None:
        place = f" of the module {module}" if module else ""
        raise FileFormatError(
            f"{path} holds a {written}{place}, which is not there; import the module that defines "
            f"it, or load the file with {str(written).rpartition('.')[2]}.load(path)."
        )
    return found


def _imported(module: str, name: str) -> type[Recommender] | None:
    """A class of a module that is imported, or of Whence."""
    if module.split(".")[0] == "whence":
        try:
            importlib.import_module(module)
        except ImportError:
            return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and hasattr(found, "_restore") else None


def _as_given(model_class: type[Any], params: dict[str, Any]) -> dict[str, Any]:
    """Parameters with tuples where the defaults have them; JSON knows only lists."""
    usual = model_class.parameter_defaults()
    return {
        name: tuple(value)
        if isinstance(value, list) and isinstance(usual.get(name), tuple)
        else value
        for name, value in params.items()
    }


def read_model_file(
    path: Path,
) -> tuple[dict[str, Any], dict[str, pl.DataFrame], dict[str, Any]]:
    """Read the parts of a saved model: metadata, tables, and what was learned.

    Raises
    ------
    FileFormatError
        See `load_model`.
    """
    if not path.is_file():
        raise FileFormatError(f"There is no file {path}; check the path.")
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read("model.json"))
            if not isinstance(metadata, dict) or metadata.get("format") != _FORMAT:
                raise ValueError("format")
            tables = {
                name.removesuffix(".parquet"): pl.read_parquet(io.BytesIO(archive.read(name)))
                for name in archive.namelist()
                if name.endswith(".parquet")
            }
            with np.load(io.BytesIO(archive.read("state.npz")), allow_pickle=False) as arrays:
                state = dict(arrays)
    except UNREADABLE as error:
        raise FileFormatError(
            f"{path} is not a model saved by Whence, or it is truncated; give a file written by "
            "model.save."
        ) from error
    for name, kind in _TYPES.items():
        if not isinstance(metadata.get(name), kind):
            raise FileFormatError(
                f"{path} is damaged: its {name!r} is {metadata.get(name)!r}; save the model again."
            )
    return metadata, tables, state
