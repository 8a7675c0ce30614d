"""Any object with fit and recommend in Whence: evaluated, and its training data valued."""

from collections import Counter, defaultdict
from itertools import pairwise

import whence
from whence.models.adapters import Wrapped


class NextClicks:
    """What was clicked after the last item of the history, most often first."""

    def fit(self, table):
        """Learn from a table with the columns session_id and item_id, in order of time."""
        self.after = defaultdict(Counter)
        for session in table.partition_by("session_id", maintain_order=True):
            items = session["item_id"].to_list()
            for item, following in pairwise(items):
                self.after[item][following] += 1

    def recommend(self, histories, k):
        """Return a list of at most k item ids for each history, a list of item ids."""
        return [
            [item for item, _ in self.after[history[-1]].most_common(k)] for history in histories
        ]


data = whence.make_sessions(n_sessions=300, n_validation=100, n_test=100, seed=1)
model = Wrapped(NextClicks()).fit(data.train)

history = data.validation.item_ids.to_list()[:1]
items, ranks = model.recommend(history, k=3)
print(f"After {history}:", items.tolist())
print(whence.evaluate(model, data.validation, ["mrr@20", "recall@20"]))

# It is a recommender like any other now: its training sessions can be valued.
suspects = data.train.source_ids.to_list()[:20]
values = whence.RetrainingLeaveOneOut("mrr@20", sources=suspects).attribute(model, data.validation)
print(values.bottom(3))
