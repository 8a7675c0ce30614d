"""Configuration in one YAML or TOML file, checked key by key, and what it stands for.

A configuration has the sections ``data``, ``split``, ``model``, ``training``, ``evaluation``,
``attribution``, ``tune`` and ``output``. A key that is left out takes the default of the class it
configures. Relative paths are relative to the file they are written in.
"""

from whence.attribution.method import METHODS
from whence.config.loading import Config, load_config
from whence.config.models import ModelConfig, TrainingConfig
from whence.config.parts import Parts, read_parts
from whence.config.sections import (
    AttributionConfig,
    DataConfig,
    EvaluationConfig,
    OutputConfig,
    SplitConfig,
    TuneConfig,
)
from whence.models._registered import MODELS

__all__ = [
    "METHODS",
    "MODELS",
    "AttributionConfig",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "ModelConfig",
    "OutputConfig",
    "Parts",
    "SplitConfig",
    "TrainingConfig",
    "TuneConfig",
    "load_config",
    "read_parts",
]
