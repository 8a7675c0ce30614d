"""ALS: weighted matrix factorisation of implicit feedback, through the library implicit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from whence.data import Interactions
from whence.engines import Run, thread_count
from whence.errors import DataError, UnsupportedError, check_int, within_memory
from whence.evaluation.queries import Queries
from whence.models._histories import history_counts
from whence.models._user_items import close, confidences, has_rows
from whence.models.base import Recommender, restored
from whence.models.matrix._products import factor_scores, one_blas_thread
from whence.parameters import Positive, PositiveInt, Seed, field

Factors = npt.NDArray[np.float32]


class ALS(Recommender, name="als"):
    """Matrix factorisation of implicit feedback by alternating least squares.

    User u, with r_ui interactions with item i (or the sum of their ratings), gets factors x_u and
    the item y_i, such that Σ_ui c_ui (p_ui - x_u·y_i)² + l2 (Σ_u ‖x_u‖² + Σ_i ‖y_i‖²) is small:
    p_ui is 1 and the confidence c_ui is alpha · r_ui where there are interactions, and p_ui is 0
    and c_ui is 1 where there are none. The score of an item is x_u·y_i. The library implicit
    does the fitting; at the end the factors of all users are solved for once more, exactly, so
    that a user's scores are the same whether the user is asked for or the history is folded in,
    and so that `explain` adds up to them. The sessions of session data take the place of users.

    Parameters
    ----------
    factors : int, default 64
        Length of x_u and y_i.
    l2 : float, default 0.01
        Weight of the penalty, above 0.
    iterations : int, default 15
        Times that users and items are solved for in turn.
    alpha : float, default 1.0
        Confidence of one interaction, above 0. With 1.0 and one interaction of each kind it is
        no greater than that of having none; 10 to 40 is usual in the paper.
    use_ratings : bool, default False
        Let r_ui be the sum of the ratings of the interactions, which must be above 0, rather than
        their number. Items of a history that is folded in count with the mean rating.
    seed : int, default 42
        Seed of the first factors.
    exclude_seen : bool, optional
        Leave out the items of the query's own history; by default for users, and not for
        sessions and baskets: see `Recommender`.
    threads : int, optional
        Threads to fit with, every core by default; the result does not depend on it.

    Attributes
    ----------
    user_factors_ : ndarray of float32, shape (n_sources, factors)
        x_u; 0 for a source without training rows.
    item_factors_ : ndarray of float32, shape (n_items, factors)
        y_i; 0 for an item without training rows.

    References
    ----------
    -  Hu, Koren and Volinsky. Collaborative filtering for implicit feedback datasets.
       ICDM 2008.
    -  Takács, Pilászy and Tikk. Applications of the conjugate gradient method for implicit
       feedback collaborative filtering. RecSys 2011: the solver of the library implicit
       (https://github.com/benfred/implicit).

    Examples
    --------
    >>> import polars as pl
    >>> likes = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": ["a", "b", "a", "b", "a"]})
    >>> model = ALS(factors=1, l2=0.1).fit(likes)
    >>> model.recommend([3], k=1)[0][0].tolist()
    ['b']
    >>> model.explain(3, "b")["item"].to_list()
    ['a']
    """

    floor = -np.inf
    asks = "users"
    levels = frozenset({"score", "refit", "structured"})

    factors: PositiveInt = 64
    l2: Positive = 0.01
    iterations: PositiveInt = 15
    alpha: Positive = 1.0
    use_ratings: bool = False
    seed: Seed = 42
    exclude_seen: bool | None = None
    threads: PositiveInt | None = None

    user_factors_: Factors = field(init=False)
    item_factors_: Factors = field(init=False)

    def _fit(self, train: Interactions, run: Run) -> None:
        self._prepare(train)
        with _solving():
            solver = self._solver(None, run.threads)
            solver.fit(self._confidences, show_progress=False)
            everyone = np.arange(train.n_sources)
            self.user_factors_ = solver.recalculate_user(everyone, self._confidences)
        self.item_factors_ = solver.item_factors

    def _prepare(self, train: Interactions) -> None:
        """What scoring needs of the data, beside the factors."""
        self._learned = has_rows(train)
        self._counts = confidences(train)
        self._confidences = confidences(train, True) if self.use_ratings else self._counts
        self._mean = float(self._confidences.data.sum(dtype=np.float64)) / max(train.n_rows, 1)

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {"user_factors": self.user_factors_, "item_factors": self.item_factors_}

    def _restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._prepare(self.train_)
        self.user_factors_ = restored(state, "user_factors", (self.train_.n_sources, self.factors))
        self.item_factors_ = restored(state, "item_factors", (self.n_items, self.factors))

    def score_codes(self, queries: Queries, *, threads: int | None = None) -> Factors:
        """Score every item for every query, float32 [Q, n_items]; see `Recommender`.

        Users of the training data are scored by their factors there, unless the query has another
        history of theirs than the training data (rows since, or rows taken away). Any other
        history is folded in: its factors are the least squares solution given the items' factors.
        """
        self._check_fitted()
        history = history_counts(queries, self.train_)
        factors = self._factors_of(queries.users, history, threads)
        scores = factor_scores(factors, self.item_factors_, threads)
        close(scores, history, self._learned, self._leaves_out_seen(queries))
        return scores

    def _factors_of(
        self, users: npt.NDArray[np.int32], history: sparse.csr_array, threads: int | None
    ) -> Factors:
        """Factors of queries, float32 [Q, factors]."""
        factors = np.zeros((len(users), self.item_factors_.shape[1]), dtype=np.float32)
        known = same_histories(users, history, self._counts)
        factors[known] = self.user_factors_[users[known]]
        others = np.flatnonzero(~known & (np.diff(history.indptr) > 0))
        if len(others):
            rows = self._confidences_of(users[others], history[others])
            with _solving():
                solver = self._solver(self.item_factors_, threads)
                factors[others] = solver.recalculate_user(np.arange(len(others)), rows)
        return factors

    def _confidences_of(
        self, users: npt.NDArray[np.int32], history: sparse.csr_array
    ) -> sparse.csr_matrix:
        """Confidences of histories: those of training where it has them, else the mean one."""
        if not self.use_ratings:
            return sparse.csr_matrix(history, dtype=np.float32)
        has = history.copy()
        has.data[:] = 1.0
        counts = rows_of_users(users, self._counts).multiply(has)
        later = (history - counts).maximum(0) * self._mean
        return sparse.csr_matrix(
            rows_of_users(users, self._confidences).multiply(has) + later, dtype=np.float32
        )

    def explain(self, user: Any, item: Any, n: int | None = 10) -> pl.DataFrame:
        """Say what each item of a user's history adds to the score of an item.

        With A = YᵀC_uY + l2 I, over the items with their confidences for this user, the factors of
        the user are A⁻¹ Σ_j c_uj y_j, and so the score of item i is the sum of the contributions
        c_uj y_iᵀ A⁻¹ y_j of the items j of the history.

        Parameters
        ----------
        user : id, or list of item ids
            A user of the training data, or a history to fold in.
        item : id
            The item that is, or might be, recommended.
        n : int, optional
            How many of the largest contributions; None for all.

        Returns
        -------
        polars.DataFrame
            Columns: the item, named as in the training data, and ``contribution``, float64,
            largest first. All contributions add up to the score, but for rounding to 32 bits.

        Raises
        ------
        DataError
            If the user or the item is unknown, or nothing is known of the user.

        References
        ----------
        Section 5 of; computed by the library implicit.
        """
        self._check_fitted()
        if n is not None:
            check_int("n", n, minimum=1)
        target = int(self._known_items([item])[0])
        if isinstance(user, (list, tuple)):
            items = list(user)
            queries = self.fold_in([[items] if self.train_.kind == "baskets" else items])
        else:
            queries = self.user_queries([user])
        history = history_counts(queries, self.train_)
        if history.nnz == 0:
            raise DataError(
                f"Nothing is known of {user!r}, so there is nothing to explain; give a user or a "
                "history with items of the training data."
            )
        rows = self._confidences_of(queries.users, history)
        with _solving():
            solver = self._solver(self.item_factors_, self.threads)
            _, best, _ = solver.explain(0, rows, target, N=n or rows.nnz)
        name = self.train_.columns.item
        codes = [code for code, _ in best]
        return pl.DataFrame(
            {
                name: self.vocabulary.items.gather(codes),
                "contribution": pl.Series([float(value) for _, value in best], dtype=pl.Float64),
            }
        )

    def _solver(self, item_factors: Factors | None, threads: int | None) -> Any:
        """The model of implicit, new, or with the items already solved for."""
        from implicit.cpu.als import AlternatingLeastSquares

        solver = AlternatingLeastSquares(
            factors=self.factors,
            regularization=self.l2,
            alpha=self.alpha,
            iterations=self.iterations,
            num_threads=thread_count(threads),
            random_state=self.seed,
        )
        solver.item_factors = item_factors
        return solver


def same_histories(
    users: npt.NDArray[np.int32], history: sparse.csr_array, counts: sparse.csr_matrix
) -> npt.NDArray[np.bool_]:
    """Queries whose history is what the training data have of that user, bool [Q].

    Parameters
    ----------
    users : int32 [Q]
        -1 for none.
    history : csr_array [Q, n_items]
    counts : csr_matrix [n_sources, n_items]
        Numbers of training rows.
    """
    differences = sparse.csr_array(history - rows_of_users(users, counts))
    differences.eliminate_zeros()
    same: npt.NDArray[np.bool_] = (users >= 0) & (np.diff(differences.indptr) == 0)
    return same


def rows_of_users(users: npt.NDArray[np.int32], matrix: sparse.csr_matrix) -> sparse.csr_array:
    """Rows of a matrix by user, csr_array [Q, n_items]; an empty row for user -1."""
    rows = sparse.csr_array(matrix[np.maximum(users, 0)])
    rows.data[np.repeat(users < 0, np.diff(rows.indptr))] = 0.0
    rows.eliminate_zeros()
    return rows


@contextmanager
def _solving() -> Iterator[None]:
    """Calls to implicit: whether it is there, its threads, and its errors."""
    try:
        from implicit.recommender_base import ModelFitError
    except ImportError as error:
        raise UnsupportedError(
            "ALS needs the library implicit, which is not installed; pip install 'whence[als]'."
        ) from error
    with one_blas_thread():
        try:
            with within_memory():
                yield
        except (ModelFitError, ValueError) as error:
            raise DataError(
                f"The least squares of ALS have no solution ({error}); raise l2, or lower alpha."
            ) from error
