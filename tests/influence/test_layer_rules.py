"""The rule of every layer against automatic differentiation of single examples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from brute import at, close, gradients  # noqa: E402
from foreign import Batches, Model  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.utils.rnn import (  # noqa: E402
    PackedSequence,
    pack_padded_sequence,
    pad_packed_sequence,
)

from whence.errors import UnsupportedError, WhenceWarning  # noqa: E402
from whence.influence import TracIn, TracInRandomProjection, capture  # noqa: E402
from whence.influence.layers import registry  # noqa: E402
from whence.influence.per_example import PerExample  # noqa: E402

N_TOKENS, DIM, LENGTH = 9, 6, 4
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*nested tensor")


class Around(nn.Module):
    """An embedding before and a linear layer after what is tested."""

    def __init__(self, middle, width=DIM):
        super().__init__()
        self.tokens = nn.Embedding(N_TOKENS, DIM)
        self.middle = middle
        self.output = nn.Linear(width, N_TOKENS)

    def forward(self, tokens):
        return self.output(self.through(self.tokens(tokens), tokens).flatten(1))

    def through(self, x, tokens):
        return self.middle(x)


class Last(Around):
    """Recurrent layers: their states at the end, and a sum of all outputs."""

    def through(self, x, tokens):
        first = self.middle.batch_first
        out, last = self.middle(x if first else x.transpose(0, 1))
        out = out if first else out.transpose(0, 1)
        lasts = last if isinstance(last, tuple) else (last,)
        every = [part.transpose(0, 1).flatten(1) for part in lasts]
        return torch.cat([out.sum(1), *every], 1)


class Packed(Around):
    """Sequences of several lengths, in no order of their lengths."""

    in_between = False

    def through(self, x, tokens):
        lengths = tokens[:, 0] % LENGTH + 1
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, last = self.middle(packed)
        if self.in_between:
            data = self.output(functional.pad(out.data, (0, self.output.in_features - DIM)))
            out = PackedSequence(torch.tanh(data), *out[1:])
        out = pad_packed_sequence(out, batch_first=True)[0]
        lasts = last if isinstance(last, tuple) else (last,)
        return torch.cat([out.sum(1), *(part.transpose(0, 1).flatten(1) for part in lasts)], 1)


class PackedNumbers(Around):
    """Numbers that are packed before they are looked up."""

    def through(self, x, tokens):
        lengths = tokens[:, 0] % LENGTH + 1
        packed = pack_padded_sequence(tokens, lengths, batch_first=True, enforce_sorted=False)
        rows = PackedSequence(self.tokens(packed.data), *packed[1:])
        return self.middle(rows)[1][-1]


class Steps(Around):
    """A cell, step by step."""

    def through(self, x, tokens):
        state = None
        for step in x.unbind(1):
            state = self.middle(step, state)
        return torch.cat(state, 1) if isinstance(state, tuple) else state


class Attention(Around):
    """Attention of a query to other keys, with masks."""

    def __init__(self, need_weights=True, causal=True, padded=True, same=True, **arguments):
        super().__init__(nn.MultiheadAttention(DIM, 2, **arguments), LENGTH * DIM)
        self.need_weights, self.causal, self.padded = need_weights, causal, padded
        self.same = same
        if arguments.get("kdim"):
            self.wider = nn.Linear(DIM, arguments["kdim"])

    def through(self, x, tokens):
        other = x if self.same else torch.tanh(x).flip(1)
        if hasattr(self, "wider"):
            other = self.wider(other)
        mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1) if self.causal else None
        padding = None
        if self.padded:
            padding = torch.arange(LENGTH) > (tokens[:, 0] % LENGTH).unsqueeze(1)
        first = self.middle.batch_first
        given = [x, other, other] if first else [t.transpose(0, 1) for t in (x, other, other)]
        if self.same:
            given = [given[0]] * 3
        out, weights = self.middle(
            *given, attn_mask=mask, key_padding_mask=padding, need_weights=self.need_weights
        )
        out = out if first else out.transpose(0, 1)
        return out if weights is None else out * weights.sum(2, keepdim=True)


class Encoder(Around):
    """Layers of a transformer, one above the other."""

    def __init__(self, layers=1, masked=True, **arguments):
        arguments = {"batch_first": True, "dropout": 0.1, **arguments}
        layer = nn.TransformerEncoderLayer(DIM, 2, 5, **arguments)
        middle = layer if layers == 1 else nn.TransformerEncoder(layer, layers)
        super().__init__(middle)
        self.first, self.masked = arguments["batch_first"], masked

    def through(self, x, tokens):
        mask = nn.Transformer.generate_square_subsequent_mask(LENGTH).to(x.dtype)
        padding = torch.arange(LENGTH) > (tokens[:, 0] % LENGTH).unsqueeze(1)
        name = "src_mask" if isinstance(self.middle, nn.TransformerEncoderLayer) else "mask"
        given = {name: mask, "src_key_padding_mask": padding} if self.masked else {}
        out = self.middle(x if self.first else x.transpose(0, 1), **given)
        return out[:, -1] if self.first else out[-1]


class Bags(Around):
    """Bags of numbers, beside each other or one after the other."""

    def __init__(self, mode="sum", offsets=False, weights=False, **arguments):
        super().__init__(nn.EmbeddingBag(N_TOKENS, DIM, mode=mode, **arguments))
        self.offsets, self.weights = offsets, weights

    def through(self, x, tokens):
        weights = x[:, :, 0] if self.weights else None
        if not self.offsets:
            return self.middle(tokens, per_sample_weights=weights)
        sizes = tokens[:, 0] % LENGTH
        inside = torch.arange(LENGTH) < sizes.unsqueeze(1)
        starts = sizes.cumsum(0) - sizes
        weights = None if weights is None else weights[inside]
        return self.middle(tokens[inside], starts, per_sample_weights=weights)


class Channels(Around):
    """Layers whose channels come before the places."""

    def through(self, x, tokens):
        return self.middle(x.transpose(1, 2)).flatten(2).mean(2)


class Flat(Around):
    """Layers of rows."""

    def through(self, x, tokens):
        return self.middle(x.flatten(0, 1)).view(len(x), LENGTH, -1).sum(1)


class Pictures(Around):
    """A convolution over places and channels."""

    def through(self, x, tokens):
        return self.middle(x.unsqueeze(1)).flatten(2).amax(2)


class Shared(Around):
    """One layer twice, and one whose weights belong to another as well."""

    def __init__(self):
        super().__init__(nn.Linear(DIM, DIM))
        self.tied = nn.Linear(DIM, DIM, bias=False)
        self.tied.weight = self.middle.weight
        self.rows = nn.Conv1d(DIM, DIM, 2, padding="same")

    def through(self, x, tokens):
        x = torch.tanh(self.middle(torch.tanh(self.middle(x))))
        x = self.rows(self.rows(x.transpose(1, 2))).transpose(1, 2)
        return self.tied(x).sum(1)


class Made(Around):
    """Weights that are made of parameters: a product of two, a part of one, a gate."""

    def __init__(self):
        super().__init__(nn.ParameterDict())
        self.middle["left"] = nn.Parameter(torch.randn(DIM, 2))
        self.middle["right"] = nn.Parameter(torch.randn(2, 2 * DIM))
        self.middle["gate"] = nn.Parameter(torch.randn(DIM))

    def through(self, x, tokens):
        weight = self.middle["left"] @ self.middle["right"][:, DIM:]
        return functional.linear(x, weight).sum(1) * torch.sigmoid(self.middle["gate"])


class FirstSteps(Around):
    """Places before examples, through layers that do not care."""

    def through(self, x, tokens):
        x = x.transpose(0, 1)
        x = self.middle(x) + self.tokens.weight[:LENGTH].unsqueeze(1) * 0.1
        return x[1:].sum(0) + x[0]


def normed(layer):
    """A batch norm that has seen something."""
    stream = torch.Generator().manual_seed(1)
    layer.running_mean = torch.randn(DIM, generator=stream)
    layer.running_var = torch.rand(DIM, generator=stream) + 0.5
    return layer


def recurrent(kind, width, module=Last, **arguments):
    return module(kind(DIM, DIM, batch_first=True, **arguments), width)


CASES = {
    "linear": lambda: Around(nn.Sequential(nn.Linear(DIM, DIM), nn.Tanh()), LENGTH * DIM),
    "no bias": lambda: Around(nn.Linear(DIM, DIM, bias=False), LENGTH * DIM),
    "gru": lambda: recurrent(nn.GRU, 3 * DIM, num_layers=2),
    "gru both ways": lambda: recurrent(nn.GRU, 6 * DIM, num_layers=2, bidirectional=True),
    "gru steps first": lambda: Last(nn.GRU(DIM, DIM, bias=False), 2 * DIM),
    "gru packed": lambda: recurrent(nn.GRU, 2 * DIM, Packed),
    "gru packed both ways": lambda: recurrent(
        nn.GRU, 6 * DIM, Packed, num_layers=2, bidirectional=True
    ),
    "gru of packed numbers": lambda: recurrent(nn.GRU, DIM, PackedNumbers),
    "lstm": lambda: recurrent(nn.LSTM, 5 * DIM, num_layers=2, dropout=0.5),
    "lstm both ways": lambda: recurrent(nn.LSTM, 6 * DIM, bidirectional=True, bias=False),
    "lstm packed": lambda: recurrent(nn.LSTM, 5 * DIM, Packed, num_layers=2),
    "lstm packed both ways": lambda: recurrent(nn.LSTM, 6 * DIM, Packed, bidirectional=True),
    "rnn": lambda: recurrent(nn.RNN, 3 * DIM, num_layers=2),
    "rnn relu both ways": lambda: recurrent(
        nn.RNN, 4 * DIM, nonlinearity="relu", bidirectional=True
    ),
    "rnn packed": lambda: recurrent(nn.RNN, 2 * DIM, Packed),
    "gru cell": lambda: Steps(nn.GRUCell(DIM, DIM)),
    "lstm cell": lambda: Steps(nn.LSTMCell(DIM, DIM, bias=False), 2 * DIM),
    "rnn cell": lambda: Steps(nn.RNNCell(DIM, DIM)),
    "rnn relu cell": lambda: Steps(nn.RNNCell(DIM, DIM, nonlinearity="relu")),
    "attention": lambda: Attention(batch_first=True),
    "attention, places first": lambda: Attention(need_weights=False),
    "attention without masks": lambda: Attention(
        need_weights=False, causal=False, padded=False, batch_first=True, bias=False
    ),
    "attention to others": lambda: Attention(same=False, batch_first=True),
    "attention to wider others": lambda: Attention(
        same=False, kdim=DIM + 2, vdim=DIM + 2, batch_first=True
    ),
    "encoder": lambda: Encoder(),
    "encoder, norm first": lambda: Encoder(norm_first=True, activation="gelu"),
    "encoder, places first": lambda: Encoder(batch_first=False),
    "encoder without masks": lambda: Encoder(masked=False, bias=False),
    "two encoders": lambda: Encoder(layers=2),
    "bag": lambda: Bags(),
    "bag, mean": lambda: Bags("mean", padding_idx=2),
    "bag, largest": lambda: Bags("max", padding_idx=3),
    "bag, weighted": lambda: Bags(weights=True),
    "bag of offsets": lambda: Bags(offsets=True, weights=True, padding_idx=1),
    "bag of offsets, mean": lambda: Bags("mean", offsets=True),
    "bag of offsets, largest": lambda: Bags("max", offsets=True),
    "convolution": lambda: Channels(nn.Conv1d(DIM, DIM, 3, padding=1)),
    "convolution by groups": lambda: Channels(
        nn.Conv1d(DIM, DIM, 2, groups=3, dilation=2, bias=False)
    ),
    "convolution of circles": lambda: Channels(
        nn.Conv1d(DIM, DIM, 2, stride=2, padding=1, padding_mode="circular")
    ),
    "convolution, same": lambda: Channels(nn.Conv1d(DIM, DIM, 2, padding="same")),
    "convolution of pictures": lambda: Pictures(nn.Conv2d(1, DIM, (2, 3), padding=(1, 0))),
    "layer norm": lambda: Around(nn.LayerNorm(DIM), LENGTH * DIM),
    "layer norm, no bias": lambda: Around(nn.LayerNorm(DIM, bias=False), LENGTH * DIM),
    "rms norm": lambda: Around(nn.RMSNorm(DIM), LENGTH * DIM),
    "group norm": lambda: Channels(nn.GroupNorm(2, DIM)),
    "batch norm": lambda: Channels(normed(nn.BatchNorm1d(DIM))),
    "batch norm of rows": lambda: Flat(normed(nn.BatchNorm1d(DIM))),
    "weight norm": lambda: Around(
        nn.utils.parametrizations.weight_norm(nn.Linear(DIM, DIM)), LENGTH * DIM
    ),
    "weight norm, old": lambda: Channels(nn.utils.weight_norm(nn.Conv1d(DIM, DIM, 2), dim=1)),
    "spectral norm": lambda: Around(
        nn.utils.parametrizations.spectral_norm(nn.Linear(DIM, DIM)), LENGTH * DIM
    ),
    "shared": Shared,
    "made of parameters": Made,
    "places first": lambda: FirstSteps(nn.Sequential(nn.Linear(DIM, DIM), nn.LayerNorm(DIM))),
}


def made(name):
    torch.manual_seed(3)
    model = Model(CASES[name]())
    for parameter in model.module_.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize("name", CASES)
def test_rule(name):
    model, queries = made(name), Batches(5, seed=1)
    here = at(model)
    train, asked = gradients(here, model.examples_, 12, 0), gradients(here, queries, 5)
    want = 0.1 * train @ asked.T
    for batch_size in (12, 5):
        method = TracIn(
            checkpoints="final", precision="float64", method="factors", batch_size=batch_size
        )
        close(method.matrix(model, queries), want, 1e-9)
    values = method.attribute(model, queries)
    close(values.scores, want.sum(1), 1e-9)
    assert "by_autograd" not in values.metadata
    close(method.self_influence(model).scores, 0.1 * np.square(train).sum(1), 1e-9)
    single = TracIn(checkpoints="final", method="factors").matrix(model, queries)
    close(single, want, 2e-4)


def test_every_rule_is_tested(monkeypatch):
    used = set()

    def seen(function):
        rule = registry.rule_of(function)
        if rule is not None:
            used.add(registry._origin(rule))
        return rule

    monkeypatch.setattr(capture, "rule_of", seen)
    # These are of test_foreign_modules.
    used |= {
        ("whence.influence.layers.embedding", name) for name in ("index_select", "pad", "getitem")
    }
    used |= {("whence.influence.layers.linear", "addmm")}
    for name in CASES:
        model = made(name)
        batch = model.examples_.batch(np.arange(3))
        model.module_.requires_grad_(False).eval()
        capture.gradients(model.example_loss, model.module_, batch, [
            name for name, _ in model.module_.named_parameters()
        ])  # fmt: skip
    rules = {registry._origin(rule) for rule in registry._RULES.values()}
    assert {rule for rule in rules if rule[0].startswith("whence.")} <= used


class Foreign(Around):
    """A layer without a rule between others, of which one is used in an unforeseen way."""

    def __init__(self):
        super().__init__(nn.Bilinear(DIM, DIM, DIM))
        self.mixed = nn.Linear(DIM, DIM)
        self.deep = nn.GRU(DIM, DIM, batch_first=True)

    def through(self, x, tokens):
        x = self.deep(self.middle(x, x))[0]
        mixed = self.mixed(x.transpose(0, 1).flatten(0, 1))
        return torch.tanh(mixed).view(LENGTH, len(x), -1).sum(0)


class Squared(Around):
    """Ends in a layer without a rule."""

    def __init__(self, middle):
        super().__init__(middle)
        self.output = nn.Bilinear(DIM, DIM, N_TOKENS)

    def forward(self, tokens):
        x = self.middle(self.tokens(tokens)).sum(1)
        return self.output(x, x)


class Changing(Around):
    """Changes what a layer gave in place."""

    def through(self, x, tokens):
        y = self.middle(x)
        y *= 2.0
        return y.sum(1)


@pytest.mark.parametrize(
    ("module", "alone"),
    [
        # After rows in an order that nobody can follow there is no rule.
        (Foreign, {f"{a}.{b}" for a in ("middle", "mixed", "output") for b in ("weight", "bias")}),
        (lambda: Changing(nn.Linear(DIM, DIM)), {"middle.weight", "middle.bias"}),
        (lambda: Around(nn.Linear(DIM, DIM), LENGTH * DIM), set()),
    ],
)
def test_what_has_no_rule_is_done_one_by_one(module, alone):
    torch.manual_seed(1)
    model, queries = Model(module()), Batches(5, seed=1)
    here = at(model)
    train, asked = gradients(here, model.examples_, 12, 0), gradients(here, queries, 5)
    want = 0.1 * train @ asked.T
    exact = {"checkpoints": "final", "precision": "float64", "threads": 2, "batch_size": 4}
    method, general = TracIn(**exact), TracIn(method="autograd", **exact)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        close(method.matrix(model, queries), want, 1e-9)
    assert any("have no rule" in str(one.message) for one in told) == bool(alone)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = method.attribute(model, queries)
    close(values.scores, want.sum(1), 1e-9)
    assert set(values.metadata.get("by_autograd", [])) == alone
    close(general.matrix(model, queries), want, 1e-9)


@pytest.mark.parametrize("method", ["auto", "factors", "autograd"])
def test_what_looks_at_the_batch_is_refused(method):
    model = Model(Around(nn.Linear(DIM, DIM), LENGTH * DIM))
    model.module_.middle = nn.BatchNorm1d(LENGTH, track_running_stats=False)
    with pytest.raises(UnsupportedError, match="depends on the batch"):
        TracIn(checkpoints="final", method=method).matrix(model, Batches(5, seed=1))


def test_the_last_layer_is_found_without_rules():
    model = Model(Squared(nn.Linear(DIM, DIM)))
    with pytest.warns(WhenceWarning, match="2 of 2 parameters"):
        values = TracIn(checkpoints="final", layers="last").attribute(model, Batches(5, seed=1))
    assert values.metadata["parameters"] == ["output.weight", "output.bias"]


def test_sketches_of_what_has_no_rule():
    torch.manual_seed(1)
    model, queries = Model(Foreign()), Batches(5, seed=1)
    sketches = TracInRandomProjection(dimension=10**6, checkpoints="final", precision="float64")
    exact = TracIn(checkpoints="final", precision="float64")
    with pytest.warns(WhenceWarning, match="have no rule"):
        close(sketches.matrix(model, queries), exact.matrix(model, queries), 1e-9)


def test_every_way_gives_the_same_gradients():
    model = at(made("encoder"))
    model.module_.requires_grad_(False)
    state = type("State", (), {"model": model, "module": model.module_})()
    batch = model.examples_.batch(np.arange(6))
    names = [name for name, _ in model.module_.named_parameters()]
    for method in ("factors", "autograd"):
        found = PerExample(names, method)
        found.prepare(state, {name: part[:3] for name, part in batch.items()})
        blocks, losses = found.of(state, batch, fuse=False)
        assert set(blocks) == {(name,) for name in names}
        for number in range(6):
            one = {name: part[number : number + 1] for name, part in batch.items()}
            assert losses[number].item() == pytest.approx(model.example_loss(one).item())
