"""Objects as what processes share: a few bytes, and their arrays, which are not copied."""

from __future__ import annotations

import ctypes
import importlib
import io
import pickle
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from whence.errors import UnsupportedError

Packed = list[Any]
"""What an object is without its arrays, bytes, and the arrays' memory, each uint8 [n]."""


def pack(value: Any) -> Packed:
    """Take an object apart.

    Functions and classes that no module has, as those of a notebook, go with it.

    Raises
    ------
    UnsupportedError
        If it cannot be sent.
    """
    buffers: list[pickle.PickleBuffer] = []
    try:
        content = io.BytesIO()
        _pickler()(content, protocol=5, buffer_callback=buffers.append).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UnsupportedError(
            f"This work cannot be handed to other processes ({error}); give objects and "
            "functions that can be pickled, or take engine='threads'."
        ) from error
    return [content.getvalue(), *(np.frombuffer(one.raw(), np.uint8) for one in buffers)]


@cache
def _pickler() -> Any:
    cloudpickle: Any = importlib.import_module("ray.cloudpickle")

    class Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
        """Takes arrays in files for arrays, which they are not to other picklers."""

        def reducer_override(self, value: Any) -> Any:
            if type(value) is np.memmap:
                return value.view(np.ndarray).__reduce_ex__(5)
            return super().reducer_override(value)

    return Pickler


def unpack(packed: Sequence[Any], *, own: bool = False) -> Any:
    """Put an object together again.

    Parameters
    ----------
    packed : sequence
        Of `pack`, with arrays that may be read only, as they are where processes share them.
    own : bool
        Whether the arrays are copied. Without, the object's arrays are the memory of those given,
        which the object must leave as it is: it is not told that it may not write there, because
        torch would warn of each array that cannot be written.
    """
    content, *arrays = packed
    buffers = [array.copy() if own else _writable(array) for array in arrays]
    return pickle.loads(content, buffers=buffers)


def _writable(array: npt.NDArray[np.uint8]) -> Any:
    if not array.size:
        return bytearray()
    memory: Any = (ctypes.c_uint8 * array.size).from_address(array.ctypes.data)
    memory.owner = array
    return memory
