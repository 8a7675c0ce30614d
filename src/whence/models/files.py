"""Models as files: one archive with the parameters, the training data and what was learned."""

from __future__ import annotations

import inspect
import io
import json
import platform
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whence.data import Interactions, Vocabulary
from whence.data.files import atomic_path
from whence.errors import FileFormatError
from whence.models.base import Recommender

_FORMAT = "whence-model-2"


def write_model(model: Recommender, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a fitted model, whole or not at all; see `Recommender.save`."""
    from whence import __version__

    train, state = model.train_, model._state()
    metadata = {
        "format": _FORMAT,
        "model": type(model).__name__,
        "params": model.params,
        "kind": train.kind,
        "columns": train.columns.as_arguments(),
        "has_state": bool(state),
        "versions": {"whence": __version__, "python": platform.python_version()},
    }
    tables = {
        "train": train.frame,
        "items": train.vocabulary.items.to_frame(),
        "sources": train.vocabulary.sources.to_frame(),
        "item_table": train.item_table,
        "user_table": train.user_table,
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

    Parameters
    ----------
    path : path
    **arguments
        Those of the constructor that no file can hold, such as the module of a `TorchModel`.

    Raises
    ------
    FileFormatError
        If the file is not a saved model, is truncated, or unreadable.
    """
    import whence.models as models

    path = Path(path)
    metadata, tables, state = _read(path)
    model_class = getattr(models, metadata["model"], None)
    if model_class is None:
        raise FileFormatError(
            f"{path} holds a model {metadata['model']!r} that this version of Whence does not "
            "know; update Whence."
        )
    vocabulary = Vocabulary(tables["items"].to_series(), tables["sources"].to_series())
    train = Interactions.from_frame(
        tables["train"], kind=metadata["kind"], vocabulary=vocabulary, **metadata["columns"]
    ).with_tables(items=tables.get("item_table"), users=tables.get("user_table"))
    model: Recommender = model_class(**{**_as_given(model_class, metadata["params"]), **arguments})
    model.train_ = train
    if metadata["has_state"]:
        model._restore(state)
    else:
        model._fit(train)
    return model


def _as_given(model_class: type[Any], params: dict[str, Any]) -> dict[str, Any]:
    """Arguments with tuples where the constructor has them; JSON knows only lists."""
    defaults = inspect.signature(model_class.__init__).parameters
    return {
        name: tuple(value)
        if isinstance(value, list)
        and name in defaults
        and isinstance(defaults[name].default, tuple)
        else value
        for name, value in params.items()
    }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, pl.DataFrame], dict[str, Any]]:
    if not path.is_file():
        raise FileFormatError(f"There is no file {path}; check the path.")
    not_ours = FileFormatError(
        f"{path} is not a model saved by Whence, or it is truncated; give a file written by "
        "model.save."
    )
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "model.json" not in names:
                raise not_ours
            metadata = json.loads(archive.read("model.json"))
            if metadata.get("format") != _FORMAT:
                raise not_ours
            tables = {
                name.removesuffix(".parquet"): pl.read_parquet(io.BytesIO(archive.read(name)))
                for name in names
                if name.endswith(".parquet")
            }
            with np.load(io.BytesIO(archive.read("state.npz")), allow_pickle=False) as arrays:
                state = dict(arrays)
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
        if error is not_ours:
            raise
        raise not_ours from error
    return metadata, tables, state
