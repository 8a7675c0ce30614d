"""The model of the study that the opponents experiment follows, with its settings."""

from __future__ import annotations

from typing import ClassVar

from whence.data import Interactions
from whence.models.neural.lstm import LSTMModule, LSTMRec


class StudyLSTM(LSTMRec):
    """An LSTM whose item embeddings stay as they were drawn, trained in the order of the examples.

    Parameters
    ----------
    seed : int
    epochs : int, default 50
        As in the study, like all that follows.
    embedding_dim, hidden_dim, max_length, batch_size : int
    learning_rate, weight_decay : float
    exclude_seen : bool
        The study recommends items of the history as well.
    """

    shuffled: ClassVar[bool] = False

    def __init__(
        self,
        seed: int = 0,
        epochs: int = 50,
        embedding_dim: int = 128,
        hidden_dim: int = 64,
        max_length: int = 50,
        batch_size: int = 1024,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-5,
        exclude_seen: bool = False,
    ) -> None:
        super().__init__(
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            max_length=max_length,
            seed=seed,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            exclude_seen=exclude_seen,
        )

    def _module(self, train: Interactions) -> LSTMModule:
        module = LSTMModule(
            train.n_items, self.embedding_dim, self.hidden_dim, self.num_layers, self.dropout
        )
        module.embedding.weight.requires_grad_(False)
        return module
