"""Models trained by RecBole."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from typing_extensions import Self

from whence._native import padded_windows
from whence.data import Interactions
from whence.errors import DataError, FileFormatError, UnsupportedError
from whence.evaluation.queries import Queries
from whence.models.adapters._recbole_data import (
    RecBoleExamples,
    RecBolePairs,
    RecBoleWindows,
    TrainingData,
)
from whence.models.adapters._recbole_loss import (
    can_be_taken_apart,
    single_losses,
    why_inseparable,
)
from whence.models.adapters.torch_module import present_checkpoint, refuse_strangers
from whence.models.training import Batch, Checkpoint, DifferentiableRecommender, Examples
from whence.models.training.differentiable import Optimizer
from whence.parameters import NonNegative, PositiveInt, Seed, Share, field

_SCORES_PER_BLOCK = 1 << 18
_UNSAFE_LOADING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


class RecBoleModel(DifferentiableRecommender):
    """A model trained by RecBole: ``RecBoleModel(model, train_data)``, ready to be used.

    It scores by RecBole's ``full_sort_predict``, and its loss is RecBole's ``calculate_loss`` of
    single examples, so that it can be evaluated, asked and attributed like a model of Whence.
    General models are asked with users of the training data, sequential ones with histories.
    Training it again is left to RecBole. The model and its data may be given by their places.

    Parameters
    ----------
    model : recbole.model.abstract_recommender.AbstractRecommender
        Trained; it is copied.
    train_data : recbole data loader or dataset
        What it was trained on: the first loader that RecBole's ``data_preparation`` returns, or
        its dataset. Not the whole dataset, which has the test rows too.
    config : recbole.config.Config, optional
        Default: that of the dataset.
    exclude_seen : bool, optional
        Leave out the items of the query's own history; by default for users, and not for
        sessions and baskets: see `Recommender`.

    Attributes
    ----------
    train_ : Interactions
        The training rows, with RecBole's ids: text, or integers where all are printed the same.
    module_ : torch.nn.Module
        The copy of the model.
    checkpoints_ : list of Checkpoint
        One, of the parameters as they are.

    Notes
    -----
    Every model can be asked and explained; of some its `levels` are ``{"score"}`` only. What it
    learned can be attributed to its training data where single rows have losses. They have none
    where RecBole changes its batches at random (as by masking in BERT4Rec), where the loss of the
    same rows changes from call to call, and where it is that of all items of a user together (as
    of MultiVAE): this is tried, and said where an attribution is asked for.

    An example is a row of RecBole's training data: an interaction, of sequential models with the
    window of items before it; they are in the order of `train_`. Its loss is that of a batch of it
    alone, together with the negatives drawn for it, as many as RecBole was told to draw; they are
    drawn uniformly from the items of the training data. RecBole's loss of a batch is the mean over
    its examples, unless the model has terms that join them, such as some penalties.

    References
    ----------
    Zhao et al. RecBole: towards a unified, comprehensive and efficient framework for
    recommendation algorithms. CIKM 2021.
    """

    kinds = ("sessions",)

    model: Any = field(kw_only=False)
    train_data: Any = field(kw_only=False)
    config: Any = None
    exclude_seen: bool | None = None

    # RecBole's configuration says how the model was trained.
    epochs: PositiveInt = field(init=False)
    batch_size: PositiveInt = field(init=False)
    learning_rate: NonNegative = field(init=False)
    optimizer: Optimizer = field(init=False)
    weight_decay: NonNegative = field(init=False)
    gradient_clip: NonNegative | None = field(init=False, default=None)
    decay: Share = field(init=False, default=1.0)
    seed: Seed = field(init=False)
    start: Any = field(init=False, default=None)
    device: str = field(init=False)
    torch_threads: PositiveInt = field(init=False, default=1)

    def __post_init__(self) -> None:
        # Trained elsewhere, it is as if fitted from the beginning.
        dataset = getattr(self.train_data, "_dataset", self.train_data)
        _check_model(self.model, dataset)
        self._check_params()
        self._settings = self.config if self.config is not None else dataset.config
        learner = str(self._setting("learner", "adam")).lower()
        self.epochs = int(self._setting("epochs", 1))
        self.batch_size = int(self._setting("train_batch_size", 512))
        self.learning_rate = float(self._setting("learning_rate", 1e-3))
        self.optimizer = cast("Optimizer", learner) if learner in get_args(Optimizer) else "adam"
        self.weight_decay = float(self._setting("weight_decay", 0.0))
        self.seed = int(self._setting("seed", 42))
        self.device = str(next(iter(self.model.parameters()), torch.zeros(0)).device)
        self._is_sequential = hasattr(self.model, "ITEM_SEQ")
        self.asks = "histories" if self._is_sequential else "users"  # type: ignore[misc]
        is_traditional = _name(self._setting("MODEL_TYPE", "")) == "TRADITIONAL"
        self.levels = frozenset(  # type: ignore[misc]
            {"score"} if is_traditional else {"score", "differentiable"}
        )
        self._data = TrainingData.of(dataset, self._is_sequential)
        self.train_ = self._data.train
        self._prepare(self.train_)

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> Self:
        """Load a checkpoint that RecBole has saved, and the data that it was trained on.

        RecBole reads the data again from where the checkpoint's configuration says. Its files
        are pickles, which can run code: load only those that you trust.

        Parameters
        ----------
        path : path
        **options
            The other parameters.

        Raises
        ------
        FileFormatError
            If there is no such file.
        UnsupportedError
            If RecBole is not installed.
        """
        try:
            from recbole.quick_start import load_data_and_model
        except ImportError as error:
            raise UnsupportedError(
                f"RecBoleModel.load needs RecBole, which cannot be imported ({error}); "
                "pip install recbole, or give RecBoleModel a model that is loaded already."
            ) from error
        if not Path(path).is_file():
            raise FileFormatError(f"There is no file {path}; check the path.")
        with _pickles_allowed():
            config, model, _, train_data, _, _ = load_data_and_model(model_file=str(path))
        return cls(model, train_data, config=config, **options)

    @property
    def max_length(self) -> int | None:
        """Items of the history that a sequential model looks at; None for models of users."""
        if not self._is_sequential:
            return None
        return int(self._setting("MAX_ITEM_LIST_LENGTH", 50))

    def fit(self, train: Any, *args: Any, **options: Any) -> NoReturn:
        """Refuse: training is RecBole's.

        Raises
        ------
        UnsupportedError
            Always.
        """
        name = type(self.model).__name__
        raise UnsupportedError(
            f"Whence does not train the {name} of RecBole; train it with RecBole and give "
            "RecBoleModel the result, or choose a model of Whence."
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> NoReturn:
        """Refuse: RecBole has its own checkpoints.

        Raises
        ------
        UnsupportedError
            Always.
        """
        raise UnsupportedError(
            f"Whence cannot save the {type(self.model).__name__} of RecBole; RecBole's trainer "
            "saves it, and RecBoleModel.load(path) loads that file."
        )

    def _setting(self, name: str, default: Any) -> Any:
        """Value of RecBole's configuration, which gives None for what it does not have."""
        try:
            value = self._settings[name]
        except KeyError:
            value = None
        return default if value is None else value

    def _recorded_params(self) -> dict[str, Any]:
        return {"model": type(self.model).__name__, "exclude_seen": self.exclude_seen}

    def _module(self, train: Interactions) -> nn.Module:
        module: nn.Module = copy.deepcopy(self.model)
        return module.eval()

    def _examples(self, train: Interactions) -> Examples:
        way = _name(self._setting("MODEL_INPUT_TYPE", getattr(self.model, "input_type", "")))
        drawn = self._setting("train_neg_sample_args", {})
        n_negatives = drawn.get("sample_num", 0) if drawn.get("distribution") != "none" else 0
        n_negatives = n_negatives if isinstance(n_negatives, int) else 0
        kind = RecBoleWindows if self._is_sequential else RecBolePairs
        return kind(self._data, n_negatives, way == "PAIRWISE", self.seed)

    def _prepare(self, train: Interactions) -> None:
        super()._prepare(train)
        self.checkpoints_ = [present_checkpoint(self)]
        if "differentiable" in self.levels:
            why = why_inseparable(self.module_, cast("RecBoleExamples", self.examples_))
            _forget(self.module_)
            if why is not None:
                self.levels = frozenset({"score"})  # type: ignore[misc]
                self.lacking = {"differentiable": why}
        self._is_apart = "differentiable" in self.levels and can_be_taken_apart(
            self.module_, cast("RecBoleExamples", self.examples_)
        )

    def example_loss(self, batch: Batch) -> Tensor:
        """Loss of each example of a batch by itself, Tensor [B]; see the base class.

        Raises
        ------
        UnsupportedError
            If the model's loss needs what the rows of its training data do not have.
        """
        examples = cast("RecBoleExamples", self.examples_)
        _forget(self.module_)
        try:
            return single_losses(self.module_, examples, batch, at_once=self._is_apart)
        except KeyError as error:
            raise UnsupportedError(
                f"The loss of {type(self.module_).__name__} needs the field {error}, which these "
                "examples do not have."
            ) from error

    def _score_batch(self, queries: Queries) -> Tensor:
        if not self._is_sequential:
            refuse_strangers(queries, type(self.module_).__name__)
        _forget(self.module_)
        n_items = int(self._data.dataset.num(self._data.item_field))
        size = max(1, _SCORES_PER_BLOCK // n_items)
        rows = [
            self._full_scores(self._questions(queries.block(start, start + size)), n_items)
            for start in range(0, len(queries), size)
        ]
        _forget(self.module_)
        scores = torch.cat(rows) if rows else torch.zeros(0, n_items)
        return scores.index_select(1, self._data.item_numbers[:-1].to(scores.device))

    def _full_scores(self, asked: Any, n_items: int) -> Tensor:
        """Scores of all of RecBole's items, padding included, [Q, n_items]."""
        size, model = len(asked), cast("Any", self.module_)
        try:
            found: Tensor = model.full_sort_predict(asked)
        except NotImplementedError:
            found = self._predicted(asked, n_items)
        except KeyError as error:
            raise UnsupportedError(
                f"{type(self.module_).__name__} needs the field {error} to score items, which "
                "Whence does not know of a user or a history."
            ) from error
        if found.numel() != size * n_items:
            raise UnsupportedError(
                f"{type(self.module_).__name__} gave {list(found.shape)} scores for {size} "
                f"queries and {n_items} items; only models that score all items can be asked."
            )
        return found.reshape(size, n_items)

    def _predicted(self, asked: Any, n_items: int) -> Tensor:
        """Scores of all items pair by pair, of models that have no quicker way."""
        field, model = self._data.item_field, cast("Any", self.module_)
        scores = []
        for number in range(len(asked)):
            fields = {
                name: values[number : number + 1].repeat_interleave(n_items, 0)
                for name, values in asked.interaction.items()
            }
            fields[field] = torch.arange(n_items, device=self.device)
            scores.append(model.predict(self._data.interaction(fields)))
        return torch.stack(scores)

    def _questions(self, queries: Queries) -> Any:
        """An Interaction of RecBole that asks the queries."""
        data = self._data
        fields = {data.user_field: data.user_numbers[torch.from_numpy(queries.users).long()]}
        if self._is_sequential:
            windows, lengths = padded_windows(
                queries.history_items,
                queries.history_start,
                queries.history_end,
                self.max_length or 1,
                self.n_items,
            )
            fields[data.window_field] = data.item_numbers[torch.from_numpy(windows)]
            fields[data.length_field] = torch.from_numpy(lengths).clamp(min=1)
        return data.interaction({name: one.to(self.device) for name, one in fields.items()})

    def _masked(self, scores: npt.NDArray[np.float32], queries: Queries) -> npt.NDArray[np.float32]:
        scores = super()._masked(scores, queries)
        if not self._is_sequential:
            scores[queries.users < 0] = -np.inf
        return scores

    def load_checkpoint(self, checkpoint: Checkpoint) -> Self:
        """Take the parameters of a checkpoint; see the base class."""
        super().load_checkpoint(checkpoint)
        _forget(self.module_)
        return self


def _check_model(model: Any, dataset: Any) -> None:
    for verb in ("full_sort_predict", "calculate_loss", "parameters"):
        if not callable(getattr(model, verb, None)):
            raise UnsupportedError(
                f"{type(model).__name__} is not a model of RecBole: it has no method {verb}; wrap "
                "other modules with TorchModel, and other objects with Wrapped."
            )
    names = ("inter_feat", "field2id_token", "uid_field", "iid_field", "config")
    missing = [name for name in names if not hasattr(dataset, name)]
    if missing:
        raise UnsupportedError(
            f"{type(dataset).__name__} is not a dataset of RecBole: it has no {missing[0]}; give "
            "the train_data that data_preparation returns."
        )
    if not hasattr(dataset.inter_feat, "interaction"):
        raise DataError(
            "The dataset has not been split yet; give the train_data that data_preparation "
            "returns, not what create_dataset does."
        )


def _forget(module: nn.Module) -> None:
    """Drop what a model of graphs has computed of its parameters, which may be others now."""
    for name in [name for name in vars(module) if name.startswith("restore_")]:
        setattr(module, name, None)


def _name(kind: Any) -> str:
    """Name of a member of one of RecBole's enumerations, or the text itself."""
    return str(getattr(kind, "name", kind)).upper()


@contextmanager
def _pickles_allowed() -> Iterator[None]:
    """Let torch.load read RecBole's checkpoints, which hold more than tensors."""
    before = os.environ.get(_UNSAFE_LOADING)
    os.environ[_UNSAFE_LOADING] = "1"
    try:
        yield
    finally:
        del os.environ[_UNSAFE_LOADING]
        if before is not None:
            os.environ[_UNSAFE_LOADING] = before
