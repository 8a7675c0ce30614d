"""Each known fault of earlier tools has a test, and what must stay untouched stays so."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from explanation_oracles import N_ITEMS, knn, naive_scores, naive_shapley, naive_top, neural
from oracles import random_sessions

torch = pytest.importorskip("torch")

import whence  # noqa: E402
from whence.errors import DataError, DataWarning, ParameterError, UnsupportedError  # noqa: E402
from whence.explanation import explain, explain_many  # noqa: E402

NEURAL = ["LSTMRec", "GRU4Rec", "SASRec"]


@pytest.fixture(scope="module")
def models():
    return {name: neural(name, learning_rate=0.1) for name in NEURAL}


def ids_of(model, codes):
    ids = model.vocabulary.items.to_list()
    return [ids[code] for code in codes]


@pytest.mark.parametrize("name", NEURAL)
def test_the_items_are_those_of_this_history_not_of_the_baseline(models, name):
    model = models[name]
    tops = set()
    for codes in ([4, 1, 8], [2, 5], [10, 7, 7, 3]):
        found = explain(model, ids_of(model, codes), k=4, masking="pad")
        expected = naive_top(model, codes, 4)
        assert found.items["item"].to_list() == ids_of(model, expected)
        np.testing.assert_allclose(
            found.items["score"], naive_scores(model, codes)[expected], atol=1e-5
        )
        recommended = model.recommend(ids_of(model, codes), k=model.n_items)[0].tolist()
        others = [item for item in recommended if item not in ids_of(model, codes)]
        assert found.items["item"].to_list() == others[:4]
        tops.add(tuple(expected))
    assert len(tops) > 1


@pytest.mark.parametrize("name", [*NEURAL, "VMISKNN", "Popularity", "EASE"])
def test_nothing_of_the_history_is_recommended(models, name):
    model = models.get(name) or knn(name)
    for codes in ([4, 1, 8], [0, 1, 2, 3]):
        history = ids_of(model, codes)
        found = explain(model, history, k=6)
        assert not set(found.items["item"].to_list()) & set(history)


def test_pruning_moves_no_state_to_another_input(models):
    """Shares after pruning are those of the game with the pruned events as one player."""
    model, codes = models["GRU4Rec"], [4, 1, 8, 1, 2, 0, 9, 5]
    for masking, stand_in in (("pad", N_ITEMS), ("remove", None)):
        whole = explain(model, ids_of(model, codes), k=3, masking=masking)
        pruned = explain(model, ids_of(model, codes), k=3, masking=masking, prune=0.5)
        n = pruned.metadata["n_pruned"]
        assert n == len(codes) - len(pruned) + 1
        if not n:
            continue
        frozen = naive_top(model, codes, 3)

        def value(kept, n=n, stand_in=stand_in, frozen=frozen):
            there = [kept[0]] * n + kept[1:]
            tokens = [c if t else stand_in for c, t in zip(codes, there)]
            tokens = [token for token in tokens if token is not None]
            return float(np.mean(naive_scores(model, tokens)[frozen]))

        phi, everything, nothing = naive_shapley(len(pruned), value)
        np.testing.assert_allclose(pruned.scores, phi, atol=1e-5)
        assert pruned.to_frame()["n_events"].to_list() == [n] + [1] * (len(codes) - n)
        assert "earlier events" in pruned.labels[0]
        assert pruned.value_all == pytest.approx(whole.value_all, abs=1e-6)
        assert everything - nothing == pytest.approx(pruned.scores.sum(), abs=1e-5)
    assert pruned.metadata["params"]["prune"] == 0.5


class Scaled:
    """A recurrent model whose scores have any scale."""

    def __init__(self, factor):
        self.factor = factor

    def scores(self, histories):
        weights = np.random.default_rng(0).normal(size=(20, 6))
        weights[19] *= 1e-3
        state = np.zeros((len(histories), 6))
        for row, history in enumerate(histories):
            for event in history:
                state[row] = 0.5 * state[row] + weights[event]
        return self.factor * state


def test_tolerances_are_relative(models):
    history = [19, 19, 19, 3, 1, 4, 1, 5, 9, 2, 6, 8]
    found = [explain(Scaled(f), history, k=2, prune=0.05, method="exact") for f in (1e-6, 1, 1e6)]
    assert len({len(one) for one in found}) == 1
    assert 1 < len(found[0]) < len(history)
    for one, factor in zip(found, (1e-6, 1, 1e6)):
        np.testing.assert_allclose(one.scores / factor, found[1].scores, rtol=1e-9)
    drawn = [
        explain(Scaled(f), history, k=2, method="permutation", tolerance=0.05) for f in (1e-6, 1e6)
    ]
    assert drawn[0].metadata["n_values"] == drawn[1].metadata["n_values"]


def test_pictures_have_no_axes_for_probabilities(models):
    from matplotlib.figure import Figure

    found = explain(Scaled(1e6), [3, 1, 4, 1], k=2)
    ax = found.plot(ax=Figure().subplots())
    assert np.abs(ax.get_xlim()).max() > np.abs(found.scores).max() > 1e4
    small = explain(Scaled(1e-6), [3, 1, 4, 1], k=2)
    ax = small.plot(ax=Figure().subplots())
    assert np.abs(ax.get_xlim()).max() < 1e-4


def test_no_event_is_silently_given_zero(models):
    model, codes = models["GRU4Rec"], [4, 1, 8, 1, 2, 0, 9, 5]
    exact = explain(model, ids_of(model, codes), k=3, masking="pad").scores
    found = explain(
        model, ids_of(model, codes), k=3, masking="pad", method="kernel", budget=120, tolerance=0
    )
    assert np.abs(exact).min() > 0
    assert np.abs(found.scores).min() > 0


def test_leaving_one_out_is_not_called_shap(models):
    model = models["GRU4Rec"]
    for method, options in (("occlusion", {}), ("integrated_gradients", {"masking": "pad"})):
        found = explain(model, ids_of(model, [4, 1]), k=3, method=method, **options)
        assert "not Shapley values" in found.title
        assert "not Shapley values" in found.summary()
        assert not found.metadata["is_shapley"]
        assert not found.metadata["efficiency"]


@pytest.mark.parametrize("name", NEURAL)
@pytest.mark.parametrize(
    ("method", "masking"),
    [
        ("exact", "remove"),
        ("permutation", "mean_embedding"),
        ("kernel", "pad"),
        ("occlusion", "marginal"),
        ("integrated_gradients", "pad"),
    ],
)
def test_the_model_is_left_as_it_was(models, name, method, masking):
    model = models[name]
    module = model.module_
    parts = list(module.modules())
    for number, part in enumerate(parts):
        part.training = number % 2 == 0
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    pointers = {key: value.data_ptr() for key, value in module.named_parameters()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    threads = torch.get_num_threads()
    explain(model, ids_of(model, [4, 1, 8, 2]), k=3, method=method, masking=masking)
    assert [part.training for part in parts] == [number % 2 == 0 for number in range(len(parts))]
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])
    for key, parameter in module.named_parameters():
        assert parameter.data_ptr() == pointers[key]
        assert parameter.requires_grad
        assert torch.equal(parameter.grad, torch.full_like(parameter, 0.5))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    module.zero_grad(set_to_none=True)


@pytest.mark.parametrize("name", NEURAL)
def test_dropout_is_off_while_asking(models, name):
    model = models[name]
    history = ids_of(model, [4, 1, 8, 2])
    model.module_.eval()
    calm = explain(model, history, k=3, masking="pad").scores
    model.module_.train()
    found = explain(model, history, k=3, masking="pad").scores
    assert model.module_.training
    np.testing.assert_array_equal(found, calm)
    model.module_.eval()


def test_mode_is_restored_after_an_error(models):
    model = models["GRU4Rec"]
    model.module_.train()
    with pytest.raises(ParameterError):
        explain(model, ids_of(model, [4, 1]), k=-1)
    assert model.module_.training
    model.module_.eval()


# Bad input: one sentence each


def one_sentence(error):
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["GRU4Rec", "VMISKNN", "TIFUKNN"])
def test_bad_histories(models, name):
    model = models.get(name) or knn(name)
    for history, words in (([], "empty"), (5, "list of item ids"), ("abc", "list of item ids")):
        with pytest.raises(DataError, match=words) as error:
            explain(model, history)
        one_sentence(error)
    unknown = [[999]] if name == "TIFUKNN" else [999]
    with pytest.raises(DataError, match="None of the 1 events") as error:
        explain(model, unknown)
    one_sentence(error)
    if name == "TIFUKNN":
        with pytest.raises(DataError, match="baskets") as error:
            explain(model, [1, 2])
    else:
        with pytest.raises(DataError, match="explain_many") as error:
            explain(model, [[1], [2]])
    one_sentence(error)


def test_what_is_left_out_is_said(models):
    model = models["GRU4Rec"]
    codes = [4, 1, 8, 1, 2, 0, 9, 5, 6, 7, 3, 2]
    with pytest.warns(DataWarning, match=r"12 events .* last 10; the first 2") as told:
        found = explain(model, ids_of(model, codes), k=1)
    assert told[0].filename == __file__
    assert found.to_frame()["event"].to_list() == list(range(2, 12))
    assert found.metadata["n_cut"] == 2
    assert "2 older events" in found.summary()
    with pytest.warns(DataWarning, match="1 of the 3 events"):
        found = explain(model, [ids_of(model, [4])[0], 999, ids_of(model, [1])[0]], k=3)
    assert found.to_frame()["event"].to_list() == [0, 2]
    assert found.metadata["unknown"] == [999]
    known = explain(model, ids_of(model, [4, 1]), k=3)
    np.testing.assert_allclose(found.scores, known.scores, atol=1e-7)
    with pytest.warns(DataWarning, match="1 of 2 histories"):
        explain_many(model, [ids_of(model, codes), ids_of(model, [1])], k=1)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"k": 0}, ParameterError, "k must be"),
        ({"masking": "nothing"}, ParameterError, "masking must be one of"),
        ({"masking": "item"}, ParameterError, "needs an item: say masking"),
        ({"masking": "items"}, ParameterError, "needs an event per place"),
        ({"masking": ("item", "strange")}, DataError, "unknown to GRU4Rec"),
        ({"masking": "mask_token"}, UnsupportedError, "token for masked"),
        ({"masking": ("marginal", 0)}, ParameterError, "draws"),
        ({"method": "shap"}, ParameterError, "method must be one of"),
        ({"level": "feature"}, UnsupportedError, "level='event'"),
        ({"level": "cell"}, UnsupportedError, "level='event'"),
        ({"level": "row"}, ParameterError, "level must be one of"),
        ({"level": "cell", "groups": "item"}, ParameterError, "one of them"),
        ({"groups": ["a"]}, ParameterError, "1 labels in groups for 3 events"),
        ({"groups": "basket"}, UnsupportedError, "history of baskets"),
        ({"groups": "day"}, ParameterError, "groups must be"),
        ({"target": "item"}, ParameterError, "needs an item"),
        ({"target": "mrr@3"}, ParameterError, "needs an item"),
        ({"target": 3}, ParameterError, "target must be"),
        ({"target": ("item", "strange")}, DataError, "unknown to GRU4Rec"),
        ({"target": ("scores", 1)}, ParameterError, "target must be one of"),
        ({"target": ("coverage@3", 1)}, UnsupportedError, "place of one item"),
        ({"tolerance": -1}, ParameterError, "tolerance"),
        ({"prune": 2}, ParameterError, "prune"),
        ({"budget": 0}, ParameterError, "budget"),
        ({"seed": -1}, ParameterError, "seed"),
        ({"order": 3}, ParameterError, "order"),
        ({"items": [1, 2]}, ParameterError, "knows its items"),
        ({"cells": ([0], None)}, ParameterError, "level='cell'"),
    ],
)
def test_bad_arguments(models, options, error, words):
    model = models["GRU4Rec"]
    with pytest.raises(error, match=words) as raised:
        explain(model, ids_of(model, [4, 1, 8]), **{"k": 3, **options})
    one_sentence(raised)


@pytest.mark.parametrize("masking", ["pad", "mean_embedding", "mask_token"])
def test_maskings_that_neighbours_cannot_do(masking):
    model = knn("VMISKNN")
    with pytest.raises(UnsupportedError, match="use 'remove'") as error:
        explain(model, ids_of(model, [4, 1]), k=2, masking=masking)
    one_sentence(error)


def test_too_many_events_for_exact():
    history = list(range(10, 20)) * 4
    with pytest.raises(ParameterError, match=r"2\*\*40") as error:
        explain(Scaled(1.0), history, k=2, method="exact")
    one_sentence(error)


def test_scores_that_are_not_numbers(models):
    model = neural("GRU4Rec")
    with torch.no_grad():
        model.module_.dense.bias[0] = float("nan")
    with pytest.raises(DataError, match="not a finite number") as error:
        explain(model, ids_of(model, [4, 1]), k=3)
    one_sentence(error)


def test_models_that_know_users_only():
    with pytest.raises(whence.errors.NotFittedError):
        explain(whence.GRU4Rec(epochs=1), [1])
    table = random_sessions(np.random.default_rng(1), 20, N_ITEMS)
    table = table.rename({"session_id": "user_id"})
    for name in ("BPRMF", "NeuMF"):
        model = getattr(whence, name)(epochs=1).fit(table)
        with pytest.raises(UnsupportedError, match="takes no history") as error:
            explain(model, table["item_id"].to_list()[:3], k=2)
        one_sentence(error)


def test_nothing_is_warned_about_without_reason(models):
    model = models["GRU4Rec"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(model, ids_of(model, [4, 1, 8]), k=3)
