from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from whence.config import Config, load_config
from whence.config.recbole import Translation, is_of_recbole
from whence.errors import ConfigError, DataWarning

pytest.importorskip("torch")

SECTIONS = tuple(Config.model_fields)


def translated(keys, model="bpr"):
    return Translation(keys, Path(), model).sections


def at(sections, place):
    section, _, key = place.partition(".")
    return sections.get(section, {}).get(key)


@pytest.mark.parametrize(
    ("model", "keys", "place", "value"),
    [
        ("bpr", {"epochs": 7}, "training.epochs", 7),
        ("bpr", {"learning_rate": 0.1}, "training.learning_rate", 0.1),
        ("bpr", {"learner": "SGD"}, "training.optimizer", "sgd"),
        ("bpr", {"weight_decay": 0.1}, "training.weight_decay", 0.1),
        ("bpr", {"clip_grad_norm": {"max_norm": 5, "norm_type": 2}}, "training.gradient_clip", 5),
        ("bpr", {"train_batch_size": 512}, "training.batch_size", 512),
        ("neumf", {"train_batch_size": 512}, "training.batch_size", 256),
        (
            "neumf",
            {"train_batch_size": 500, "train_neg_sample_args": {"sample_num": 4}},
            "training.batch_size",
            100,
        ),
        ("bpr", {"eval_step": 2}, "training.eval_every", 2),
        ("bpr", {"stopping_step": 5}, "training.patience", 6),
        ("bpr", {"valid_metric": "NDCG@5"}, "training.metric", "NDCG@5"),
        ("bpr", {"show_progress": False}, "training.progress", False),
        ("bpr", {"use_gpu": False}, "training.device", "cpu"),
        ("bpr", {"device": "cpu"}, "training.device", "cpu"),
        ("bpr", {"seed": 3}, "training.seed", 3),
        ("bpr", {"seed": 3}, "split.seed", 3),
        ("bpr", {"USER_ID_FIELD": "uid"}, "data.user", "uid"),
        ("bpr", {"ITEM_ID_FIELD": "iid"}, "data.item", "iid"),
        ("bpr", {"RATING_FIELD": "stars"}, "data.rating", "stars"),
        ("bpr", {"TIME_FIELD": "when"}, "data.time", "when"),
        ("bpr", {"TIME_FIELD": "t", "load_col": {"inter": ["u", "t"]}}, "data.time", "t"),
        ("bpr", {"TIME_FIELD": "t", "load_col": {"inter": ["u"]}}, "data.time", None),
        ("bpr", {"field_separator": "\t"}, "data.separator", "\t"),
        ("bpr", {"checkpoint_dir": "saved"}, "output.runs", "saved"),
        ("bpr", {"embedding_size": 32}, "model.embedding_dim", 32),
        ("bpr", {"neg_sampling": {"uniform": 3}}, "model.n_negatives", 3),
        ("bpr", {"train_neg_sample_args": {"sample_num": 3}}, "model.n_negatives", 3),
        ("bpr", {"training_neg_sample_num": 3}, "model.n_negatives", 3),
        ("bpr", {"train_neg_sample_args": None}, "model.n_negatives", None),
        ("neumf", {"mf_embedding_size": 8}, "model.gmf_dim", 8),
        ("neumf", {"mlp_embedding_size": 8}, "model.mlp_dim", 8),
        ("neumf", {"mlp_hidden_size": [8, 4]}, "model.layers", [8, 4]),
        ("neumf", {"dropout_prob": 0.2}, "model.dropout", 0.2),
        ("gru4rec", {"hidden_size": 32}, "model.hidden_dim", 32),
        ("gru4rec", {"num_layers": 2}, "model.num_layers", 2),
        ("gru4rec", {"MAX_ITEM_LIST_LENGTH": 20}, "model.max_length", 20),
        ("gru4rec", {"loss_type": "BPR"}, "model.loss", "bpr"),
        ("gru4rec", {}, "model.positions", "last"),
        ("sasrec", {"hidden_size": 32}, "model.embedding_dim", 32),
        ("sasrec", {"n_heads": 4}, "model.num_heads", 4),
        ("ease", {"reg_weight": 10}, "model.l2", 10),
        ("itemknn", {"shrink": 5}, "model.shrinkage", 5),
        ("popularity", {}, "model.exclude_seen", True),
        ("bpr", {"metrics": "Hit", "topk": [5, 10]}, "evaluation.metrics",
         ["hitrate@5", "hitrate@10"]),
        ("bpr", {"metrics": ["RMSE", "AUC"]}, "evaluation.metrics", ["rmse", "auc"]),
        ("bpr", {"metrics": ["GiniIndex"], "topk": 3}, "evaluation.metrics", ["gini@3"]),
        ("bpr", {"eval_args": {"mode": "uni100"}}, "evaluation.negatives", 100),
        ("bpr", {"eval_args": {"mode": {"valid": "full", "test": "uni50"}}},
         "evaluation.negatives", 50),
        ("bpr", {"eval_args": {"split": {"RS": [8, 1, 1]}}}, "split.fractions", [0.8, 0.1, 0.1]),
        ("bpr", {"eval_args": {"split": {"RS": [8, 1, 1]}}}, "split.method", "rows"),
        ("bpr", {"eval_args": {"group_by": None}}, "split.per_user", False),
        ("bpr", {"eval_args": {"order": "TO", "group_by": "none"}}, "split.method", "time"),
        ("bpr", {"eval_args": {"split": {"LS": "valid_and_test"}}},
         "split.method", "leave-one-out"),
        ("bpr", {"eval_args": {"split": {"LS": "valid_only"}}}, "split.method", "last"),
        ("gru4rec", {}, "split.method", "leave-one-out"),
        ("bpr", {"val_interval": {"rating": "[3,inf)"}}, "data.min_rating", 3.0),
        ("bpr", {"val_interval": {"rating": "[3,4]"}}, "data.max_rating", 4.0),
        ("bpr", {"lowest_val": {"rating": 3}}, "data.min_rating", 3),
        ("bpr", {"threshold": {"rating": 3}}, "data.min_rating", 3),
        ("bpr", {"user_inter_num_interval": "[5,inf)"}, "data.min_per_user", 5),
        ("bpr", {"user_inter_num_interval": "(5,inf)"}, "data.min_per_user", 6),
        ("bpr", {"item_inter_num_interval": "[5,inf)"}, "data.min_per_item", 5),
        ("bpr", {"min_user_inter_num": 5}, "data.min_per_user", 5),
        ("bpr", {"min_item_inter_num": 5}, "data.min_per_item", 5),
    ],
)  # fmt: skip
def test_what_keys_become(model, keys, place, value):
    assert at(translated(keys, model), place) == value


def test_the_defaults_are_those_of_recbole():
    found = translated({}, "neumf")
    assert found["training"] == {
        "epochs": 300, "optimizer": "adam", "learning_rate": 0.001, "weight_decay": 0.0,
        "eval_every": 1, "patience": 11, "metric": "MRR@10", "seed": 2020, "batch_size": 1024,
    }  # fmt: skip
    assert found["split"] == {
        "method": "rows", "per_user": True, "fractions": [0.8, 0.1, 0.1], "seed": 2020
    }  # fmt: skip
    assert found["model"] == {
        "name": "neumf", "exclude_seen": True, "gmf_dim": 64, "mlp_dim": 64, "layers": [128, 64],
        "dropout": 0.1, "n_negatives": 1,
    }  # fmt: skip
    assert "epochs" not in translated({}, "ease").get("training", {})


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        ({"nproc": 1}, "nproc has no use here and is left out"),
        ({"nproc": 1, "state": "INFO"}, "nproc and state have no use here and are left out"),
        ({"normalize_all": True}, "normalize_all is not offered .* Results can differ"),
        ({"embeding_size": 3}, "Did you mean 'embedding_size'"),
        ({"hidden_size": 3}, "hidden_size has no use for BPRMF"),
        ({"metrics": ["Recall", "LogLoss"]}, "metric LogLoss is not offered"),
        ({"user_inter_num_interval": "[5,9]"}, "upper bound"),
        ({"val_interval": {"price": "[5,9]"}}, "val_interval of price"),
    ],
)
def test_what_is_left_out_is_told(tmp_path, keys, note):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({**keys, "train_batch_size": 8}))
    with pytest.warns(DataWarning, match=note):
        load_config(tmp_path / "a.yaml", {"model.name": "BPRMF"})


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"model": "LightGCN"}, "'LightGCN' has no counterpart"),
        ({"model": "BPR", "metrics": ["Recal"]}, "Did you mean 'recall'"),
        ({"model": "BPR", "eval_args": {"mode": "pop100"}}, "say full, or uni100"),
        ({"model": "BPR", "eval_args": {"order": "TO"}}, "RS with order TO and group_by none"),
        ({"model": "BPR", "eval_args": {"split": {"CV": 5}}}, "not offered"),
        ({"model": "BPR", "user_inter_num_interval": "5+"}, "An interval is written"),
        ({"model": "BPR", "train_batch_size": "many"}, "train_batch_size"),
        ({"model": "BPR", "val_interval": 3}, "val_interval"),
        ({"model": "BPR", "epochs": "many"}, "training.epochs in a.yaml"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, keys, words):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(keys))
    with pytest.raises(ConfigError, match=words) as error:
        load_config(tmp_path / "a.yaml")
    assert "\n" not in str(error.value)


def test_whose_file_it_is():
    assert is_of_recbole({"nproc": 1}, SECTIONS)
    assert is_of_recbole({"model": "BPR", "epochs": 3}, SECTIONS)
    assert not is_of_recbole({"epochs": 3, "seed": 4}, SECTIONS)
    assert not is_of_recbole({"model": {"name": "bpr"}, "nproc": 1}, SECTIONS)
    assert not is_of_recbole({"data": {"path": "x"}, "dataset": "y"}, SECTIONS)


def test_a_data_set_is_looked_for_where_recbole_has_it(tmp_path, monkeypatch):
    def found(keys):
        (tmp_path / "a.yaml").write_text(yaml.safe_dump({"model": "BPR", **keys}))
        return load_config(tmp_path / "a.yaml").data.path

    assert found({"dataset": "ml-100k"}) == "ml-100k"  # the public one
    assert found({"dataset": "mine"}) == str(tmp_path / "dataset" / "mine")
    for place in ("dataset/ml-100k", "mine", "own/mine"):
        (tmp_path / place).mkdir(parents=True)
    assert found({"dataset": "ml-100k"}) == str(tmp_path / "dataset" / "ml-100k")
    assert found({"dataset": "mine"}) == str(tmp_path / "mine")
    assert found({"dataset": "mine", "data_path": "own"}) == str(tmp_path / "own" / "mine")
    monkeypatch.chdir(tmp_path)
    assert load_config(tmp_path / "a.yaml", {"data.path": "x.csv"}).data.path == "x.csv"


def test_options_win_over_the_file(tmp_path):
    (tmp_path / "a.yaml").write_text("model: BPR\nembedding_size: 16\nepochs: 500\n")
    config = load_config(tmp_path / "a.yaml", {"training.epochs": 5, "model.embedding_dim": 8})
    assert (config.training.epochs, config.model.embedding_dim) == (5, 8)
    other = load_config(tmp_path / "a.yaml", {"model.name": "GRU4Rec"})
    assert (other.model.name, other.model.embedding_dim) == ("gru4rec", 16)


def test_without_a_model_the_rest_is_read(tmp_path):
    (tmp_path / "a.yaml").write_text("embedding_size: 16\nepochs: 500\nUSER_ID_FIELD: uid\n")
    config = load_config(tmp_path / "a.yaml")
    assert (config.training.epochs, config.data.user) == (500, "uid")
    assert "name" not in config.model.model_fields_set
