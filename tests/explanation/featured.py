"""Recurrent networks over events with features, by NumPy alone, and cells by the definition."""

from __future__ import annotations

import itertools

import numpy as np

FEATURES = ("item", "hour", "stars")
BASE = {"item": 0, "hour": 12.0, "stars": 3.0}
N_ITEMS = 12


class Recurrent:
    """A plain recurrent network over dictionaries; `step` makes it known as one."""

    def __init__(self, width=6, seed=0):
        rng = np.random.default_rng(seed)
        self.table = rng.normal(size=(N_ITEMS, width))
        self.numbers = rng.normal(size=(2, width)) * [[0.1], [0.5]]
        self.inner = rng.normal(size=(width, width)) / width**0.5
        self.head = rng.normal(size=(width, N_ITEMS))

    def initial_state(self, n):
        return np.zeros((n, len(self.inner)))

    def step(self, state, events):
        inputs = np.array(
            [
                self.table[e["item"]] + np.array([e["hour"] - 12, e["stars"] - 3]) @ self.numbers
                for e in events
            ]
        )
        return np.tanh(state @ self.inner + inputs)

    def scores_from_state(self, state):
        return state @ self.head

    def scores(self, histories):
        found = []
        for history in histories:
            state = self.initial_state(1)
            for event in history:
                state = self.step(state, [event])
            found.append(self.scores_from_state(state)[0])
        return np.array(found)


class Whole:
    """The same network, asked for whole histories only."""

    def __init__(self, inner):
        self.scores = inner.scores


def events(n, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {"item": int(i), "hour": float(h), "stars": float(s)}
        for i, h, s in zip(
            rng.choice(np.arange(1, N_ITEMS), n), rng.integers(0, 24, n), rng.integers(1, 6, n)
        )
    ]


def value_of(model, history, kept, item):
    """Score of an item when only some cells are as they are, bool [L, features]."""
    masked = [
        {name: event[name] if there else BASE[name] for name, there in zip(FEATURES, row)}
        for event, row in zip(history, kept)
    ]
    return float(model.scores([masked])[0, item])


def grouped(length, places, columns, n_pruned=0):
    """Groups of cells as TimeSHAP makes them: cells, by event, by feature, the rest, pruned."""
    rest = [p for p in range(n_pruned, length) if p not in places]
    others = [c for c in range(len(FEATURES)) if c not in columns]
    groups = [list(itertools.product([p], [c])) for p in places for c in columns]
    groups += [list(itertools.product([p], others)) for p in places if others]
    groups += [list(itertools.product(rest, [c])) for c in columns if rest]
    groups += [list(itertools.product(rest, others))] if rest and others else []
    before = list(itertools.product(range(n_pruned), range(len(FEATURES))))
    return [before, *groups] if n_pruned else groups
