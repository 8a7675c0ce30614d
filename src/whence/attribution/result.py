"""The one result type: how much of an outcome each source is credited with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from whence._html import ShownAsTable
from whence._words import counted, plural_of
from whence.attribution.method import METHODS, Attributor
from whence.attribution.record import BACKENDS, OWN_COLUMNS
from whence.attribution.text import summarise
from whence.errors import ParameterError, UnsupportedError, check_choice, check_int, check_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whence.engines import Run

__all__ = ["Attribution", "as_backend"]


FloatArray = npt.NDArray[np.float64]
State = Mapping[str, npt.NDArray[Any]]


class Attribution(ShownAsTable):
    """Sources (sessions, users, items, rows, groups) and their share of an outcome.

    Every method of Whence returns one, and everything downstream takes one.

    Parameters
    ----------
    table : polars.DataFrame
        One row per source, in the order of source numbers: the column named by `source`, ``score``
        (float64, in units of the metric) and, where they apply, ``std_error`` (standard error of
        ``score``), ``own_score`` (what a user contributes through their own history) and further
        columns.
    source : str
        Column that identifies a source, named as in the caller's data, or by its role where it is
        called there as one of the others is (``metadata["source"]`` has the name there);
        ``"row"`` where sources are single interactions, numbered as the rows of the caller's table.
    metadata : mapping
        How the values came about; see `describe_run`.
    backend : {"polars", "pandas", "pyarrow"}
        Kind of data frame that the caller works with, and is given back.
    state : mapping of str to ndarray, optional
        What a stochastic method needs to continue where it stopped.
    recompute : callable, optional
        ``recompute(q)`` gives the attribution of query q alone; behind `for_query`.
    origin : tuple of (method, model), optional
        What the values come from; behind `update`.

    Examples
    --------
    >>> import polars as pl
    >>> table = pl.DataFrame({"session_id": ["a", "b", "c"], "score": [0.2, -0.1, 0.0]})
    >>> values = Attribution(table, source="session_id", metadata={"method": "leave-one-out"})
    >>> values.bottom(1).rows()
    [('b', -0.1)]
    """

    def __init__(
        self,
        table: pl.DataFrame,
        *,
        source: str,
        metadata: Mapping[str, Any],
        backend: str = "polars",
        state: State | None = None,
        recompute: Callable[[int], Attribution] | None = None,
        origin: tuple[Any, Any] | None = None,
    ) -> None:
        for column in (source, "score"):
            if column not in table.columns:
                raise ParameterError(
                    f"An attribution table needs the columns {source!r} and 'score'; {column!r} is "
                    f"not among {table.columns}."
                )
        if source in OWN_COLUMNS[1:]:
            raise ParameterError(
                f"source={source!r} names a column of values, not of ids; call the ids otherwise."
            )
        check_choice("backend", backend, BACKENDS)
        self.frame = table
        self.source = source
        self.metadata: dict[str, Any] = dict(metadata)
        self.backend = backend
        self.state: dict[str, npt.NDArray[Any]] | None = None if state is None else dict(state)
        self._recompute = recompute
        self.origin = origin

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        of = f" for {self.metadata['metric']}" if self.metadata.get("metric") else ""
        return f"<Attribution: {self.title} of {counted(len(self), self.noun)}{of}>"

    def _shown(self) -> pl.DataFrame:
        return self.frame[self.order()[::-1]]  # both ends are shown: the best and the worst

    # What it says

    @property
    def title(self) -> str:
        """Name of the method for people, such as "Data Shapley values"."""
        said = self.metadata.get("title")
        if said:
            return str(said)
        method = str(self.metadata.get("method", "values"))
        known = METHODS.find(method)
        return method if known is None else known.title

    @property
    def noun(self) -> str:
        """What the sources are, in the plural."""
        by = str(self.metadata.get("by") or self.source.removesuffix("_id"))
        return "interactions" if by.lower() in ("row", "interaction") else plural_of(by)

    @property
    def column(self) -> str:
        """Name of the column of the sources in the data; `source` is that in this table."""
        return str(self.metadata.get("source") or self.source)

    @property
    def ids(self) -> pl.Series:
        """External ids of the sources, in the caller's own data type."""
        return self.frame.get_column(self.source)

    @property
    def scores(self) -> FloatArray:
        """Score of each source, shape (n_sources,)."""
        return self.frame.get_column("score").to_numpy()

    @property
    def std_errors(self) -> FloatArray | None:
        """Standard error of each score, shape (n_sources,); None for exact methods."""
        if "std_error" not in self.frame.columns:
            return None
        return self.frame.get_column("std_error").to_numpy()

    @property
    def totals(self) -> FloatArray:
        """``score + own_score``: what the outcome loses when a source is gone altogether."""
        if "own_score" not in self.frame.columns:
            return self.scores
        totals: FloatArray = self.scores + self.frame.get_column("own_score").to_numpy()
        return totals

    @property
    def total_errors(self) -> FloatArray | None:
        """Standard error of each total, shape (n_sources,); None for exact methods."""
        errors = self.std_errors
        if errors is None or "own_std_error" not in self.frame.columns:
            return errors
        both: FloatArray = np.hypot(errors, self.frame.get_column("own_std_error").to_numpy())
        return both

    def order(self) -> npt.NDArray[np.int64]:
        """Positions of the sources from the lowest total to the highest, ties by number."""
        return np.argsort(self.totals, kind="stable")

    # The verbs

    def to_frame(self) -> Any:
        """Return the table as the kind of data frame the caller works with."""
        return as_backend(self.frame, self.backend)

    def top(self, n: int = 10) -> Any:
        """Return the n most valuable sources, best first (``score + own_score``)."""
        best = np.argsort(-self.totals, kind="stable")[: check_int("n", n, minimum=0)]
        return as_backend(self.frame[best], self.backend)

    def bottom(self, n: int = 10) -> Any:
        """Return the n least valuable (most harmful) sources, worst first."""
        worst = self.order()[: check_int("n", n, minimum=0)]
        return as_backend(self.frame[worst], self.backend)

    def for_query(self, query: int) -> Attribution:
        """Return the sources' shares of the metric of one query.

        Parameters
        ----------
        query : int
            Position in the evaluation queries, from 0.

        Raises
        ------
        UnsupportedError
            If the method keeps no queries, or the attribution was loaded from a file.
        ParameterError
            If there is no such query.
        """
        if self._recompute is None:
            raise UnsupportedError(
                "This attribution cannot look at single queries because the model and the queries "
                "are not at hand; call attribute(model, validation) again and use its result."
            )
        last = self.metadata.get("n_queries")
        return self._recompute(check_int("query", query, 0, None if last is None else last - 1))

    @property
    def parts(self) -> list[str]:
        """Names of the parts of the evaluation set, as `update` added them; ["1"] of one."""
        return [str(part["name"]) for part in self.metadata.get("parts") or [{"name": "1"}]]

    def update(
        self,
        data: Any = None,
        *,
        part: str | None = None,
        without: str | Iterable[str] = (),
        model: Any = None,
        method: Attributor | None = None,
        run: Run | None = None,
    ) -> Attribution:
        """Add an evaluation set, such as those of a new day, and take out others.

        Only the new part is valued. What is in the result is, bit for bit, what
        `Valuation.attribute_parts` gives for the same parts in the same order.

        Parameters
        ----------
        data : Interactions, data frame or Queries, optional
            The new part of the evaluation set; nothing is added if absent.
        part : str, optional
            What it is called; a running number by default.
        without : str or iterable of str
            Names of parts to take out, so that a window moves on.
        model : recommender, optional
            Needed for values that were loaded from a file: the model that they are of.
        method : Attributor, optional
            That of the values by default; needed for values from a file where the metric is a
            function or counts sustainable items.
        run : Run, optional
            How the work is done.

        Returns
        -------
        Attribution
            Of the mean over all queries of its parts. Single queries cannot be looked at.

        Raises
        ------
        UnsupportedError
            If the values are no means over queries, or the file does not hold what each part adds.
        ParameterError
            If the model was fitted on other training data, which changes all values; or a name is
            taken or not known.

        Examples
        --------
        >>> import whence
        >>> data = whence.make_sessions(n_sessions=200, n_validation=60, n_test=40, seed=1)
        >>> model = whence.VMISKNN(k=50, m=100).fit(data.train)
        >>> values = whence.LeaveOneOut("mrr@20").attribute(model, data.validation)
        >>> both = values.update(data.test, part="later")
        >>> both.parts
        ['1', 'later']
        >>> both.update(without="later").frame.equals(values.frame)
        True
        """
        from whence.attribution.parts import update

        return update(self, data, part=part, without=without, model=model, method=method, run=run)

    @property
    def knows_queries(self) -> bool:
        """Whether `for_query` can say what each source's share of one query is."""
        return self._recompute is not None

    def save_queries(
        self, folder: str | Path, *, shard: int = 1000, run: Run | None = None
    ) -> Path:
        """Write what `for_query` gives for every query to Parquet files, some queries each.

        Memory does not grow with the queries. Read together, as in
        ``polars.scan_parquet("folder/*.parquet")``, they are one table, with ``query`` before the
        columns of each.

        Parameters
        ----------
        folder : path
            For the files ``part-00000.parquet``, ...
        shard : int, default 1000
            Queries of one file.
        run : Run, optional
            With ``resume=True`` it goes on with what is in `folder`.

        Returns
        -------
        Path

        Raises
        ------
        UnsupportedError
            As in `for_query`.
        OutputExistsError
            The folder is not empty, and not to be gone on with.
        ParameterError
            What is in it is of other values.
        """
        from whence.attribution.by_query import save_queries

        return save_queries(self, check_path("folder", folder), shard=shard, run=run)

    def prune(
        self,
        interactions: Any,
        *,
        fraction: float | None = None,
        n: int | None = None,
        below: float | None = None,
        standard_errors: float | None = None,
    ) -> Any:
        """Return the interactions without the least valuable sources.

        Exactly one of `fraction`, `n` and `below` says how many; with `standard_errors` alone,
        those whose value is negative beyond doubt are removed.

        Parameters
        ----------
        interactions : Interactions or data frame
            What the values were computed from. Comes back as the same kind, order and index kept;
            `Interactions` keep their numbering, as experiments that refit need.
        fraction : float, optional
            Share of the sources to remove, lowest ``score + own_score`` first (rounded down; ties
            by source number).
        n : int, optional
            Number of sources to remove.
        below : float, optional
            Remove the sources with a lower value than this, for instance 0.
        standard_errors : float, optional
            Remove a source only if it is below `below` (0 by default) by this many standard
            errors; 2 leaves out what may be noise.

        Raises
        ------
        ParameterError
            If not exactly one of them is given, or one is out of range.
        DataError
            If the interactions do not hold the sources.

        Examples
        --------
        >>> import polars as pl
        >>> table = pl.DataFrame({"session_id": [1, 2, 3], "score": [0.2, -0.1, 0.0]})
        >>> values = Attribution(table, source="session_id", metadata={"method": "leave-one-out"})
        >>> clicks = pl.DataFrame({"session_id": [1, 2, 2, 3], "item_id": [7, 8, 9, 7]})
        >>> values.prune(clicks, below=0)["session_id"].to_list()
        [1, 3]
        """
        from whence.attribution.pruning import lowest, without

        removed = lowest(self, fraction=fraction, n=n, below=below, standard_errors=standard_errors)
        return without(self, interactions, removed)

    def plot(self, ax: Axes | None = None, kind: str = "distribution", **options: Any) -> Axes:
        """Draw the values.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        kind : {"distribution", "ranked"}
            A histogram of the values, or the values in order with their standard errors.
        **options
            Passed on to `whence.plots.distribution` or `whence.plots.ranked`.

        Returns
        -------
        matplotlib Axes
        """
        from whence import plots

        draw: dict[str, Callable[..., Axes]] = {
            "distribution": plots.distribution,
            "ranked": plots.ranked,
        }
        check_choice("kind", kind, draw)
        metric = self.metadata.get("metric")
        options.setdefault("title", f"{self.title} of {counted(len(self), self.noun)}")
        options.setdefault("label", f"value ({metric})" if metric else "value")
        options.setdefault("noun", self.noun)
        frame = self.frame.with_columns(pl.Series("score", self.totals))
        return draw[kind](frame, ax=ax, **options)

    def summary(self) -> str:
        """Describe the values in a few lines for people."""
        return summarise(self)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write to a Parquet file, or to a CSV file with a JSON file beside it.

        The Parquet file holds everything, the state to resume from included; the CSV file and its
        ``.json`` hold the table and the metadata. Written to a temporary name first.

        Raises
        ------
        OutputExistsError
            If the file is there and `overwrite` is false.
        FileFormatError
            If the name ends in neither ``.parquet`` nor ``.csv``.
        """
        from whence.attribution.files import save

        return save(self, check_path("path", path), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> Attribution:
        """Read what `save` wrote.

        Raises
        ------
        FileFormatError
            If the file is missing, unreadable, truncated or not an attribution.
        """
        from whence.attribution.files import load

        return cls(**load(check_path("path", path)))


def as_backend(frame: pl.DataFrame, backend: str) -> Any:
    """Turn a polars table into the kind of data frame named by `backend`."""
    if backend == "pandas":
        return frame.to_pandas()
    if backend == "pyarrow":
        return frame.to_arrow()
    return frame
