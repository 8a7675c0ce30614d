"""Any torch module that scores items."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from whence.data import Interactions
from whence.errors import (
    DataError,
    ParameterError,
    UnsupportedError,
    check_choice,
    check_int,
)
from whence.evaluation.queries import Queries
from whence.models.adapters._torch_ways import (
    PAIR_LOSSES,
    SEQUENCE_LOSSES,
    PairWay,
    SequenceWay,
    name_of,
)
from whence.models.training import Batch, Checkpoint, DifferentiableRecommender, Examples
from whence.models.training.checkpoints import copied, duplicate
from whence.models.training.settings import TrainingSettings
from whence.parameters import Count, PositiveInt, field

Module = nn.Module | Callable[[Interactions], nn.Module]


class TorchModel(DifferentiableRecommender):
    """Any torch module that scores items: ``TorchModel(module).fit(train)``.

    A module that takes sequences is called as ``module(items, lengths)``, with items int64
    [B, L] and lengths int64 [B], and gives a score for each item, [B, n_items]. One that takes
    pairs is called as ``module(users, items)``, int64 [B] each, and gives the scores [B].

    The module is never changed: a copy of it is trained, from its parameters on, or kept as it is
    where it is `trained` already.

    Parameters
    ----------
    module : torch.nn.Module or callable
        The one parameter that may be given by its place. Or a function from the training data
        (`Interactions`) to a module, with which every `fit` begins anew, from parameters that
        follow from `seed`, and `save` works.
    takes : {"sequences", "pairs"}, default "sequences"
    loss : str or callable, optional
        Sequences: "cross_entropy" (the default), or over `n_negatives` drawn items
        "sampled_cross_entropy", "bpr", "bpr_max" or "bce"; a callable gets scores [B, n_items]
        and the number of the next item, int64 [B]. Pairs: "bpr" (the default),
        "sampled_cross_entropy", "bpr_max" or "bce", or "squared_error" to the ratings; a
        callable gets scores and ones for what users have, zeros for what was drawn, both
        [B, 1 + n_negatives], or with ``n_negatives=0`` scores and ratings [B]. It returns a value
        for each example, [B].
    trained : bool, default False
        Keep the parameters as they are: `fit` then only says what the module was trained on.
    n_negatives : int, default 1
        Items drawn for each example, of those that the session or user does not have.
    index, user_index : mapping, optional
        External ids to numbers in the module, for one that was trained elsewhere. By default
        items and users are numbered in the order of the vocabulary, from `offset` on.
    offset : int, default 0
        Number in the module of the first item (and user); 1 where 0 stands for padding.
    padding : int, optional
        Number that stands for no item. Default: 0 where it is no item's, else one more than the
        highest number of an item.
    padding_side : {"right", "left"}, default "right"
        Where sequences shorter than `max_length` are filled up.
    max_length : int, default 50
        Items of the history that are looked at, the latest ones: L.
    pass_lengths : bool, default True
        Whether the module takes the lengths.
    epochs, batch_size, ...
        Those of `DifferentiableRecommender`.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained copy.

    Notes
    -----
    Column j of a sequence module's scores is that of the item with number j in the module; where
    `offset` is not 0 and the module has no columns for the numbers below it, that of number
    j + offset.

    Examples
    --------
    >>> import torch, whence
    >>> from whence.models.adapters import TorchModel
    >>> class Mean(torch.nn.Module):
    ...     def __init__(self, n_items):
    ...         super().__init__()
    ...         self.items = torch.nn.Embedding(n_items + 1, 16, padding_idx=n_items)
    ...     def forward(self, items, lengths):
    ...         mean = self.items(items).sum(1) / lengths[:, None]
    ...         return mean @ self.items.weight[:-1].T
    >>> data = whence.make_sessions(n_sessions=100, seed=1)
    >>> model = TorchModel(lambda train: Mean(train.n_items), epochs=2).fit(data.train)
    >>> items, scores = model.recommend([data.train.item_ids[0]], k=3)
    >>> len(items)
    3
    """

    kinds = ("sessions",)

    module: Module | None = field(kw_only=False)
    takes: Literal["sequences", "pairs"] = "sequences"
    loss: str | Callable[[Tensor, Tensor], Tensor] | None = None
    trained: bool = False
    n_negatives: Count = 1
    index: Mapping[Any, int] | None = None
    user_index: Mapping[Any, int] | None = None
    offset: Count = 0
    padding: Count | None = None
    padding_side: Literal["right", "left"] = "right"
    max_length: PositiveInt = 50
    pass_lengths: bool = True

    # They depend on what the module takes and learns.
    @property
    def asks(self) -> Literal["histories", "users"]:  # type: ignore[override]
        """What `recommend` is asked with; see `Recommender`."""
        return "users" if self.takes == "pairs" else "histories"

    @property
    def levels(self) -> frozenset[str]:  # type: ignore[override]
        """What the model offers to methods; see `Recommender`."""
        refits = set() if self.trained else {"refit"}
        learns = self.takes == "pairs" and _learns_ratings(self.loss, self.n_negatives)
        return frozenset({"score", "differentiable", *refits, *({"rating"} if learns else ())})

    def _check_params(self) -> None:
        super()._check_params()
        if self.module is None:
            raise UnsupportedError(
                "There is no module: a file holds the parameters of a TorchModel but not the code "
                "of its module; load it with TorchModel.load(path, module=...), and loss=... if "
                "that was a function."
            )
        if not callable(self.module):
            raise ParameterError(
                f"module must be a torch.nn.Module, or a function from the training data to one, "
                f"not {self.module!r}."
            )
        if self.loss is not None and not callable(self.loss):
            check_choice("loss", self.loss, self._losses)
        draws = not callable(self.loss) and self.loss != "squared_error"
        check_int("n_negatives", self.n_negatives, minimum=1 if draws else 0)

    @property
    def _losses(self) -> tuple[str, ...]:
        return SEQUENCE_LOSSES if self.takes == "sequences" else PAIR_LOSSES

    def _recorded_params(self) -> dict[str, Any]:
        recorded = {**self.params, "module": None, "index": None, "user_index": None}
        return {**recorded, "loss": name_of(self.loss) if callable(self.loss) else self.loss}

    def _module(self, train: Interactions) -> nn.Module:
        made: Any = self.module
        if not isinstance(made, nn.Module):
            made = made(train)
        if not isinstance(made, nn.Module):
            raise ParameterError(
                f"The function given as module returned {type(made).__name__}, not a "
                "torch.nn.Module; let it return the module for the training data that it is given."
            )
        if not self.trained and not any(one.requires_grad for one in made.parameters()):
            raise ParameterError(
                f"{type(made).__name__} has no parameters to train; say trained=True to take it "
                "as it is."
            )
        try:
            return duplicate(made)
        except (RuntimeError, TypeError) as error:
            raise ParameterError(
                f"{type(made).__name__} cannot be copied ({error}); give a function from the "
                "training data to a new module instead."
            ) from error

    def _examples(self, train: Interactions) -> Examples:
        items = _numbers(train.vocabulary.items.to_list(), self.index, self.offset, "index")
        if self.takes == "sequences":
            self._way: SequenceWay | PairWay = SequenceWay(
                items,
                offset=self.offset,
                padding=self.padding,
                is_left=self.padding_side == "left",
                length=self.max_length,
                passes_lengths=self.pass_lengths,
                by_index=self.index is not None,
            )
        else:
            sources = train.vocabulary.sources.to_list()
            users = _numbers(sources, self.user_index, self.offset, "user_index")
            self._way = PairWay(users, items)
        return self._way.examples(train, self.loss or self._way.loss, self.n_negatives, self.seed)

    def _prepare(self, train: Interactions) -> None:
        super()._prepare(train)
        self.module_.eval()
        with torch.no_grad():  # so that what does not fit is said before training
            self.example_loss(self._to_device(self.examples_.batch(np.arange(1))))

    def _learn(self, settings: TrainingSettings, validation: Any = None) -> None:
        if not self.trained:
            super()._learn(settings, validation)
            return
        self._prepare(self.train_)
        self.checkpoints_ = [present_checkpoint(self)]

    def example_loss(self, batch: Batch) -> Tensor:
        """Loss of each example of a batch, Tensor [B]; see the base class."""
        values = self._way.losses(self.module_, batch, self.loss or self._way.loss)
        size = self._n_terms(batch)
        if not isinstance(values, Tensor) or values.shape != (size,):
            given = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ParameterError(
                f"{name_of(self.loss)} must return one value for each of the {size} examples, "
                f"[{size}], but returned {given}; leave out the mean or sum over them."
            )
        return values

    def _score_batch(self, queries: Queries) -> Tensor:
        if self.takes == "pairs":
            refuse_strangers(queries, type(self.module_).__name__)
        return self._way.query_scores(self.module_, queries, self.device)

    def _masked(self, scores: npt.NDArray[np.float32], queries: Queries) -> npt.NDArray[np.float32]:
        scores = super()._masked(scores, queries)
        if self.takes == "pairs":
            has_rows = np.bincount(self.train_.source_codes, minlength=self.train_.n_sources) > 0
            scores[~((queries.users >= 0) & has_rows[queries.users])] = -np.inf
        return scores

    def predict_codes(
        self, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float64]:
        """Predict ratings of pairs, float64 [N]; the mean rating where one is unknown (-1).

        Raises
        ------
        UnsupportedError
            Unless the module takes pairs and learns from ratings.
        """
        if "rating" not in self.levels:
            return super().predict_codes(users, items)
        from whence.models.training.examples import ratings_of

        known = np.flatnonzero((users >= 0) & (items >= 0))
        predicted = np.full(len(users), ratings_of(self.train_).mean())
        assert isinstance(self._way, PairWay)
        pairs = [torch.from_numpy(codes[known].astype(np.int64)) for codes in (users, items)]
        with torch.inference_mode():
            found = self._way.scores(self.module_, *(one.to(self.device) for one in pairs))
        predicted[known] = found.cpu().numpy()
        return predicted

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Save the fitted model, if `module` is a function that makes the module.

        No file of Whence holds code, so that `TorchModel.load` needs that function again:
        ``TorchModel.load(path, module=...)``, and ``loss=...`` where that is a function.

        Raises
        ------
        UnsupportedError
            If `module` is a module, which cannot be made from the arguments again.
        """
        self._check_fitted()
        if isinstance(self.module, nn.Module):
            raise UnsupportedError(
                f"Whence cannot make a {type(self.module_).__name__} again when it loads a file; "
                "save its parameters with torch.save(model.module_.state_dict(), path), or give "
                "TorchModel a function that makes the module."
            )
        twin = copy.copy(self)
        twin.module = None
        twin.loss = None if callable(self.loss) else self.loss
        # Keys of JSON are text, but ids need not be.
        twin.index, twin.user_index = _as_pairs(self.index), _as_pairs(self.user_index)
        from whence.models.files import write_model

        return write_model(twin, path, overwrite=overwrite)

    def _restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        super()._restore(state)
        if self.trained:
            self.checkpoints_ = [present_checkpoint(self)]


def present_checkpoint(model: DifferentiableRecommender) -> Checkpoint:
    """Checkpoint of the present parameters of a model that was trained elsewhere."""
    return Checkpoint(
        model=type(model).__name__,
        params=model._recorded_params(),
        epoch=0,
        step=0,
        learning_rate=model.learning_rate,
        module=copied(model.module_.state_dict()),
        seed=model.seed,
        fingerprint=model.train_.fingerprint,
    )


def refuse_strangers(queries: Queries, name: str) -> None:
    """Raise UnsupportedError if the history of somebody who is no user is to be scored."""
    if ((queries.users < 0) & (queries.history_end > queries.history_start)).any():
        raise UnsupportedError(
            f"{name} scores items only for users that it was trained on, and not for the history "
            "of anybody else; ask it for users of the training data."
        )


def _numbers(
    ids: list[Any], index: Mapping[Any, int] | None, offset: int, name: str
) -> npt.NDArray[np.int64]:
    """Numbers of ids in a module."""
    if index is None:
        return np.arange(len(ids), dtype=np.int64) + offset
    index = dict(index)
    missing = next((one for one in ids if one not in index), None)
    if missing is not None:
        raise DataError(
            f"{missing!r} of the training data has no number in {name}; leave its rows out, or "
            f"give the ids as the training data has them (such as {ids[0]!r})."
        )
    numbers = [index[one] for one in ids]
    if len(set(numbers)) < len(numbers) or any(
        isinstance(one, bool) or not isinstance(one, (int, np.integer)) or one < 0
        for one in numbers
    ):
        raise ParameterError(
            f"The numbers in {name} must be integers from 0 on, none of them twice."
        )
    return np.array(numbers, dtype=np.int64)


def _learns_ratings(loss: Any, n_negatives: int) -> bool:
    return bool(loss == "squared_error" or (callable(loss) and n_negatives == 0))


def _as_pairs(index: Mapping[Any, int] | None) -> Any:
    return None if index is None else [[key, int(number)] for key, number in dict(index).items()]
