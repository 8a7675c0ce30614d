"""Trained models from the command line: folders of runs and files of models."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whence.errors import ConfigError, FileFormatError


@dataclass(frozen=True)
class Trained:
    """A trained model and where it comes from.

    Attributes
    ----------
    source : Path
        The run or the file.
    model : Recommender
    data : dict
        Of a run: fingerprint of each part of its data.
    """

    source: Path
    model: Any
    data: dict[str, Any]

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.source.name

    @classmethod
    def load(cls, source: Path) -> Trained:
        """Load a run or a model.

        Raises
        ------
        FileFormatError
            If the run is unfinished, or the file is no model.
        """
        from whence.cli._output import RUN, read_json
        from whence.cli._runs import MODEL, is_run
        from whence.models import load_model

        if not is_run(source):
            return cls(source, load_model(source), {})
        if not (source / MODEL).is_file():
            raise FileFormatError(
                f"{source} is a run that was not finished; go on with it first: whence train "
                f"{source} --resume"
            )
        return cls(source, load_model(source / MODEL), read_json(source / RUN)["data"])


def are_models(sources: Sequence[Path]) -> bool:
    """Whether these are runs or models, rather than one configuration.

    Raises
    ------
    ConfigError
        If there are several, and one of them is neither.
    """
    from whence.cli._runs import found_config, is_run

    kinds = [is_run(source) or zipfile.is_zipfile(source) for source in sources]
    for source, is_model in zip(sources, kinds):
        if source.is_dir() and not is_model:
            found_config(source)  # which refuses folders of others
    if len(sources) > 1 and not all(kinds):
        raise ConfigError(
            f"{sources[kinds.index(False)]} is neither a run nor a saved model; several are "
            "compared, but a configuration is given alone."
        )
    return bool(kinds) and kinds[0]


def load_trained(source: Path) -> Trained:
    """Load one run or model.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if not are_models([source]):
        raise ConfigError(
            f"{source} is neither a run nor a saved model; give what whence train has written."
        )
    return Trained.load(source)


def config_of(source: Path) -> Path | None:
    """Return the configuration of a run; None of a model's file."""
    from whence.cli._output import CONFIG

    return source / CONFIG if source.is_dir() else None
