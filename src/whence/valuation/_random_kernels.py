"""Random numbers keyed by what they are for, never by thread.

Streams, seeds and numbers are uint64. No kernel has a signature: it would be compiled when it is
imported, and the whole of the compiler be loaded with ``whence.Shapley``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"nogil": True, "cache": True, "boundscheck": False, "_nrt": False}

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@njit(**_OPTIONS, forceinline=True)
def mix(x):
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014): 64 bits in, 64 scrambled bits out."""
    x = (x ^ (x >> _S30)) * _MIX_A
    x = (x ^ (x >> _S27)) * _MIX_B
    return x ^ (x >> _S31)


@njit(**_OPTIONS)
def stream(seed, query, replicate):
    """Start of the random stream of one replicate of one query."""
    return mix(mix(mix(seed + _STEP) + query * _STEP + _STEP) + replicate * _STEP + _STEP)


@njit(**_OPTIONS)
def shuffle(order, n, start):
    """Permute ``order[:n]`` in place, by Fisher and Yates, from a stream."""
    state = start
    last = n - 1
    while last > 0:
        state += _STEP
        bits = mix(state)
        # Two draws from each 64 bits; the bias of multiply-and-shift is below 2**-32 * n.
        other = np.int64(((bits & _LOW) * np.uint64(last + 1)) >> _S32)
        order[last], order[other] = order[other], order[last]
        last -= 1
        if last > 0:
            other = np.int64(((bits >> _S32) * np.uint64(last + 1)) >> _S32)
            order[last], order[other] = order[other], order[last]
            last -= 1


@njit(**_OPTIONS)
def coin_flips(flips, n, start):
    """Fill ``flips[:n]`` with fair 0 and 1 from a stream."""
    state = start
    bits = np.uint64(0)
    for i in range(n):
        if i % 64 == 0:
            state += _STEP
            bits = mix(state)
        flips[i] = bits & np.uint64(1)
        bits >>= np.uint64(1)
