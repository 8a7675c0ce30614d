"""Saved values, explanations, plans, models and checkpoints that are damaged are refused."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import polars as pl
import pytest
from mutants import (
    how_many,
    mutated_arrays,
    mutated_bytes,
    mutated_json,
    mutated_table,
    mutated_text,
    pick,
    untyped,
)

import whence
from whence.attribution.files import _pack, _unpack
from whence.data.files import read_parquet_with_metadata, write_parquet_with_metadata

CLICKS = pl.DataFrame(
    {
        "session_id": [s for s in range(12) for _ in range(4)],
        "item_id": [f"i{(s * j + j) % 7}" for s in range(12) for j in range(4)],
        "timestamp": list(range(48)),
    }
)
RATINGS = CLICKS.rename({"session_id": "user_id"}).with_columns(rating=pl.lit(4.0))
TRAIN, VALID = CLICKS[:36], CLICKS[36:]
HISTORY = ["i0", "i1", "i2"]


def mutated_parquet(rng, path, to):
    """A Parquet file of Whence with a damaged table, header or state."""
    if rng.random() < 0.15:
        to.write_bytes(mutated_bytes(rng, path.read_bytes()))
        return
    table, entries = read_parquet_with_metadata(path)
    entries = {name: text for name, text in entries.items() if name.startswith("whence")}
    way = pick(rng, ("table", "header", "header", "header", "state"))
    if way == "table":
        table = mutated_table(rng, table)
    elif way == "state" and "whence.state" in entries:
        try:
            state = _unpack(entries["whence.state"], path)
            entries["whence.state"] = _pack(mutated_arrays(rng, state))
        except ValueError:
            entries["whence.state"] = "AAAA"
    else:
        entries["whence"] = mutated_text(rng, entries["whence"].encode()).decode("utf-8", "replace")
        if rng.random() < 0.05:
            del entries["whence"]
    to.unlink(missing_ok=True)
    write_parquet_with_metadata(table, to, entries)


def mutated_model(rng, path, to):
    """A saved model with a part that is damaged, dropped or doubled."""
    if rng.random() < 0.1:
        to.write_bytes(mutated_bytes(rng, path.read_bytes()))
        return
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    name = pick(rng, [*parts, "model.json", "model.json"])
    if rng.random() < 0.1:
        del parts[name]
    elif name == "model.json":
        parts[name] = mutated_text(rng, parts[name])
    elif name.endswith(".parquet"):
        buffer = io.BytesIO()
        mutated_table(rng, pl.read_parquet(io.BytesIO(parts[name]))).write_parquet(buffer)
        parts[name] = buffer.getvalue()
    else:
        buffer = io.BytesIO()
        np.savez(buffer, **mutated_arrays(rng, np.load(io.BytesIO(parts[name]))))
        parts[name] = buffer.getvalue()
    with zipfile.ZipFile(to, "w") as new:
        for name, content in parts.items():
            new.writestr(name, content)


def mutated_checkpoint(rng, path, to):
    import torch

    if rng.random() < 0.15:
        to.write_bytes(mutated_bytes(rng, path.read_bytes()))
        return
    content = torch.load(path, weights_only=True)
    part = pick(rng, [None, None, *(k for k, v in content.items() if isinstance(v, dict) and v)])
    holder = content if part is None else content[part]
    name = pick(rng, list(holder))
    way = int(rng.integers(4))
    junk = (None, "x", -1, [], {}, {"a": 1}, torch.zeros(2), torch.zeros(1, 1, dtype=torch.int64))
    if way == 0:
        del holder[name]
    elif way == 1:
        holder[f"{name}_"] = holder.pop(name)
    else:
        holder[name] = pick(rng, junk)
    torch.save(content, to)


def use_values(path):
    values = whence.Attribution.load(path)
    assert isinstance(values.summary(), str)
    values.top(3), values.bottom(3), values.to_frame(), repr(values), values._repr_html_()
    values.plot()
    _close_figures()
    untyped_prune = values.prune(TRAIN, n=1)
    assert untyped_prune.height <= TRAIN.height


def resume_values(path):
    values = whence.Attribution.load(path)
    model = whence.VMISKNN(k=3, m=5).fit(TRAIN)
    method = whence.Shapley("mrr@3", tolerance=0.5, max_permutations=8)
    method.attribute(model, VALID, previous=values)


def use_explanation(path):
    explanation = whence.explanation.Explanation.load(path)
    assert isinstance(explanation.summary(), str)
    repr(explanation), explanation.items, explanation._repr_html_()
    explanation.plot()
    _close_figures()


def use_plan(path):
    plan = whence.curation.disclosure.DisclosurePlan.load(path)
    repr(plan), plan.to_frame(), plan._repr_html_()
    plan.apply(RATINGS)


def use_influence(path):
    from whence.influence import Influence

    found = Influence.load(path)
    found.summary(), found.proponents(0, 1), found.opponents(0, 1)
    repr(found)


def use_model(path):
    model = whence.load_model(path)
    repr(model), model.params
    model.recommend(model.user_queries(model.vocabulary.sources.head(2).to_list()), 2)
    if model.asks != "users" and model.train_.kind == "sessions":
        model.recommend(HISTORY, 2)
    elif "rating" in model.levels:
        model.predict(model.vocabulary.sources.head(2).to_list(), HISTORY[:2])


def use_checkpoint(path):
    from whence.influence import TracIn

    model = _sequential()
    TracIn(checkpoints=path).attribute(model, VALID)


def _sequential():
    return whence.GRU4Rec(embedding_dim=4, hidden_dim=4, epochs=1, batch_size=64).fit(TRAIN)


def _close_figures():
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("saved")
    model = whence.VMISKNN(k=3, m=5).fit(TRAIN)
    values = whence.Shapley("mrr@3", tolerance=0.5, max_permutations=4).attribute(model, VALID)
    values.save(folder / "values.parquet")
    values.save(folder / "values.csv")
    whence.explain(model, HISTORY, k=3).save(folder / "explanation.parquet")
    return folder


def refused(use, make, source, to, n, seed):
    """Mutants that are neither refused in one sentence nor of use."""
    wrong = {}
    for number in range(n):
        rng = np.random.default_rng([seed, number])
        make(rng, source, to)
        found = untyped(use, to)
        if found is not None:
            wrong.setdefault(found, number)
    return wrong


@pytest.mark.parametrize("use", [use_values, resume_values])
def test_values(saved, tmp_path, use):
    n, source = how_many(60, 0.2), saved / "values.parquet"
    assert refused(use, mutated_parquet, source, tmp_path / "x.parquet", n, 1) == {}


def test_values_as_csv(saved, tmp_path):
    to = tmp_path / "x.csv"

    def make(rng, source, to):
        header, text = (source.with_suffix(e).read_bytes() for e in (".json", ".csv"))
        if rng.random() < 0.7:
            header = mutated_text(rng, header)
        else:
            text = mutated_bytes(rng, text)
        to.write_bytes(text)
        to.with_suffix(".json").write_bytes(header)

    assert refused(use_values, make, saved / "values.csv", to, how_many(60, 0.2), 2) == {}


def test_explanations(saved, tmp_path):
    n, source = how_many(60, 0.2), saved / "explanation.parquet"
    assert refused(use_explanation, mutated_parquet, source, tmp_path / "x.parquet", n, 3) == {}


def test_plans(tmp_path):
    from whence.curation.disclosure.plan import made_plan

    model = whence.ItemKNN(k=3).fit(RATINGS)
    n_rows = RATINGS.height
    zeros = np.zeros(n_rows)
    plan = made_plan(model, zeros < 1, zeros, zeros, seed=0, size={}, strategy="social", lam=1.0)
    plan.save(tmp_path / "plan.parquet")
    n, source = how_many(60, 0.1), tmp_path / "plan.parquet"
    assert refused(use_plan, mutated_parquet, source, tmp_path / "x.parquet", n, 4) == {}


@pytest.mark.parametrize(
    "model",
    [whence.VMISKNN(k=3, m=5), whence.ItemKNN(k=3), whence.EASE(), whence.Popularity(),
     whence.ALS(factors=3, iterations=1), whence.MarkovChain()],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_models(tmp_path, model):
    source = model.fit(RATINGS if isinstance(model, whence.ALS) else TRAIN).save(
        tmp_path / "model.whence"
    )
    n = how_many(25, 0.1)
    assert refused(use_model, mutated_model, source, tmp_path / "x.whence", n, 5) == {}


@pytest.mark.parametrize("name", ["GRU4Rec", "BPRMF", "BiasedMF", "NeuMF", "SASRec"])
def test_networks(tmp_path, name):
    pytest.importorskip("torch")
    size = {"gmf_dim": 4, "mlp_dim": 4, "layers": (4,)} if name == "NeuMF" else {"embedding_dim": 4}
    model = getattr(whence, name)(epochs=1, **size)
    train = TRAIN if name in ("GRU4Rec", "SASRec") else RATINGS
    source = model.fit(train).save(tmp_path / "model.whence")
    n = how_many(12, 0.1)
    assert refused(use_model, mutated_model, source, tmp_path / "x.whence", n, 6) == {}


def test_influence(tmp_path):
    pytest.importorskip("torch")
    from whence.influence import TracIn

    model = _sequential()
    found = TracIn(checkpoints="final").per_query(model, VALID, n=3)
    source = found.save(tmp_path / "influence.parquet")
    n = how_many(40, 0.1)
    assert refused(use_influence, mutated_parquet, source, tmp_path / "x.parquet", n, 7) == {}


def test_checkpoints(tmp_path):
    pytest.importorskip("torch")
    model = whence.GRU4Rec(embedding_dim=4, hidden_dim=4, epochs=1, batch_size=64)
    model.fit(TRAIN, checkpoints=1, run=whence.Run(folder=tmp_path / "run"))
    source = next((tmp_path / "run").rglob("epoch-*.pt"))
    n = how_many(15, 0.1)
    assert refused(use_checkpoint, mutated_checkpoint, source, tmp_path / "x.pt", n, 8) == {}


def test_training_that_goes_on(tmp_path):
    pytest.importorskip("torch")
    model = whence.GRU4Rec(embedding_dim=4, hidden_dim=4, epochs=1, batch_size=64)
    model.fit(TRAIN, run=whence.Run(folder=tmp_path / "run"))
    last = next((tmp_path / "run").rglob("last.pt"))
    whole = last.read_bytes()
    source = tmp_path / "whole.pt"
    source.write_bytes(whole)

    def go_on(path):
        further = whence.GRU4Rec(embedding_dim=4, hidden_dim=4, epochs=2, batch_size=64)
        further.fit(TRAIN, run=whence.Run(folder=tmp_path / "run", resume=True))

    n = how_many(10, 0.05)
    assert refused(go_on, mutated_checkpoint, source, last, n, 9) == {}


def test_json_mutants_are_the_same_for_the_same_seed():
    content = json.loads('{"a": [1, {"b": 2}], "c": null}')
    first, second = (
        [mutated_json(np.random.default_rng(k), content) for k in range(9)] for _ in range(2)
    )
    assert first == second
    assert content == {"a": [1, {"b": 2}], "c": None}
