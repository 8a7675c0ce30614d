"""Every implementation passes the suite of its protocol; new ones are found by themselves."""

from __future__ import annotations

import pytest
from suites.attributor import all_attributors, check_attributor
from suites.recommender import all_recommenders, check_recommender

# Arguments that suit the small examples of the suites.
NEURAL = {"epochs": 1, "batch_size": 16, "embedding_dim": 4}
SMALL = {
    "VMISKNN": {"k": 3, "m": 6},
    "TIFUKNN": {"k": 3, "m": 3},
    "LSTMRec": NEURAL,
    "GRU4Rec": NEURAL,
    "SASRec": NEURAL,
    "BPRMF": NEURAL,
    "BiasedMF": NEURAL,
    "NeuMF": {"epochs": 1, "batch_size": 16},
    "WideDeep": {"epochs": 1, "batch_size": 16},
    "RBM": {"epochs": 1, "batch_size": 16},
}
FEW_ITEMS = {"metric": "mrr@3"}


@pytest.mark.parametrize("model_class", all_recommenders(), ids=lambda c: c.__name__)
def test_recommenders(model_class, tmp_path):
    check_recommender(lambda: model_class(**SMALL.get(model_class.__name__, {})), tmp_path)


@pytest.mark.parametrize("method", all_attributors(), ids=lambda c: c.__name__)
def test_attributors(method, tmp_path):
    takes_metric = "metric" in method().params
    check_attributor(lambda: method(**(FEW_ITEMS if takes_metric else {})), tmp_path)


def test_everything_is_found():
    assert {"VMISKNN", "TIFUKNN", "ItemKNN", "Popularity"} <= {
        c.__name__ for c in all_recommenders()
    }
    assert {"Shapley", "LeaveOneOut", "Banzhaf", "BetaShapley"} <= {
        c.__name__ for c in all_attributors()
    }
