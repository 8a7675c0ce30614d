"""Hostile configurations: mutants of good ones, from a seed.

Run by itself, ``python tests/config_mutants.py 50000``, it tries so many and prints what came out
untyped; the tests try a few.
"""

from __future__ import annotations

import random
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import yaml

from whence.config import load_config
from whence.errors import WhenceError

GOOD = (
    {
        "data": {"train": "t.csv", "validation": "v.csv", "session": "s", "min_length": 2,
                 "min_rating": 3.5, "sustainable_items": [1, 2], "unknown": "drop"},
        "split": {"method": "time", "fractions": [0.8, 0.1, 0.1], "at": [1, 2], "seed": 3},
        "model": {"name": "vmis", "k": 50, "m": 500, "idf": True},
        "evaluation": {"metrics": ["mrr@20", "ndcg@10"], "negatives": 100, "seed": 1},
        "attribution": {"method": "shapley", "tolerance": 0.1, "seed": 42, "by": "session"},
        "output": {"directory": "out", "overwrite": True},
    },
    {
        "data": {"path": "ml-100k"},
        "model": {"name": "gru4rec", "embedding_dim": 16, "dropout": 0.1, "loss": "bpr"},
        "training": {"epochs": 3, "learning_rate": 1e-3, "checkpoints": [1, 2], "metric": "mrr@5",
                     "patience": 2, "optimizer": "adam", "device": "cpu", "gradient_clip": 1.0},
        "tune": {"space": {"training.learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
                           "model.dropout": [0.0, 0.5]}, "trials": 3, "metric": "mrr@5"},
    },
    {
        "model": "NeuMF", "dataset": "ml-100k", "mlp_hidden_size": [64, 32], "epochs": 5,
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 4},
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "mode": "uni100"},
        "metrics": ["Recall", "MRR"], "topk": [5, 10], "val_interval": {"rating": "[3,inf)"},
        "user_inter_num_interval": "[5,inf)", "clip_grad_norm": {"max_norm": 5},
        "load_col": {"inter": ["user_id", "item_id"]}, "use_gpu": False, "repeatable": False,
        "lowest_val": {"rating": 3}, "stopping_step": 3, "seed": 2020, "eval_step": 1,
    },
    {
        "model": {"name": "tifu"}, "hpo": {"k": 50, "m": 7, "r_b": 0.9, "r_g": 0.7, "alpha": 0.7},
        "metric": {"name": "MRR", "length": 20}, "nbr": {"validation_ratio": 0.5},
    },
)  # fmt: skip
LOOP: list[object] = []
LOOP.append(LOOP)
RING: dict[str, object] = {}
RING["name"] = RING
HOSTILE = (
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**4000,
    1.5, -0.0, 1e308, 1e400, -1e400, float("nan"), "", " ", "x", "yes", "null", "[", "mrr", "mrr@",
    "mrr@0", "mrr@-5", "mrr@99999999999999999999", "@", "é", "\u0000", "\ud7ff", "x" * 5000, [],
    [[]], {}, {"": ""}, {"x": 1}, [None], [1, "x"], ["x"] * 300, [0.5] * 3, [float("inf")],
    {1: 2}, LOOP, RING, {"low": 1, "high": 0}, {"low": "a", "high": 2},
    {"low": 2**70, "high": 2**80}, "2001-99-99", "../../..", "/dev/null", "~", "a.b.c", b"bytes",
)  # fmt: skip
TEXTS = (
    "2001-99-99", "!!int ''", "!!timestamp x", "!!float x", "!!python/object:os.system x",
    "&a [*a]", "*none", "0x", "0o8", "1_0", "1:99:99", ".inf", ".nan", "-.inf", "~", "!!binary x",
    "!!set {a}", "!!omap [a]", "<<: *a", "? x", "- ", "{", "}", "[", "]", "\t", "%", "|", ">",
    "\ufeff", "\u0085", "\x00", "\x7f", "'", '"', "9" * 5000, "[" * 3000, "{a: " * 1500,
    "- " * 3000, "2024-01-01T99:99:99", "2024-02-30", "1e99999", "inf", "nan", "''' '''",
    "[a.b]\n", "[[a]]\n", "a.b.c = 1\n",
)  # fmt: skip
SETS = ("model.k", "model.name", "training.epochs", "evaluation.metrics", "split.at", "data.path",
        "tune.space", "attribution.method", "model.layers", "training.seed", "output", ".", "a.b",
        "model.", ".k", "model.k.x", "")  # fmt: skip


def places(value, path=()):
    """Paths to all values in lists and dictionaries, down to the fourth level."""
    found = [path] if path else []
    if len(path) > 3:
        return found
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, (dict, list)):
        for key, one in inner:
            if isinstance(one, (dict, list)):
                found += places(one, (*path, key))
            else:
                found.append((*path, key))
    return found


def copied(value):
    """A deep copy of lists and dictionaries."""
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value


def changed(draw, keys):
    """A copy with some values replaced, left out, renamed or put elsewhere."""
    keys = copied(keys)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        here = draw.choice(places(keys))
        holder = keys
        for key in here[:-1]:
            holder = holder[key]
        if not isinstance(holder, (dict, list)) or len(holder) == 0:
            continue
        way = draw.random()
        if way < 0.75:
            holder[here[-1]] = draw.choice(HOSTILE)
        elif way < 0.85:
            del holder[here[-1]]
        elif isinstance(holder, dict):
            name = draw.choice(("x", "", "name", "seed", 1, None, True, 1.5, *map(str, here)))
            holder[name] = draw.choice((holder[here[-1]], draw.choice(HOSTILE)))
        if not places(keys):
            break
    return keys


def spoilt(draw, text):
    """A text with some of it replaced, doubled, cut out or cut off."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        start = draw.randrange(len(text) + 1)
        end = min(len(text), start + draw.choice((0, 1, 5, 30)))
        way = draw.random()
        if way < 0.5:
            text = text[:start] + draw.choice(TEXTS) + text[end:]
        elif way < 0.7:
            text = text[:start] + text[start:end] * 2 + text[end:]
        elif way < 0.9:
            text = text[:start] + text[end:]
        else:
            text = text[:start]
    return text


def as_toml(value):
    """A text of TOML, where the value has one."""
    if isinstance(value, dict):
        inner = ", ".join(f"{quoted(str(key))} = {as_toml(one)}" for key, one in value.items())
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else quoted(str(value))


def quoted(text):
    """A text in quotation marks, as TOML has it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def mutant(seed):
    """Name of a file, its text or bytes, and overrides."""
    draw = random.Random(seed)
    keys = draw.choice(GOOD)
    way = draw.random()
    if way < 0.3:  # overrides
        chosen = [f"{draw.choice(SETS)}={draw.choice(TEXTS)}" for _ in range(draw.choice((1, 2)))]
        if draw.random() < 0.5:
            return None, b"", chosen
        return None, b"", {draw.choice(SETS): draw.choice(HOSTILE)}
    if way < 0.6:
        keys = changed(draw, keys)
    if draw.random() < 0.3:
        try:
            text = "\n".join(f"{quoted(str(key))} = {as_toml(one)}" for key, one in keys.items())
        except (RecursionError, ValueError):
            text = ""
        name = "c.toml"
    else:
        try:
            text = yaml.dump(keys, allow_unicode=draw.random() < 0.5)
        except (RecursionError, ValueError, yaml.YAMLError):
            text = ""
        name = "c.yaml"
    if way > 0.6:
        text = spoilt(draw, text)
    data = text.encode("utf-8", "surrogatepass")
    if draw.random() < 0.1 and data:
        place = draw.randrange(len(data))
        data = data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]
    return name, data, {}


def outcome(seed, folder):
    """What becomes of a mutant: a name for "fine", of a typed error, or "untyped: ..."."""
    name, data, overrides = mutant(seed)
    path = None if name is None else Path(folder) / name
    if path is not None:
        path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            config = load_config(path, overrides)
            config.build_model()._check_params()
            return "fine"
        except WhenceError as error:
            said = str(error)
            return "untyped: of many lines" if "\n" in said else type(error).__name__
        except Exception as error:
            return f"untyped: {type(error).__name__}: {str(error)[:100]}"


def main(number):
    """Try mutants 0 to `number`, and print what came out."""
    counts = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(number):
            found = outcome(seed, folder)
            counts[found] += 1
            if found.startswith("untyped") and counts[found] <= 3:
                print(seed, found, flush=True)
    print(dict(counts))


if __name__ == "__main__":
    main(int(sys.argv[1]))
