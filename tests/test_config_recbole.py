from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from whence.config import Config, load_config
from whence.config.recbole.keys import QUIET, REFUSED
from whence.config.recbole.translation import Translation, is_of_recbole, table
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
        ("bpr", {"train_batch_size": 500, "train_neg_sample_args": {"sample_num": 4}},
         "training.batch_size", 125),
        ("gru4rec", {"train_batch_size": 500, "train_neg_sample_args": None},
         "training.batch_size", 500),
        ("bpr", {"eval_step": 2}, "training.eval_every", 2),
        ("bpr", {"eval_step": 20, "epochs": 5}, "training.eval_every", 5),
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
        ("gru4rec", {"train_neg_sample_args": None}, "model.n_negatives", None),
        ("gru4rec", {}, "model.n_negatives", None),
        ("gru4rec", {"loss_type": "BPR"}, "model.n_negatives", 1),
        ("bpr", {"train_neg_sample_args": {"sample_num": 3, "alpha": 0.5, "candidate_num": 4}},
         "model.n_negatives", 3),
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
        ("ease", {"repeatable": True}, "model.exclude_seen", False),
        ("ease", {"repeatable": False}, "model.exclude_seen", True),
        ("gru4rec", {}, "model.exclude_seen", False),
        ("gru4rec", {"repeatable": True}, "model.exclude_seen", False),
        ("gru4rec", {"repeatable": False}, "model.exclude_seen", False),
        ("markov", {}, "model.exclude_seen", False),
        ("sasrec", {}, "model.norm_first", False),
        ("sasrec", {"inner_size": 128}, "model.inner_dim", 128),
        ("sasrec", {"hidden_act": "relu"}, "model.activation", "relu"),
        ("widedeep", {"embedding_size": 12}, "model.feature_dim", 12),
        ("widedeep", {}, "model.cross", False),
        ("widedeep", {"load_col": {"inter": ["u"], "item": ["item_id", "genres"]}},
         "model.item_features", ["genres"]),
        ("widedeep", {"load_col": {"inter": ["u"], "item": ["item_id", "genres"]}},
         "model.user_features", []),
        ("bpr", {"metrics": "Hit", "topk": [5, 10]}, "evaluation.metrics",
         ["hitrate@5", "hitrate@10"]),
        ("bpr", {"metrics": ["RMSE", "AUC"]}, "evaluation.metrics", ["rmse", "auc"]),
        ("bpr", {"metrics": ["GiniIndex"], "topk": 3}, "evaluation.metrics", ["gini@3"]),
        ("bpr", {"eval_args": {"mode": "uni100"}}, "evaluation.negatives", 100),
        ("bpr", {"eval_args": {"mode": {"valid": "full", "test": "uni50"}}},
         "evaluation.negatives", 50),
        ("bpr", {"eval_args": {"mode": {"valid": "uni50"}}}, "evaluation.negatives", 50),
        ("bpr", {"eval_args": {"mode": {"valid": "uni50", "test": "full"}}},
         "evaluation.negatives", None),
        ("bpr", {"eval_args": {"split": {"RS": [8, 1, 1]}}}, "split.fractions", [0.8, 0.1, 0.1]),
        ("bpr", {"eval_args": {"split": {"RS": [8, 1, 1]}}}, "split.method", "rows"),
        ("bpr", {"eval_args": {"order": "TO"}}, "split.method", "time"),
        ("bpr", {"eval_args": {"order": "TO"}}, "split.per_user", True),
        ("bpr", {"eval_args": {"split": {"RS": [1, 0, 0]}}}, "split.fractions", [1, 0, 0]),
        ("bpr", {"eval_args": {"group_by": None}}, "split.per_user", False),
        ("bpr", {"eval_args": {"order": "TO", "group_by": "none"}}, "split.method", "time"),
        ("bpr", {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"}},
         "split.method", "leave-one-out"),
        ("bpr", {"eval_args": {"split": {"LS": "valid_only"}, "order": "TO"}},
         "split.method", "last"),
        ("gru4rec", {"eval_args": {"split": {"LS": "valid_only"}}}, "split.method", "last"),
        ("gru4rec", {}, "split.method", "leave-one-out"),
        ("bpr", {"val_interval": {"rating": "[3,inf)"}}, "data.min_rating", 3.0),
        ("bpr", {"val_interval": {"rating": "[3,4]"}}, "data.max_rating", 4.0),
        ("bpr", {"lowest_val": {"rating": 3}}, "data.min_rating", 3),
        ("bpr", {"rm_dup_inter": "last"}, "data.duplicates", "last"),
        ("bpr", {"eval_args": {"split": {"RS": [1, 0, 0]}}}, "split.fractions", [1.0, 0.0, 0.0]),
        ("bpr", {"threshold": {"rating": 3}}, "data.min_rating", None),
        ("bpr", {"unload_col": {"inter": ["timestamp"]}, "TIME_FIELD": "timestamp"},
         "data.time", None),
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
        ({"nproc": 1}, "nproc has no influence here and is left out"),
        ({"nproc": 1, "state": "INFO"}, "nproc and state have no influence here and are left"),
        ({"normalize_all": True}, "normalize_all has no influence here"),
        ({"threshold": {"rating": 3}}, "threshold drops no row"),
        ({"eval_args": {"mode": "uni100"}}, "Validation during training ranks all items"),
        ({"metrics": ["AUC"]}, "that of each user"),
        ({"embeding_size": 3}, "Did you mean 'embedding_size'"),
        ({"hidden_size": 3}, "hidden_size has no use for BPRMF"),
        ({"metrics": ["Recall", "LogLoss"]}, "metric LogLoss is not offered"),
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
        (
            {"model": "GRU4Rec", "eval_args": {"split": {"RS": [8, 1, 1]}, "order": "TO"}},
            "RS with order TO and group_by none",
        ),
        ({"model": "BPR", "eval_args": {"split": {"CV": 5}}}, "not offered"),
        ({"model": "BPR", "user_inter_num_interval": "5+"}, "An interval is written"),
        ({"model": "BPR", "user_inter_num_interval": "[5,9]"}, "upper bound"),
        ({"model": "BPR", "val_interval": {"price": "[5,9]"}}, "val_interval of 'price'"),
        ({"model": "BPR", "lowest_val": {"price": 5}}, "val_interval of 'price'"),
        ({"model": "BPR", "eval_args": {"split": {"LS": "test_only"}, "order": "TO"}}, "test_only"),
        ({"model": "BPR", "eval_args": {"split": {"LS": "valid_only"}}}, "RecBole's default"),
        ({"model": "BPR", "eval_args": {"split": {"RS": [8, 2]}}}, "three shares"),
        ({"model": "BPR", "eval_args": {"spilt": {"RS": [8, 1, 1]}}}, "Did you mean 'split'"),
        ({"model": "BPR", "eval_args": {"mode": "labeled"}}, "say full, or uni100"),
        ({"model": "BPR", "train_neg_sample_args": {"distribution": "popularity"}}, "popularity"),
        ({"model": "BPR", "train_neg_sample_args": {"dynamic": True}}, "dynamic"),
        ({"model": "BPR", "train_neg_sample_args": {"sample_number": 3}}, "'sample_num'"),
        ({"model": "NeuMF", "train_neg_sample_args": None}, "trained with negatives"),
        ({"model": "BPR", "neg_sampling": {"popularity": 1}}, "popularity"),
        ({"model": "BPR", "clip_grad_norm": {"max_norm": 1, "norm_type": 1}}, "norm_type"),
        ({"model": "BPR", "eval_step": 0}, "without validation"),
        ({"model": "BPR", "rm_dup_inter": "any"}, "data.duplicates"),
        (
            {"model": "BPR", "rm_dup_inter": "last", "val_interval": {"rating": "[3,inf)"}},
            "rm_dup_inter with val_interval",
        ),
        ({"model": "BPR", "repeatable": "perhaps"}, "True or False"),
        ({"model": "BPR", "metrics": []}, "names none"),
        ({"model": "BPR", "metrics": ["LogLoss"]}, "names none"),
        ({"model": "SASRec", "hidden_dropout_prob": 0.1, "attn_dropout_prob": 0.2}, "one value"),
        ({"model": "SASRec", "hidden_act": "elu"}, "activation"),
        ({"model": "GRU4Rec", "benchmark_filename": ["a", "b", "c"]}, "histories as lists"),
        ({"model": "BPR", "benchmark_filename": ["a"]}, "three parts"),
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


# A value of each key of RecBole that is not its default.
TRIED = {
    "epochs": 7, "learning_rate": 0.1, "weight_decay": 0.1, "show_progress": False,
    "USER_ID_FIELD": "uid", "ITEM_ID_FIELD": "iid", "field_separator": ",",
    "checkpoint_dir": "kept", "min_user_inter_num": 5, "min_item_inter_num": 5,
    "embedding_size": 3, "mf_embedding_size": 3, "mlp_embedding_size": 3,
    "mlp_hidden_size": [3], "hidden_size": 4, "num_layers": 3, "n_layers": 3, "n_heads": 4,
    "dropout_prob": 0.4, "hidden_dropout_prob": 0.4, "attn_dropout_prob": 0.4, "dropout": 0.4,
    "MAX_ITEM_LIST_LENGTH": 9, "reg_weight": 3.0, "k": 3, "shrink": 3.0,
    "model": "BPR", "dataset": "mine", "data_path": "where", "RATING_FIELD": "stars",
    "TIME_FIELD": "when", "seed": 3, "use_gpu": False, "gpu_id": "", "device": "cpu",
    "learner": "sgd", "train_batch_size": 64, "clip_grad_norm": {"max_norm": 5},
    "eval_step": 2, "stopping_step": 3, "valid_metric": "NDCG@10", "loss_type": "BPR",
    "train_neg_sample_args": {"sample_num": 3}, "neg_sampling": {"uniform": 3},
    "training_neg_sample_num": 3, "repeatable": True, "metrics": ["Recall"], "topk": [5],
    "eval_args": {"group_by": None}, "val_interval": {"rating": "[3,inf)"},
    "lowest_val": {"rating": 3}, "user_inter_num_interval": "[5,inf)",
    "item_inter_num_interval": "[5,inf)", "benchmark_filename": ["train", "valid", "test"],
    "load_col": {"inter": ["user_id"], "item": ["item_id", "genres"]},
    "filter_inter_by_user_or_item": False, "inner_size": 9, "hidden_act": "tanh",
    "shuffle": False, "encoding": "latin-1", "enable_amp": True, "enable_scaler": True,
    "transform": "mask_itemseq", "rm_dup_inter": "first", "alias_of_user_id": ["a"],
    "alias_of_item_id": ["a"], "alias_of_entity_id": ["a"], "alias_of_relation_id": ["a"],
    "fields_in_same_space": [["a", "b"]], "numerical_features": ["a"], "normalize_field": ["a"],
    "normalize_all": True, "discretization": {"a": {"method": "LD"}}, "seq_len": {"a": 3},
    "LABEL_FIELD": "liked", "threshold": {"rating": 3}, "unload_col": {"item": ["a"]},
    "unused_col": {"item": ["a"]}, "mf_train": False, "mlp_train": False, "use_pretrain": True,
    "knn_method": "user", "layer_norm_eps": 0.1, "initializer_range": 0.5,
    "max_user_inter_num": 5, "max_item_inter_num": 5, "highest_val": {"rating": 3},
    "equal_val": {"rating": 3}, "not_equal_val": {"rating": 3}, "eval_setting": "RO_RS,full",
    "split_ratio": [0.8, 0.1, 0.1], "leave_one_num": 2, "group_by_user": True,
    "real_time_process": True,
}  # fmt: skip
USERS = {  # models that have a use for a key which BPR has none for
    "neumf": ("mf_embedding_size", "mlp_embedding_size", "mlp_hidden_size", "dropout_prob"),
    "gru4rec": ("hidden_size", "num_layers", "MAX_ITEM_LIST_LENGTH", "dropout", "loss_type"),
    "sasrec": ("n_layers", "n_heads", "hidden_dropout_prob", "attn_dropout_prob", "inner_size",
               "hidden_act"),
    "ease": ("reg_weight",), "itemknn": ("k", "shrink"), "widedeep": ("load_col",),
}  # fmt: skip
TOGETHER = {  # keys that mean something beside another one only
    "data_path": {"dataset": "mine"},
    "topk": {"metrics": ["Recall"]}, "benchmark_filename": {"dataset": "mine"},
    "filter_inter_by_user_or_item": {"load_col": {"item": ["item_id"]}},
}  # fmt: skip


@pytest.mark.parametrize(("key", "status"), [row[:2] for row in table()])
def test_every_key_is_honoured_refused_or_without_influence(key, status):
    value = TRIED.get(key, "anything")
    model = next((model for model, keys in USERS.items() if key in keys), "bpr")
    beside = TOGETHER.get(key, {})
    usual = Translation(beside, Path(), model)
    if status.startswith("refused"):
        refusing = "widedeep" if "WideDeep" in status else model
        with pytest.raises(ConfigError, match=key):
            Translation({key: value, **beside}, Path(), refusing)
        if refusing == model:
            return
    found = Translation({key: value, **beside}, Path(), model)
    told = [note for note in found.notes if key in note]
    if status == "honoured":
        assert found.sections != usual.sections or told or key == "model"
    else:
        assert found.sections == usual.sections
        assert told or key in QUIET


@pytest.mark.parametrize("refusal", list(REFUSED))
def test_refused_keys_may_have_the_values_at_which_they_do_nothing(refusal):
    for value in (None, *REFUSED[refusal].harmless):
        found = Translation({refusal: value}, Path(), "widedeep")
        assert found.sections == Translation({}, Path(), "widedeep").sections
        assert not any(refusal in note for note in found.notes)


def test_split_files_are_taken_as_they_are(tmp_path):
    (tmp_path / "dataset" / "mine").mkdir(parents=True)
    keys = {
        "dataset": "mine", "benchmark_filename": ["train", "valid", "test"],
        "val_interval": {"rating": "[3,inf)"}, "user_inter_num_interval": "[5,inf)",
    }  # fmt: skip
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"model": "BPR", **keys}))
    config = load_config(tmp_path / "a.yaml")
    folder = tmp_path / "dataset" / "mine"
    assert config.data.train == str(folder / "mine.train.inter")
    assert config.data.validation == str(folder / "mine.valid.inter")
    assert config.data.test == str(folder / "mine.test.inter")
    assert (config.data.min_rating, config.data.min_per_user) == (None, None)
    other = load_config(tmp_path / "a.yaml", {"data.path": str(tmp_path / "other")})
    assert other.data.train == str(tmp_path / "other" / "other.train.inter")
    assert other.data.path is None
