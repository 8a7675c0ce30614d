"""Models with a loss whose gradient exists for each training example."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor, nn
from typing_extensions import Self

from whence.data import Interactions
from whence.engines import Run
from whence.errors import ParameterError, within_memory
from whence.evaluation.queries import Queries
from whence.models._blocks import Rows, RowsJob, in_blocks
from whence.models.base import Recommender
from whence.models.training.checkpoints import Checkpoint, check_record, copied
from whence.models.training.examples import Batch, Examples
from whence.models.training.loop import Training, torch_threads
from whence.models.training.order import cuda_devices, without_tf32
from whence.models.training.settings import TrainingSettings
from whence.models.training.smooth_adam import SmoothAdam, SmoothAdamW
from whence.models.training.start import Start
from whence.parameters import NonNegative, PositiveInt, Seed, Share, field

Dropout = Annotated[float, Ge(0.0), Lt(1.0)]
"""Share of numbers set to 0 in training."""
Optimizer = Literal["adam", "adamw", "sgd", "adagrad"]
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
    eps_root : float
        For ``adam`` and ``adamw``: added to the mean of the squared gradients, under the root.
        Training then is smooth where the gradients of a row were 0 so far; see `whence.smooth`.
    decay : float
        Factor of the learning rate after each epoch.
    averaging : float
        The model has the mean of the parameters over the steps of training, in which a step weighs
        1/e of the last after so many epochs; 0: the parameters after the last step. Validation and
        checkpoints, too, have this mean.
    seed : int
        Of the initial parameters, the order of batches, the negatives and dropout.
    start : fitted model or path, optional
        A model of the same class, or its file, or the folder of its run, at whose parameters
        training begins, to go on on new data, say. Items are numbered as there, and so are users
        where the model has parameters of them; data with others are refused. The optimiser begins
        anew.
    exclude_seen : bool or None
        Leave out the items of the query's own history; by default for users, and not for
        sessions and baskets: see `Recommender`.
    precision : {"float32", "bfloat16"}
        ``"bfloat16"``: the products of training in 16 bits, all sums, parameters and moments in 32,
        as torch's automatic mixed precision does it. Wide networks take half the time on processors
        that multiply in it, narrow ones hardly less. `Replay` cannot follow it.
    device : str
        Such as ``"cpu"`` or ``"cuda"``.
    torch_threads : int
        Threads of torch in training; their number changes how sums are rounded. With one, the
        numbers do not depend on the machine's number of cores, and small models gain nothing
        from more.

    Attributes
    ----------
    start_ : Start or None
        What training began with.
    smooth_rate : float
        Least learning rate with which a smooth model is trained; see `whence.smooth`.
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
    smooth_rate: ClassVar[float] = 1e-2

    epochs: PositiveInt = 20
    batch_size: PositiveInt = 512
    learning_rate: NonNegative = 1e-3
    optimizer: Optimizer = "adam"
    weight_decay: NonNegative = 0.0
    gradient_clip: NonNegative | None = None
    eps_root: NonNegative = 0.0
    decay: Share = 1.0
    averaging: NonNegative = 0.0
    seed: Seed = 42
    start: Any = None
    exclude_seen: bool | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    torch_threads: Annotated[int, Ge(1), Le(1024)] = 1

    start_: Start | None = field(init=False)
    module_: nn.Module = field(init=False)
    examples_: Examples = field(init=False)
    checkpoints_: list[Checkpoint] = field(init=False)
    history_: list[dict[str, Any]] = field(init=False)
    best_: dict[str, Any] = field(init=False)

    @abstractmethod
    def _module(self, train: Interactions) -> nn.Module:
        """Build the module with its initial parameters; torch's generator is seeded."""

    def _built(self, train: Interactions) -> nn.Module:
        """The module as it is trained; see `_module`."""
        return self._module(train)

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

    def term_losses(self, batch: Batch) -> Tensor:
        """Terms of the losses of a batch, by example and place.

        Returns
        -------
        Tensor [terms]
            Those of an example add up to its loss.
        """
        return self.example_loss(batch)

    def _training_loss(self, batch: Batch) -> Tensor:
        """As `example_loss`, for the steps of training, which need its first derivative only."""
        return self.example_loss(batch)

    def _casting(self) -> torch.autocast:
        """In which the steps of training have their products, in 16 bits if that is wanted."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bfloat16")

    @abstractmethod
    def _score_batch(self, queries: Queries) -> Tensor:
        """Score all items, [Q, n_items]; called without gradients, in evaluation mode."""

    def fit(
        self,
        train: Any,
        *,
        validation: Any = None,
        run: Run | None = None,
        metric: Any = "mrr@10",
        eval_every: int = 1,
        patience: int | None = None,
        checkpoints: int | Sequence[int] | None = None,
        checkpoint_every: int | str | None = "10min",
        tensorboard: bool = False,
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
        run : Run, optional
            How the work is done. A seed in it becomes that of the model. Its `folder` gets
            checkpoints (``checkpoints/``), a log (``log.jsonl``) and TensorBoard's events
            (``tensorboard/``); with `resume`, training goes on from the last state there, with
            the same result as if it had not been broken off. Its `callbacks` get the record
            of each epoch: epoch, step, loss, learning rate, seconds and, where evaluated,
            metrics.
        metric : str or list of str
            What validation measures; the first decides which epoch is best.
        eval_every : int
            Epochs between validations.
        patience : int, optional
            Stop after this many validations without a better value.
        checkpoints : int or sequence of int, optional
            Keep every n-th epoch and the last in `checkpoints_`, or exactly these epochs.
        checkpoint_every : int or str, optional
            Steps, or a time such as ``"90s"``, ``"10min"`` or ``"2h"``, after which the state
            within an epoch is kept in the run's folder, to be gone on from; None: only that after
            each epoch. The result does not depend on it.
        tensorboard : bool
            Write loss, metrics and learning rate for TensorBoard, into the run's folder.
        without : sequence of int
            Numbers of examples (in `examples_`) that are left out of training. The others keep
            their order, their batches, their negatives and their dropout, and what the sum of a
            batch's losses is divided by stays what it is with all examples.
        **columns : str
            Names of columns, as in `Interactions.from_frame`.

        Raises
        ------
        ParameterError
            If a parameter or an argument is out of its range.
        DataError
            If the data lacks what the model learns from, or has what `start` does not know.
        TrainingError
            If the loss is not finite; the parameters of the last whole epoch are kept.
        OutputExistsError
            If the folder has checkpoints and the run does not resume, or another running process
            trains into it.
        """
        settings = TrainingSettings(
            run=self._settled(run),
            metric=metric,
            eval_every=eval_every,
            patience=patience,
            checkpoints=checkpoints,
            checkpoint_every=checkpoint_every,
            tensorboard=tensorboard,
            without=np.asarray(without, dtype=np.int64),
        )
        self.start_ = Start.of(self.start)
        self.train_ = self._taken(train, columns)
        with within_memory():
            self._learn(settings, validation)
        return self

    def _taken(self, train: Any, columns: Mapping[str, Any]) -> Interactions:
        return self._numbered(super()._taken(train, columns))

    def _start(self) -> Start | None:
        return self.start_ if hasattr(self, "start_") else Start.of(self.start)

    def _numbered(self, train: Interactions) -> Interactions:
        start = self._start()
        return train if start is None else start.numbered(train, by_user=self.asks == "users")

    def _fit(self, train: Interactions, run: Run) -> None:
        self._learn(TrainingSettings(run=run))

    def _learn(self, settings: TrainingSettings, validation: Any = None) -> None:
        """Train on `train_`."""
        self._prepare(self.train_)
        training = Training(self, settings, self._queries(validation))
        try:
            training.run()
        finally:
            self.checkpoints_ = training.kept
            self.history_, self.best_ = training.history, training.best

    def _prepare(self, train: Interactions) -> None:
        """Build the module and the examples."""
        self.start_ = self._start()
        self.examples_ = self._examples(train)
        with torch.random.fork_rng(devices=cuda_devices(self.device)):
            torch.manual_seed(self.seed)
            self.module_ = self._built(train).to(self.device)
        for layer in self.module_.modules():
            # Optimisers here, and attributions, take gradients with an entry for every parameter.
            if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
                layer.sparse = False
        if self.start_ is not None:
            self.start_.load_into(self.module_, type(self).__name__)
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
        try:
            # Threads work on blocks of their own: torch's would divide, and so round, products
            # in another way for every number of them.
            with torch_threads(1), without_tf32(self.device):
                job = _Scoring(len(queries), self, queries)
                (scores,) = in_blocks(job, _SCORED, threads or 1)
        finally:
            self.module_.train(was_training)
        return self._masked(scores, queries)

    def _masked(self, scores: npt.NDArray[np.float32], queries: Queries) -> npt.NDArray[np.float32]:
        """Forbid items never seen in training, those of the history, and all for empty queries."""
        scores = np.ascontiguousarray(scores)
        scores[:, self._never_seen()] = -np.inf
        lengths = queries.history_end - queries.history_start
        scores[(lengths == 0) & self._needs_history(queries)] = -np.inf
        if self._leaves_out_seen(queries) and len(scores):
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
        start = getattr(self, "start_", None)
        return {**self.params, "start": None if start is None else start.fingerprint}

    def _saved_params(self) -> dict[str, Any]:
        # The start is saved as arrays.
        return {**self.params, "start": None}

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
        if self.eps_root:
            kinds |= {"adam": SmoothAdam, "adamw": SmoothAdamW}
        # One kernel over all parameters instead of a dozen for each: steps are small here.
        optimizer = kinds[self.optimizer](  # type: ignore[call-arg]
            self.module_.parameters(),
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            **({"eps_root": self.eps_root} if self.eps_root else {"fused": True}),
        )
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=self.decay)

    def _check_params(self) -> None:
        super()._check_params()
        _check_device(self.device)
        Start.check(self.start)
        if self.eps_root and self.optimizer not in ("adam", "adamw"):
            raise ParameterError(
                f"eps_root belongs to adam and adamw, not to {self.optimizer}; leave it out, or "
                "choose one of them."
            )

    def _learned_state(self) -> dict[str, npt.NDArray[Any]]:
        """Parameters and buffers, copies."""
        state = copied(self.module_.state_dict())
        return {name: value.numpy() for name, value in state.items()}

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        began = {} if self.start_ is None else self.start_.packed()
        return {**self._learned_state(), **began}

    def _restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        learned, self.start_ = Start.unpacked(self, state)
        self.start = self.start_
        self._prepare(self.train_)
        self.module_.load_state_dict({name: torch.from_numpy(v) for name, v in learned.items()})
        self.module_.eval()

    def _record(self) -> dict[str, Any]:
        return {"history": self.history_, "best": self.best_}

    def _take_record(self, record: Mapping[str, Any]) -> None:
        if record:
            check_record(record["history"], record["best"])
            self.history_, self.best_ = list(record["history"]), dict(record["best"])

    def load_checkpoint(self, checkpoint: Checkpoint) -> Self:
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


@dataclass(frozen=True)
class _Scoring(RowsJob):
    """Scores of all items by a module, which stays in this process."""

    model: DifferentiableRecommender
    queries: Queries

    def rows(self, start: int, stop: int) -> Rows:
        """See `RowsJob`."""
        with torch.inference_mode():
            return (self.model._score_batch(self.queries.block(start, stop)).cpu().numpy(),)


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError) as error:
        raise ParameterError(f"device {device!r} is unknown; say 'cpu' or 'cuda'.") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ParameterError("device is 'cuda' but torch finds no GPU here; say device='cpu'.")
