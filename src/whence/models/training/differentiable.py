"""Models with a loss whose gradient exists for each training example."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from whence.data import Interactions
from whence.engines import map_ordered
from whence.errors import ParameterError, check_choice, check_float, check_int
from whence.evaluation.queries import Queries
from whence.models.base import Recommender
from whence.models.training.checkpoints import Checkpoint
from whence.models.training.examples import Batch, Examples
from whence.models.training.loop import Training, cuda_devices, torch_threads
from whence.models.training.settings import Progress, Run

Self = TypeVar("Self", bound="DifferentiableRecommender")
OPTIMIZERS = ("adam", "adamw", "sgd", "adagrad")
_SCORED = 512
"""Queries that are scored together."""


class DifferentiableRecommender(Recommender):
    """A recommender that is a torch module, trained by gradients of per-example losses.

    Subclasses give the module, the examples, the loss of a batch and the scores of queries.

    Parameters
    ----------
    epochs : int
        Passes over the training examples.
    batch_size : int
        Examples per step.
    learning_rate : float
    optimizer : {"adam", "adamw", "sgd", "adagrad"}
    weight_decay : float
        ρ of the penalty ½ρ‖θ‖² (for ``adamw`` decoupled from the gradient).
    gradient_clip : float or None
        Greatest norm of the gradient.
    decay : float
        Factor of the learning rate after each epoch.
    seed : int
        Of the initial parameters, the order of batches, the negatives and dropout.
    exclude_seen : bool
        Never recommend items of the query's own history.
    device : str
        Such as ``"cpu"`` or ``"cuda"``.

    Attributes
    ----------
    shuffled : bool
        Whether each epoch has an order of its own; else that of the examples' numbers.
    module_ : torch.nn.Module
    examples_ : Examples
        The training examples, addressable by number.
    checkpoints_ : list of Checkpoint
        Those kept, oldest first.
    history_ : list of dict
        One record per epoch.
    best_ : dict
        Epoch and value of the best validation; empty without validation.
    """

    floor: ClassVar[float] = -np.inf
    levels: ClassVar[frozenset[str]] = frozenset({"score", "refit", "differentiable"})
    shuffled: ClassVar[bool] = True

    module_: nn.Module
    examples_: Examples
    checkpoints_: list[Checkpoint]
    history_: list[dict[str, Any]]
    best_: dict[str, Any]

    def __init__(
        self,
        epochs: int = 20,
        batch_size: int = 512,
        learning_rate: float = 1e-3,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
        gradient_clip: float | None = None,
        decay: float = 1.0,
        seed: int = 42,
        exclude_seen: bool = True,
        device: str = "cpu",
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.gradient_clip = gradient_clip
        self.decay = decay
        self.seed = seed
        self.exclude_seen = exclude_seen
        self.device = device

    @abstractmethod
    def _module(self, train: Interactions) -> nn.Module:
        """Build the module with its initial parameters; torch's generator is seeded."""

    @abstractmethod
    def _examples(self, train: Interactions) -> Examples:
        """Make the training examples."""

    @abstractmethod
    def example_loss(self, batch: Batch) -> Tensor:
        """Loss of each example of a batch.

        Parameters
        ----------
        batch : dict of str to Tensor
            As ``examples_.batch(numbers, epoch)`` makes it.

        Returns
        -------
        Tensor [B]
            Summed over the terms of an example, never over examples.
        """

    def _training_loss(self, batch: Batch) -> Tensor:
        """As `example_loss`, for the steps of training, which need its first derivative only."""
        return self.example_loss(batch)

    @abstractmethod
    def _score_batch(self, queries: Queries) -> Tensor:
        """Score all items, [Q, n_items]; called without gradients, in evaluation mode."""

    def fit(
        self: Self,
        train: Any,
        validation: Any = None,
        *,
        metric: Any = "mrr@10",
        eval_every: int = 1,
        patience: int | None = None,
        checkpoints: int | Sequence[int] | None = None,
        folder: str | Path | None = None,
        resume: bool = False,
        tensorboard: bool = False,
        progress: bool | Progress = False,
        threads: int = 1,
        without: Sequence[int] | npt.NDArray[np.int64] = (),
        **columns: Any,
    ) -> Self:
        """Learn from training data.

        Parameters
        ----------
        train : Interactions or data frame
            Sessions, or users with their items.
        validation : Interactions or data frame, optional
            Evaluated after every `eval_every` epochs; the model ends with its best parameters.
        metric : str or list of str
            What validation measures; the first decides which epoch is best.
        eval_every : int
            Epochs between validations.
        patience : int, optional
            Stop after this many validations without a better value.
        checkpoints : int or sequence of int, optional
            Keep every n-th epoch and the last in `checkpoints_`, or exactly these epochs.
        folder : path, optional
            Where checkpoints (``checkpoints/``), a log (``log.jsonl``) and TensorBoard's events
            (``tensorboard/``) go.
        resume : bool
            Go on from the last whole epoch in `folder`, with the same result as if training had
            not been broken off.
        tensorboard : bool
            Write loss, metrics and learning rate for TensorBoard.
        progress : bool or callable
            Show a bar, or call ``progress(done, total, message)`` after each epoch.
        threads : int
            Threads of torch; one by default, so that the numbers do not depend on the machine's
            number of cores, and because small models gain nothing from more.
        without : sequence of int
            Numbers of examples (in `examples_`) that are left out of training.
        **columns : str
            Names of columns, as in `Interactions.from_frame`.

        Raises
        ------
        ParameterError
            If an argument is out of its range.
        DataError
            If the data lacks what the model learns from.
        TrainingError
            If the loss is not finite; the parameters of the last whole epoch are kept.
        OutputExistsError
            If `folder` has checkpoints and `resume` is not set.
        """
        run = Run(
            metric=metric,
            eval_every=eval_every,
            patience=patience,
            checkpoints=checkpoints,
            folder=None if folder is None else Path(folder),
            resume=resume,
            tensorboard=tensorboard,
            progress=progress,
            threads=threads,
            without=np.asarray(without, dtype=np.int64),
        )
        self._run, self._validation = run, validation
        try:
            return super().fit(train, **columns)
        finally:
            del self._run, self._validation

    def _fit(self, train: Interactions) -> None:
        self._prepare(train)
        run = getattr(self, "_run", Run())
        training = Training(self, run, self._queries(getattr(self, "_validation", None)))
        try:
            training.run()
        finally:
            self.checkpoints_ = training.kept
            self.history_, self.best_ = training.history, training.best

    def _prepare(self, train: Interactions) -> None:
        """Build the module and the examples."""
        self.examples_ = self._examples(train)
        with torch.random.fork_rng(devices=cuda_devices(self.device)):
            torch.manual_seed(self.seed)
            self.module_ = self._module(train).to(self.device)
        self.checkpoints_, self.history_, self.best_ = [], [], {}

    def _queries(self, validation: Any) -> Any:
        """Make the queries once, unless the metrics need the data themselves."""
        if validation is None or isinstance(validation, Queries):
            return validation
        from whence.evaluation import make_queries

        if "rating" in self.levels:
            return validation
        return make_queries(self, validation)

    def score_codes(
        self, queries: Queries, *, threads: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Score every item for every query, float32 [Q, n_items]; see `Recommender`."""
        self._check_fitted()
        was_training = self.module_.training
        self.module_.eval()
        starts = range(0, max(len(queries), 1), _SCORED)
        try:
            # Threads work on blocks of their own: torch's would divide, and so round, products
            # in another way for every number of them.
            with torch_threads(1):
                parts = list(map_ordered(partial(self._scores_from, queries), starts, threads or 1))
        finally:
            self.module_.train(was_training)
        return self._masked(parts[0] if len(parts) == 1 else np.concatenate(parts), queries)

    def _scores_from(self, queries: Queries, start: int) -> npt.NDArray[np.float32]:
        """Scores of one block of queries."""
        with torch.inference_mode():
            scores: npt.NDArray[np.float32] = (
                self._score_batch(queries.block(start, start + _SCORED)).cpu().numpy()
            )
        return scores

    def _masked(self, scores: npt.NDArray[np.float32], queries: Queries) -> npt.NDArray[np.float32]:
        """Forbid items never seen in training, those of the history, and all for empty queries."""
        scores = np.ascontiguousarray(scores)
        scores[:, self._never_seen()] = -np.inf
        lengths = queries.history_end - queries.history_start
        scores[(lengths == 0) & self._needs_history(queries)] = -np.inf
        if self.exclude_seen and len(scores):
            owner = np.repeat(np.arange(len(scores)), lengths)
            first = np.repeat(queries.history_start - (np.cumsum(lengths) - lengths), lengths)
            items = queries.history_items[first + np.arange(len(owner))]
            scores[owner, items] = -np.inf
        return scores

    def _needs_history(self, queries: Queries) -> npt.NDArray[np.bool_]:
        """Which queries cannot be answered without a history, bool [Q]."""
        return np.ones(len(queries), dtype=np.bool_)

    def _never_seen(self) -> npt.NDArray[np.int64]:
        counts = np.bincount(self.train_.item_codes, minlength=self.n_items)
        return np.flatnonzero(counts == 0)

    def _recorded_params(self) -> dict[str, Any]:
        """Arguments of the constructor for checkpoints, which hold neither code nor objects."""
        return self.params

    def _n_terms(self, batch: Batch) -> int:
        """Number of loss terms in a batch, which its mean is taken over."""
        return len(next(iter(batch.values())))

    def _to_device(self, batch: Batch) -> Batch:
        if self.device == "cpu":
            return batch
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def _optimizer(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.ExponentialLR]:
        """Make the optimiser and the schedule of its learning rate."""
        kinds: dict[str, type[torch.optim.Optimizer]] = {
            "adam": torch.optim.Adam,
            "adamw": torch.optim.AdamW,
            "sgd": torch.optim.SGD,
            "adagrad": torch.optim.Adagrad,
        }
        # One kernel over all parameters instead of a dozen for each: steps are small here.
        optimizer = kinds[self.optimizer](  # type: ignore[call-arg]
            self.module_.parameters(),
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            fused=True,
        )
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=self.decay)

    def _check_params(self) -> None:
        check_int("epochs", self.epochs, minimum=1)
        check_int("batch_size", self.batch_size, minimum=1)
        check_int("seed", self.seed, minimum=0)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_float("learning_rate", self.learning_rate, minimum=0.0)
        check_float("weight_decay", self.weight_decay, minimum=0.0)
        check_float("decay", self.decay, minimum=0.0, maximum=1.0)
        if self.gradient_clip is not None:
            check_float("gradient_clip", self.gradient_clip, minimum=0.0)
        if not isinstance(self.exclude_seen, (bool, np.bool_)):
            raise ParameterError(f"exclude_seen must be True or False, not {self.exclude_seen!r}.")
        _check_device(self.device)

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {name: value.cpu().numpy() for name, value in self.module_.state_dict().items()}

    def _restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._prepare(self.train_)
        self.module_.load_state_dict({name: torch.from_numpy(v) for name, v in state.items()})
        self.module_.eval()

    def load_checkpoint(self: Self, checkpoint: Checkpoint) -> Self:
        """Take the parameters of a checkpoint.

        Raises
        ------
        ParameterError
            If it is of another model or shape.
        """
        self._check_fitted()
        wanted = {name: value.shape for name, value in self.module_.state_dict().items()}
        given = {name: value.shape for name, value in checkpoint.module.items()}
        if wanted != given:
            raise ParameterError(
                f"The checkpoint of {checkpoint.model} does not fit this {type(self).__name__}: "
                "its parameters have other names or shapes; use checkpoints of the same model "
                "and data."
            )
        self.module_.load_state_dict(checkpoint.module)
        return self


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError) as error:
        raise ParameterError(f"device {device!r} is unknown; say 'cpu' or 'cuda'.") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ParameterError("device is 'cuda' but torch finds no GPU here; say device='cpu'.")
