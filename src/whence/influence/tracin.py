"""TracIn: what each training example did to a prediction, by gradients at checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from whence.errors import OutputExistsError, ParameterError, check_choice, check_int
from whence.influence.base import InfluenceMethod, Work
from whence.influence.progress import Report
from whence.influence.result import Influence
from whence.influence.screening import Limits
from whence.influence.state import Progressed
from whence.influence.strategies import ByAutograd, ByFactors, Strategy
from whence.models.training.loop import torch_threads

FloatArray = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]
_SIDES = {"top": 1.0, "bottom": -1.0}


class TracIn(InfluenceMethod):
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
    layers : {"all", "last", "embedding"} or list of names, default "all"
        Parameters that count. "last": the layer that is used last, much cheaper and much less;
        names are of layers or parameters of ``model.module_``.
    by : {"example", "interaction", "session", "user", "item"}, default "example"
        Who is credited in `attribute`. An example's score goes to its session or user; to
        interactions and items it goes in equal shares for the rows that it is made of.
    normalise : {None, "cosine"}
        "cosine": divide each product by the norms of both gradients, so that long or hard
        examples do not dominate; checkpoints are averaged by learning rate, so that scores are in
        [-1, 1].
    weighting : {"sgd", "adam", "adam-factored"}
        "adam": multiply products by 1/(√v̂ + ε) of the optimiser's second moments at the
        checkpoint, because Adam's steps do; "adam-factored" with the moments of each matrix
        replaced by the outer product of their row and column means, which is much faster.
    top : int, default 10
        Proponents and opponents that `per_query` keeps for each query.
    learning_rate : float or sequence of float, optional
        Instead of what the checkpoints say; needed where they are not Whence's.
    method : {"factors", "autograd"}
        "autograd" goes through any module, one example at a time, and is slow.
    batch_size : int, optional
        Training examples at a time; by the memory that they take, by default.
    precision : {"float32", "bfloat16", "float64"}
        "bfloat16" rounds factors in the largest products (an error of about 1e-3), which is
        faster on processors that multiply in it. Lists of float32 are as fast: `per_query`
        uses bfloat16 to find the pairs that it multiplies in full.
    threads : int, default 1
        Chunks of examples worked on at once. Scores do not depend on it.
    folder : path, optional
        Where a pass keeps what it has done, to go on from there if it is broken off.
    progress : bool or callable, default False
        Show a bar, or call ``progress(done, total, message)``.

    References
    ----------
    -  Pruthi, Liu, Kale and Sundararajan. Estimating training data influence by tracing
       gradient descent. NeurIPS 2020.

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

    name: ClassVar[str] = "tracin"

    def __init__(
        self,
        checkpoints: Any = None,
        layers: str | Iterable[str] = "all",
        by: str = "example",
        normalise: str | None = None,
        weighting: str = "sgd",
        top: int = 10,
        learning_rate: float | Sequence[float] | None = None,
        method: str = "factors",
        batch_size: int | None = None,
        precision: str = "float32",
        threads: int = 1,
        folder: str | Path | None = None,
        progress: bool | Callable[[float, float, str], None] = False,
    ) -> None:
        self.checkpoints = checkpoints
        self.layers = layers
        self.by = by
        self.normalise = normalise
        self.weighting = weighting
        self.top = top
        self.learning_rate = learning_rate
        self.method = method
        self.batch_size = batch_size
        self.precision = precision
        self.threads = threads
        self.folder = folder
        self.progress = progress

    def attribute(self, model: Any, queries: Any) -> Influence:
        """Value the training data by what it did for all queries together.

        One pass over the training examples, whatever the number of queries: each gradient is
        multiplied with the sum of the queries' gradients.

        Parameters
        ----------
        model : fitted differentiable model
        queries : Interactions, data frame, Queries or QueryExamples
            Validation or test data; see `query_examples`.

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
        work = self._resolve(model, queries)
        scores = np.zeros(work.engine.n)
        kept = self._kept(work, "attribute", {"scores": scores})
        self._fill(work, kept, scores, work.engine.sums)
        return self._answer(work, scores, scores_of=_on_demand(work))

    def per_query(self, model: Any, queries: Any, n: int | None = None) -> Influence:
        """Find the strongest proponents and opponents of each query.

        Scores of chunks of examples go by, and the n largest and smallest of each query stay.
        Pairs whose score is bounded away from these are not multiplied in full.

        Parameters
        ----------
        model, queries
            As in `attribute`.
        n : int, optional
            How many of each; `top` by default.

        Returns
        -------
        Influence
            As of `attribute`, with the lists.
        """
        n = check_int("n", self.top if n is None else n, minimum=1)
        work = self._resolve(model, queries)
        engine = work.engine
        n = min(n, engine.n)
        shape = (engine.n_queries, n)
        arrays: Arrays = {"scores": np.zeros(engine.n)}
        for side in _SIDES:
            arrays[f"{side}_scores"] = np.full(shape, -np.inf)
            arrays[f"{side}_examples"] = np.full(shape, -1, dtype=np.int64)
        kept = self._kept(work, f"per_query {n}", arrays)
        with self._running(kept) as report:
            for numbers, first, block in _all_blocks(work, kept, report, arrays):
                arrays["scores"][first : first + len(block)] += block.sums
                for side, sign in _SIDES.items():
                    block.keep(sign, first, *_window(arrays, side, numbers))
        kept.finish()
        return self._answer(
            work, arrays["scores"], state=_lists(arrays), scores_of=_on_demand(work), n_kept=n
        )

    def matrix(self, model: Any, queries: Any, path: str | Path | None = None) -> Any:
        """Compute the scores of all pairs.

        Parameters
        ----------
        model, queries
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
        work = self._resolve(model, queries)
        shape = (work.engine.n, work.engine.n_queries)
        part = None if target is None else target.with_name(f".{target.name}.part")
        kept = self._kept(work, f"matrix {target}", {}, in_file=part is not None)
        dtype = np.float64 if self.precision == "float64" else np.float32
        out = _matrix(part, shape, dtype, kept)
        with self._running(kept) as report:
            for numbers, first, block in _all_blocks(work, kept, report):
                window = slice(int(numbers[0]), int(numbers[-1]) + 1)
                out[first : first + len(block), window] = block.values
        if target is not None and part is not None:
            out.flush()
            part.rename(target)
            out = np.load(target, mmap_mode="r")
        kept.finish()
        return out

    def self_influence(self, model: Any) -> Influence:
        """Value each training example by what it did for itself: TracIn(z, z).

        Mislabelled and odd examples, which only they themselves could teach, have large values.

        Parameters
        ----------
        model
            As in `attribute`.
        """
        if self.normalise is not None:
            raise ParameterError("The cosine of an example with itself is 1; leave normalise out.")
        work = self._resolve(model, None)
        scores = np.zeros(work.engine.n)
        kept = self._kept(work, "self", {"scores": scores})
        self._fill(work, kept, scores, work.engine.own)
        return self._answer(work, scores, method="self-influence")

    def _fill(
        self,
        work: Work,
        kept: Progressed,
        scores: FloatArray,
        passing: Callable[[int], Iterator[tuple[int, FloatArray]]],
    ) -> None:
        """Fill in the scores of the examples, chunk by chunk."""
        with self._running(kept) as report:
            for first, values in passing(kept.done["examples"]):
                scores[first : first + len(values)] = values
                kept.advance(0, first + len(values))
                report(first + len(values), work.engine.n, "training examples")
        kept.finish()

    def _check_params(self) -> None:
        super()._check_params()
        check_int("top", self.top, minimum=1)
        check_choice("method", self.method, ("factors", "autograd"))

    def _strategy(self, names: list[str], dtype: torch.dtype) -> Strategy:
        return ByAutograd(names, dtype) if self.method == "autograd" else ByFactors(names, dtype)

    @property
    def _title(self) -> str:
        return "tracin-cosine" if self.normalise == "cosine" else self.name


def _all_blocks(
    work: Work, kept: Progressed, report: Report, lists: Arrays | None = None
) -> Iterator[tuple[npt.NDArray[np.int64], int, Any]]:
    """Scores of all pairs: numbers of queries, first number of the examples, their scores.

    Queries whose gradients fit into memory go together through all training examples. With
    `lists` that the scores are taken into, those that cannot get into them may be missing.
    """
    engine = work.engine
    parts = engine.query_blocks()
    for part in range(kept.done["part"], len(parts)):
        numbers = parts[part]
        after = kept.done["examples"] if part == kept.done["part"] else 0
        if after >= engine.n:
            continue
        limits = None if lists is None else _limits(lists, numbers)
        for first, block in engine.blocks(engine.ask(numbers), after, limits):
            kept.busy = True
            yield numbers, first, block
            last = first + len(block)
            kept.advance(part, last)
            if limits is not None:
                limits.rise()
            report((part + last / engine.n) * engine.n, len(parts) * engine.n, "training examples")


def _limits(lists: Arrays, numbers: npt.NDArray[np.int64]) -> Limits:
    """What scores must exceed to get into the lists of some queries."""
    top, bottom = (_window(lists, side, numbers)[0] for side in _SIDES)
    return Limits(top, bottom)


def _on_demand(work: Work) -> Callable[[int], FloatArray]:
    """Scores of all training examples for one query, by a pass for it alone."""

    def scores_of(query: int) -> FloatArray:
        scores = np.empty(work.engine.n)
        with torch_threads(1):
            asked = work.engine.ask(np.array([query]))
            for first, block in work.engine.blocks(asked):
                scores[first : first + len(block)] = block.sums
        return scores

    return scores_of


def _window(
    arrays: Arrays, side: str, numbers: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Running lists of some queries: scores and examples."""
    window = slice(int(numbers[0]), int(numbers[-1]) + 1)
    return arrays[f"{side}_scores"][window], arrays[f"{side}_examples"][window]


def _lists(arrays: Arrays) -> Arrays:
    """The lists in order, the strongest first."""
    lists = {}
    for side, sign in _SIDES.items():
        scores, examples = arrays[f"{side}_scores"], arrays[f"{side}_examples"]
        order = np.lexsort((examples, -scores, examples < 0), axis=1)
        scores = np.take_along_axis(scores, order, 1)
        examples = np.take_along_axis(examples, order, 1)
        lists[f"{side}_scores"], lists[f"{side}_examples"] = sign * scores, examples
    return lists


def _new_file(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".npy":
        raise ParameterError(f"The matrix is written to a .npy file, not to {path.name!r}.")
    if path.exists():
        raise OutputExistsError(f"{path} exists already; choose another name or remove it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _matrix(part: Path | None, shape: tuple[int, int], dtype: Any, kept: Progressed) -> Any:
    """Where the scores of all pairs go: memory, or a file that may be half full already."""
    if part is None:
        return np.empty(shape, dtype=dtype)
    if part.exists() and kept.has_begun:
        return np.lib.format.open_memmap(part, mode="r+")
    kept.restart()
    return np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=shape)
