"""Folders of runs: what is in them, and what it takes to repeat a run."""

from __future__ import annotations

import os
import warnings
from datetime import datetime
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.cli._output import marked
from whence.config.folders import CONFIG, RUN, command_of
from whence.config.folders import LOG as LOG
from whence.config.folders import METRICS as METRICS
from whence.config.folders import MODEL as MODEL
from whence.config.folders import WITHIN as WITHIN
from whence.config.reading import PATHS
from whence.errors import ConfigError, DataWarning

if TYPE_CHECKING:
    from whence.cli._commands import Given
    from whence.config import Config, Parts


def is_run(path: Path) -> bool:
    """Whether this is the folder of a run of ``whence train``, or of what it has forgotten."""
    return command_of(path) in ("train", "forget")


def config_of_environment(given: Given) -> Path | None:
    """Return the configuration that Illoominate's variables name, where no data is given.

    Parameters
    ----------
    given : Given
        With the options of the command line.

    Raises
    ------
    ConfigError
        If there is no such file.
    """
    folder, name = os.environ.get("DATA_LOCATION"), os.environ.get("CONFIG_FILENAME")
    given_data = any(given.has(f"data.{key}") for key in ("path", "train", "validation", "test"))
    if not folder or given_data:
        return None
    path = Path(folder.strip()) / (name.strip() if name else "config.toml")
    if not path.suffix:  # as there, where the ending may be left out
        path = path.with_suffix(".toml")
    if path.is_file():
        message = f"The configuration is {path}, as DATA_LOCATION says."
        warnings.warn(message, DataWarning, stacklevel=2)
        return path
    if name:
        raise ConfigError(
            f"There is no configuration file {path}, which DATA_LOCATION and CONFIG_FILENAME name; "
            "correct these variables, or name a configuration or data."
        )
    return None


def found_config(source: Path | None) -> tuple[Path | None, Path | None]:
    """Return the configuration file that is meant, and the folder of results it belongs to.

    Parameters
    ----------
    source : Path or None
        A configuration file, a folder of results or the ``config.yaml`` in one.

    Raises
    ------
    ConfigError
        If it is a folder, but not of results with a configuration.
    """
    if source is None:
        return None, None
    if source.is_dir():
        if not (command_of(source) and (source / CONFIG).is_file()):
            raise ConfigError(
                f"{source} is a folder, but not of a run (it has no {RUN} and {CONFIG}); give a "
                "configuration file, or a folder that whence train or whence value wrote."
            )
        return source / CONFIG, source
    own = source.name == CONFIG and command_of(source.parent) is not None
    return source, source.parent if own else None


def default_folder(config: Config, name: str) -> Path:
    """Return a folder that does not exist yet: the model's name and the time."""
    moment = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = Path(config.output.runs) / f"{name}-{moment}"
    number = 2
    while folder.exists():
        folder = folder.with_name(f"{name}-{moment}-{number}")
        number += 1
    return folder


def epochs_done(folder: Path) -> int:
    """Number of whole epochs that training can go on from."""
    log = folder / LOG
    if not (folder / "checkpoints" / "last.pt").is_file() or not log.is_file():
        return 0
    return sum(1 for line in log.read_text(encoding="utf-8").splitlines() if line)


def described_run(command: str, config: Config, model: Any, parts: Parts, **more: Any) -> Any:
    """Versions, seeds and fingerprints: what it takes for the same result."""
    found = marked(
        command, parts.train, parts.validation, parts.test, model=type(model).__name__,
        seed=config.training.seed, split_seed=config.split.seed, **more,
    )  # fmt: skip
    found["versions"] |= _version_of_torch(model)
    return found


def resolved(config: Config, model: Any, parts: Parts) -> dict[str, Any]:
    """Return all keys that a run used, also those left at their defaults; paths are absolute."""
    from whence.attribution.record import plain_values
    from whence.config import MODELS, TrainingConfig
    from whence.config.models import own_parameters

    keys = config.model_dump(mode="json", exclude_none=True)
    params = {name: value for name, value in model.params.items() if value is not None}
    name = MODELS.plain(config.model.name)
    own = {key: value for key, value in params.items() if key in own_parameters(name)}
    if "start" in own:
        own["start"] = str(Path(own["start"]).expanduser().resolve())
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


def _with_absolute_paths(data: dict[str, Any]) -> dict[str, Any]:
    names = {key for section, key in PATHS if section == "data"}

    def absolute(key: str, value: Any) -> Any:
        if key not in names or not isinstance(value, str):
            return value
        path = Path(value).expanduser()
        # What is no path may be the name of a public data set.
        is_path = key != "path" or path.exists() or has_magic(value)
        return str(path.resolve()) if is_path else value

    return {key: absolute(key, value) for key, value in data.items()}


def _version_of_torch(model: Any) -> dict[str, str]:
    if "differentiable" not in getattr(model, "levels", ()):
        return {}
    import torch

    return {"torch": torch.__version__}
