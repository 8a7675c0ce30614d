"""Compiled random numbers that depend on an example and an epoch, not on its batch."""

from __future__ import annotations

import numpy as np
from numba import njit

from whence.models.training._kernels import _GOLDEN, _mixed


@njit(nogil=True, cache=True)
def uniforms(seed, epoch, numbers, n):
    """Numbers from [0, 1).

    Parameters
    ----------
    seed, epoch : uint64
    numbers : int64 [B]
        Numbers of the examples.
    n : int
        Wanted for each.

    Returns
    -------
    float32 [B, n]
    """
    out = np.empty((len(numbers), n), dtype=np.float32)
    stream = _mixed(_mixed(seed) ^ epoch)
    scale = np.float32(2.0**-24)
    for row in range(len(numbers)):
        state = _mixed(stream ^ np.uint64(numbers[row]))
        for place in range(n):
            state += _GOLDEN
            out[row, place] = np.float32(_mixed(state) >> np.uint64(40)) * scale
    return out
