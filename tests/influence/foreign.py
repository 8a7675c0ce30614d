"""Modules that are not Whence's, with the little that influence needs of a model."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Batches:
    """Examples of tokens with a target."""

    def __init__(self, n, length=4, n_tokens=9, seed=0):
        stream = torch.Generator().manual_seed(seed)
        self.tokens = torch.randint(0, n_tokens, (n, length), generator=stream)
        self.target = torch.randint(0, n_tokens, (n,), generator=stream)

    def __len__(self):
        return len(self.target)

    def batch(self, numbers, epoch=0):
        chosen = torch.from_numpy(numbers)
        return {"tokens": self.tokens[chosen], "label": self.target[chosen]}


class Model:
    """A module with its examples and the cross-entropy of what it returns."""

    def __init__(self, module, learning_rate=0.1):
        torch.manual_seed(0)
        self.module_ = module
        self.examples_ = Batches(12)
        if learning_rate is not None:
            self.learning_rate = learning_rate

    def example_loss(self, batch):
        scores = self.module_(batch["tokens"])
        return functional.cross_entropy(scores, batch["label"], reduction="none")


class Everything(nn.Module):
    """Many ways of using parameters: twice, in parts, transposed, for all places at once."""

    def __init__(self, n_tokens=9, dim=6):
        super().__init__()
        self.tokens = nn.Embedding(n_tokens, dim, padding_idx=2)
        self.places = nn.Parameter(torch.randn(4, dim))
        self.scale = nn.Parameter(torch.randn(dim))
        self.shared = nn.Linear(dim, dim)
        self.gru = nn.GRU(dim, dim, 2, batch_first=True)
        self.lstm = nn.LSTM(dim, dim, bias=False)
        self.norm = nn.LayerNorm(dim)
        self.split = nn.Parameter(torch.randn(dim, 2 * dim))
        self.offset = nn.Parameter(torch.randn(n_tokens))

    def forward(self, tokens):
        dim = self.scale.shape[0]
        x = self.tokens(tokens) * self.scale + self.places
        x = torch.tanh(self.shared(torch.tanh(self.shared(x))))
        x = x + self.gru(x)[0]
        x = x + self.lstm(x.transpose(0, 1))[0].transpose(0, 1)
        x = self.norm(x).sum(1) + functional.linear(x[:, 0], self.split[:, dim:])
        x = x @ self.split[:, :dim] + self.split[0, :dim] * x
        return x @ self.tokens.weight.t() + self.offset[tokens].sum(1, keepdim=True) + self.offset


class Convolution(nn.Module):
    """Has a layer for which there is no rule."""

    def __init__(self, n_tokens=9, dim=4):
        super().__init__()
        self.tokens = nn.Embedding(n_tokens, dim)
        self.blur = nn.ConvTranspose1d(dim, dim, 3)
        self.output = nn.Linear(dim, n_tokens)

    def forward(self, tokens):
        x = self.blur(self.tokens(tokens).transpose(1, 2))
        return self.output(x.sum(2))


class Mixing(nn.Module):
    """Puts the rows of the examples into an order that no rule can know."""

    def __init__(self, n_tokens=9, dim=4):
        super().__init__()
        self.tokens = nn.Embedding(n_tokens, dim)
        self.inner = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, n_tokens)

    def forward(self, tokens):
        x = self.tokens(tokens).transpose(0, 1).flatten(0, 1)
        x = torch.tanh(self.inner(x)).view(tokens.shape[1], tokens.shape[0], -1)
        return self.output(x.sum(0))


class LookedUp(nn.Module):
    """Layers that read rows of tables: as they are, a part, and made anew for every batch."""

    def __init__(self, n_tokens=9, dim=4):
        super().__init__()
        self.tokens = nn.Embedding(n_tokens, dim, padding_idx=1)
        self.others = nn.Parameter(torch.randn(n_tokens + 2, dim))
        self.first = nn.LSTM(dim, dim, 2, batch_first=True)
        self.second = nn.LSTM(dim, dim, batch_first=True)
        self.output = nn.Linear(dim, n_tokens)

    def forward(self, tokens):
        x = self.first(self.tokens(tokens))[0]
        y = self.second(functional.embedding(tokens, self.others[:-1]))[0]
        for factor in (2.0, 3.0):
            # One table may get the memory of the other.
            y = y + self.second(functional.embedding(tokens, self.others.detach() * factor))[0]
        return self.output(x[:, -1] + y[:, -1])
