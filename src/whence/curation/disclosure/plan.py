"""A strategy of disclosure: which interactions a recommender may be trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from whence._html import ShownAsTable
from whence.attribution import as_backend
from whence.attribution.record import BACKENDS, describe_run, plain_values
from whence.data import Interactions
from whence.data._frames import to_polars
from whence.data.files import (
    UNREADABLE,
    read_parquet_with_metadata,
    write_parquet_with_metadata,
)
from whence.errors import DataError, FileFormatError, check_path

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_FORMAT = "whence-disclosure-1"
_OWN = ("row", "disclosed", "V", "beta")


class DisclosurePlan(ShownAsTable):
    """Which interactions are disclosed, that is, may be trained on.

    Parameters
    ----------
    table : polars.DataFrame
        One row per training interaction, in the order of the caller's table: ``row``, its user
        and item (named as there), ``disclosed``, ``V`` (its influence: what the outcome that the
        strategy looks at loses without it) and ``beta`` (its willingness violation).
    metadata : mapping
        ``strategy``, ``lam`` and how the plan came about.
    backend : {"polars", "pandas", "pyarrow"}
        Kind of data frame that the caller works with.
    """

    def __init__(
        self, table: pl.DataFrame, *, metadata: Mapping[str, Any], backend: str = "polars"
    ) -> None:
        self.frame = table
        self.metadata: dict[str, Any] = dict(metadata)
        self.backend = backend

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        return (
            f"<DisclosurePlan {self.metadata.get('strategy')}: {self.n_disclosed:,} of "
            f"{len(self):,} interactions ({self.share:.1%}), violation {self.violation:,.1f}>"
        )

    @property
    def disclosed(self) -> Mask:
        """Whether each row of the training table is disclosed, bool [n_rows]."""
        return self.frame["disclosed"].to_numpy()

    @property
    def n_disclosed(self) -> int:
        """Number of interactions disclosed."""
        return int(self.frame["disclosed"].sum())

    @property
    def share(self) -> float:
        """Share of the interactions that is disclosed."""
        return self.n_disclosed / max(len(self), 1)

    @property
    def violation(self) -> float:
        """Willingness violation wv: sum of β over what is disclosed."""
        return float(self.frame.filter("disclosed")["beta"].sum())

    def to_frame(self) -> Any:
        """Return the table as the kind of data frame the caller works with."""
        return as_backend(self.frame, self.backend)

    def apply(self, train: Any) -> Any:
        """Return the disclosed interactions only.

        Parameters
        ----------
        train : Interactions or data frame
            What the plan was made for, its rows in the same order.

        Returns
        -------
        As `train`
            `Interactions` keep the numbers of users and items; nothing else of an undisclosed row
            is left in them.

        Raises
        ------
        DataError
            If these are other rows than those of the plan.
        """
        if isinstance(train, Interactions):
            self._check(train.frame)
            return train.keep_rows(self.disclosed)
        native = nw.from_native(train)
        table = native.collect() if isinstance(native, nw.LazyFrame) else native
        self._check(to_polars(table.to_native())[0])
        kept = table.filter(self.disclosed.tolist())
        return (kept.lazy() if isinstance(native, nw.LazyFrame) else kept).to_native()

    def _check(self, frame: pl.DataFrame) -> None:
        names = [n for n in self.frame.columns if n not in _OWN and n in frame.columns]
        same = frame.height == len(self) and frame.select(names).equals(self.frame.select(names))
        if not same:
            raise DataError(
                f"The plan is for {len(self)} interactions of another table than this one "
                f"({frame.height} rows); give the training table it was made for, its rows in the "
                "same order."
            )

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write to a Parquet file, with everything inside.

        Raises
        ------
        OutputExistsError
            If the file is there and `overwrite` is false.
        FileFormatError
            If the name does not end in ``.parquet``.
        """
        target = check_path("path", path)
        if target.suffix != ".parquet":
            raise FileFormatError(
                f"A plan is written to a .parquet file, not to {target.name!r}; change the ending, "
                "or write plan.to_frame() in a format of your own."
            )
        header = {
            "format": _FORMAT,
            "metadata": plain_values(self.metadata),
            "backend": self.backend,
        }
        entries = {"whence": json.dumps(header)}
        return write_parquet_with_metadata(self.frame, target, entries, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> DisclosurePlan:
        """Read what `save` wrote.

        Raises
        ------
        FileFormatError
            If the file is missing, unreadable or not a plan.
        """
        table, entries = read_parquet_with_metadata(path)
        try:
            header = json.loads(entries.get("whence", "null"))
            ours = header["format"] == _FORMAT and set(_OWN) <= set(table.columns)
            ours = ours and isinstance(header["metadata"], dict) and header["backend"] in BACKENDS
            kinds = [table.schema[name] for name in _OWN]
            ours = ours and kinds[1] == pl.Boolean and all(k.is_numeric() for k in kinds[2:])
            ours = ours and not table["disclosed"].has_nulls()
        except UNREADABLE:
            ours = False
        if not ours:
            raise FileFormatError(
                f"{path} does not hold a plan of disclosure; give a file written by "
                "DisclosurePlan.save."
            )
        return cls(table, metadata=header["metadata"], backend=header["backend"])


def made_plan(
    model: Any,
    mask: Mask,
    values: FloatArray,
    beta: FloatArray,
    *,
    seed: int,
    size: Mapping[str, Any],
    **facts: Any,
) -> DisclosurePlan:
    """A plan for the training data of a model, and how it came about."""
    train: Interactions = model.train_
    table = pl.DataFrame(
        {
            "row": np.arange(train.n_rows),
            **train.ids_beside(_OWN),
            "disclosed": mask,
            "V": values,
            "beta": beta,
        }
    )
    metadata = describe_run(
        "disclosure", by="interaction", source="row", metric="loss", model=model, train=train,
        params={name: value for name, value in size.items() if value is not None}, seed=seed,
        **facts,
    )  # fmt: skip
    return DisclosurePlan(table, metadata=metadata, backend=train.backend)
