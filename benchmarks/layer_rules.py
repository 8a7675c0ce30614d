"""Gradients of single examples by the rules of layers, beside one example at a time.

Run ``python benchmarks/layer_rules.py``; it prints a table, and with ``--write`` puts it into
``benchmarks/LAYER_RULES_RESULTS.md``. Each module is an embedding of 1,000 items, the layer of 64
units over 20 places, and a linear layer over all items; scores of 1,024 training examples for 32
queries, all parameters, float32, one thread; the least CPU seconds of ``--runs`` runs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from whence.influence import TracIn

RESULTS = Path(__file__).resolve().parent / "LAYER_RULES_RESULTS.md"
N_ITEMS, DIM, LENGTH = 1000, 64, 20


class Examples:
    """Random windows, each with what comes next."""

    def __init__(self, n, seed):
        stream = torch.Generator().manual_seed(seed)
        self.items = torch.randint(0, N_ITEMS, (n, LENGTH), generator=stream)
        self.target = torch.randint(0, N_ITEMS, (n,), generator=stream)

    def __len__(self):
        return len(self.target)

    def batch(self, numbers, epoch=0):
        """Tensors of some of them."""
        chosen = torch.from_numpy(numbers)
        return {"items": self.items[chosen], "next": self.target[chosen]}


class Around(nn.Module):
    """A layer between an embedding and the scores."""

    def __init__(self, layer, use):
        super().__init__()
        self.embedding = nn.Embedding(N_ITEMS, DIM)
        self.layer, self.use = layer, use
        self.output = nn.Linear(DIM, N_ITEMS)

    def forward(self, items):
        """Scores of all items."""
        return self.output(self.use(self.layer, self.embedding(items), items))


class Model:
    """What influence needs of a model."""

    learning_rate = 1.0

    def __init__(self, module, n):
        self.module_, self.examples_ = module, Examples(n, 0)

    def example_loss(self, batch):
        """Cross-entropy of each example."""
        scores = self.module_(batch["items"])
        return functional.cross_entropy(scores, batch["next"], reduction="none")


def last(layer, x, items):
    """The last output of a recurrent layer, both directions added."""
    return layer(x)[0][:, -1].unflatten(1, (-1, DIM)).sum(1)


def packed(layer, x, items):
    """The last state of sequences of several lengths."""
    lengths = items[:, 0] % LENGTH + 1
    sequences = nn.utils.rnn.pack_padded_sequence(
        x, lengths, batch_first=True, enforce_sorted=False
    )
    state = layer(sequences)[1]
    return (state[0] if isinstance(state, tuple) else state)[-1]


def steps(layer, x, items):
    """A cell, step by step."""
    state = None
    for step in x.unbind(1):
        state = layer(step, state)
    return state[0] if isinstance(state, tuple) else state


def channels(layer, x, items):
    """A layer whose channels come first."""
    return layer(x.transpose(1, 2)).mean(2)


def places(layer, x, items):
    """A layer at every place."""
    return layer(x).mean(1)


def attention(layer, x, items):
    """Attention of all places to all."""
    return layer(x, x, x, need_weights=False)[0].mean(1)


LAYERS = {
    "Linear": (lambda: nn.Linear(DIM, DIM), places),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(N_ITEMS, DIM), lambda layer, x, items: layer(items)),
    "LSTM": (lambda: nn.LSTM(DIM, DIM, batch_first=True), last),
    "LSTM, both directions": (
        lambda: nn.LSTM(DIM, DIM, batch_first=True, bidirectional=True),
        last,
    ),
    "LSTM, packed": (
        lambda: nn.LSTM(DIM, DIM, batch_first=True),
        packed,
    ),
    "GRU": (lambda: nn.GRU(DIM, DIM, batch_first=True), last),
    "GRU, both directions": (lambda: nn.GRU(DIM, DIM, batch_first=True, bidirectional=True), last),
    "GRU, packed": (lambda: nn.GRU(DIM, DIM, batch_first=True), packed),
    "RNN": (lambda: nn.RNN(DIM, DIM, batch_first=True), last),
    "LSTMCell": (lambda: nn.LSTMCell(DIM, DIM), steps),
    "GRUCell": (lambda: nn.GRUCell(DIM, DIM), steps),
    "RNNCell": (lambda: nn.RNNCell(DIM, DIM), steps),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(DIM, 4, batch_first=True), attention),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(DIM, 4, 2 * DIM, batch_first=True),
        places,
    ),
    "Conv1d": (lambda: nn.Conv1d(DIM, DIM, 3, padding=1), channels),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(DIM), channels),
    "LayerNorm": (lambda: nn.LayerNorm(DIM), places),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(DIM, DIM)), places),
}


def timed(method, model, queries, runs):
    """Scores, and the least CPU seconds of some runs."""
    best, scores = float("inf"), None
    for _ in range(runs):
        started = time.process_time()
        scores = method.matrix(model, queries)
        best = min(best, time.process_time() - started)
    return scores, best


def main():
    """Print, and write if asked, the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Rules of layers: results",
        "",
        "Made by `python benchmarks/layer_rules.py --write`: CPU seconds of one thread for the",
        "scores of 1,024 training examples and 32 queries; the error is the largest difference",
        f"relative to the largest score. torch {torch.__version__}.",
        "",
        "| layer | by its rule | one example at a time | times faster | error |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, (layer, use) in LAYERS.items():
        torch.manual_seed(0)
        model, queries = Model(Around(layer(), use).eval(), 1024), Examples(32, 1)
        rules = TracIn(checkpoints="final", method="factors", threads=1)
        general = TracIn(checkpoints="final", method="autograd", threads=1)
        scores, fast = timed(rules, model, queries, arguments.runs + 1)
        want, slow = timed(general, model, queries, 2)
        relative = np.abs(scores - want).max() / np.abs(want).max()
        lines.append(f"| {name} | {fast:.3f} | {slow:.2f} | {slow / fast:.1f} | {relative:.0e} |")
        print(lines[-1], flush=True)
    if arguments.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
