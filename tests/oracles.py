"""Slow and obviously right versions of what Whence computes, written from the definitions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import polars as pl

from whence import Interactions, make_queries
from whence.evaluation import parse_metric
from whence.evaluation.metrics import values_from_lists

METRICS = (
    "mrr@3",
    "hitrate@2",
    "precision@3",
    "recall@3",
    "f1@3",
    "ndcg@3",
    "map@3",
    "st@3",
    "sustainablemrr@3",
    "sustainablendcg@3",
)


def random_sessions(rng, n_sessions, n_items, longest=5, n_times=12, first_id=0):
    """A table of sessions with many ties: few items, few moments, repeated clicks."""
    rows = [
        (f"s{first_id + session}", int(rng.integers(n_items)), int(rng.integers(n_times)))
        for session in range(n_sessions)
        for _ in range(int(rng.integers(1, longest + 1)))
    ]
    return pl.DataFrame(rows, schema=["session_id", "item_id", "timestamp"], orient="row")


def random_baskets(rng, n_users, n_items, most_baskets=4, largest=4, first_basket=0):
    """A table of baskets with few items; users have different numbers of baskets."""
    rows = []
    basket = first_basket
    for user in rng.permutation(n_users):
        for _ in range(int(rng.integers(1, most_baskets + 1))):
            size = int(rng.integers(1, largest + 1))
            rows += [(f"u{user}", basket, int(i)) for i in rng.integers(n_items, size=size)]
            basket += 1
    return pl.DataFrame(rows, schema=["user_id", "basket_id", "item_id"], orient="row")


def naive_vmis(train: Interactions, history: list, k: int, m: int, length: int) -> list:
    """VMIS-kNN by the definition; exact fractions, dictionaries, no index."""
    numbers = {item: n for n, item in enumerate(train.vocabulary.items.to_list())}
    history = [item for item in history if item in numbers]
    if not history:
        return []
    session_number = {s: n for n, s in enumerate(train.vocabulary.sources.to_list())}
    order = train.frame
    sessions = {}
    for session, item, moment in order.select("session_id", "item_id", "timestamp").iter_rows():
        items, last = sessions.get(session, (set(), None))
        sessions[session] = (items | {item}, moment if last is None else max(last, moment))
    recency = {item: list(reversed(history)).index(item) for item in set(history)}
    decay = {i: Fraction(len(history) - r, len(recency)) for i, r in recency.items()}
    recent_first = sorted(
        (s for s, (items, _) in sessions.items() if items & set(history)),
        key=lambda s: (sessions[s][1], session_number[s]),
        reverse=True,
    )[:m]
    similarity = {s: sum(decay[i] for i in sessions[s][0] & set(history)) for s in recent_first}
    neighbours = sorted(recent_first, key=lambda s: (-similarity[s], recent_first.index(s)))[:k]
    scores: dict = {}
    for s in neighbours:
        p = 1 + min(recency[i] for i in sessions[s][0] & set(history))
        weight = 1 - Fraction(p, 10) if p <= 9 else Fraction(0)
        for item in sessions[s][0]:
            scores[item] = scores.get(item, 0) + weight * similarity[s]
    scores.pop(history[-1], None)
    ranked = sorted((i for i in scores if scores[i] > 0), key=lambda i: (-scores[i], numbers[i]))
    return [(item, float(scores[item])) for item in ranked[:length]]


def naive_user_vector(baskets: list[set], m, r_b, r_g, grouping) -> dict:
    """A user's vector by equations 1 and 2 of the paper."""
    t = len(baskets)
    if t >= m:
        size, longer = divmod(t, m)
        sizes = [size] * (m - longer) + [size + 1] * longer
        n_groups = m
    elif grouping == "paper":
        sizes, n_groups = [1] * t, t
    else:
        sizes, n_groups = [t], m
    vector: dict = {}
    start = 0
    for i, x in enumerate(sizes, start=1):
        for j, basket in enumerate(baskets[start : start + x], start=1):
            weight = r_b ** (x - j) / x * r_g ** (n_groups - i) / n_groups
            for item in basket:
                vector[item] = vector.get(item, 0.0) + weight
        start += x
    return vector


def on_grid(value):
    """Distances compare vectors in steps of 2**-24."""
    return round(value * 2**24)


def naive_tifu(train: Interactions, user, model, length: int) -> list:
    """TIFU-kNN by the definition: (item, score) pairs, best first, all with a score above 0."""
    numbers = {item: n for n, item in enumerate(train.vocabulary.items.to_list())}
    user_number = {u: n for n, u in enumerate(train.vocabulary.sources.to_list())}
    baskets: dict = {}
    for u, basket, item in train.frame.select("user_id", "basket_id", "item_id").iter_rows():
        baskets.setdefault(u, {}).setdefault(basket, set()).add(item)
    vectors = {
        u: naive_user_vector([own[b] for b in sorted(own)], model.m, model.r_b, model.r_g,
                             model.grouping)
        for u, own in baskets.items()
    }  # fmt: skip
    if user not in vectors:
        return []
    own = vectors[user]

    def distance(other):
        vector = vectors[other]
        if model.similarity == "jaccard":
            return -Fraction(len(own.keys() & vector.keys()), len(own.keys() | vector.keys()))
        items = own.keys() | vector.keys()
        return sum((on_grid(own.get(i, 0)) - on_grid(vector.get(i, 0))) ** 2 for i in items)

    others = [u for u in vectors if u != user]
    if model.similarity == "jaccard":
        others = [u for u in others if distance(u) < 0]
    nearest = sorted(others, key=lambda u: (distance(u), user_number[u]))[: model.k]
    scores = {item: model.alpha * value for item, value in own.items()}
    for other in nearest:
        for item, value in vectors[other].items():
            scores[item] = scores.get(item, 0.0) + (1 - model.alpha) * value / len(nearest)
    ranked = sorted(
        (i for i in scores if scores[i] > 1e-11), key=lambda i: (-scores[i], numbers[i])
    )
    return [(item, scores[item]) for item in ranked[:length]]


class RefittedGame:
    """Values of every coalition of training sources, by refitting the model on each."""

    def __init__(self, model, validation, sustainable, length=3):
        self.model, self.train = model, model.train_
        self.queries = make_queries(model, validation)
        self.sustainable = sustainable
        self.n = self.train.n_sources
        self.lists = np.stack([self._lists(mask, length) for mask in range(1 << self.n)])

    def _lists(self, mask, length):
        if mask == 0:
            return np.full((len(self.queries), length), -1, dtype=np.int32)
        return self.refit(mask).recommend_codes(self.queries, length)[0]

    def refit(self, mask):
        kept = np.array([mask >> source & 1 for source in range(self.n)], dtype=bool)
        train = self.train.keep_sources(kept)
        return type(self.model)(**self.model.params).fit(train)

    def values(self, metric):
        """Value of every coalition for every query; float64 (2**n, Q)."""
        metric = parse_metric(metric, sustainable_items=self.sustainable)
        mask = metric.sustainable_codes(self.model.vocabulary)
        cut = [lists[:, : metric.k] for lists in self.lists]
        return np.stack([values_from_lists(metric, lists, self.queries, mask) for lists in cut])

    def own(self, query):
        return int(self.queries.users[query])

    def candidates(self, query):
        """The sources that are candidates of a query under the full data, and the own user."""
        model = self.model
        if self.train.kind == "baskets":
            one = type(model)(**{**model.params, "alpha": 0.0})
            own = self.own(query)
            found = [
                other
                for other in range(self.n)
                if other != own and self._is_neighbour(one, own, other)
            ]
            return self._nearest(own, found)
        history = set(
            self.queries.history_items[
                self.queries.history_start[query] : self.queries.history_end[query]
            ].tolist()
        )
        matching = [
            source
            for source in range(self.n)
            if history
            & set(
                self.train.sequences.items[
                    self.train.sequences.offsets[source] : self.train.sequences.offsets[source + 1]
                ].tolist()
            )
        ]
        return sorted(matching, key=lambda s: -self.train.recency[s])[: model.m]

    def _items(self, user):
        sequences = self.train.sequences
        return set(sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].tolist())

    def _is_neighbour(self, model, own, other):
        if own < 0:
            return False
        return model.similarity == "euclidean" or bool(self._items(own) & self._items(other))

    def _nearest(self, own, others):
        if self.model.similarity != "jaccard":
            ids = self.train.vocabulary.sources.to_list()
            pairs = {o: self._euclidean(ids[own], ids[o]) for o in others}
            return sorted(others, key=lambda o: (pairs[o], o))[: self.model.k]

        def jaccard(o):
            a, b = self._items(own), self._items(o)
            return Fraction(len(a & b), len(a | b))

        return sorted(others, key=lambda o: (-jaccard(o), o))[: self.model.k]

    def _euclidean(self, a, b):
        def vector(u):
            rows = self.train.frame.filter(pl.col("user_id") == u)
            baskets: dict = {}
            for basket, item in rows.select("basket_id", "item_id").iter_rows():
                baskets.setdefault(basket, set()).add(item)
            m = self.model
            return naive_user_vector(
                [baskets[x] for x in sorted(baskets)], m.m, m.r_b, m.r_g, m.grouping
            )

        x, y = vector(a), vector(b)
        items = x.keys() | y.keys()
        return sum((on_grid(x.get(i, 0)) - on_grid(y.get(i, 0))) ** 2 for i in items)


def semivalue(value, players, weight):
    """Semivalues of a game by enumeration; ``weight(s, n)`` of one coalition of size s."""
    n = len(players)
    result = dict.fromkeys(players, 0.0)
    for player in players:
        others = [p for p in players if p != player]
        for size in range(n):
            for coalition in itertools.combinations(others, size):
                gain = value({*coalition, player}) - value(set(coalition))
                result[player] += weight(size, n) * gain
    return result


def shapley_weight(s, n):
    return 1 / (n * math.comb(n - 1, s))


def banzhaf_weight(s, n):
    return 0.5 ** (n - 1)


def beta_weight(alpha, beta):
    def log_beta(a, b):
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    return lambda s, n: math.exp(log_beta(s + beta, n - 1 - s + alpha) - log_beta(alpha, beta))
