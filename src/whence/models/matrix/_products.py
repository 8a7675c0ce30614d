"""Products of factors whose values do not depend on what else is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from whence.engines.threads import map_ordered

_QUERIES_PER_PRODUCT = 32


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
    scores = np.empty((len(users), len(items)), dtype=np.float32)
    transposed = np.ascontiguousarray(items.T)

    def block(start: int) -> None:
        part = users[start : start + _QUERIES_PER_PRODUCT]
        if len(part) == _QUERIES_PER_PRODUCT:
            np.matmul(part, transposed, out=scores[start : start + _QUERIES_PER_PRODUCT])
            return
        padded = np.zeros((_QUERIES_PER_PRODUCT, users.shape[1]), dtype=np.float32)
        padded[: len(part)] = part
        scores[start:] = (padded @ transposed)[: len(part)]

    with one_blas_thread():
        for _ in map_ordered(block, range(0, len(users), _QUERIES_PER_PRODUCT), threads):
            pass
    return scores


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
