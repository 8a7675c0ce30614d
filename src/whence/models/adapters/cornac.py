"""Any recommender of Cornac that scores items for users."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from whence.data import Interactions
from whence.errors import DataError, UnsupportedError
from whence.models.adapters._foreign import ScoringModel
from whence.models.base import ScoreArray

_OTHER_KINDS = {"NextItemRecommender", "NextBasketRecommender"}


class CornacModel(ScoringModel):
    """A recommender of Cornac: ``CornacModel(cornac.models.MF(k=10, seed=1)).fit(train)``.

    It is trained on the ratings, or on ones where there are none; of several ratings of an item
    by one user the last one counts. Users are asked for by their id; Cornac cannot score the
    history of anybody else. Its recommenders of next items and next baskets are not supported.

    Where there are ratings, it predicts them, as Cornac's ``rate`` does: within the range of the
    training data, and for unknown users and items as the model has it, in general by the mean.
    Models that learn an order only, such as BPR, give their score, cut to that range, which is no
    prediction of a rating.

    Parameters
    ----------
    model : cornac.models.Recommender
        Trained or not; `fit` trains a clone of it from the beginning.
    exclude_seen : bool, optional
        Leave out the items of the query's own history; by default for users, and not for
        sessions and baskets: see `Recommender`.

    Attributes
    ----------
    model_ : cornac.models.Recommender
        The trained model. Its ``uid_map`` and ``iid_map`` have the ids of the training data.

    Notes
    -----
    `from_fitted` takes a model that Cornac has trained on the same ids (or on their text), in
    whatever order it numbers them.

    References
    ----------
    Salah, Truong and Lauw. Cornac: a comparative framework for multimodal recommender systems.
    JMLR 21, 2020.
    """

    levels = frozenset({*ScoringModel.levels, "rating"})

    def _check_params(self) -> None:
        super()._check_params()
        for verb in ("fit", "score", "clone"):
            if not callable(getattr(self.model, verb, None)):
                raise UnsupportedError(
                    f"{type(self.model).__name__} is not a recommender of Cornac: it has no "
                    f"method {verb}; wrap other objects with Wrapped."
                )
        if _OTHER_KINDS & {parent.__name__ for parent in type(self.model).__mro__}:
            raise UnsupportedError(
                f"{type(self.model).__name__} of Cornac scores sequences, not users; give a model "
                "that scores items for a user, such as cornac.models.MF or BPR."
            )

    def _trained(self, train: Interactions) -> Any:
        try:
            from cornac.data import Dataset
        except ImportError as error:
            raise UnsupportedError(
                "CornacModel needs the library Cornac, which is not installed; pip install cornac."
            ) from error
        model = self.model.clone()
        model.fit(Dataset.from_uir(_triples(train)))
        return model

    def _look_up(self, train: Interactions) -> None:
        super()._look_up(train)
        users, items = getattr(self.model_, "uid_map", None), getattr(self.model_, "iid_map", None)
        if not users or not items:
            raise UnsupportedError(
                f"This {type(self.model_).__name__} has no maps of ids, so it is not trained; "
                "call fit(train)."
            )
        # Cornac's numbers of our users and items; -1 where it has none.
        self._user_numbers = _numbers(users, train.source_ids)
        self._item_numbers = _numbers(items, train.item_ids)
        if (self._item_numbers < 0).all():
            raise DataError(
                "None of the items of the training data is known to the model of Cornac; give the "
                "data, with the ids, that it was trained on."
            )

    def _scores(
        self, users: npt.NDArray[np.int32], history: sparse.csr_array, threads: int | None
    ) -> ScoreArray:
        scores = np.full(history.shape, -np.inf)
        for query in self._trained_users(users, history):
            number = int(self._user_numbers[users[query]])
            if number < 0:
                continue
            own = np.asarray(self.model_.score(number), dtype=np.float64).ravel()
            # Some of its models give a row; and items met in testing only, the last, may lack.
            known = (self._item_numbers >= 0) & (self._item_numbers < len(own))
            scores[query, known] = own[self._item_numbers[known]]
        return scores

    def predict_codes(
        self, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float64]:
        """Predict ratings of pairs of numbers, float64 [N]; -1 stands for one never seen.

        Raises
        ------
        UnsupportedError
            If there were no ratings in training, or the model predicts none.
        """
        self._check_fitted()
        name = type(self.model_).__name__
        rate = getattr(self.model_, "rate", None)
        if self.train_.columns.rating is None or not callable(rate):
            why = "was trained without ratings" if callable(rate) else "has no method rate"
            raise UnsupportedError(
                f"{name} {why}, so it predicts none; name the column of ratings, or evaluate a "
                "ranking metric such as 'ndcg@10'."
            )
        # Beyond its numbers are those that it does not know.
        numbers = np.append(self._user_numbers, -1), np.append(self._item_numbers, -1)
        unknown = len(self.model_.uid_map), len(self.model_.iid_map)
        pairs = [
            np.where(known[codes] < 0, beyond, known[codes]).tolist()
            for codes, known, beyond in zip((users, items), numbers, unknown)
        ]
        found = [float(np.asarray(rate(user, item)).item()) for user, item in zip(*pairs)]
        return np.array(found, dtype=np.float64)


def _triples(train: Interactions) -> list[tuple[Any, Any, float]]:
    """Ids of user and item, and the last rating, of each pair that occurs, in order of time."""
    pairs = train.source_codes.astype(np.int64) * train.n_items + train.item_codes
    _, from_the_end = np.unique(pairs[::-1], return_index=True)
    rows = np.sort(len(pairs) - 1 - from_the_end)
    ratings = np.ones(len(rows))
    if train.columns.rating is not None:
        column = train.frame[train.columns.rating].gather(train.rows[rows])
        if not column.dtype.is_numeric() or column.is_null().any():
            raise DataError(
                f"Column {train.columns.rating!r} must hold a number in every row to be ratings; "
                "clean it, or leave it out."
            )
        ratings = column.cast(pl.Float64).to_numpy()
    users = train.source_ids.gather(train.source_codes[rows]).to_list()
    items = train.item_ids.gather(train.item_codes[rows]).to_list()
    return list(zip(users, items, ratings.tolist()))


def _numbers(known: Any, ids: pl.Series) -> npt.NDArray[np.int64]:
    """Numbers of ids in a map of Cornac, whose files are read as text; -1 where unknown."""
    values = ids.to_list()
    if not any(value in known for value in values):
        values = [str(value) for value in values]
    return np.array([known.get(value, -1) for value in values], dtype=np.int64)
