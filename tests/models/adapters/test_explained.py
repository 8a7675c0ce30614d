"""Models of other libraries, explained through their adapters."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
import recorded_recbole as recbole
import torch

import whence
from whence.errors import DataWarning, UnsupportedError
from whence.models.adapters import RecBoleModel, TorchModel

WINDOW = 4


@pytest.fixture(scope="module")
def trained():
    """A sequential network of RecBole's, and its dataset."""
    rng = np.random.default_rng(0)
    rows = [
        (user, int(item) + 100, moment)
        for user in range(8)
        for moment, item in enumerate(rng.permutation(9)[:6])
    ]
    torch.manual_seed(0)
    config = recbole.Config(
        MODEL_TYPE=recbole.ModelType.SEQUENTIAL,
        MODEL_INPUT_TYPE=recbole.InputType.POINTWISE,
        MAX_ITEM_LIST_LENGTH=WINDOW,
        train_neg_sample_args={"distribution": "none", "sample_num": "none"},
    )
    dataset = recbole.SequentialDataset(config, rows)
    return recbole.GRU(config, dataset), dataset


def naive(n, value):
    """Shapley values by their definition."""
    shares = np.zeros(n)
    for player in range(n):
        others = [one for one in range(n) if one != player]
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for chosen in combinations(others, size):
                with_it = tuple(sorted((*chosen, player)))
                shares[player] += weight * (value(with_it) - value(chosen))
    return shares


def test_a_network_of_recbole_against_its_own_scores(trained):
    """What RecBole's full_sort_predict gives, also of no event at all, divided by enumeration."""
    network, dataset = trained
    model = RecBoleModel(network, recbole.Loader(dataset))
    history = [101, 105, 107, 102]
    explanation = whence.explain(model, history, k=3)
    numbers = dataset.field2token_id["item_id"]
    frozen = [numbers[str(item)] for item in explanation.items["item"]]
    network.eval()

    def value(kept):
        window = torch.zeros((1, WINDOW), dtype=torch.long)
        for place, event in enumerate(kept):
            window[0, place] = numbers[str(history[event])]
        asked = {"item_id_list": window, "item_length": torch.tensor([max(1, len(kept))])}
        with torch.no_grad():
            return float(network.full_sort_predict(recbole.Interaction(asked))[0, frozen].mean())

    np.testing.assert_allclose(explanation.scores, naive(4, value), atol=1e-6)
    assert explanation.value_nothing == pytest.approx(value(()), abs=1e-6)
    assert explanation.items["item"].to_list() == model.recommend([history], k=3)[0][0].tolist()


def test_events_before_the_window_of_recbole_are_left_out_and_said(trained):
    model = RecBoleModel(*trained)
    with pytest.warns(DataWarning, match="looks at the last 4"):
        explanation = whence.explain(model, [101, 105, 107, 102, 104, 100], k=2)
    assert explanation.metadata["n_cut"] == 2
    assert explanation.frame["event"].to_list() == [2, 3, 4, 5]


def test_many_and_other_ways_with_recbole(trained):
    model = RecBoleModel(*trained)
    many = whence.explain_many(model, [[101, 102, 103], [105, 104]], k=2, masking=("item", 108))
    for explanation in many:
        gap = explanation.value_all - explanation.value_nothing
        assert explanation.scores.sum() == pytest.approx(gap, abs=1e-6)
    with pytest.raises(UnsupportedError, match="it has no padding"):
        whence.explain(model, [101, 102], k=2, masking="pad")


def test_recboles_models_of_users_say_why_not():
    config = recbole.Config(MODEL_INPUT_TYPE=recbole.InputType.PAIRWISE)
    rows = [(user, item + 100, item) for user in range(4) for item in range(user, user + 4)]
    dataset = recbole.Dataset(config, rows)
    model = RecBoleModel(recbole.BPR(config, dataset), dataset)
    assert model.max_length is None
    with pytest.raises(UnsupportedError, match="takes no history") as error:
        whence.explain(model, [101, 102], k=1)
    assert "\n" not in str(error.value)


class Mean(torch.nn.Module):
    """Mean of embeddings, with a bias for each item."""

    def __init__(self, n_items):
        super().__init__()
        self.items = torch.nn.Embedding(n_items + 1, 5, padding_idx=n_items)
        self.bias = torch.nn.Parameter(torch.linspace(-1.0, 1.0, n_items))

    def forward(self, items, lengths):
        mean = self.items(items).sum(1) / lengths[:, None]
        return mean @ self.items.weight[:-1].T + self.bias


def test_the_value_of_nothing_is_what_a_torch_module_says_of_padding():
    """What the module gives to everybody is no event's doing."""
    data = whence.make_sessions(n_sessions=40, n_items=20, n_clusters=4, seed=2).train
    torch.manual_seed(3)
    model = TorchModel(Mean(data.n_items), trained=True).fit(data)
    history = data.item_ids.unique(maintain_order=True).to_list()[:4]
    explanation = whence.explain(model, history, k=2)
    codes = model.vocabulary.item_codes(explanation.items["item"])
    bias = model.module_.bias.detach().numpy()[codes]
    assert explanation.value_nothing == pytest.approx(bias.mean(), abs=1e-6)
