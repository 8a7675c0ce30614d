"""A record of what RecBoleModel uses of RecBole, as version 1.2.1 behaves: not RecBole itself.

RecBole pins old versions of its dependencies and cannot be installed beside current ones.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import torch
from torch import nn


class ModelType(Enum):
    GENERAL = 1
    SEQUENTIAL = 2
    TRADITIONAL = 5


class InputType(Enum):
    POINTWISE = 1
    PAIRWISE = 2


class Interaction:
    """A batch: tensors by field."""

    def __init__(self, interaction):
        self.interaction = dict(interaction)

    def __getitem__(self, index):
        if isinstance(index, str):
            return self.interaction[index]
        if isinstance(index, (np.ndarray, torch.Tensor)):
            index = index.tolist()
        return Interaction({name: values[index] for name, values in self.interaction.items()})

    def __contains__(self, name):
        return name in self.interaction

    def __len__(self):
        return max(len(values) for values in self.interaction.values())

    def update(self, other):
        self.interaction.update(other.interaction)

    def add_prefix(self, prefix):
        self.interaction = {prefix + name: v for name, v in self.interaction.items()}

    def to(self, device):
        return Interaction({name: v.to(device) for name, v in self.interaction.items()})


class Config:
    """Settings; None for those that there are none of."""

    def __init__(self, **settings):
        self.settings = {
            "USER_ID_FIELD": "user_id",
            "ITEM_ID_FIELD": "item_id",
            "TIME_FIELD": "timestamp",
            "RATING_FIELD": "rating",
            "LABEL_FIELD": "label",
            "NEG_PREFIX": "neg_",
            "LIST_SUFFIX": "_list",
            "ITEM_LIST_LENGTH_FIELD": "item_length",
            "MAX_ITEM_LIST_LENGTH": 4,
            "MODEL_TYPE": ModelType.GENERAL,
            "MODEL_INPUT_TYPE": InputType.PAIRWISE,
            "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
            "epochs": 2,
            "train_batch_size": 8,
            "learning_rate": 0.01,
            "learner": "adam",
            "weight_decay": 0.0,
            "seed": 7,
            **settings,
        }

    def __getitem__(self, name):
        return self.settings.get(name)


class Dataset:
    """Rows (user, item, time) in numbers from 1 on; 0 is padding."""

    uid_field, iid_field, time_field = "user_id", "item_id", "timestamp"

    def __init__(self, config, rows, item_feat=None):
        self.config = config
        self.user_feat, self.item_feat = None, item_feat
        self.field2id_token, self.field2token_id = {}, {}
        fields = {}
        for place, name in enumerate(("user_id", "item_id")):
            tokens = [str(row[place]) for row in rows]
            known = list(dict.fromkeys(["[PAD]", *tokens]))
            self.field2id_token[name] = np.array(known)
            self.field2token_id[name] = {token: number for number, token in enumerate(known)}
            fields[name] = torch.tensor([self.field2token_id[name][token] for token in tokens])
        fields["timestamp"] = torch.tensor([float(row[2]) for row in rows])
        self.inter_feat = Interaction(fields)

    def num(self, field):
        return len(self.field2id_token[field])

    def join(self, interaction):
        if self.item_feat is not None and self.iid_field in interaction:
            interaction.update(self.item_feat[interaction[self.iid_field]])
        return interaction

    def __getitem__(self, index):
        return self.join(self.inter_feat[index])


class SequentialDataset(Dataset):
    """Each row of a user but the first, with the items before it."""

    def __init__(self, config, rows):
        super().__init__(config, sorted(rows, key=lambda row: (str(row[0]), row[2])))
        most = config["MAX_ITEM_LIST_LENGTH"]
        users, items = self.inter_feat["user_id"].tolist(), self.inter_feat["item_id"].tolist()
        times = self.inter_feat["timestamp"].tolist()
        targets = [i for i in range(1, len(users)) if users[i] == users[i - 1]]
        windows, moments, lengths = [], [], []
        for target in targets:
            first = max(users.index(users[target]), target - most)
            padding = most - (target - first)
            windows.append(items[first:target] + [0] * padding)
            moments.append(times[first:target] + [0.0] * padding)
            lengths.append(target - first)
        self.inter_feat = self.inter_feat[targets]
        new = {
            "item_id_list": torch.tensor(windows),
            "timestamp_list": torch.tensor(moments),
            "item_length": torch.tensor(lengths),
        }
        self.inter_feat.update(Interaction(new))


class Loader:
    """A data loader, of which the dataset is used."""

    def __init__(self, dataset):
        self._dataset = dataset


class BPRLoss(nn.Module):
    def forward(self, positive, negative):
        return -torch.log(1e-10 + torch.sigmoid(positive - negative)).mean()


class Recommender(nn.Module):
    """What the models have in common."""

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__()
        self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID = "user_id", "item_id", "neg_item_id"
        self.n_users, self.n_items = dataset.num("user_id"), dataset.num("item_id")

    def full_sort_predict(self, interaction):
        raise NotImplementedError


class BPR(Recommender):
    """Scores of all items in one flat row; kept until the next loss, as models of graphs do."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.users, self.items = nn.Embedding(self.n_users, 3), nn.Embedding(self.n_items, 3)
        self.loss = BPRLoss()
        self.restore_items = None

    def calculate_loss(self, interaction):
        user = self.users(interaction[self.USER_ID])
        positive = (user * self.items(interaction[self.ITEM_ID])).sum(1)
        negative = (user * self.items(interaction[self.NEG_ITEM_ID])).sum(1)
        return self.loss(positive, negative)

    def full_sort_predict(self, interaction):
        if self.restore_items is None:
            self.restore_items = self.items.weight * 1.0
        return (self.users(interaction[self.USER_ID]) @ self.restore_items.T).view(-1)


class PenalisedBPR(BPR):
    """With a penalty of a batch that is not the mean of those of its rows."""

    def calculate_loss(self, interaction):
        penalty = 0.1 * torch.norm(self.users(interaction[self.USER_ID]))
        return super().calculate_loss(interaction), penalty


class Logistic(BPR):
    """Negatives as rows of their own, with labels; asked pair by pair, with an item's feature."""

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.loss = nn.BCEWithLogitsLoss()

    def predict(self, interaction):
        user, item = self.users(interaction[self.USER_ID]), self.items(interaction[self.ITEM_ID])
        return (user * item).sum(1) + interaction["price"]

    def calculate_loss(self, interaction):
        return self.loss(self.predict(interaction), interaction["label"])

    def full_sort_predict(self, interaction):
        raise NotImplementedError


class GRU(Recommender):
    """A sequential model with the cross-entropy over all items, padding included."""

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.ITEM_SEQ, self.ITEM_SEQ_LEN = "item_id_list", "item_length"
        self.items = nn.Embedding(self.n_items, 3, padding_idx=0)
        self.gru = nn.GRU(3, 3, batch_first=True)
        self.dropout = nn.Dropout(0.5)
        self.loss = nn.CrossEntropyLoss()

    def full_sort_predict(self, interaction):
        states, _ = self.gru(self.dropout(self.items(interaction[self.ITEM_SEQ])))
        rows = torch.arange(len(states))
        return states[rows, interaction[self.ITEM_SEQ_LEN] - 1] @ self.items.weight.T

    def calculate_loss(self, interaction):
        return self.loss(self.full_sort_predict(interaction), interaction[self.ITEM_ID])


class Masked(GRU):
    def calculate_loss(self, interaction):
        return self.loss(interaction["Mask_item_id_list"], interaction[self.ITEM_ID])


class OfUsers(BPR):
    """The loss of a user's whole history, whatever the row, as MultiVAE has it."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.history = torch.zeros(self.n_users, self.n_items)
        rows = dataset.inter_feat
        self.history[rows[self.USER_ID], rows[self.ITEM_ID]] = 1.0

    def calculate_loss(self, interaction):
        user = interaction[self.USER_ID]
        logits = self.users(user) @ self.items.weight.T
        return -(torch.log_softmax(logits, 1) * self.history[user]).sum(1).mean()


class Annealed(BPR):
    """A loss with a weight that grows from call to call."""

    calls = 0

    def calculate_loss(self, interaction):
        self.calls += 1
        return super().calculate_loss(interaction) * self.calls
