"""Any torch module in Whence: trained here, or elsewhere with a numbering of its own.

Needs ``pip install torch``.
"""

import numpy as np
import torch

import whence
from whence.models.adapters import TorchModel


class RecentItems(torch.nn.Module):
    """Scores the next item by a weighted mean of the vectors of the latest items."""

    def __init__(self, n_items, length=10, dim=32):
        super().__init__()
        self.items = torch.nn.Embedding(n_items + 1, dim, padding_idx=n_items)
        self.weights = torch.nn.Parameter(torch.zeros(length))
        self.out = torch.nn.Linear(dim, n_items)

    def forward(self, items, lengths):
        """From items [B, L], the oldest first, and lengths [B] to scores [B, n_items]."""
        last = lengths.unsqueeze(1) - 1 - torch.arange(items.shape[1])
        places = torch.where(last >= 0, self.weights.exp()[last.clamp(min=0)], 0.0)
        return self.out((self.items(items) * places.unsqueeze(2)).sum(1))


data = whence.make_sessions(n_sessions=400, n_validation=100, n_test=100, seed=1)

# Trained here. A function that makes the module lets every fit begin from the seed.
model = TorchModel(
    lambda train: RecentItems(train.n_items),
    max_length=10,
    epochs=15,
    learning_rate=0.01,
    seed=1,
)
model.fit(data.train, validation=data.validation)
print("Trained here:", whence.evaluate(model, data.validation, ["mrr@20", "recall@20"]).scores)

# Trained elsewhere, where items have other numbers: index says which. The weights stay.
numbers = {item: place for place, item in enumerate(model.vocabulary.items.to_list())}
ready = TorchModel(model.module_, trained=True, index=numbers, max_length=10).fit(data.train)
print("Trained elsewhere:", whence.evaluate(ready, data.validation, ["mrr@20"]).scores)

# It has a loss for each training example, which attributions start from.
examples = np.arange(len(ready.examples_))
with torch.no_grad():
    losses = ready.example_loss(ready.examples_.batch(examples))
rows, offsets = ready.examples_.rows(examples)
hardest = int(losses.argmax())
print("Hardest to predict: the last of these clicks")
print(ready.train_.frame[rows[offsets[hardest] : offsets[hardest + 1]].tolist()])
