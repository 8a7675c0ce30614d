"""RecBole's keys and defaults: what is renamed, what belongs to models, what is left out.

The defaults are those of RecBole 1.2: properties/overall.yaml, properties/model/*.yaml and
properties/quick_start_config/sequential.yaml.
"""

from __future__ import annotations

from typing import Any

RENAMED = {
    "epochs": "training.epochs",
    "learning_rate": "training.learning_rate",
    "weight_decay": "training.weight_decay",
    "eval_step": "training.eval_every",
    "valid_metric": "training.metric",
    "show_progress": "training.progress",
    "USER_ID_FIELD": "data.user",
    "ITEM_ID_FIELD": "data.item",
    "field_separator": "data.separator",
    "checkpoint_dir": "output.runs",
    "min_user_inter_num": "data.min_per_user",
    "min_item_inter_num": "data.min_per_item",
}
"""Keys whose value is taken as it is."""

OF_MODELS: dict[str, tuple[str, ...]] = {
    "embedding_size": ("embedding_dim", "factors"),
    "mf_embedding_size": ("gmf_dim",),
    "mlp_embedding_size": ("mlp_dim",),
    "mlp_hidden_size": ("layers",),
    "hidden_size": ("hidden_dim", "embedding_dim"),
    "num_layers": ("num_layers",),
    "n_layers": ("num_layers",),
    "n_heads": ("num_heads",),
    "dropout_prob": ("dropout",),
    "hidden_dropout_prob": ("dropout",),
    "attn_dropout_prob": ("dropout",),
    "dropout": ("dropout",),
    "MAX_ITEM_LIST_LENGTH": ("max_length",),
    "reg_weight": ("l2",),
    "k": ("k",),
    "shrink": ("shrinkage",),
}
"""Arguments of models: the first of those named that the model has."""

WITHOUT_USE = (
    "nproc",
    "worker",
    "state",
    "encoding",
    "reproducibility",
    "eval_batch_size",
    "valid_metric_bigger",
    "save_dataset",
    "dataset_save_path",
    "save_dataloaders",
    "dataloaders_save_path",
    "log_wandb",
    "wandb_project",
    "loss_decimal_place",
    "metric_decimal_place",
    "draw_loss_pic",
    "require_pow",
    "shuffle",
    "repeatable",
    "seq_separator",
    "load_col",
    "unload_col",
    "unused_col",
    "LABEL_FIELD",
    "NEG_PREFIX",
    "ITEM_LIST_LENGTH_FIELD",
    "LIST_SUFFIX",
    "POSITION_FIELD",
    "augmentation",
    "mf_train",
    "mlp_train",
    "use_pretrain",
    "hidden_act",
    "layer_norm_eps",
    "initializer_range",
)
"""Keys that change no result here."""

# These come with every tutorial, and to be told each time that they do nothing helps nobody.
QUIET = ("load_col", "eval_batch_size", "seq_separator", "valid_metric_bigger")

NOT_OFFERED = (
    "rm_dup_inter",
    "filter_inter_by_user_or_item",
    "benchmark_filename",
    "additional_feat_suffix",
    "fields_in_same_space",
    "preload_weight",
    "normalize_field",
    "normalize_all",
    "discretization",
    "transform",
    "alias_of_user_id",
    "alias_of_item_id",
    "alias_of_entity_id",
    "max_user_inter_num",
    "max_item_inter_num",
    "numerical_features",
    "inner_size",
    "seq_len",
)
"""Keys that can change results and have nothing that corresponds; left out with a note."""

DEFAULTS: dict[str, Any] = {
    "epochs": 300,
    "train_batch_size": 2048,
    "learner": "adam",
    "learning_rate": 0.001,
    "weight_decay": 0.0,
    "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
    "eval_step": 1,
    "stopping_step": 10,
    "eval_args": {},
    "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision"],
    "topk": [10],
    "valid_metric": "MRR@10",
    "seed": 2020,
}
DEFAULTS_OF_MODELS: dict[str, dict[str, Any]] = {
    "bpr": {"embedding_size": 64},
    "neumf": {
        "mf_embedding_size": 64,
        "mlp_embedding_size": 64,
        "mlp_hidden_size": [128, 64],
        "dropout_prob": 0.1,
    },
    "gru4rec": {
        "embedding_size": 64,
        "hidden_size": 128,
        "num_layers": 1,
        "dropout_prob": 0.3,
        "MAX_ITEM_LIST_LENGTH": 50,
        "loss_type": "CE",
    },
    "sasrec": {
        "hidden_size": 64,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dropout_prob": 0.5,
        "MAX_ITEM_LIST_LENGTH": 50,
        "loss_type": "CE",
    },
    "widedeep": {"embedding_size": 10, "mlp_hidden_size": [32, 16, 8], "dropout_prob": 0.1},
    "ease": {"reg_weight": 250.0},
    "itemknn": {"k": 100, "shrink": 0.0},
}
POINTWISE = ("neumf", "widedeep")
SPLIT = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"}
SPLIT_OF_SEQUENCES = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}
NO_METRICS = ("logloss", "shannonentropy", "tailpercentage")
# Too common words to tell whose file it is.
COMMON = ("seed", "epochs", "metrics", "learning_rate", "weight_decay", "device", "k", "dropout")
TRAINING = {
    "epochs": "epochs",
    "train_batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "learner": "optimizer",
    "weight_decay": "weight_decay",
}
"""Settings of training that not every model has."""
