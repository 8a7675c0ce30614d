"""What the sequential models share: windows in, states out, and a loss over the next items."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from whence._native import padded_windows
from whence.data import Interactions
from whence.errors import DataError, DataWarning
from whence.evaluation.queries import Queries
from whence.models.neural._event_features import FeatureEmbedding
from whence.models.neural._featured import FeaturedRecommender
from whence.models.training import Batch, Examples, WindowExamples, losses
from whence.models.training.examples import FlatRows, IntArray, Negatives
from whence.models.training.settings import TrainingSettings
from whence.parameters import PositiveInt, field

SequenceLoss = Literal["cross_entropy", "sampled_cross_entropy", "bpr", "bpr_max", "bce"]
LOSSES = get_args(SequenceLoss)
MOST_ITEMS = 50_000
"""Of a catalogue that the softmax is over whole where no loss is named."""


class SequenceModule(nn.Module):
    """A network from windows of items to a state at every place, and from states to scores.

    Items are numbers 0 to n_items - 1; n_items is padding.

    Attributes
    ----------
    embedding : nn.Embedding
        Of items, [n_items + 1, D].
    features : FeatureEmbedding or None
        Of what is known of events beside their items.
    """

    embedding: nn.Embedding
    features: FeatureEmbedding | None

    def __init__(self) -> None:
        super().__init__()
        self.features = None

    def states(self, items: Tensor, lengths: Tensor, features: Tensor | None = None) -> Tensor:
        """States after each place, [B, L, D], of windows [B, L] that are left-aligned.

        `features` [B, L, width] is what is known of the events beside their items: as
        `FeatureEmbedding.rows` takes it.
        """
        raise NotImplementedError

    def embedded(self, items: Tensor, lengths: Tensor, features: Tensor | None) -> Tensor:
        """Embeddings of events, [B, L, D]: of their items plus those of their features.

        Without the places that are padding in all windows.
        """
        longest = int(lengths.max())
        items = items[:, :longest]
        x: Tensor = self.embedding(items)
        if self.features is None:
            return x
        given = None if features is None else features[:, :longest]
        added: Tensor = self.features(self.features.rows(items, given))
        return x + added

    def item_scores(self, states: Tensor) -> Tensor:
        """Scores of all items, [N, n_items], of states [N, D]."""
        raise NotImplementedError

    def scores_of(self, states: Tensor, items: Tensor) -> Tensor:
        """Scores of some items, [N, n], of states [N, D] and items [N, n]."""
        raise NotImplementedError


class SequentialRecommender(FeaturedRecommender):
    """Base of the models that predict the next item from the items before it.

    Parameters
    ----------
    max_length : int
        Items of the history that are looked at, the latest ones.
    positions : {"last", "all"}
        Whether a training example is a window with the item after it ("last"), or a window with
        the next item at every place ("all").
    loss : {"cross_entropy", "sampled_cross_entropy", "bpr", "bpr_max", "bce"}, optional
        By default ``"cross_entropy"``, the softmax over all items; of a catalogue above 50,000
        items ``"sampled_cross_entropy"``, over the next item and `n_negatives` drawn ones, whose
        time does not grow with the catalogue. A warning says so. All items are ranked either way.
    n_negatives : int
        Negatives per place, for the losses that sample.

    Attributes
    ----------
    loss_ : str
        The loss that was trained with.

    The others are those of `FeaturedRecommender` and `DifferentiableRecommender`.
    """

    kinds: ClassVar[tuple[str, ...]] = ("sessions",)

    max_length: PositiveInt = 50
    positions: Literal["last", "all"] = "all"
    loss: SequenceLoss | None = None
    n_negatives: PositiveInt = 64

    module_: SequenceModule = field(init=False)

    @abstractmethod
    def _module(self, train: Interactions) -> SequenceModule:
        """Build the network, without features."""

    def _examples(self, train: Interactions) -> Examples:
        if train.by_user and train.columns.time is None:
            raise DataError(
                f"{type(self).__name__} learns from the order of a user's items, but the data has "
                "no time column; name it with time='...'. Where the order of the rows is the order "
                "in time, add a column that counts them."
            )
        rows = self.event_rows(train)
        if self.loss_ == "cross_entropy":
            return WindowExamples(train, self.max_length, self.positions, rows)
        return _SampledWindows(
            train, self.max_length, self.positions, rows, self.n_negatives, self.seed
        )

    @property
    def loss_(self) -> SequenceLoss:
        """The loss that is trained with: that named, else by the size of the catalogue."""
        if self.loss is not None:
            return self.loss
        return "cross_entropy" if self.train_.n_items <= MOST_ITEMS else "sampled_cross_entropy"

    def _learn(self, settings: TrainingSettings, validation: Any = None) -> None:
        if self.loss is None and self.loss_ != "cross_entropy":
            warnings.warn(
                f"{type(self).__name__} learns from the next item and {self.n_negatives} drawn "
                f"ones at each place, because there are {self.train_.n_items:,} items; say "
                "loss='cross_entropy' for the softmax over all of them, which takes longer, or "
                "loss='sampled_cross_entropy' for this.",
                DataWarning,
                stacklevel=3,
            )
        super()._learn(settings, validation)

    def _recorded_params(self) -> dict[str, Any]:
        return {**super()._recorded_params(), "loss": self.loss_}

    def example_loss(self, batch: Batch) -> Tensor:
        """Loss of each window, summed over its places, Tensor [B]; see the base class."""
        values, owner = self._terms(batch)
        if batch["target"].dim() == 1:
            return values
        total = values.new_zeros(len(batch["target"]))
        return total.index_add(0, owner, values)

    def term_losses(self, batch: Batch) -> Tensor:
        """Loss of each place that has a target, Tensor [terms]; see the base class."""
        return self._terms(batch)[0]

    def _terms(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of each place that has a target, and the window that it is of."""
        module = self.module_
        states = self._states(batch["items"], batch["length"], batch.get("features"))
        target = batch["target"]
        if target.dim() == 1:
            owner = torch.arange(len(target), device=target.device)
            place = batch["length"] - 1
        else:
            target = target[:, : states.shape[1]]
            owner, place = (target >= 0).nonzero(as_tuple=True)
            target = target[owner, place]
        # Chosen by index_select on flat rows: its gradient is cheaper than that of indexing.
        chosen = states.flatten(0, 1).index_select(0, owner * states.shape[1] + place)
        if self.loss_ == "cross_entropy":
            values = losses.cross_entropy(module.item_scores(chosen), target)
        else:
            negatives = batch["negatives"]
            if negatives.dim() == 3:
                negatives = negatives[owner, place]
            values = self._sampled(module, chosen, target, negatives)
        return values, owner

    def _sampled(
        self, module: SequenceModule, states: Tensor, target: Tensor, negatives: Tensor
    ) -> Tensor:
        scores = module.scores_of(states, torch.cat([target.unsqueeze(1), negatives], dim=1))
        positive, others = scores[:, 0], scores[:, 1:]
        kinds = {
            "sampled_cross_entropy": losses.sampled_cross_entropy,
            "bpr": losses.bpr,
            "bpr_max": losses.bpr_max,
            "bce": losses.bce,
        }
        return kinds[self.loss_](positive, others)

    def _n_terms(self, batch: Batch) -> int:
        return int((batch["target"] >= 0).sum())

    def _score_batch(self, queries: Queries) -> Tensor:
        windows, lengths = padded_windows(
            queries.history_items,
            queries.history_start,
            queries.history_end,
            self.max_length,
            self.n_items,
        )
        items = torch.from_numpy(windows).to(self.device)
        length = torch.from_numpy(lengths).to(self.device).clamp(min=1)
        features = self._features_of(queries)
        states = self._states(items, length, features)
        rows = torch.arange(len(items), device=items.device)
        return self.module_.item_scores(states[rows, length - 1])

    def _features_of(self, queries: Queries) -> Tensor | None:
        self.check_queries(queries)
        rows = queries.history_features
        if rows is None:
            return None
        if len(queries) == 0:
            return torch.zeros((0, self.max_length, rows.shape[1]), device=self.device)
        # Only what the queries look at, as blocks share the histories of all.
        first, last = int(queries.history_start.min()), int(queries.history_end.max())
        windows = FlatRows.of(rows[first:last]).windows(
            queries.history_start - first, queries.history_end - first, self.max_length
        )
        return torch.from_numpy(windows).to(self.device)

    def _states(self, items: Tensor, lengths: Tensor, features: Tensor | None) -> Tensor:
        if features is None:
            return self.module_.states(items, lengths)
        return self.module_.states(items, lengths, features)


class _SampledWindows(WindowExamples):
    """Windows with negatives for each of their places: int64 [B, n], or [B, length, n]."""

    def __init__(
        self,
        train: Interactions,
        length: int,
        positions: str,
        features: npt.NDArray[np.float32] | None,
        n_negatives: int,
        seed: int,
    ) -> None:
        super().__init__(train, length, positions, features)
        self.n_negatives = n_negatives
        self._negatives = Negatives(train, seed)

    def batch(self, numbers: IntArray, epoch: int = 0) -> Batch:
        """As of `WindowExamples`, with ``negatives``."""
        batch = super().batch(numbers, epoch)
        places = 1 if self.positions == "last" else self.length
        drawn = self._negatives.draw(
            self.keys[numbers], self.sources(numbers), places * self.n_negatives, epoch
        )
        if self.positions == "all":
            drawn = drawn.reshape(len(numbers), places, self.n_negatives)
        batch["negatives"] = torch.from_numpy(drawn)
        return batch
