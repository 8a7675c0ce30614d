"""Every differentiable model and loss against automatic differentiation of single examples."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

from brute import close, tracin  # noqa: E402
from small_models import SMALL  # noqa: E402

import whence  # noqa: E402
import whence.models  # noqa: E402
from whence.influence import TracIn, factors, query_examples  # noqa: E402
from whence.influence.strategies import ByFactors  # noqa: E402
from whence.models.neural.sequential import LOSSES, SequentialRecommender  # noqa: E402
from whence.models.training import DifferentiableRecommender  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::whence.errors.DataWarning")


def differentiable():
    """Every public model that is trained by gradients."""
    found = {getattr(whence.models, name) for name in dir(whence.models)}
    models = [
        model
        for model in found
        if isinstance(model, type)
        and issubclass(model, DifferentiableRecommender)
        and not inspect.isabstract(model)
        # Adapters need a module of somebody else.
        and not model.__module__.startswith("whence.models.adapters")
    ]
    return sorted(models, key=lambda model: model.__name__)


def variants():
    """Models with the arguments that change what their loss is."""
    for model in differentiable():
        names = inspect.signature(model.__init__).parameters
        if issubclass(model, SequentialRecommender):
            for loss, positions in itertools.product(LOSSES, ("last", "all")):
                yield model, {"loss": loss, "positions": positions}
        elif "loss" in names:
            default = names["loss"].default
            others = {"bpr", "bce", "cross_entropy"} - {default}
            for loss in (default, *sorted(others)):
                yield model, {"loss": loss}
        else:
            yield model, {}


class model_examples:  # noqa: N801
    """The training examples as queries, with the negatives of the last checkpoint."""

    def __init__(self, model):
        self.examples, self.epoch = model.examples_, model.checkpoints_[-1].epoch - 1

    def __len__(self):
        return len(self.examples)

    def batch(self, numbers):
        return self.examples.batch(numbers, self.epoch)


def make(model, extra, **training):
    names = inspect.signature(model.__init__).parameters
    small = {name: value for name, value in SMALL.items() if name in names}
    return model(
        **{**small, **extra}, epochs=2, batch_size=16, learning_rate=0.05, seed=3, **training
    )


def name_of(value):
    return value.__name__ if isinstance(value, type) else "-".join(map(str, value.values()))


@pytest.mark.parametrize(("model", "extra"), list(variants()), ids=name_of)
def test_scores(model, extra, tables, monkeypatch):
    train, validation = tables
    try:
        model = make(model, extra)
        model._check_params()
    except whence.WhenceError:
        pytest.skip("the model has no such loss")
    model.fit(train, checkpoints=[2])
    if model.asks == "histories" and not isinstance(model, SequentialRecommender):
        queries = model_examples(model)  # the loss is of no single item
    else:
        data = whence.Interactions.from_frame(validation)
        queries = query_examples(model, data, target="each")
    want = tracin(model, queries)
    # Whatever is written out and whatever stays as factors.
    for overhead in (64, -(10**9), 10**9):
        monkeypatch.setattr(factors, "_PER_PRODUCT", overhead)
        monkeypatch.setattr(factors, "_PER_MEETING", overhead)
        close(TracIn(weighting="sgd", precision="float64").matrix(model, queries), want, 1e-9)
    monkeypatch.undo()
    close(TracIn(weighting="sgd").matrix(model, queries), want, 1e-5)
    close(TracIn(weighting="sgd").attribute(model, queries).scores, want.sum(1), 1e-5)
    # Also where a module's functions have no forward mode.
    monkeypatch.setattr(ByFactors, "_can_go_forward", lambda *_: False)
    close(TracIn(weighting="sgd").attribute(model, queries).scores, want.sum(1), 1e-5)
    own = TracIn(weighting="sgd", precision="float64").self_influence(model).scores
    cosines = TracIn(weighting="sgd", normalise="cosine", precision="float64").matrix(
        model, model_examples(model)
    )
    close(np.diag(cosines), np.where(own > 0, 1.0, 0.0), 1e-6)
    assert np.abs(cosines).max() <= 1 + 1e-9


def test_features_of_users_and_items(tables):
    train, validation = tables
    users = pl.DataFrame({"user_id": [f"u{n}" for n in range(6)], "job": list("aabbcc")})
    items = pl.DataFrame(
        {
            "item_id": range(11),
            "genres": ["x|y", "x", "y", "z", "x|z", "y", "", "x", "z", "y|z", "x"],
            "year": [float(n) for n in range(11)],
        }
    )
    data = whence.Interactions.from_frame(train).with_tables(users=users, items=items)
    arguments = {"user_features": ["job"], "item_features": ["genres", "year"]}
    model = make(whence.WideDeep, arguments).fit(data, checkpoints=[2])
    queries = query_examples(model, validation)
    want = tracin(model, queries)
    close(TracIn(weighting="sgd", precision="float64").matrix(model, queries), want, 1e-9)
    close(TracIn(weighting="sgd").attribute(model, queries).scores, want.sum(1), 1e-5)
    arguments["context_features"] = ["rating"]
    for name, more in (
        ("GRU4Rec", {}), ("SASRec", {"loss": "bce"}), ("LSTMRec", {"positions": "last"})
    ):  # fmt: skip
        model = make(getattr(whence, name), {**arguments, **more}).fit(data, checkpoints=[2])
        queries = query_examples(model, validation, target="each")
        assert queries.arrays["features"].any()
        want = tracin(model, queries)
        close(TracIn(weighting="sgd", precision="float64").matrix(model, queries), want, 1e-9)
        close(TracIn(weighting="sgd").attribute(model, queries).scores, want.sum(1), 1e-5)


def second_moments(model, names, factored):
    """P of the definition, as a function of a checkpoint."""

    def scale(checkpoint):
        parts = []
        numbers = {name: i for i, (name, _) in enumerate(model.module_.named_parameters())}
        for name in names:
            state = checkpoint.optimizer["state"][numbers[name]]
            v = state["exp_avg_sq"].double() / (1 - 0.999 ** float(state["step"]))
            if factored and v.dim() == 2:
                r, c, m = v.mean(1), v.mean(0), v.mean()
                left = 1 / ((r / m.sqrt()).sqrt() + 1e-4)
                parts.append(torch.outer(left, 1 / ((c / m.sqrt()).sqrt() + 1e-4)).flatten())
            else:
                parts.append((1 / (v.sqrt() + 1e-8)).flatten())
        return torch.cat(parts).numpy()

    return scale


@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize(
    ("name", "loss"),
    [("LSTMRec", "cross_entropy"), ("GRU4Rec", "bpr"), ("GRU4Rec", "cross_entropy")],
)
def test_weights_of_adam(name, loss, factored, tables, monkeypatch):
    train, validation = tables
    model = make(getattr(whence, name), {"loss": loss, "positions": "last"}).fit(
        train, checkpoints=1
    )
    queries = query_examples(model, validation)
    names = [name for name, _ in model.module_.named_parameters()]
    want = tracin(model, queries, scale=second_moments(model, names, factored))
    weighting = "adam-factored" if factored else "adam"
    for overhead in (64, -(10**9)):
        monkeypatch.setattr(factors, "_PER_PRODUCT", overhead)
        method = TracIn(weighting=weighting, precision="float64")
        # Moments are kept in float32, and Adam's eps makes P large where they are small.
        close(method.matrix(model, queries), want, 1e-5)
        close(method.attribute(model, queries).scores, want.sum(1), 1e-5)


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ("last", ["output.weight", "output.bias"]),
        ("embedding", ["embedding.weight"]),
        (["lstm"], None),
        (["lstm.bias_hh_l0", "output.bias"], None),
        ("output.weight", ["output.weight"]),
    ],
)
def test_layers(layers, wanted, lstm, sessions):
    queries = query_examples(lstm, sessions[1])
    method = TracIn(weighting="sgd", layers=layers, precision="float64")
    values = method.attribute(lstm, queries)
    names = values.metadata["parameters"]
    assert wanted is None or names == wanted
    want = tracin(lstm, queries, names=names)
    close(method.matrix(lstm, queries), want, 1e-9)
    close(values.scores, want.sum(1), 1e-9)


def test_cosine(lstm, sessions):
    queries = query_examples(lstm, sessions[1])
    want = tracin(lstm, queries, cosine=True)
    method = TracIn(weighting="sgd", normalise="cosine", precision="float64")
    close(method.matrix(lstm, queries), want, 1e-8)
    close(method.attribute(lstm, queries).scores, want.sum(1), 1e-8)


def test_self_influence(lstm):
    want = np.diag(tracin(lstm, lstm.examples_))
    close(TracIn(weighting="sgd", precision="float64").self_influence(lstm).scores, want, 1e-9)
    close(TracIn(weighting="sgd").self_influence(lstm).scores, want, 1e-5)
