"""TracIn: what each training example did to a prediction, by gradients at checkpoints."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from whence import engines
from whence.engines import Checkpoints, Run, part_of, reporter, settled
from whence.errors import OutputExistsError, ParameterError, check_int, check_path
from whence.influence.base import InfluenceMethod, Problem
from whence.influence.credit import BY_PLACE
from whence.influence.passes import (
    SIDES,
    Arrays,
    Matrix,
    OwnScores,
    ScoresOfPairs,
    ScoresOfTerms,
    Strongest,
    SumsOverQueries,
    empty_lists,
)
from whence.influence.per_example import Method
from whence.influence.places import Targets
from whence.influence.replay import every_step
from whence.influence.replay.replayed import check_replayable
from whence.influence.result import Influence
from whence.influence.screening import Limits
from whence.influence.strategies import ByFactors, Strategy
from whence.influence.weights import Weighting
from whence.models.training.loop import torch_threads
from whence.parameters import PositiveInt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_MESSAGE = "training examples"


class Tracing(InfluenceMethod):
    """Base of TracIn and its approximation.

    Parameters
    ----------
    normalise, top, learning_rate
        As in `TracIn`; the others as in `InfluenceMethod`.
    """

    normalise: Literal["cosine"] | None = None
    top: PositiveInt = 10
    learning_rate: Any = None

    def attribute(self, model: Any, data: Any, *, run: Run | None = None) -> Influence:
        """Value the training data by what it did for all queries together.

        One pass over the training examples, whatever the number of queries: each gradient is
        multiplied with the sum of the queries' gradients.

        Parameters
        ----------
        model : fitted differentiable model
        data : Interactions, data frame, Queries or QueryExamples
            Validation or test data, the queries; see `query_examples`.
        run : Run, optional
            How the work is done. In its folder is kept what has been done.

        Returns
        -------
        Influence
            Its `proponents(query)` and `for_query(query)` make a pass for that query when they
            are first asked for.

        Raises
        ------
        NotFittedError, UnsupportedError
            If the model has not learned, or not by gradients, or a layer has no rule.
        ParameterError
            If there is no checkpoint, or one does not fit.
        DataError
            If the training data changed since the fit, or no query has a known target.
        """
        problem = self._problem(model, data, run)
        with self._working("attribute", problem) as kept:
            comparison = problem.comparison
            directions = comparison.directions()
            terms = self._terms(problem, directions, kept)
            if terms is None:
                scores = _one_number_each(problem, SumsOverQueries(comparison, directions), kept)
            else:
                scores = _summed(problem, terms)
        return self._answer(problem, scores, terms=terms, **_on_demand(problem))

    def per_query(
        self, model: Any, data: Any, n: int | None = None, *, run: Run | None = None
    ) -> Influence:
        """Find the strongest proponents and opponents of each query.

        Scores of chunks of examples go by, and the n largest and smallest of each query stay.
        Pairs whose score is bounded away from these are not multiplied in full.

        Parameters
        ----------
        model, data, run
            As in `attribute`.
        n : int, optional
            How many of each; `top` by default.

        Returns
        -------
        Influence
            As of `attribute`, with the lists.
        """
        n = check_int("n", self.top if n is None else n, minimum=1)
        problem = self._problem(model, data, run)
        n = min(n, problem.comparison.n)
        with self._working(f"per_query {n}", problem) as kept:
            found = _strongest(problem, n, kept)
            terms = None
            if _places(problem, self.by) is not None:
                terms = self._terms(problem, problem.comparison.directions(), kept)
        scores = found.pop("scores")
        return self._answer(
            problem, scores, terms=terms, state=_ordered(found), n_kept=n, **_on_demand(problem)
        )

    def matrix(
        self,
        model: Any,
        data: Any,
        path: str | Path | None = None,
        *,
        run: Run | None = None,
    ) -> Any:
        """Compute the scores of all pairs.

        Parameters
        ----------
        model, data, run
            As in `attribute`.
        path : path, optional
            A ``.npy`` file to write to, so that the matrix is never in memory as a whole.

        Returns
        -------
        ndarray [n_examples, n_queries]
            A read-only memory map where `path` is given.

        Raises
        ------
        OutputExistsError
            If the file exists.
        """
        target = None if path is None else _new_file(path)
        problem = self._problem(model, data, run)
        with self._working(f"matrix {target}", problem) as kept:
            part = kept.path("matrix.npy")
            if target is not None:
                part = target.with_name(f".{target.name}.part")
            dtype = np.float64 if self.precision == "float64" else np.float32
            out = _pairs(problem, part, dtype, kept)
            if target is not None and part is not None:
                out.flush()
                part.rename(target)
                out = np.load(target, mmap_mode="r")
            elif part is not None:
                out = np.array(out)
        return out

    def self_influence(self, model: Any, *, run: Run | None = None) -> Influence:
        """Value each training example by what it did for itself: TracIn(z, z).

        Mislabelled and odd examples, which only they themselves could teach, have large values.

        Parameters
        ----------
        model, run
            As in `attribute`.
        """
        if self.normalise is not None:
            raise ParameterError("The cosine of an example with itself is 1; leave normalise out.")
        problem = self._problem(model, None, run)
        with self._working("self_influence", problem) as kept:
            terms = self._terms(problem, None, kept)
            if terms is None:
                scores = _one_number_each(problem, OwnScores(problem.comparison), kept)
            else:
                scores = _summed(problem, terms)
        return self._answer(
            problem, scores, terms=terms, method="self-influence", title="Self-influence"
        )

    def _terms(self, problem: Problem, directions: Any, kept: Checkpoints) -> FloatArray | None:
        """Scores of the terms of the losses, where `by` asks for places of windows."""
        targets = _places(problem, self.by)
        if targets is None:
            return None
        job = ScoresOfTerms(problem.comparison, targets.offsets, directions)
        starts = problem.comparison.starts()
        return engines.run(job, starts, problem.run, message=_MESSAGE, kept=kept, stage="terms")

    def _problem(self, model: Any, data: Any, run: Run | None) -> Problem:
        return self._resolve(
            model,
            data,
            settled(run, self),
            learning_rate=self.learning_rate,
            cosine=self.normalise == "cosine",
        )


class TracIn(Tracing, name="tracin", title="TracIn influence"):
    r"""Influence of training examples on test examples, traced through checkpoints.

    ``TracInCP(z, z') = Σ_i η_i ∇ℓ(w_i, z) · ∇ℓ(w_i, z')`` over checkpoints i, with the learning
    rate η_i in force there: by how much steps on z lowered the loss of z'. Positive:
    proponents of z'. Negative: opponents. The loss is the model's own, in evaluation mode, without
    weight decay; negatives are those of the checkpoint's epoch.

    Parameters
    ----------
    checkpoints : None, "final", path, Checkpoint or list, optional
        Where gradients are taken. Default: the checkpoints that the model kept in ``fit(...,
        checkpoints=n)``. "final": its parameters as they are.
    until : {"best", "last"}
        Which of the checkpoints that the model, or a folder, has. "best": those up to the epoch
        that was best by validation, whose parameters the model ended with; what later epochs
        learned, it never knew. "last": all. Without validation they are the same.
    layers : {"all", "last", "embedding"} or list of names, default "all"
        Parameters that count. "last": the layer that is used last, much cheaper and much less;
        names are of layers or parameters of ``model.module_``.
    by : {"example", "interaction", "session", "user", "item", "target"}, default "example"
        Who is credited in `attribute`. An example's score goes to its session or user. Interactions
        get the scores of the losses of predicting them, and "target" sums these by item: what
        "film a came next" did. That is exact where a window has a target at every place, too, and
        takes the same time as the scores of examples, with 8 bytes of memory for each target; for
        `self_influence` it takes as many passes as a window has targets. "item" has equal shares
        for all rows that an example is made of, targets or not. All have the same sum.
    normalise : {None, "cosine"}
        "cosine": divide each product by the norms of both gradients, so that long or hard
        examples do not dominate; checkpoints are averaged by learning rate, so that scores are in
        [-1, 1].
    weighting : {"sgd", "adam", "adam-factored", "adagrad"}, optional
        Default: that of the optimiser ("adam-factored" for Adam and AdamW), where the checkpoints
        have its state, else "sgd": plain products. "adam", of Adam and AdamW: multiply products by
        1/(√v̂ + ε) of the optimiser's second moments at the checkpoint, because its steps do;
        "adagrad" by 1/(√s + ε) of its sums of squares. "adam-factored": Adam's with v̂ of each
        matrix taken for the outer product of its row and column means over its mean, r cᵀ/m, and ε
        in each factor, as 1/((√(r/√m) + √ε)(√(c/√m) + √ε)); much faster for all pairs.
    every_step : bool
        Sum over all steps of training in place of checkpoints, and over those alone in which an
        example was used: ``Σ_t η_t/n_t ∇ℓ(w_t, z) · P_t ∇ℓ(w_t, z')`` with the number n_t of loss
        terms of the batch, the optimiser's preconditioner P_t (1, or what `weighting` says), the
        dropout of training for z, and clipped gradients where training clips. This is TracIn's
        ideal to first order, and In-Run Data Shapley of first order: by how much steps on z
        lowered the loss of z', in its units. Training is done again for it, so that no checkpoint
        is needed; the queries are asked at every step, so ask some hundreds.
    top : int, default 10
        Proponents and opponents that `per_query` keeps for each query.
    learning_rate : float or sequence of float, optional
        Instead of what the checkpoints say; needed where they are not Whence's.
    method : {"auto", "factors", "autograd"}
        How the gradients of single examples are made. "auto": as factors where layers have rules,
        and for parameters that have none by back-propagation of one example at a time, which is
        slow; a warning and ``metadata["by_autograd"]`` name them. "factors" refuses these,
        "autograd" does it for all.
    batch_size : int, optional
        Training examples at a time; by the memory that they take, by default.
    precision : {"float32", "bfloat16", "float64"}
        "bfloat16" rounds factors in the largest products (an error of about 1e-3), which is
        faster on processors that multiply in it. Lists of float32 are as fast: `per_query`
        uses bfloat16 to find the pairs that it multiplies in full.
    threads : int, optional
        Chunks of examples worked on at once; every core by default. Scores do not depend on it.

    References
    ----------
    -  Pruthi, Liu, Kale and Sundararajan. Estimating training data influence by tracing
       gradient descent. NeurIPS 2020.
    -  Wang, Mittal, Song and Jia. Data Shapley in one training run. ICLR 2025.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=150, seed=1)
    >>> model = whence.LSTMRec(embedding_dim=8, hidden_dim=8, epochs=2)
    >>> model = model.fit(data.train, checkpoints=1)
    >>> influence = TracIn(by="session").attribute(model, data.validation)
    >>> influence.proponents(query=0, n=2)["rank"].to_list()
    [1, 2]
    """

    weighting: Weighting | None = None
    every_step: bool = False
    method: Method = "auto"

    def check_model(self, model: Any) -> None:
        """Refuse a model that is not trained by gradients; see `Attributor.check_model`."""
        if self.every_step:
            check_replayable(model)
        else:
            super().check_model(model)

    def attribute(self, model: Any, data: Any, *, run: Run | None = None) -> Influence:
        """Value the training data by what it did for all queries; see `Tracing.attribute`."""
        if self.every_step:
            return every_step.attribute(self, model, data, run)
        return super().attribute(model, data, run=run)

    def per_query(
        self, model: Any, data: Any, n: int | None = None, *, run: Run | None = None
    ) -> Influence:
        """Find the strongest proponents and opponents of each query; see `Tracing.per_query`."""
        if not self.every_step:
            return super().per_query(model, data, n, run=run)
        n = check_int("n", self.top if n is None else n, minimum=1)
        steps, found = every_step.per_query(self, model, data, n, run)
        scores = found.pop("scores")
        lists = _ordered(found)
        return steps.answer(self, scores, state=lists, n_kept=lists["top_scores"].shape[1])

    def matrix(
        self, model: Any, data: Any, path: str | Path | None = None, *, run: Run | None = None
    ) -> Any:
        """Compute the scores of all pairs; see `Tracing.matrix`."""
        if not self.every_step:
            return super().matrix(model, data, path, run=run)
        target = None if path is None else _new_file(path)
        dtype = np.float64 if self.precision == "float64" else np.float32
        if target is None:
            return every_step.matrix(self, model, data, partial(np.empty, dtype=dtype), run)
        part = target.with_name(f".{target.name}.part")
        made = partial(np.lib.format.open_memmap, part, "w+", dtype)
        every_step.matrix(self, model, data, made, run).flush()
        part.rename(target)
        return np.load(target, mmap_mode="r")

    def self_influence(self, model: Any, *, run: Run | None = None) -> Influence:
        """Value each training example by what it did for itself; see `Tracing.self_influence`."""
        if self.every_step:
            raise ParameterError(
                "The influence of examples on themselves is computed at checkpoints; leave "
                "every_step=True out."
            )
        return super().self_influence(model, run=run)

    def _problem(self, model: Any, data: Any, run: Run | None) -> Problem:
        return self._resolve(
            model,
            data,
            settled(run, self),
            learning_rate=self.learning_rate,
            weighting=self.weighting,
            cosine=self.normalise == "cosine",
        )

    def _strategy(self, names: list[str], dtype: torch.dtype, seed: int) -> Strategy:
        return ByFactors(names, dtype, self.method)

    def _answer(self, *args: Any, **facts: Any) -> Influence:
        if self.normalise == "cosine":
            facts |= {"method": "tracin-cosine", "title": "TracIn gradient cosines"}
        return super()._answer(*args, **facts)


def _places(problem: Problem, by: str) -> Targets | None:
    """Targets of the examples, where credit is by them and some example has several."""
    targets = Targets.of(problem.examples) if by in BY_PLACE else None
    return None if targets is None or targets.single else targets


def _summed(problem: Problem, terms: FloatArray) -> FloatArray:
    """Scores of examples from those of the terms of their losses."""
    targets = Targets.of(problem.examples)
    assert targets is not None
    scores: FloatArray = np.zeros(problem.comparison.n)
    np.add.at(scores, np.repeat(np.arange(len(scores)), targets.counts), terms)
    return scores


def _one_number_each(
    problem: Problem, job: SumsOverQueries | OwnScores, kept: Checkpoints
) -> FloatArray:
    """Run a job that gives a score to each training example."""
    starts = problem.comparison.starts()
    return engines.run(job, starts, problem.run, message=_MESSAGE, kept=kept, stage="scores")


def _strongest(problem: Problem, n: int, kept: Checkpoints) -> Arrays:
    """Sums over all queries, and unordered lists of each; see `Strongest`.

    Queries whose gradients fit into memory go together through all training examples.
    """
    comparison = problem.comparison
    found, begin = empty_lists(comparison.n, comparison.n_queries, n), 0
    before = kept.load("lists")
    if before is not None:
        found, begin = before["found"], before["done"]
    blocks = comparison.query_blocks()
    with reporter(problem.run.progress) as report:
        for place in range(begin, len(blocks)):
            numbers = blocks[place]
            queries, limits = comparison.ask(numbers), Limits(len(numbers), n)
            lists = engines.run(
                Strongest(comparison, queries, limits, comparison.screen(queries, limits)),
                comparison.starts(),
                problem.run.changed(progress=part_of(report, place, len(blocks))),
                message=_MESSAGE,
                kept=kept,
                stage=f"lists-{place}",
            )
            found["scores"] += lists.pop("scores")
            for name, array in lists.items():
                found[name][numbers] = array
            if len(blocks) > 1:
                kept.save("lists", {"found": found, "done": place + 1})
                kept.drop(f"lists-{place}")
    return found


def _pairs(problem: Problem, part: Path | None, dtype: Any, kept: Checkpoints) -> Any:
    """Scores of all pairs, in memory, or in a file that may be half full already."""
    comparison = problem.comparison
    shape = comparison.n, comparison.n_queries
    begin, blocks = 0, comparison.query_blocks()
    if part is None:
        out: npt.NDArray[Any] = np.empty(shape, dtype=dtype)
    elif part.exists() and kept.load("matrix") is not None:
        out, begin = np.lib.format.open_memmap(part, mode="r+"), kept.load("matrix")["done"]
    else:
        for place in range(len(blocks)):
            kept.drop(f"matrix-{place}")
        out = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=shape)
        kept.save("matrix", {"done": 0})
    with reporter(problem.run.progress) as report:
        for place in range(begin, len(blocks)):
            numbers = blocks[place]
            window = slice(int(numbers[0]), int(numbers[-1]) + 1)
            engines.run(
                Matrix(comparison, comparison.ask(numbers), out[:, window]),
                comparison.starts(),
                problem.run.changed(progress=part_of(report, place, len(blocks))),
                message=_MESSAGE,
                kept=kept,
                stage=f"matrix-{place}",
            )
            kept.save("matrix", {"done": place + 1})
    return out


def _on_demand(problem: Problem) -> dict[str, Any]:
    """What gives scores for one query, when they are asked for, by passes for it alone.

    ``scores_of``, of all training examples, and, where these have several targets, ``terms_of``.
    """
    run = problem.run.changed(progress=False, folder=None, resume=False)

    def scores_of(query: int) -> FloatArray:
        comparison = problem.comparison
        with torch_threads(1):
            queries = comparison.ask(np.array([query]))
            return engines.run(ScoresOfPairs(comparison, queries), comparison.starts(), run)

    def terms_of(query: int, numbers: IntArray) -> FloatArray:
        comparison = problem.comparison
        with torch_threads(1):
            directions = comparison.directions(np.array([query]))
            return np.concatenate([
                comparison.along_terms(directions, numbers[first : first + comparison.chunk])
                for first in range(0, len(numbers), comparison.chunk)
            ])  # fmt: skip

    several = _places(problem, "target") is not None
    return {"scores_of": scores_of, "terms_of": terms_of if several else None}


def _ordered(arrays: Arrays) -> Arrays:
    """The lists in order, the strongest first."""
    lists = {}
    for side, sign in SIDES.items():
        scores, examples = arrays[f"{side}_scores"], arrays[f"{side}_examples"]
        order = np.lexsort((examples, -scores, examples < 0), axis=1)
        scores = np.take_along_axis(scores, order, 1)
        examples = np.take_along_axis(examples, order, 1)
        lists[f"{side}_scores"], lists[f"{side}_examples"] = sign * scores, examples
    return lists


def _new_file(path: str | Path) -> Path:
    path = check_path("path", path)
    if path.suffix != ".npy":
        raise ParameterError(f"The matrix is written to a .npy file, not to {path.name!r}.")
    if path.exists():
        raise OutputExistsError(f"{path} exists already; choose another name or remove it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
