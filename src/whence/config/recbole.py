"""RecBole's flat keys as a configuration of Whence, with RecBole's defaults.

What each key becomes is in `SPECIAL` and in `recbole_keys`, from which the documentation has it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from whence.config.models import own_parameters
from whence.config.recbole_keys import (
    COMMON,
    DEFAULTS,
    DEFAULTS_OF_MODELS,
    NO_METRICS,
    NOT_OFFERED,
    OF_MODELS,
    POINTWISE,
    QUIET,
    RENAMED,
    SPLIT,
    SPLIT_OF_SEQUENCES,
    TRAINING,
    WITHOUT_USE,
)
from whence.config.recbole_values import interval, listed, number_of_negatives
from whence.errors import ConfigError, MetricError, did_you_mean
from whence.models._registered import MODELS

Sections = dict[str, dict[str, Any]]


class Translation:
    """One file of RecBole being translated.

    Parameters
    ----------
    raw : mapping
        Flat keys.
    folder : Path
        Of the file.
    model : str or None
        Name of the model, if it is named outside the file.

    Attributes
    ----------
    sections : dict
        What the keys become.
    notes : list of str
        What they do not become.
    """

    def __init__(self, raw: Mapping[str, Any], folder: Path, model: str | None) -> None:
        self.raw, self.folder = dict(raw), folder
        self.model = MODELS.plain(model or raw.get("model"))
        self.sections: Sections = {}
        self.notes: list[str] = []
        self._accepted: list[str] = []
        self._useless: list[str] = []  # settings of training that the model has no use for
        if self.model is not None:
            if self.model not in MODELS:
                raise ConfigError(
                    f"RecBole's model {self.model!r} has no counterpart; there are "
                    f"{', '.join(MODELS)}.{did_you_mean(self.model, MODELS)}"
                )
            self._accepted = list(own_parameters(self.model))
            known = MODELS[self.model].parameter_types()
            self._useless = [key for key, name in TRAINING.items() if name not in known]
            self._set("model.name", self.model)
            if "exclude_seen" in known:
                self._set("model.exclude_seen", True)
        flat = {**DEFAULTS, **DEFAULTS_OF_MODELS.get(str(self.model), {}), **self.raw}
        self._translate(flat)
        self._note_keys()

    @property
    def _is_sequential(self) -> bool:
        return "positions" in self._accepted

    def _translate(self, flat: dict[str, Any]) -> None:
        for key, value in flat.items():
            if value is None or (key not in self.raw and key in self._useless):
                continue
            try:
                self._take(key, value)
            except ConfigError:
                raise
            except (TypeError, ValueError, AttributeError, KeyError) as error:
                raise ConfigError(
                    f"{key} in this RecBole configuration cannot be understood: {value!r}."
                ) from error
        if "path" not in self.sections.get("data", {}) and "data_path" in flat:
            self._dataset(None)

    def _take(self, key: str, value: Any) -> None:
        """Translate one key."""
        if key in RENAMED:
            self._set(RENAMED[key], value)
        elif key in OF_MODELS:
            self._set_argument(key, value)
        elif key in SPECIAL:
            SPECIAL[key][1](self, value)

    def _set(self, place: str, value: Any) -> None:
        section, _, key = place.partition(".")
        self.sections.setdefault(section, {})[key] = value

    def _set_argument(self, key: str, value: Any) -> None:
        name = next((name for name in OF_MODELS[key] if name in self._accepted), None)
        if key == "hidden_size" and not self._is_sequential:
            name = None
        if name is not None:
            self._set(f"model.{name}", value)
        elif self.model is not None and key in self.raw:
            self.notes.append(
                f"{key} has no use for {MODELS[self.model].__name__} and is left out."
            )

    def _model(self, value: Any) -> None:
        pass  # was looked at first

    def _dataset(self, value: Any) -> None:
        from whence.config.reading import is_public

        name = value or self.raw.get("dataset")
        base = Path(self.raw.get("data_path") or "dataset")
        places = [base / name, Path(name)] if name else [base]
        for root in (self.folder, Path()):
            for place in places:
                if (root / place).exists():
                    self._set("data.path", str(root / place))
                    return
        public = name is not None and is_public(name)
        self._set("data.path", name if public else str(self.folder / places[0]))

    def _field(self, role: str) -> Callable[[Any], None]:
        """Name a column, if it is loaded at all."""

        def name_it(value: Any) -> None:
            loaded = self.raw.get("load_col")
            columns = loaded.get("inter") if isinstance(loaded, Mapping) else None
            if columns is None or value in columns:
                self._set(f"data.{role}", value)

        return name_it

    def _seed(self, value: Any) -> None:
        for section in ("training", "split", "evaluation", "tune"):
            self._set(f"{section}.seed", value)

    def _device(self, value: Any) -> None:
        wanted = self.raw.get("use_gpu", True) and str(self.raw.get("device", "cuda")) != "cpu"
        if not wanted:
            self._set("training.device", "cpu")
            return
        import torch

        found = torch.cuda.is_available()
        self._set("training.device", "cuda" if found else "cpu")
        if not found:
            self.notes.append("There is no GPU here, so the model is trained on the CPU.")

    def _learner(self, value: Any) -> None:
        self._set("training.optimizer", str(value).lower())

    def _clip(self, value: Any) -> None:
        self._set(
            "training.gradient_clip", value["max_norm"] if isinstance(value, Mapping) else value
        )

    def _patience(self, value: Any) -> None:
        # RecBole stops after more than stopping_step validations without a better value.
        self._set("training.patience", int(value) + 1)

    def _loss(self, value: Any) -> None:
        known = {"CE": "cross_entropy", "BPR": "bpr"}
        if "loss" in self._accepted:
            self._set("model.loss", known.get(str(value).upper(), value))
            if self._is_sequential:
                self._set("model.positions", "last")

    def _negatives(self, value: Any) -> None:
        number = number_of_negatives(value)
        if number and "n_negatives" in self._accepted:
            self._set("model.n_negatives", number)

    def _metrics(self, value: Any) -> None:
        from whence.evaluation._names import WHOLE_NAMES, split_name

        lengths = self.raw.get("topk") or DEFAULTS["topk"]
        lengths = lengths if isinstance(lengths, (list, tuple)) else [lengths]
        names: list[str] = []
        for metric in [value] if isinstance(value, str) else value:
            plain = str(metric).strip().lower()
            if plain in NO_METRICS:
                self.notes.append(f"The metric {metric} is not offered and is left out.")
                continue
            try:
                base, _ = split_name(plain if plain in (*WHOLE_NAMES, "gauc") else f"{plain}@10")
            except MetricError as error:
                raise ConfigError(f"metrics: {error}") from error
            names += [base] if base in WHOLE_NAMES else [f"{base}@{k}" for k in lengths]
        self._set("evaluation.metrics", names)

    def _eval_args(self, value: Any) -> None:
        base = SPLIT_OF_SEQUENCES if self._is_sequential else SPLIT
        args = {**base, **value}
        if "split" in value and "order" not in value and "LS" in value["split"]:
            args["order"] = "TO"
        self._split(args["split"], str(args["order"]).upper(), args.get("group_by", "user"))
        mode = args["mode"]
        mode = mode.get("test", "full") if isinstance(mode, Mapping) else mode
        drawn = re.fullmatch(r"uni(\d+)", str(mode))
        if drawn:
            self._set("evaluation.negatives", int(drawn[1]))
        elif mode not in ("full", None):
            raise ConfigError(
                f"eval_args has the mode {mode!r}, which is not offered; say full, or uni100 for "
                "100 negatives."
            )

    def _split(self, split: Any, order: str, group_by: Any) -> None:
        kind, how = next(iter(split.items())) if isinstance(split, Mapping) and split else ("", "")
        by_user = group_by == "user"
        if kind == "LS" and order == "TO":
            self._set("split.method", "last" if how == "valid_only" else "leave-one-out")
        elif kind == "RS" and order == "RO":
            self._set("split.method", "rows")
            self._set("split.per_user", by_user)
        elif kind == "RS" and order == "TO" and not by_user:
            self._set("split.method", "time")
        else:
            raise ConfigError(
                f"eval_args has the split {split!r} with order {order}"
                f"{' grouped by user' if by_user else ''}, which is not offered; say RS with order "
                "RO, RS with order TO and group_by none, or LS with order TO."
            )
        if kind == "RS":
            shares = [float(share) for share in how]
            self._set("split.fractions", [share / sum(shares) for share in shares])

    def _bounds(self, value: Any) -> None:
        """``{rating: "[3,inf)"}``."""
        rating = self.raw.get("RATING_FIELD", "rating")
        for column, written in value.items():
            if column != rating:
                self.notes.append(f"val_interval of {column} is not offered and is left out.")
                continue
            for place, bound in zip(("data.min_rating", "data.max_rating"), interval(written)):
                if bound is not None:
                    self._set(place, bound)

    def _at_least(self, value: Any) -> None:
        """``{rating: 3}``."""
        number = value.get(self.raw.get("RATING_FIELD", "rating"))
        if number is not None:
            self._set("data.min_rating", number)

    def _core(self, place: str) -> Callable[[Any], None]:
        def bound(value: Any) -> None:
            low, high = interval(value)
            if low is not None:
                self._set(place, math.ceil(low))
            if high is not None:
                self.notes.append(f"An upper bound such as that of {value!r} is not offered.")

        return bound

    def _batch(self, value: Any) -> None:
        """RecBole counts the negatives of models that look at one pair at a time."""
        names = ("train_neg_sample_args", "neg_sampling", "training_neg_sample_num")
        given = [self.raw[name] for name in names if name in self.raw]
        negatives = number_of_negatives(given[0]) if given else 1
        each = 1 + (negatives or 0) if self.model in POINTWISE else 1
        self._set("training.batch_size", max(int(value) // each, 1))

    def _note_keys(self) -> None:
        useless = [key for key in self.raw if key in WITHOUT_USE and key not in QUIET]
        if useless:
            self.notes.append(listed(useless, "has no use here", "have no use here"))
        missing = [key for key in self.raw if key in NOT_OFFERED and self.raw[key] is not None]
        if missing:
            self.notes.append(
                listed(missing, "is not offered", "are not offered") + " Results can differ."
            )
        for key in self.raw:
            if key not in known_keys():
                self.notes.append(
                    f"{key!r} is no key of RecBole that is known here, and is left out."
                    f"{did_you_mean(key, known_keys())}"
                )


SPECIAL: dict[str, tuple[str, Callable[[Translation, Any], None]]] = {
    "model": ("`model.name`", Translation._model),
    "dataset": (
        "`data.path`: a folder of this name in `data_path`, or beside the file; or the public "
        "data set",
        Translation._dataset,
    ),
    "data_path": ("the folder that `dataset` is in", lambda self, value: None),
    "RATING_FIELD": (
        "`data.rating`, if `load_col` has it",
        lambda self, value: self._field("rating")(value),
    ),
    "TIME_FIELD": (
        "`data.time`, if `load_col` has it",
        lambda self, value: self._field("time")(value),
    ),
    "seed": (
        "`training.seed`, `split.seed`, `evaluation.seed` and `tune.seed`",
        Translation._seed,
    ),
    "use_gpu": ("`training.device`: cuda, if there is a GPU", Translation._device),
    "gpu_id": ("as `use_gpu`", Translation._device),
    "device": ("as `use_gpu`", Translation._device),
    "learner": ("`training.optimizer`", Translation._learner),
    "train_batch_size": (
        "`training.batch_size`; for NeuMF and WideDeep divided by 1 + the number of negatives, "
        "because RecBole counts these",
        Translation._batch,
    ),
    "clip_grad_norm": ("`training.gradient_clip`: its `max_norm`", Translation._clip),
    "stopping_step": (
        "`training.patience`, one more: RecBole stops at the next one",
        Translation._patience,
    ),
    "loss_type": (
        "`model.loss`: cross_entropy for CE, bpr for BPR; and `model.positions: last`",
        Translation._loss,
    ),
    "train_neg_sample_args": ("`model.n_negatives`: its `sample_num`", Translation._negatives),
    "neg_sampling": ("`model.n_negatives`: the number of `uniform`", Translation._negatives),
    "training_neg_sample_num": ("`model.n_negatives`", Translation._negatives),
    "metrics": ("`evaluation.metrics`, each with each of `topk`", Translation._metrics),
    "topk": ("the K of `evaluation.metrics`", lambda self, value: None),
    "eval_args": (
        "`split`: RS with order RO is rows, with order TO and group_by none time, LS is "
        "leave-one-out; mode uni100 is `evaluation.negatives: 100`",
        Translation._eval_args,
    ),
    "val_interval": ("`data.min_rating` and `data.max_rating`", Translation._bounds),
    "lowest_val": ("`data.min_rating`", Translation._at_least),
    "threshold": ("`data.min_rating`", Translation._at_least),
    "user_inter_num_interval": (
        "`data.min_per_user`",
        lambda self, value: self._core("data.min_per_user")(value),
    ),
    "item_inter_num_interval": (
        "`data.min_per_item`",
        lambda self, value: self._core("data.min_per_item")(value),
    ),
}
"""Other keys: what the documentation says of each, and what is done with its value."""


def known_keys() -> tuple[str, ...]:
    """All keys of RecBole that are known, with use or without."""
    return (*RENAMED, *OF_MODELS, *SPECIAL, *WITHOUT_USE, *NOT_OFFERED)


def is_of_recbole(raw: Mapping[str, Any], sections: tuple[str, ...]) -> bool:
    """Tell whether a file has RecBole's flat keys: at least one that is not a common word.

    Parameters
    ----------
    raw : mapping
        The file.
    sections : tuple of str
        Names of Whence's sections; a file with one of them that has keys is Whence's.
    """
    if any(isinstance(raw.get(section), Mapping) for section in sections):
        return False
    return any(
        isinstance(raw[key], str) if key == "model" else key not in COMMON
        for key in raw
        if key in known_keys()
    )


def table() -> list[tuple[str, str]]:
    """Each key and what becomes of it, for the documentation."""
    rows = [(key, f"`{place}`") for key, place in RENAMED.items()]
    rows += [(key, about) for key, (about, _) in SPECIAL.items()]
    for key, names in OF_MODELS.items():
        rows.append((key, " or ".join(f"`model.{name}`" for name in names)))
    return rows
