"""RecBole's flat keys as a configuration of Whence, with RecBole's defaults.

What each key becomes is in `SPECIAL` and in `keys`, from which the documentation has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whence.config.models import own_parameters
from whence.config.recbole import data, evaluation, training
from whence.config.recbole.data import Handler
from whence.config.recbole.keys import (
    ALSO,
    COMMON,
    DEFAULTS,
    DEFAULTS_OF_MODELS,
    NO_INFLUENCE,
    OF_MODELS,
    QUIET,
    REFUSED,
    RENAMED,
    TRAINING,
)
from whence.config.recbole.values import is_one_of, listed
from whence.errors import ConfigError, did_you_mean
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
    data : str or None
        Path of the data, if it is named outside the file.

    Attributes
    ----------
    sections : dict
        What the keys become.
    notes : list of str
        What they do not become.
    accepted : list of str
        Parameters of the model that are keys of the section ``model``.

    Raises
    ------
    ConfigError
        If a key would change results and is not offered, or cannot be understood.
    """

    def __init__(
        self,
        raw: Mapping[str, Any],
        folder: Path,
        model: str | None = None,
        data: str | None = None,
    ) -> None:
        self.raw, self.folder, self.data = dict(raw), folder, data
        self.model = MODELS.plain(model or raw.get("model"))
        self.sections: Sections = {}
        self.notes: list[str] = []
        self.accepted: list[str] = []
        self._useless: list[str] = []  # settings of training that the model has no use for
        if self.model is not None:
            if self.model not in MODELS:
                raise ConfigError(
                    f"RecBole's model {self.model!r} has no counterpart; there are "
                    f"{', '.join(MODELS)}.{did_you_mean(self.model, MODELS)}"
                )
            self.accepted = list(own_parameters(self.model))
            known = MODELS[self.model].parameter_types()
            self._useless = [key for key, name in TRAINING.items() if name not in known]
            self.set("model.name", self.model)
            for place, value in ALSO.get(self.model, {}).items():
                self.set(place, value)
        self._refuse()
        self._translate({**DEFAULTS, **DEFAULTS_OF_MODELS.get(str(self.model), {}), **self.raw})
        self._note_keys()

    @property
    def is_sequential(self) -> bool:
        """Whether the model learns from the order of a user's items."""
        return "positions" in self.accepted or self.model == "markov"

    @property
    def is_split(self) -> bool:
        """Whether the files are split already, which RecBole then takes as they are."""
        return self.raw.get("benchmark_filename") is not None

    @property
    def name(self) -> str:
        """Name of the model's class, for messages."""
        return "this model" if self.model is None else MODELS[self.model].__name__

    def set(self, place: str, value: Any) -> None:
        """Set a key of Whence, ``section.key``."""
        section, _, key = place.partition(".")
        self.sections.setdefault(section, {})[key] = value

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)

    def no_use(self, key: str) -> None:
        """Say that the model has no use for a key, if the file has it."""
        if self.model is not None and key in self.raw:
            self.note(f"{key} has no use for {self.name} and is left out.")

    def _refuse(self) -> None:
        """Refuse what would change results, before anything else is looked at."""
        for key, refusal in REFUSED.items():
            value = self.raw.get(key)
            if value is None or is_one_of(value, refusal.harmless):
                continue
            if not refusal.models or self.model in refusal.models:
                of_what = f" for {self.name}" if refusal.models else ""
                raise ConfigError(
                    f"RecBole's {key} with the value {value!r} is not offered{of_what}: "
                    f"{refusal.about}. Leave it out if other results are fine."
                )

    def _translate(self, flat: dict[str, Any]) -> None:
        for key, value in flat.items():
            if (key not in self.raw and key in self._useless) or (
                value is None and key != "train_neg_sample_args"
            ):
                continue
            try:
                self._take(key, value)
            except ConfigError:
                raise
            except (TypeError, ValueError, AttributeError, LookupError, OverflowError) as error:
                raise ConfigError(
                    f"{key} in this RecBole configuration cannot be understood: {value!r}."
                ) from error
        if "dataset" not in flat and "data_path" in flat:
            data.dataset(self, None)

    def _take(self, key: str, value: Any) -> None:
        """Translate one key."""
        if key in RENAMED:
            self.set(RENAMED[key], value)
        elif key in OF_MODELS:
            self._set_parameter(key, value)
        elif key in SPECIAL:
            SPECIAL[key][1](self, value)

    def _set_parameter(self, key: str, value: Any) -> None:
        name = next((name for name in OF_MODELS[key] if name in self.accepted), None)
        if name is None or (key == "hidden_size" and not self.is_sequential):
            self.no_use(key)
            return
        for other, names in OF_MODELS.items():
            if key in self.raw and names == OF_MODELS[key] and self.raw.get(other, value) != value:
                raise ConfigError(
                    f"{key} and {other} are both {name} of {self.name}, but have the values "
                    f"{value!r} and {self.raw[other]!r}; give one value."
                )
        self.set(f"model.{name}", value)
        if key == "embedding_size" and "feature_dim" in self.accepted:
            self.set("model.feature_dim", value)

    def _note_keys(self) -> None:
        given = {key: value for key, value in self.raw.items() if value is not None}
        useless = [
            key
            for key, value in given.items()
            if (key in NO_INFLUENCE and key not in QUIET)
            or (key in REFUSED and not is_one_of(value, REFUSED[key].harmless))
        ]
        if useless:
            self.note(listed(useless, "has no influence here", "have no influence here"))
        if "threshold" in useless:
            self.note(
                "threshold drops no row: it marks interactions as liked or not, which RecBole's "
                "models that rank do not look at; to drop rows, write val_interval."
            )
        if self.model == "widedeep" and "train_neg_sample_args" not in given:
            self.note(
                "RecBole trains WideDeep on labels and measures AUC and LogLoss of them; here all "
                "interactions are positive, negatives are drawn, and items are ranked."
            )
        for key in self.raw:
            if key not in known_keys():
                self.note(
                    f"{key!r} is no key of RecBole that is known here, and is left out."
                    f"{did_you_mean(key, known_keys())}"
                )


def _read_elsewhere(found: Translation, value: Any) -> None:
    """Nothing: another key's translation reads this one."""


SPECIAL: dict[str, tuple[str, Handler]] = {
    "model": ("`model.name`", _read_elsewhere),  # was looked at first
    "dataset": (
        "`data.path`: a folder of this name in `data_path`, or beside the file; or the public "
        "data set",
        data.dataset,
    ),
    "benchmark_filename": (
        "`data.train`, `data.validation` and `data.test`, without the filters, as in RecBole; "
        "refused for sequential models",
        data.benchmark,
    ),
    "data_path": ("the folder that `dataset` is in", _read_elsewhere),
    "RATING_FIELD": (
        "`data.rating`, if `load_col` has it",
        data.column("rating"),
    ),
    "TIME_FIELD": (
        "`data.time`, if `load_col` has it",
        data.column("time"),
    ),
    "seed": (
        "`training.seed`, `split.seed`, `evaluation.seed` and `tune.seed`",
        training.seed,
    ),
    "use_gpu": ("`training.device`: cuda, if there is a GPU", training.device),
    "gpu_id": ("as `use_gpu`", training.device),
    "device": ("as `use_gpu`", training.device),
    "learner": ("`training.optimizer`", training.learner),
    "train_batch_size": (
        "`training.batch_size`, divided by the number of negatives, which RecBole counts, and for "
        "NeuMF and WideDeep by one more",
        training.batch,
    ),
    "clip_grad_norm": (
        "`training.gradient_clip`: its `max_norm`; a `norm_type` other than 2 is refused",
        training.clip,
    ),
    "eval_step": ("`training.eval_every`; 0 is refused", training.eval_step),
    "valid_metric": (
        "`training.metric`",
        lambda found, value: found.set("training.metric", value),
    ),
    "stopping_step": (
        "`training.patience`, one more: RecBole stops at the next one",
        training.patience,
    ),
    "loss_type": (
        "`model.loss`: cross_entropy for CE, bpr for BPR; and `model.positions: last`, as each "
        "beginning of a history is an example",
        training.loss,
    ),
    "train_neg_sample_args": (
        "`model.n_negatives`: its `sample_num`; a `distribution` other than uniform and `dynamic` "
        "are refused; `alpha` and `candidate_num` have no influence without them",
        training.drawn,
    ),
    "neg_sampling": (
        "`model.n_negatives`: the number of `uniform`; popularity is refused",
        training.drawn,
    ),
    "training_neg_sample_num": ("`model.n_negatives`", training.drawn),
    "repeatable": (
        "`model.exclude_seen`: its opposite; of sequential models always false, as they rank what "
        "was seen whatever the key says",
        training.repeatable,
    ),
    "metrics": (
        "`evaluation.metrics`, each with each of `topk`; LogLoss, ShannonEntropy and "
        "TailPercentage are left out with a note",
        evaluation.metrics,
    ),
    "topk": ("the K of `evaluation.metrics`", _read_elsewhere),
    "eval_args": (
        "`split`: RS with order RO is rows, with order TO time (of each user by group_by; not so "
        "for sequential models), LS with order TO is leave-one-out, and last with valid_only; mode "
        "uni100 of test data is `evaluation.negatives: 100`, and validation ranks all items, which "
        "a note says; all else is refused",
        evaluation.eval_args,
    ),
    "load_col": (
        "whether `RATING_FIELD` and `TIME_FIELD` are read; `model.user_features` and "
        "`model.item_features` of WideDeep. Other columns have no influence",
        data.features,
    ),
    "rm_dup_inter": (
        "`data.duplicates`; refused beside bounds on the rating, which RecBole looks at later",
        data.duplicates,
    ),
    "val_interval": (
        "`data.min_rating` and `data.max_rating`; other columns are refused",
        data.bounds,
    ),
    "lowest_val": (
        "`data.min_rating`, of an older RecBole; other columns are refused",
        data.at_least,
    ),
    "filter_inter_by_user_or_item": (
        "`data.described`, if `load_col` has users or items",
        data.described,
    ),
    "inner_size": (
        "`model.inner_dim` of SASRec, and `model.norm_first: false`",
        training.inner_size,
    ),
    "hidden_act": (
        "`model.activation` of SASRec, and `model.norm_first: false`",
        training.hidden_act,
    ),
    "user_inter_num_interval": (
        "`data.min_per_user`; an upper bound is refused",
        data.core("data.min_per_user"),
    ),
    "item_inter_num_interval": (
        "`data.min_per_item`; an upper bound is refused",
        data.core("data.min_per_item"),
    ),
}
"""Other keys: what the documentation says of each, and what is done with its value."""


def known_keys() -> tuple[str, ...]:
    """All keys of RecBole that are known, with use or without."""
    return (*RENAMED, *OF_MODELS, *SPECIAL, *REFUSED, *NO_INFLUENCE)


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


def table() -> list[tuple[str, str, str]]:
    """Each key, what is done with it, and what becomes of it, for the documentation."""
    rows = [(key, "honoured", f"`{place}`") for key, place in RENAMED.items()]
    rows += [(key, "honoured", about) for key, (about, _) in SPECIAL.items()]
    for key, names in OF_MODELS.items():
        rows.append((key, "honoured", " or ".join(f"`model.{name}`" for name in names)))
    for key, refusal in REFUSED.items():
        harmless = [f"`{value}`" for value in refusal.harmless if value not in ([], {})]
        only = f" for {', '.join(MODELS[one].__name__ for one in refusal.models)}"
        but = f", except as {' or '.join(harmless)}" if harmless else ""
        what = f"refused{only if refusal.models else ''}{but}"
        rest = "; no influence on other models" if refusal.models else ""
        rows.append((key, f"{what}{rest}", refusal.about))
    rows += [(key, "no influence on results", about) for key, about in NO_INFLUENCE.items()]
    return rows
