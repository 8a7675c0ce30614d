"""A whole configuration: read, changed by overrides, and checked."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError, model_validator

from whence.config.messages import sentence
from whence.config.models import ModelConfig, TrainingConfig
from whence.config.reading import as_pairs, check_sizes, read_raw, set_key, with_newer_names
from whence.config.recbole.translation import Translation, is_of_recbole
from whence.config.section import Section
from whence.config.sections import (
    AttributionConfig,
    DataConfig,
    EvaluationConfig,
    OutputConfig,
    SplitConfig,
    TuneConfig,
)
from whence.errors import ConfigError, DataWarning, did_you_mean

if TYPE_CHECKING:
    from whence.config.parts import Parts


class Config(Section):
    """A whole configuration."""

    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    attribution: AttributionConfig = AttributionConfig()
    tune: TuneConfig = TuneConfig()
    output: OutputConfig = OutputConfig()

    @model_validator(mode="after")
    def _tunes_what_the_model_has(self) -> Config:
        wanted = [key for key in self.tune.space if key.startswith("model.")]
        if wanted:
            known = [f"model.{name}" for name in ("name", *self.model.arguments())]
            for key in wanted:
                if key not in known:
                    raise ValueError(
                        f"tune.space in {{where}} has {key!r}, but {self.model.name} has no such "
                        f"parameter; it takes {', '.join(known[1:])}.{did_you_mean(key, known)}"
                    )
        return self

    @property
    def metric(self) -> str:
        """Name of the metric that is shared out."""
        return self.attribution.metric or self.evaluation.metrics[0]

    def build_model(self) -> Any:
        """Return the recommender, not yet fitted, with its arguments of ``training``."""
        return self.model.build(**self.training.for_model(self.model.name))

    def build_method(self, parts: Parts) -> Any:
        """Return the method of attribution, for the interactions that are valued."""
        wanted = self.evaluation
        return self.attribution.build(
            self.metric,
            sustainable_items=parts.sustainable_items,
            sustainability_weight=wanted.sustainability_weight,
            relevant=wanted.relevant,
            unknown=self.data.unknown_of_queries,
            target=self.data.target,
        )

    def fit_arguments(self, model: Any) -> dict[str, Any]:
        """Return the arguments of ``training`` that the model's ``fit`` takes."""
        accepted = inspect.signature(model.fit).parameters
        given = self.training.model_dump(
            include={"eval_every", "patience", "checkpoints", "checkpoint_every"},
            exclude_none=True,
        )
        # The first decides which epoch is best, the others are for the curves.
        first = self.training.metric
        metrics = [*([] if first is None else [first]), *self.evaluation.metrics]
        return {k: v for k, v in {"metric": metrics, **given}.items() if k in accepted}

    def evaluation_arguments(self, parts: Parts) -> dict[str, Any]:
        """Return the arguments of `whence.evaluate` beside model, data, metrics and history."""
        wanted = self.evaluation
        return {
            "sustainable_items": parts.sustainable_items,
            "sustainability_weight": wanted.sustainability_weight,
            "relevant": wanted.relevant,
            "gain": wanted.gain,
            "max_prefixes": wanted.max_prefixes,
            "per": wanted.per,
            "items": parts.items,
            "unknown": self.data.unknown_of_queries,
            "target": self.data.target,
            "protocol": wanted.protocol,
            "negatives": wanted.negatives,
            "seed": wanted.seed,
        }


def load_config(
    path: str | Path | None = None, overrides: Mapping[str, Any] | Sequence[str] = ()
) -> Config:
    """Read a configuration, change some of its keys, and check it.

    Parameters
    ----------
    path : path, optional
        A ``.yaml``, ``.yml`` or ``.toml`` file; Illoominate's ``config.toml`` is understood, with
        the data files beside it, and so are the flat keys of RecBole, with RecBole's defaults.
        Without one, the defaults.
    overrides : mapping or sequence of str
        ``{"training.epochs": 5}`` or ``["training.epochs=5"]``, values as in YAML.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        If the file is missing or unreadable, a key is unknown (the nearest one is named) or a
        value is not of its type.

    Examples
    --------
    >>> load_config(overrides=["model.k=50", "evaluation.metrics=[mrr@10, recall@10]"]).model.k
    50
    """
    raw: dict[str, Any] = {}
    where = "the options"
    changes = as_pairs(overrides)
    if path is not None:
        path = Path(path)
        where = path.name
        raw = read_raw(path)
        if is_of_recbole(raw, tuple(Config.model_fields)):
            given = dict(changes)
            found = Translation(
                raw, path.parent, given.get("model.name"), data=given.get("data.path")
            )
            for note in found.notes:
                warnings.warn(note, DataWarning, stacklevel=2)
            raw = dict(found.sections)
            if found.is_split:  # the folder of its parts, and not a file to be split
                changes = [change for change in changes if change[0] != "data.path"]
    for key, value in changes:
        set_key(raw, key, value)
    return checked_config(raw, where)


def checked_config(raw: Mapping[str, Any], where: str) -> Config:
    """Return sections of keys as a configuration.

    Parameters
    ----------
    raw : mapping
        Name of each section to its keys.
    where : str
        What they come from, for messages.

    Raises
    ------
    ConfigError
        If a key is unknown or a value is not of its type.
    """
    # A section whose keys are all commented out is there without a value.
    sections = {key: {} if value is None else value for key, value in raw.items()}
    try:
        for key, value in sections.items():
            check_sizes(str(key), value, where)
        return Config.model_validate(with_newer_names(sections))
    except ValidationError as error:
        raise ConfigError(sentence(error, Config, where)) from error
    except RecursionError as error:
        raise ConfigError(f"{where} is nested too deeply; write fewer levels.") from error
