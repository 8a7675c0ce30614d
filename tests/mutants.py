"""Seeded damage: to bytes, to JSON, to tables, to arrays."""

from __future__ import annotations

import copy
import json
import os
import warnings

import numpy as np
import polars as pl

from whence.errors import WhenceError

JUNK = (
    None, True, False, 0, 1, -1, 3, 2**63, -(2**64), 0.5, 1e308, "", "x", "score", "1", [], {}, [1],
    ["a"], [[None]], {"a": 1}, [{"item": 1}], "\x1b[31m", "…" * 5,
)  # fmt: skip


def how_many(few: int, share: float = 1.0) -> int:
    """Number of mutants: a few, or a share of WHENCE_FUZZ where that is set."""
    many = os.environ.get("WHENCE_FUZZ")
    return round(int(many) * share) if many else few


def pick(rng, options):
    return options[int(rng.integers(len(options)))]


def mutated_json(rng, content, times=None):
    """A tree with some entries dropped, renamed, or put in the place of others."""
    content = copy.deepcopy(content)
    for _ in range(times or int(rng.integers(1, 3))):
        places = list(_places(content, []))
        if not places:
            return pick(rng, JUNK)
        holder, key = pick(rng, places)
        way = int(rng.integers(5))
        if way == 0 and isinstance(holder, dict):
            del holder[key]
        elif way == 1 and isinstance(holder, dict):
            holder[f"{key}_"] = holder.pop(key)
        elif way == 2:
            other, name = pick(rng, places)
            try:
                holder[key] = copy.deepcopy(other[name])
            except (KeyError, IndexError):
                holder[key] = None
        else:
            holder[key] = pick(rng, JUNK)
    return content


def _places(tree, path):
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(inner):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value, [*path, key])


def mutated_table(rng, table):
    """A table with a column or rows dropped, doubled, renamed, or of another type."""
    if not table.width:
        return table
    name = pick(rng, table.columns)
    way = int(rng.integers(9))
    column = table[name]
    if way == 0:
        return table.drop(name)
    if way == 1:
        return table.rename({name: f"{name}_"})
    if way == 2:
        return table.head(int(rng.integers(table.height + 1)))
    if way == 3:
        return pl.concat([table, table.head(1)])
    if way == 4:
        return table.with_columns(pl.lit(None).alias(name))
    if way == 5:
        kinds = (pl.String, pl.Float64, pl.Int8, pl.Boolean, pl.Categorical, pl.Date)
        try:
            return table.with_columns(column.cast(pick(rng, kinds), strict=False))
        except pl.exceptions.PolarsError:
            return table.drop(name)
    if way == 6:
        return table.with_columns(pl.Series(name, [[1]] * table.height))
    if way == 7 and column.dtype.is_numeric():
        strange = pick(rng, (np.nan, np.inf, -1e300, 1e18))
        return table.with_columns(column.cast(pl.Float64).head(0).extend_constant(
            strange, table.height).alias(name))  # fmt: skip
    return table.select(table.columns[::-1])


def mutated_arrays(rng, arrays):
    """Named arrays with one dropped, renamed, cut, or of another type."""
    arrays = dict(arrays)
    if not arrays:
        return {"x": np.zeros(3)}
    name = pick(rng, list(arrays))
    array = arrays[name]
    way = int(rng.integers(7))
    if way == 0:
        del arrays[name]
    elif way == 1:
        arrays[f"{name}_"] = arrays.pop(name)
    elif way == 2:
        arrays[name] = array[: len(array) // 2] if array.ndim else array.reshape(1)
    elif way == 3:
        arrays[name] = np.array(["a", "b"])
    elif way == 4:
        arrays[name] = array[None]
    elif way == 5:
        arrays[name] = np.full(array.shape, pick(rng, (-1, 10**9, np.nan, np.inf)))
    else:
        arrays[name] = np.array(3.0)
    return arrays


def mutated_bytes(rng, content):
    """Bytes flipped, cut out, cut off or put in."""
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(content) + 1))
        way = int(rng.integers(4))
        if way == 0 and len(content):
            content[min(at, len(content) - 1)] ^= 1 << int(rng.integers(8))
        elif way == 1:
            del content[at : at + int(rng.integers(1, 40))]
        elif way == 2:
            del content[at:]
        else:
            odd = (b"\x00", b'"', b"\n", b",", b"\t", b"\xff", "é".encode("latin-1"), b"9" * 30)
            content[at:at] = pick(rng, odd)
    return bytes(content)


def mutated_text(rng, content):
    """JSON as text: mutants of the tree, and of its bytes now and then."""
    if rng.random() < 0.2:
        return mutated_bytes(rng, content)
    return json.dumps(mutated_json(rng, json.loads(content))).encode()


def untyped(use, *arguments, **options):
    """What goes wrong that is no error of Whence; None where nothing does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            use(*arguments, **options)
    except WhenceError as error:
        said = str(error)
        if not said or "\n" in said:
            return f"not one sentence: {said!r}"
    except (Exception, pl.exceptions.PanicException) as error:
        import traceback

        last = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in last if "/whence/" in frame.filename] or last
        return f"{type(error).__name__} at {ours[-1].filename}:{ours[-1].lineno}: {error}"
    return None
