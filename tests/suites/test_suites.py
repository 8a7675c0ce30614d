"""Every implementation passes the suite of its protocol; new ones are found by themselves."""

from __future__ import annotations

import pytest
from suites.recommender import all_recommenders, check_recommender

from whence.attribution import METHODS
from whence.testing import check_attributor

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
FEW = {"retraining-shapley": {"max_permutations": 2}}


@pytest.mark.parametrize("model_class", all_recommenders(), ids=lambda c: c.__name__)
def test_recommenders(model_class, tmp_path):
    check_recommender(lambda: model_class(**SMALL.get(model_class.__name__, {})), tmp_path)


@pytest.mark.parametrize("name", METHODS.names())
def test_attributors(name):
    method = METHODS[name]
    takes_metric = "metric" in method.parameter_types()
    check_attributor(method(**{**(FEW_ITEMS if takes_metric else {}), **FEW.get(name, {})}))


def test_everything_is_found():
    assert {"VMISKNN", "TIFUKNN", "ItemKNN", "Popularity"} <= {
        c.__name__ for c in all_recommenders()
    }
    assert {"shapley", "leave-one-out", "banzhaf", "beta-shapley"} <= set(METHODS)
