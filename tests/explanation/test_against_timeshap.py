"""The values of TimeSHAP 1.0.4 (with shap 0.42.1) on the network of `featured`, number by number.

They are what it printed for six events and three features, with `BASE` as its average event, seed
42, and enough samples for every coalition.
"""

from __future__ import annotations

import numpy as np
import pytest
from featured import BASE, Recurrent, events

pytest.importorskip("torch")

from whence.explanation import explain, pruning_statistics

ASKED = {"k": 2, "target": ("item", 5), "masking": ("item", BASE), "method": "exact"}
PRUNED = {**ASKED, "prune": 0.12}  # the share at which three events are joined

# Oldest event first; TimeSHAP gives the latest first.
EVENTS = [
    -0.016029747205929756, 0.11246498357174704, -0.2267868448235741,
    -0.12073679196252879, 0.8033803370927176, 0.3919907898281095,
]  # fmt: skip
FEATURES = {
    "item": 0.8839314864246154, "hour": -0.12423894733507784, "stars": 0.18459018741100397,
}  # fmt: skip
OLDER = [
    -0.019646250086544303, 0.10799587911393027, 0.030185680976423046,
    -0.21385697385799063, 0.4741453847773303, 0.9442827265005415,
]  # fmt: skip
# By the place of the event and the feature; None: the others.
CELLS = {
    (4, "item"): 0.6986603329095944, (5, "item"): 0.4486506530626121,
    (5, "stars"): 0.3896117221145717, (None, None): 0.10785396037144468,
    (None, "item"): 0.0683437104954524, (4, None): 0.057514131169639604,
    (2, None): 0.009860353590094184, (2, "stars"): 0.0, (4, "stars"): -0.07127150698809862,
    (None, "stars"): -0.21692763902494444, (2, "item"): -0.21753009717944,
    (5, None): -0.33048289402038444,
}  # fmt: skip
EVENTS_PRUNED = [
    -0.06939761589915772, -0.14188461423323262, 0.7765750601854864, 0.37898989644744535,
]  # fmt: skip
FEATURES_PRUNED = {
    "earlier events": 0.03168535782151494, "item": 0.8088352965509327,
    "hour": -0.12500460266265392, "stars": 0.2287666747907478,
}  # fmt: skip
CELLS_PRUNED = {
    (4, "item"): 0.6532185013536316, (5, "item"): 0.4315183817753923,
    (5, "stars"): 0.38915757654470484, (3, None): 0.11237152970812794,
    (4, None): 0.07495267255919702, (-1, None): 0.0009928489801913631,
    (4, "stars"): -0.07574776195340326, (3, "item"): -0.11478812713149293,
    (3, "stars"): -0.20132247502544834, (5, None): -0.3260704203103591,
}  # fmt: skip


@pytest.fixture(scope="module")
def asked():
    return Recurrent(), events(6, seed=4)


def by_cell(found, n_others):
    """Shares by place and feature; of the last `n_others` players only one is known."""
    table, cells = found.to_frame(), {}
    for row in table.iter_rows(named=True):
        place, feature = row["event"], row["feature"]
        if row["label"] == "earlier events":
            place, feature = -1, None
        if feature == "hour":  # the one feature that is not among the strongest
            feature = None
        cells[place, feature] = row["score"]
    assert len(cells) == n_others
    return cells


def test_events(asked):
    np.testing.assert_allclose(explain(*asked, **ASKED).scores, EVENTS, atol=1e-10)
    np.testing.assert_allclose(explain(*asked, **PRUNED).scores, EVENTS_PRUNED, atol=1e-10)


def test_features(asked):
    for settings, wanted in ((ASKED, FEATURES), (PRUNED, FEATURES_PRUNED)):
        found = explain(*asked, level="feature", **settings)
        shares = dict(found.to_frame().select("feature", "score").iter_rows())
        assert shares == pytest.approx(wanted, abs=1e-10)


def test_cells(asked):
    found = explain(*asked, level="cell", cells=("top", 3, 2), **ASKED)
    assert by_cell(found, 12) == pytest.approx(CELLS, abs=1e-10)
    found = explain(*asked, level="cell", cells=("top", 2, 2), **PRUNED)
    assert by_cell(found, 10) == pytest.approx(CELLS_PRUNED, abs=1e-10)


def test_what_pruning_looks_at(asked):
    model, history = asked
    settings = {name: value for name, value in ASKED.items() if name != "method"}
    curve = pruning_statistics(model, [history], **settings).curves["older"]
    np.testing.assert_allclose(curve * abs(OLDER[-1]), OLDER, atol=1e-10)
