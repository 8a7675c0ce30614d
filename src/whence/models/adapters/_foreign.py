"""What the adapters have in common: a recommender that is somebody else's."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from typing_extensions import Self

from whence.data import Interactions
from whence.engines import Run
from whence.errors import UnsupportedError
from whence.evaluation.queries import Queries
from whence.models._histories import history_counts
from whence.models._user_items import close, confidences, has_rows
from whence.models.base import Recommender, ScoreArray
from whence.parameters import field


class ForeignModel(Recommender):
    """Base of the adapters.

    The object is the one parameter that may be given by its place, as in ``Wrapped(Newest())``.
    It is never changed: `fit` trains a copy of it.

    Attributes
    ----------
    model_ : object
        The trained object of the other library.
    """

    model: Any = field(kw_only=False)
    exclude_seen: bool | None = None

    model_: Any = field(init=False)

    @classmethod
    def from_fitted(cls, model: Any, train: Any, **options: Any) -> Self:
        """Wrap an object that is trained already.

        Parameters
        ----------
        model : object
            Trained on `train`; used as it is.
        train : Interactions or data frame
            What it was trained on.
        **options
            The other parameters.

        Returns
        -------
        adapter
            As if fitted. Fitting it again trains a copy from the beginning.
        """
        adapter = cls(model=model, **options)
        adapter._check_params()
        adapter.train_ = Interactions.from_frame(train)
        adapter.model_ = model
        adapter._look_up(adapter.train_)
        return adapter

    def _fit(self, train: Interactions, run: Run) -> None:
        self.model_ = self._trained(train)
        self._look_up(train)

    @abstractmethod
    def _trained(self, train: Interactions) -> Any:
        """Train a copy of the object."""

    @abstractmethod
    def _look_up(self, train: Interactions) -> None:
        """Learn what asking `model_` takes."""

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Refuse: the object has its own ways to be saved.

        Raises
        ------
        UnsupportedError
            Always.
        """
        self._check_fitted()
        name = type(self.model_).__name__
        raise UnsupportedError(
            f"Whence cannot save a {name} that is not its own; save it with its own library, and "
            f"after loading wrap it with {type(self).__name__}.from_fitted(model, train)."
        )


class ScoringModel(ForeignModel):
    """Base of the adapters of models that score every item for a user of the training data."""

    floor = -np.inf
    asks = "users"

    def _look_up(self, train: Interactions) -> None:
        self._learned = has_rows(train)
        self._counts = confidences(train)

    def score_codes(self, queries: Queries, *, threads: int | None = None) -> ScoreArray:
        """Score every item for every query [Q, n_items]; see `Recommender`.

        Raises
        ------
        UnsupportedError
            If a history is to be scored that is of no user of the training data, and the model
            cannot do that.
        """
        self._check_fitted()
        history = history_counts(queries, self.train_)
        scores = self._scores(queries.users, history, threads)
        close(scores, history, self._learned, self._leaves_out_seen(queries))
        return scores

    @abstractmethod
    def _scores(
        self, users: npt.NDArray[np.int32], history: sparse.csr_array, threads: int | None
    ) -> ScoreArray:
        """Scores [Q, n_items]; -inf for users whose rows are all gone from the training data."""

    def _trained_users(
        self, users: npt.NDArray[np.int32], history: sparse.csr_array
    ) -> npt.NDArray[np.int64]:
        """Queries of users with training rows, for a model that knows nobody else.

        Raises
        ------
        UnsupportedError
            If a query without a user has a history.
        """
        if (np.diff(history.indptr)[users < 0] > 0).any():
            raise UnsupportedError(
                f"{type(self.model_).__name__} scores items only for users that it was trained "
                "on, and not for the history of anybody else; ask it for users of the training "
                "data (model.user_queries, or validation data of the same users)."
            )
        has_rows_left = np.append(np.diff(self._counts.indptr) > 0, False)
        return np.flatnonzero(has_rows_left[users])
