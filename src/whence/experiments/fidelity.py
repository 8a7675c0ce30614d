"""The fidelity experiment: is what influence functions predict of removals what retraining does?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from annotated_types import Ge

from whence.data import Interactions, split_leave_one_out, split_rows
from whence.engines import Run, settled
from whence.errors import DataError, ParameterError, check_choice
from whence.influence.functions import Fidelity, InfluenceFunction, fidelity, to_optimum
from whence.influence.functions.solvers import SOLVERS
from whence.models.base import require
from whence.parameters import Configurable, Count, NonNegative, PositiveInt, Seed, Share

# Penalty of the model that is fitted by default, on the parameters of one user or item: as much
# as twenty ratings of a mean loss weigh. On MovieLens it predicts about as well as any.
_PENALTY = 20.0


class FidelityExperiment(Configurable):
    """Retrain without single interactions and without groups; compare with the prediction.

    Rows are split at random into training, validation and test data (8:1:1 of each user; for
    models of sequences the last of each user are for validation and test). The model is fitted,
    brought to its optimum, and every retraining starts there and goes to the optimum without the
    rows that were removed.

    Parameters
    ----------
    model : callable, optional
        ``model(seed)`` makes the model, not yet fitted; by default a `BiasedMF` of 8 factors
        whose penalty suits the number of ratings.
    solvers : sequence of str
        Of `InfluenceFunction`; the first also chooses the largest single removals.
    removals : int
        Single interactions: half of them random, half those of the largest predicted influence.
    keep : sequence of float
        Shares of the training data that random groups leave.
    groups : int
        Groups of each share.
    repeats : int
        Retrainings without any removal, from another start, for the noise floor.
    damping : float
        Added to the diagonal of the Hessian.
    tolerance : float
        Of the way to the optimum; see `to_optimum`.
    seed : int
        Of the split, the fit and the draws.

    See Also
    --------
    whence.influence.functions.fidelity : the same for a model that is fitted already.
    """

    model: Callable[[int], Any] | None = None
    solvers: Sequence[str] = ("cg", "block", "dot")
    removals: Annotated[int, Ge(2)] = 100
    keep: Sequence[Share] = (0.9, 0.7, 0.5)
    groups: Count = 10
    repeats: PositiveInt = 3
    damping: NonNegative = 0.0
    tolerance: NonNegative = 1e-6
    seed: Seed = 42

    def _check_params(self) -> None:
        super()._check_params()
        if not self.solvers:
            raise ParameterError("solvers is empty; name at least one, such as 'cg'.")
        for solver in self.solvers:
            check_choice("solvers", solver, SOLVERS)

    def run(self, data: Any, *, run: Run | None = None) -> Fidelity:
        """Fit, and retrain.

        Parameters
        ----------
        data : Interactions or table
            Users with their items, with ratings where the model has to do with them.
        run : Run, optional
            How the work is done. With a folder, outcomes of retraining are kept there.

        Raises
        ------
        DataError
            If the rows are not those of users.
        UnsupportedError
            If the model has no loss per training example.
        """
        self._check_params()
        run = settled(run, self)
        assert run.seed is not None
        interactions = Interactions.from_frame(data)
        if not interactions.by_user:
            raise DataError(
                "The fidelity experiment splits the rows of users; give data with a user column."
            )
        model, train, validation, test = self._fitted(interactions, run.seed)
        found = fidelity(
            model,
            validation,
            solvers=[
                InfluenceFunction(solver=name, damping=self.damping)  # type: ignore[arg-type]
                for name in self.solvers
            ],
            removals=self.removals,
            keep=self.keep,
            groups=self.groups,
            repeats=self.repeats,
            tolerance=self.tolerance,
            run=run,
        )
        found.metadata.update(
            data=interactions.fingerprint,
            n_rows=len(train),
            gradient=model.optimum_.gradient,
            rmse=_error_of(model, test),
        )
        return found

    def _made(self, n_rows: int, seed: int) -> Any:
        return small_factorisation(n_rows, seed) if self.model is None else self.model(seed)

    def _fitted(
        self, data: Interactions, seed: int
    ) -> tuple[Any, Interactions, Interactions, Interactions]:
        """The model at its optimum, and the three parts of the data."""
        from whence.models.training.pairs import UserItemRecommender

        model = None if self.model is None else self._made(len(data), seed)
        if model is not None:
            require(model, "differentiable", "An influence function")
        if model is None or isinstance(model, UserItemRecommender):
            train, validation, test = split_rows(data, (0.8, 0.1, 0.1), seed=seed)
        else:
            train, validation, test = split_leave_one_out(data)
        fitted = (model or self._made(len(train), seed)).fit(train)
        return to_optimum(fitted, tolerance=self.tolerance), train, validation, test


def small_factorisation(n_rows: int, seed: int) -> Any:
    """The model that is fitted where none is given."""
    from whence.models import BiasedMF

    return BiasedMF(
        embedding_dim=8,
        weight_decay=_PENALTY / n_rows,
        epochs=20,
        learning_rate=5e-3,
        seed=seed,
    )


def _error_of(model: Any, test: Interactions) -> float | None:
    """RMSE on the test data, of a model of ratings."""
    from whence.evaluation import evaluate

    if "rating" not in model.levels or test.columns.rating is None:
        return None
    if getattr(model, "loss", "squared") != "squared":
        return None
    return float(evaluate(model, test, "rmse"))
