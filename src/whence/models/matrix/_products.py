"""Products of factors whose values do not depend on what else is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whence.models._blocks import Rows, RowsJob, in_blocks

_QUERIES_PER_PRODUCT = 32
_QUERIES_PER_TASK = 512


def factor_scores(
    users: npt.NDArray[np.float32], items: npt.NDArray[np.float32], threads: int | None = None
) -> npt.NDArray[np.float32]:
    """Scalar products of all users with all items.

    Parameters
    ----------
    users : float32 [Q, F]
    items : float32 [n_items, F]
    threads : int, optional

    Returns
    -------
    float32 [Q, n_items]
        The same for a user whoever else is asked for, and for any number of threads: a matrix
        product rounds by its shape, so that all have one shape.
    """
    transposed = np.ascontiguousarray(items.T)
    with one_blas_thread():
        (scores,) = in_blocks(_Products(len(users), users, transposed), _QUERIES_PER_TASK, threads)
    return scores


@dataclass(frozen=True)
class _Products(RowsJob):
    """Products of users [Q, F] and items [F, n_items]."""

    users: npt.NDArray[np.float32]
    items: npt.NDArray[np.float32]

    def rows(self, start: int, stop: int) -> Rows:
        """See `RowsJob`."""
        scores = np.empty((stop - start, self.items.shape[1]), dtype=np.float32)
        for first in range(0, stop - start, _QUERIES_PER_PRODUCT):
            out = scores[first : first + _QUERIES_PER_PRODUCT]
            part = self.users[start + first : start + first + len(out)]
            if len(part) == _QUERIES_PER_PRODUCT:
                np.matmul(part, self.items, out=out)
            else:
                padded = np.zeros((_QUERIES_PER_PRODUCT, part.shape[1]), dtype=np.float32)
                padded[: len(part)] = part
                out[:] = (padded @ self.items)[: len(part)]
        return (scores,)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread, as threads of its own slow down the threads that call it."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # it comes with implicit; a saved model can be asked without
        yield
        return
    with threadpool_limits(limits=1, user_api="blas"):
        yield
