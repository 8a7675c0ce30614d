"""Modules of others: rules by use, an unknown layer is named, and the general way."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from brute import at, close, gradients  # noqa: E402
from foreign import (  # noqa: E402
    Batches,
    Convolution,
    Everything,
    LookedUp,
    Mixing,
    Model,
)

from whence.errors import ParameterError, UnsupportedError  # noqa: E402
from whence.influence import TRAK, TracIn, TracInRandomProjection, factors  # noqa: E402


def scores(model, queries):
    here = at(model)
    train, asked = gradients(here, model.examples_, 12, 0), gradients(here, queries, len(queries))
    return 0.1 * train @ asked.T


@pytest.mark.parametrize("overhead", [64, -(10**9), 10**9])
def test_every_use_of_a_parameter(overhead, monkeypatch):
    monkeypatch.setattr(factors, "_PER_PRODUCT", overhead)
    monkeypatch.setattr(factors, "_PER_MEETING", overhead)
    model, queries = Model(Everything()), Batches(5, seed=1)
    want = scores(model, queries)
    method = TracIn(checkpoints="final", precision="float64")
    close(method.matrix(model, queries), want, 1e-10)
    close(method.attribute(model, queries).scores, want.sum(1), 1e-10)
    close(
        TracIn(checkpoints="final", precision="float64", batch_size=5).matrix(model, queries),
        want,
        1e-10,
    )


def test_rows_of_tables_that_layers_read():
    model, queries = Model(LookedUp()), Batches(5, seed=1)
    want = scores(model, queries)
    for batch_size in (3, 12):
        method = TracIn(checkpoints="final", precision="float64", batch_size=batch_size)
        close(method.matrix(model, queries), want, 1e-10)
        close(method.attribute(model, queries).scores, want.sum(1), 1e-10)


def test_sketch_of_full_size_is_exact():
    model, queries = Model(Everything()), Batches(5, seed=1)
    method = TracInRandomProjection(dimension=10**6, checkpoints="final", precision="float64")
    close(method.matrix(model, queries), scores(model, queries), 1e-10)
    assert TRAK(dimension=64).attribute(model, queries).scores.shape == (12,)


@pytest.mark.parametrize("module", [Convolution, Mixing])
def test_general_way(module):
    model, queries = Model(module()), Batches(5, seed=1)
    method = TracIn(checkpoints="final", method="autograd", precision="float64")
    want = scores(model, queries)
    close(method.matrix(model, queries), want, 1e-10)
    close(method.attribute(model, queries).scores, want.sum(1), 1e-10)


def test_unknown_layers_are_named():
    with pytest.raises(UnsupportedError, match=r"'blur.weight' \(ConvTranspose1d"):
        TracIn(checkpoints="final", method="factors").matrix(Model(Convolution()), Batches(5))
    # Without the layer there is nothing that is not known.
    values = TracIn(checkpoints="final", layers=["output", "tokens"]).attribute(
        Model(Convolution()), Batches(5)
    )
    assert values.metadata["parameters"] == ["tokens.weight", "output.weight", "output.bias"]


def test_a_rule_that_would_be_wrong_is_noticed():
    with pytest.raises(UnsupportedError, match=r"'tokens.weight'|'inner.weight'"):
        TracIn(checkpoints="final", method="factors").matrix(Model(Mixing()), Batches(5))


def test_frozen_parameters_do_not_count():
    model = Model(Everything())
    model.module_.gru.requires_grad_(False)
    values = TracIn(checkpoints="final").attribute(model, Batches(5))
    assert not any("gru" in name for name in values.metadata["parameters"])
    assert values.frame.columns == ["example", "score"]


def test_plain_states_need_a_learning_rate():
    model, queries = Model(Everything(), learning_rate=None), Batches(5)
    states = [model.module_.state_dict(), model.module_.state_dict()]
    with pytest.raises(ParameterError, match="learning_rate"):
        TracIn(checkpoints=states).matrix(model, queries)
    with pytest.raises(ParameterError, match="2 checkpoints"):
        TracIn(checkpoints=states, learning_rate=[1.0]).matrix(model, queries)
    one = TracIn(checkpoints=states[:1], learning_rate=1.0).matrix(model, queries)
    np.testing.assert_allclose(
        TracIn(checkpoints=states, learning_rate=[1.0, 2.0]).matrix(model, queries),
        3 * one,
        rtol=1e-5,
    )
    del states[1]["scale"]
    with pytest.raises(ParameterError, match="'scale'"):
        TracIn(checkpoints=states, learning_rate=1.0).matrix(model, queries)
