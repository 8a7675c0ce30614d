"""Explanations by the definition: one history at a time, every subset, no trie and no batches."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
from oracles import random_baskets, random_sessions

import whence

SMALL = {
    "LSTMRec": {"embedding_dim": 6, "hidden_dim": 5, "num_layers": 2},
    "GRU4Rec": {"embedding_dim": 6, "hidden_dim": 5, "num_layers": 2, "dropout": 0.4},
    "SASRec": {"embedding_dim": 6, "num_heads": 2, "num_layers": 2, "dropout": 0.4},
}
N_ITEMS = 12


def neural(name, **options):
    options = {"epochs": 2, "batch_size": 8, "max_length": 10, "learning_rate": 0.05, **options}
    train = random_sessions(np.random.default_rng(1), 40, N_ITEMS)
    return getattr(whence, name)(**SMALL[name], **options).fit(train)


def knn(name):
    if name == "TIFUKNN":
        return whence.TIFUKNN(k=5, m=2).fit(random_baskets(np.random.default_rng(2), 20, N_ITEMS))
    train = random_sessions(np.random.default_rng(1), 40, N_ITEMS)
    options = {"VMISKNN": {"k": 10, "m": 20}}.get(name, {})
    return getattr(whence, name)(**options).fit(train)


def naive_scores(model, codes):
    """Raw scores of all items after item numbers; n_items: padding, n_items + 1: the mean."""
    import torch

    if not hasattr(model, "module_"):
        return naive_knn_scores(model, codes)
    module = model.module_.eval()
    if any(code == model.n_items + 1 for code in codes):
        table = module.embedding.weight.detach()
        counts = np.bincount(model.train_.item_codes, minlength=model.n_items)
        share = torch.tensor(counts / counts.sum(), dtype=table.dtype)
        mean = (share[:, None] * table[: model.n_items]).sum(0, keepdim=True)
        module = copy.deepcopy(module)
        module.embedding = torch.nn.Embedding.from_pretrained(torch.cat([table, mean]))
    with torch.no_grad():
        if codes:
            states = module.states(torch.tensor([codes]), torch.tensor([len(codes)]))[:, -1]
        elif hasattr(module, "gru"):
            states = module.dense(torch.zeros(1, 5))
        elif hasattr(module, "lstm"):
            states = torch.zeros(1, 5)
        else:
            states = module.states(torch.tensor([[model.n_items]]), torch.tensor([1]))[:, -1]
        return module.item_scores(states)[0].double().numpy()


def naive_knn_scores(model, codes):
    if isinstance(model, whence.Popularity):
        return model.counts_.astype(float)
    model = copy.copy(model)
    model.exclude_seen = False  # raw scores, whatever a subset holds
    ids = model.vocabulary.items.to_list()
    return model.score([[ids[code] for code in codes]])[0] if codes else np.zeros(model.n_items)


def naive_top(model, codes, k):
    """The model's k best items that are not in the history."""
    scores = naive_scores(model, list(codes))
    counts = np.bincount(model.train_.item_codes, minlength=model.n_items)
    allowed = [
        item
        for item in range(model.n_items)
        if item not in codes and counts[item] and scores[item] > model.floor
    ]
    return sorted(allowed, key=lambda item: (-scores[item], item))[:k]


def masked(codes, kept, stand_in):
    """A history with the events that are not kept gone, or with something in their place."""
    if stand_in is None:
        return [code for code, there in zip(codes, kept) if there]
    return [code if there else stand_in for code, there in zip(codes, kept)]


def naive_scalar(scores, kind, frozen, item, history):
    if kind == "mean":
        return float(np.mean([scores[i] for i in frozen]))
    if kind == "item":
        return float(scores[item])
    if kind == "log_probability":
        return float(scores[item] - math.log(sum(math.exp(s) for s in scores)))
    if kind == "versus":
        return float(scores[item] - scores[0])
    others = [i for i in range(len(scores)) if i != item and i not in history]
    rank = 1 + sum(scores[i] >= scores[item] for i in others)
    if kind == "rank":
        return float(-rank)
    return 1.0 / rank if rank <= 3 else 0.0


def naive_shapley(n, value):
    """Sum over all subsets, by the formula."""
    known = {
        subset: value([player in subset for player in range(n)])
        for size in range(n + 1)
        for subset in map(frozenset, itertools.combinations(range(n), size))
    }
    phi = np.zeros(n)
    for player in range(n):
        for subset, worth in known.items():
            if player not in subset:
                weight = math.factorial(len(subset)) * math.factorial(n - len(subset) - 1)
                phi[player] += weight / math.factorial(n) * (known[subset | {player}] - worth)
    return phi, known[frozenset(range(n))], known[frozenset()]
