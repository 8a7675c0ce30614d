"""Folders of runs: what is in them, and how they come to be there whole or not at all."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from whence.cli._output import RUN, check_free, write_json
from whence.config.reading import PATHS
from whence.errors import ConfigError, FileFormatError, WhenceError

if TYPE_CHECKING:
    from whence.config import Config, Parts

CONFIG, METRICS, MODEL, LOG = "config.yaml", "metrics.json", "model.whence", "log.jsonl"


def is_run(path: Path) -> bool:
    """Whether this is the folder of a run."""
    return path.is_dir() and (path / RUN).is_file()


def found_config(source: Path | None) -> tuple[Path | None, Path | None]:
    """Return the configuration file that is meant, and the run that it belongs to.

    Parameters
    ----------
    source : Path or None
        A configuration file, a run folder or the ``config.yaml`` in one.

    Raises
    ------
    ConfigError
        If it is a folder, but not of a run.
    """
    if source is None:
        return None, None
    if source.is_dir():
        if not is_run(source):
            raise ConfigError(
                f"{source} is a folder, but not of a run (it has no {RUN}); give a configuration "
                "file, or the folder that whence train wrote."
            )
        return source / CONFIG, source
    return source, source.parent if is_run(source.parent) and source.name == CONFIG else None


def default_folder(config: Config, name: str) -> Path:
    """Return a folder that does not exist yet: the model's name and the time."""
    moment = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = Path(config.output.runs) / f"{name}-{moment}"
    number = 2
    while folder.exists():
        folder = folder.with_name(f"{name}-{moment}-{number}")
        number += 1
    return folder


@contextmanager
def run_folder(
    folder: Path,
    *,
    overwrite: bool,
    resume: bool,
    begun: Callable[[Path], object] | None = None,
) -> Iterator[Path]:
    """Give a folder to work in; if the block fails with nothing done, all is as before.

    Parameters
    ----------
    folder : Path
    overwrite : bool
        Replace a folder that Whence wrote.
    resume : bool
        Work in the folder as it is.
    begun : callable, optional
        Says whether something is done that can be gone on with; a whole epoch by default.

    Raises
    ------
    OutputExistsError
        As `check_free`.
    """
    if resume:
        with _kept(folder):
            yield folder
        return
    check_free(folder, overwrite=overwrite)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.old")
    made = [parent for parent in folder.parents if not parent.exists()]
    if folder.exists():
        folder.rename(aside)
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        if not (begun or epochs_done)(folder):
            shutil.rmtree(folder, ignore_errors=True)
            if aside.exists():
                aside.rename(folder)
            for parent in made:
                if not any(parent.iterdir()):
                    parent.rmdir()
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Keep what a run is by its files, should it turn out that it cannot be gone on with."""
    if not is_run(folder):
        raise ConfigError(f"{folder} is not a run to go on with; leave --resume out.")
    before = {name: (folder / name).read_bytes() for name in (CONFIG, RUN)}
    try:
        yield
    except WhenceError:
        for name, content in before.items():
            (folder / name).write_bytes(content)
        raise


def epochs_done(folder: Path) -> int:
    """Number of whole epochs that training can go on from."""
    log = folder / LOG
    if not (folder / "checkpoints" / "last.pt").is_file() or not log.is_file():
        return 0
    return sum(1 for line in log.read_text(encoding="utf-8").splitlines() if line)


def write_start(folder: Path, config: Config, model: Any, parts: Parts) -> None:
    """Write what a run is, before it begins: its configuration, versions, seed and data."""
    write_resolved(resolved(config, model, parts), folder / CONFIG)
    write_json(described_run(config, model, parts), folder / RUN)


def write_resolved(sections: dict[str, Any], path: Path) -> None:
    """Write sections of keys as YAML."""
    path.write_text(yaml.safe_dump(sections, sort_keys=False, allow_unicode=True), encoding="utf-8")


def described_run(config: Config, model: Any, parts: Parts) -> dict[str, Any]:
    """Versions, seeds and fingerprints: what it takes for the same result."""
    from whence.attribution.record import versions

    data = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    return {
        "model": type(model).__name__,
        "seed": config.training.seed,
        "split_seed": config.split.seed,
        "data": {
            name: {"fingerprint": part.fingerprint, "rows": part.n_rows}
            for name, part in data.items()
            if part is not None
        },
        "versions": {**versions(), **_version_of_torch(model)},
    }


def resolved(config: Config, model: Any, parts: Parts) -> dict[str, Any]:
    """Return all keys that a run used, also those left at their defaults; paths are absolute."""
    from whence.attribution.record import plain_values
    from whence.config import MODELS, TrainingConfig
    from whence.config.models import own_parameters

    keys = config.model_dump(mode="json", exclude_none=True)
    params = {name: value for name, value in model.params.items() if value is not None}
    name = MODELS.plain(config.model.name)
    own = {key: value for key, value in params.items() if key in own_parameters(name)}
    fitted = config.fit_arguments(model)
    shared = TrainingConfig.model_fields
    training = {key: value for key, value in params.items() if key in shared}
    training |= {key: fitted[key] for key in fitted if key != "metric"}
    training["seed"] = config.training.seed
    if "metric" in fitted:
        training["metric"] = fitted["metric"][0]
    for key in ("tensorboard", "progress"):
        value = getattr(config.training, key)
        if value is not None:
            training[key] = value
    sections = {
        "data": _with_absolute_paths(keys["data"]),
        "split": {**keys["split"], "method": parts.split},
        "model": {"name": name, **own},
        "training": training,
        "evaluation": keys["evaluation"],
    }
    if parts.split is None:
        del sections["split"]
    if config.attribution.model_fields_set:
        sections["attribution"] = config.attribution.model_dump(mode="json", exclude_unset=True)
    plain: dict[str, Any] = plain_values(sections)
    return plain


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises
    ------
    FileFormatError
        If it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"{path} is missing or damaged; resume or repeat the run with whence train."
        ) from error


def _with_absolute_paths(data: dict[str, Any]) -> dict[str, Any]:
    names = {key for section, key in PATHS if section == "data"}
    return {
        key: str(Path(value).resolve())
        if key in names and isinstance(value, str) and (key != "path" or Path(value).exists())
        else value
        for key, value in data.items()
    }


def _version_of_torch(model: Any) -> dict[str, str]:
    if "differentiable" not in getattr(model, "levels", ()):
        return {}
    import torch

    return {"torch": torch.__version__}
