"""A restricted Boltzmann machine over the items that somebody has."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from whence import _native as kernels
from whence.data import Interactions
from whence.evaluation.queries import Queries
from whence.models._histories import history_rows, incidence
from whence.models.training import Batch, DifferentiableRecommender, Examples
from whence.parameters import NonNegative, PositiveInt, field

IntArray = npt.NDArray[np.int64]


class RBM(DifferentiableRecommender, name="rbm"):
    """Restricted Boltzmann machine: binary hidden units that explain who has which items.

    A visible unit v_i says whether somebody has item i; with hidden units h_j, the probability of
    both is proportional to exp(Σ_i b_i v_i + Σ_j c_j h_j + Σ_ij v_i W_ij h_j). The visible units
    here are those of implicit feedback, one for every item, where the paper has the ratings
    of those that were rated. Sessions of session data take the place of users.

    Learning is by contrastive divergence: v_k is what `steps` rounds of Gibbs sampling make of
    the history v, and the loss of an example, the history of one user, is the difference
    F(v) - F(v_k) of the free energy F(v) = -b·v - Σ_j log(1 + exp(c_j + v·W_j)), v_k held fixed.
    Its gradient is that of contrastive divergence. The random numbers of the sampling belong to
    the batch: they follow from (seed, epoch, example). W is normal with standard deviation 0.01
    at first, c is 0 and b the log odds of the items, as Hinton recommends.

    The score of an item is the log odds of its unit, b_i + Σ_j W_ij P(h_j = 1 | v): one step of
    mean field from the history v. A history never seen is scored as one of the training data.

    Parameters
    ----------
    hidden_units : int, default 100
    steps : int, default 1
        Rounds of Gibbs sampling.
    epochs, batch_size, learning_rate, weight_decay
        As in `DifferentiableRecommender`, which has further parameters; an example is a whole
        history here.

    References
    ----------
    -  Salakhutdinov, Mnih and Hinton. Restricted Boltzmann machines for collaborative
       filtering. ICML 2007.
    -  Hinton. A practical guide to training restricted Boltzmann machines. In: Neural
       Networks: Tricks of the Trade, 2012.

    Examples
    --------
    >>> import polars as pl
    >>> likes = pl.DataFrame({"user": [1, 1, 2, 2, 3, 3], "item": ["a", "b", "a", "b", "c", "d"]})
    >>> model = RBM(hidden_units=4, epochs=200, learning_rate=0.05).fit(likes)
    >>> model.recommend(["a"], k=1)[0].tolist()
    ['b']
    """

    kinds: ClassVar[tuple[str, ...]] = ("sessions",)

    hidden_units: PositiveInt = 100
    steps: PositiveInt = 1
    epochs: PositiveInt = 40
    batch_size: PositiveInt = 64
    learning_rate: NonNegative = 5e-3
    weight_decay: NonNegative = 1e-3

    module_: RBMModule = field(init=False)

    def _examples(self, train: Interactions) -> Examples:
        return HistoryExamples(train, self.steps * (train.n_items + self.hidden_units), self.seed)

    def _module(self, train: Interactions) -> RBMModule:
        has = incidence(train)
        share = (np.asarray(has.sum(0)).ravel() + 0.5) / (np.count_nonzero(np.diff(has.indptr)) + 1)
        odds = np.log(share / (1.0 - share))
        return RBMModule(torch.from_numpy(odds.astype(np.float32)), self.hidden_units)

    def example_loss(self, batch: Batch) -> Tensor:
        """Difference of free energies of contrastive divergence, Tensor [B]; see the class."""
        module = self.module_
        visible = batch["visible"].to(module.weight.dtype)
        with torch.no_grad():
            reached = module.sampled(visible, batch["noise"], self.steps)
        return module.free_energy(visible) - module.free_energy(reached)

    def _score_batch(self, queries: Queries) -> Tensor:
        module = self.module_
        visible = torch.from_numpy(_dense(history_rows(queries, self.train_))).to(module.weight)
        return module.visible_odds(module.hidden_odds(visible).sigmoid())


class RBMModule(nn.Module):
    """Weights and biases, and what follows from them."""

    def __init__(self, visible_bias: Tensor, hidden_units: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(visible_bias), hidden_units) * 0.01)
        self.visible_bias = nn.Parameter(visible_bias)
        self.hidden_bias = nn.Parameter(torch.zeros(hidden_units))

    def free_energy(self, visible: Tensor) -> Tensor:
        """F [B] of visible units [B, n_items]."""
        return -visible @ self.visible_bias - functional.softplus(self.hidden_odds(visible)).sum(1)

    def hidden_odds(self, visible: Tensor) -> Tensor:
        """Log odds [B, hidden] of the hidden units given the visible ones."""
        return torch.addmm(self.hidden_bias, visible, self.weight)

    def visible_odds(self, hidden: Tensor) -> Tensor:
        """Log odds [B, n_items] of the visible units given the hidden ones."""
        return torch.addmm(self.visible_bias, hidden, self.weight.T)

    def sampled(self, visible: Tensor, noise: Tensor, steps: int) -> Tensor:
        """Visible units [B, n_items] after `steps` rounds of Gibbs sampling.

        `noise` has the uniform numbers of all rounds, [B, steps * (hidden + n_items)].
        """
        n_hidden, n_items = len(self.hidden_bias), len(self.visible_bias)
        for part in torch.split(noise, n_hidden + n_items, dim=1):
            for_hidden, for_visible = part[:, :n_hidden], part[:, n_hidden:]
            hidden = (for_hidden < self.hidden_odds(visible).sigmoid()).to(visible.dtype)
            visible = (for_visible < self.visible_odds(hidden).sigmoid()).to(visible.dtype)
        return visible


class HistoryExamples(Examples):
    """One example per session or user with rows: all of their items, and random numbers.

    A batch has ``visible`` (float32 [B, n_items], 1 for the items) and ``noise`` (float32 [B,
    n_noise], uniform).

    Parameters
    ----------
    train : Interactions
    n_noise : int
    seed : int
    """

    def __init__(self, train: Interactions, n_noise: int, seed: int) -> None:
        self.train = train
        self.n_noise = n_noise
        self._seed = np.uint64(seed)
        self._owned = incidence(train)
        self._owners = np.flatnonzero(np.diff(self._owned.indptr))

    def __len__(self) -> int:
        return len(self._owners)

    @cached_property
    def keys(self) -> IntArray:
        """Number of each owner among those of the whole data; see `Examples`."""
        has_rows = np.diff(self.train.whole.offsets) > 0
        return (np.cumsum(has_rows) - 1)[self._owners]

    @property
    def n_whole(self) -> int:
        """Sessions or users of the whole data; see `Examples`."""
        return int(np.count_nonzero(np.diff(self.train.whole.offsets)))

    def batch(self, numbers: IntArray, epoch: int = 0) -> Batch:
        """``visible`` and ``noise`` of some examples; see `Examples`."""
        noise = kernels.uniforms(self._seed, np.uint64(epoch), self.keys[numbers], self.n_noise)
        return {
            "visible": torch.from_numpy(_dense(self._owned[self._owners[numbers]])),
            "noise": torch.from_numpy(noise),
        }

    def rows(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """All rows of the session or user of each example; see `Examples`."""
        sequences = self.train.sequences
        first, last = (sequences.offsets[self._owners[numbers] + end] for end in (0, 1))
        offsets = np.concatenate(([0], np.cumsum(last - first)))
        places = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], last - first)
        return sequences.rows[places], offsets


def _dense(rows: sparse.csr_array) -> npt.NDArray[np.float32]:
    dense: npt.NDArray[np.float32] = rows.astype(np.float32).toarray()
    return dense
