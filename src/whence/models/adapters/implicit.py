"""Any recommender of the library implicit."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from whence.data import Interactions
from whence.errors import UnsupportedError
from whence.models._user_items import confidences
from whence.models.adapters._foreign import ScoringModel
from whence.models.base import ScoreArray
from whence.models.matrix._products import factor_scores, one_blas_thread
from whence.models.matrix.als import rows_of_users, same_histories

# What the models of implicit learn; without it they train from the beginning.
_LEARNED = ("user_factors", "item_factors", "similarity", "scorer", "recommend_index")


class ImplicitModel(ScoringModel):
    """A recommender of implicit: ``ImplicitModel(BayesianPersonalizedRanking()).fit(train)``.

    Users are asked for by their id. A history of somebody who was not in training, or one that
    has grown or shrunk since, is scored by models that can do so (those with nearest neighbours
    or ``recalculate_user``); of the others, users of the training data keep their scores.

    Parameters
    ----------
    model : implicit.recommender_base.RecommenderBase
        Trained or not; `fit` trains a copy of it from the beginning.
    exclude_seen : bool, optional
        Leave out the items of the query's own history; by default for users, and not for
        sessions and baskets: see `Recommender`.
    use_ratings : bool, default False
        Give the model the sum of the ratings of a user's rows of an item, rather than the number
        of rows.

    Attributes
    ----------
    model_ : implicit.recommender_base.RecommenderBase
        The trained model. Its users and items are numbered as in `vocabulary`.

    Notes
    -----
    `from_fitted` takes a model whose rows and columns are in the order of the vocabulary of the
    training data: ``Interactions.from_frame(frame, vocabulary=Vocabulary(items, users))``.

    Examples
    --------
    >>> import whence
    >>> from implicit.nearest_neighbours import CosineRecommender
    >>> from whence.models.adapters import ImplicitModel
    >>> data = whence.make_sessions(n_sessions=200, seed=1)
    >>> model = ImplicitModel(CosineRecommender(K=20)).fit(data.train)
    >>> float(whence.evaluate(model, data.validation, "recall@20")) > 0.1
    True
    """

    use_ratings: bool = False

    def _check_params(self) -> None:
        super()._check_params()
        for verb in ("fit", "recommend", "similar_items"):
            if not callable(getattr(self.model, verb, None)):
                raise UnsupportedError(
                    f"{type(self.model).__name__} is not a recommender of the library implicit: "
                    f"it has no method {verb}; wrap other objects with Wrapped."
                )

    def _trained(self, train: Interactions) -> Any:
        model = _untrained(self.model)
        with one_blas_thread(), warnings.catch_warnings():
            # Its nearest neighbours warn about the matrices that they make themselves.
            warnings.filterwarnings("ignore", message="Method expects CSR input")
            model.fit(self._weights(train), show_progress=False)
        return model

    def _look_up(self, train: Interactions) -> None:
        super()._look_up(train)
        self._rows = self._weights(train)
        self._mean = float(self._rows.data.sum(dtype=np.float64)) / max(train.n_rows, 1)
        self._folds_in = _can_fold_in(self.model_, self._rows)

    def _weights(self, train: Interactions) -> sparse.csr_matrix:
        return confidences(train, self.use_ratings)

    def _scores(
        self, users: npt.NDArray[np.int32], history: sparse.csr_array, threads: int | None
    ) -> ScoreArray:
        if self._folds_in:
            trained = same_histories(users, history, self._counts)
            others = ~trained & (np.diff(history.indptr) > 0)
        else:
            trained = np.zeros(len(users), dtype=bool)
            trained[self._trained_users(users, history)] = True
            others = np.zeros(len(users), dtype=bool)
        scores = np.full(history.shape, -np.inf, dtype=np.float32)
        if trained.any():
            rows = sparse.csr_matrix(rows_of_users(users[trained], self._rows))
            scores[trained] = self._of_users(users[trained], rows, threads)
        if others.any():
            rows = sparse.csr_matrix(history[others] * self._mean, dtype=np.float32)
            scores[others] = self._of_histories(rows, threads)
        return scores

    def _of_users(
        self, users: npt.NDArray[np.int32], rows: sparse.csr_matrix, threads: int | None
    ) -> npt.NDArray[np.float32]:
        """Scores [R, n_items] of users of the training data, with their rows there."""
        if not hasattr(self.model_, "user_factors"):
            return _recommended(self.model_, users, rows)
        return factor_scores(
            _array(self.model_.user_factors)[users], _array(self.model_.item_factors), threads
        )

    def _of_histories(
        self, rows: sparse.csr_matrix, threads: int | None
    ) -> npt.NDArray[np.float32]:
        """Scores [R, n_items] of histories, for a model that can fold them in."""
        nobody = np.arange(rows.shape[0])
        if not hasattr(self.model_, "user_factors"):
            return _recommended(self.model_, nobody, rows)
        with one_blas_thread():
            factors = _array(self.model_.recalculate_user(nobody, rows))
        return factor_scores(factors, _array(self.model_.item_factors), threads)


def _untrained(model: Any) -> Any:
    """A copy without what training gives: the models of implicit go on from it if they have it."""
    twin = copy.copy(model)
    for name, value in vars(model).items():
        if name in _LEARNED or (name.startswith("_") and isinstance(value, np.ndarray)):
            setattr(twin, name, None)
        elif callable(getattr(value, "similar_items", None)):
            setattr(twin, name, _untrained(value))
        else:
            setattr(twin, name, copy.deepcopy(value))
    return twin


def _can_fold_in(model: Any, rows: sparse.csr_matrix) -> bool:
    """Whether a model can score a history that is not that of a training user."""
    if getattr(model, "similarity", None) is not None:
        return True
    try:
        model.recalculate_user(np.arange(1), rows[:1])
    except (NotImplementedError, AttributeError):
        return False
    return True


def _recommended(
    model: Any, users: npt.NDArray[np.integer], rows: sparse.csr_matrix
) -> npt.NDArray[np.float32]:
    """Scores [R, n_items] from the model's own lists of all items; -inf what it leaves out."""
    n_items = rows.shape[1]
    items, values = model.recommend(users, rows, N=n_items, filter_already_liked_items=False)
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    row, place = np.nonzero(items >= 0)
    scores[row, items[row, place]] = values[row, place]
    return scores


def _array(factors: Any) -> npt.NDArray[np.float32]:
    """Factors in memory, from where a graphics card has them too."""
    plain = factors.to_numpy() if hasattr(factors, "to_numpy") else factors
    return np.asarray(plain, dtype=np.float32)
