"""What every valuation must do: one suite, run over all of them by discovery."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from oracles import random_baskets, random_sessions

from whence import TIFUKNN, VMISKNN, Attribution
from whence.attribution import METHODS
from whence.errors import DataError, FileFormatError, NotFittedError, OutputExistsError, WhenceError

N_SOURCES = 9


def check_attributor(make, tmp_path):
    """Run every check on the method that ``make()`` returns, for sessions and baskets."""
    for kind in ("sessions", "baskets"):
        model, valid = example(kind)
        values = make().attribute(model, valid)
        check_table(values, model)
        check_metadata(values, make())
        check_efficiency(values)
        check_null_and_twin(make, kind, valid)
        check_determinism(make, model, valid)
        check_backends(make, model, valid)
        check_saving(values, tmp_path / kind)
        check_pruning(values, model)
        check_bad_input(make, model, valid)


def example(kind):
    """A fitted model with a twin and a stranger among its sources, and validation data."""
    rng = np.random.default_rng(2)
    if kind == "baskets":
        table = random_baskets(rng, N_SOURCES - 2, 8)
        valid = random_baskets(rng, N_SOURCES - 2, 8, most_baskets=1, first_basket=900)
        twin = table.filter(pl.col("user_id") == "u3").with_columns(
            user_id=pl.lit("twin"), basket_id=pl.col("basket_id") + 300
        )
        strange = pl.DataFrame({"user_id": ["x"], "basket_id": [999], "item_id": [77]})
        table = pl.concat([table, twin, strange])
        return TIFUKNN(k=20, m=3, alpha=0.3).fit(table), valid.filter(pl.col("user_id") != "u3")
    table = random_sessions(rng, N_SOURCES - 2, 7)
    twin = table.filter(pl.col("session_id") == "s3").with_columns(session_id=pl.lit("twin"))
    strange = pl.DataFrame({"session_id": ["x"], "item_id": [77], "timestamp": [3]})
    model = VMISKNN(k=12, m=12).fit(pl.concat([table, twin, strange]))
    return model, random_sessions(rng, 6, 7, first_id=100)


def check_table(values, model):
    sources = model.vocabulary.sources
    assert values.ids.to_list() == sources.to_list()
    assert values.ids.dtype == sources.dtype
    assert values.scores.shape == (N_SOURCES,)
    assert np.isfinite(values.scores).all()
    assert repr(values)
    assert values.summary()
    if values.std_errors is not None:
        assert (values.std_errors >= 0).all()
    best = pl.from_dataframe(values.top(3)) if values.backend != "polars" else values.top(3)
    total = dict(zip(values.ids.to_list(), values.totals))
    assert [total[i] for i in best[values.source]] == sorted(values.totals, reverse=True)[:3]


def check_metadata(values, method):
    facts = values.metadata
    assert facts["method"] == method.name
    assert facts["model"] in ("VMISKNN", "TIFUKNN")
    assert facts["params"].keys() <= method.params.keys()
    assert {"whence", "numpy", "python", "numba", "polars"} <= facts["versions"].keys()
    assert facts["fingerprint"]["train"]
    assert facts["elapsed_seconds"] >= 0
    assert facts["by"] in ("session", "user")


def check_efficiency(values):
    facts = values.metadata
    if facts["efficiency"]:
        gain = facts["value_all"] - facts["value_nothing"]
        assert values.scores.sum() == pytest.approx(gain, abs=1e-9)


def check_null_and_twin(make, kind, valid):
    """A source that shares nothing with the queries gets 0, and twins the same, but by luck."""
    method = make()
    if method.name in ("random", "length", "popularity"):
        return
    model, valid = example(kind)
    values = method.attribute(model, valid)
    by_id = dict(zip(values.ids.to_list(), values.totals))
    assert by_id["x"] == pytest.approx(0, abs=1e-12)
    errors = values.std_errors
    slack = 0.0 if errors is None else 6 * float(errors.max())
    original = "u3" if kind == "baskets" else "s3"
    assert abs(by_id["twin"] - by_id[original]) <= slack + 1e-12


def check_determinism(make, model, valid):
    frames = [make().attribute(model, valid).frame for _ in range(2)]
    method = make()
    if hasattr(method, "threads"):
        for threads in (1, 2, 4):
            method.threads = threads
            frames.append(method.attribute(model, valid).frame)
    assert all(frame.equals(frames[0]) for frame in frames)


def check_backends(make, model, valid):
    table = model.train_.frame
    for given in (table.to_pandas(), table.to_arrow(), table):
        fitted = type(model)(**model.params).fit(given)
        values = make().attribute(fitted, valid)
        assert type(values.to_frame()) is type(given)


def check_saving(values, folder):
    path = values.save(folder / "values.parquet")
    loaded = Attribution.load(path)
    assert loaded.frame.equals(values.frame)
    assert loaded.metadata == values.metadata
    with pytest.raises(OutputExistsError, match="exists"):
        values.save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileFormatError):
        Attribution.load(path)
    assert [p.name for p in folder.iterdir()] == ["values.parquet"]


def check_pruning(values, model):
    train = model.train_
    kept = values.prune(train, n=2)
    lowest = values.ids.gather(values.order()[:2]).to_list()
    left = set(kept.frame[train.columns.source].to_list())
    assert left == set(values.ids.to_list()) - set(lowest)
    assert kept.vocabulary.items.equals(train.vocabulary.items)


def check_bad_input(make, model, valid):
    with pytest.raises(NotFittedError, match="fit"):
        make().attribute(type(model)(), valid)
    if make().name in ("random", "length", "popularity"):
        return
    with pytest.raises(WhenceError, match="item"):
        make().attribute(model, valid.drop("item_id"))
    with pytest.raises(DataError):
        make().attribute(model, valid.with_columns(item_id=pl.format("{}", "item_id")))
    method = make()
    method.metric = "mrr"
    with pytest.raises(WhenceError, match="@"):
        method.attribute(model, valid)


def all_attributors():
    """Every public valuation of the package."""
    classes = (kind for _, kind in METHODS.items())
    ours = (kind for kind in classes if kind.__module__.startswith("whence.valuation"))
    return sorted(ours, key=lambda c: c.__name__)
