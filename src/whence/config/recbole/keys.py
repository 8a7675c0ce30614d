"""RecBole's keys and defaults: what each becomes, is refused for, or does not change.

The keys are those of RecBole 1.2.1: properties/overall.yaml, properties/dataset/sample.yaml,
properties/quick_start_config/sequential.yaml, properties/model/*.yaml of the models that are
translated, utils/argument_list.py, and the arguments of its quick start; and those of older
versions that its files still have.
"""

from __future__ import annotations

from typing import Any, NamedTuple

RENAMED = {
    "epochs": "training.epochs",
    "learning_rate": "training.learning_rate",
    "weight_decay": "training.weight_decay",
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


class Refusal(NamedTuple):
    """A key that would change results and has no counterpart.

    Attributes
    ----------
    about : str
        What is not offered, or what to do instead.
    harmless : tuple
        Values at which it does nothing, beside None; RecBole's default is one of them.
    models : tuple of str
        The only models whose results it changes; all if empty.
    """

    about: str
    harmless: tuple[Any, ...] = ()
    models: tuple[str, ...] = ()


_FEATURES = ("widedeep",)
_EVAL_ARGS = "it is of an older RecBole, and 1.2.1 does not read it; write eval_args"
_INTERVAL = "it is of an older RecBole, and 1.2.1 does not read it; write val_interval"

REFUSED: dict[str, Refusal] = {
    "shuffle": Refusal("training examples are drawn in a new order for each epoch", (True,)),
    "encoding": Refusal("files are read as UTF-8", ("utf-8", "UTF-8", "utf8")),
    "enable_amp": Refusal("write training.precision: bfloat16 for products in 16 bits", (False,)),
    "enable_scaler": Refusal("training is in single precision", (False,)),
    "transform": Refusal("items of a history are neither masked, cropped nor reordered"),
    "alias_of_user_id": Refusal("no other column shares the numbers of the users", ([],)),
    "alias_of_item_id": Refusal("no other column shares the numbers of the items", ([],)),
    "alias_of_entity_id": Refusal("there are no knowledge graphs", ([],)),
    "alias_of_relation_id": Refusal("there are no knowledge graphs", ([],)),
    "fields_in_same_space": Refusal("no other column shares the numbers of the items", ([],)),
    "numerical_features": Refusal("numbers are not embedded", ([],), _FEATURES),
    "normalize_field": Refusal(
        "numbers are scaled to mean 0 and standard deviation 1", ([],), _FEATURES
    ),
    "normalize_all": Refusal(
        "numbers are scaled to mean 0 and standard deviation 1", (False,), _FEATURES
    ),
    "discretization": Refusal("numbers are not cut into ranges", ({},), _FEATURES),
    "seq_len": Refusal("lists in features are taken whole", ({},), _FEATURES),
    "LABEL_FIELD": Refusal(
        "all interactions are positive, and negatives are drawn", ("label",), _FEATURES
    ),
    "threshold": Refusal(
        "all interactions are positive, and negatives are drawn; drop rows with val_interval",
        ({},),
        _FEATURES,
    ),
    "unload_col": Refusal("name the columns that are loaded, with load_col", ({},), _FEATURES),
    "unused_col": Refusal("name the columns that are loaded, with load_col", ({},), _FEATURES),
    "mf_train": Refusal("both parts are trained", (True,)),
    "mlp_train": Refusal("both parts are trained", (True,)),
    "use_pretrain": Refusal("training begins with random parameters", (False,)),
    "knn_method": Refusal("neighbours are items", ("item",)),
    "layer_norm_eps": Refusal("layer norms have RecBole's default", (1e-12,)),
    "initializer_range": Refusal("initial parameters have RecBole's default", (0.02,)),
    "max_user_inter_num": Refusal("there is no upper bound"),
    "max_item_inter_num": Refusal("there is no upper bound"),
    "highest_val": Refusal(_INTERVAL, ({},)),
    "equal_val": Refusal(_INTERVAL, ({},)),
    "not_equal_val": Refusal(_INTERVAL, ({},)),
    "eval_setting": Refusal(_EVAL_ARGS),
    "split_ratio": Refusal(_EVAL_ARGS),
    "leave_one_num": Refusal(_EVAL_ARGS),
    "group_by_user": Refusal(_EVAL_ARGS),
    "real_time_process": Refusal(_EVAL_ARGS, (False,)),
}
"""Keys that change results and have nothing that corresponds, except at certain values."""

NO_INFLUENCE: dict[str, str] = {
    "worker": "how data is loaded",
    "nproc": "read on RecBole's command line only",
    "world_size": "read on RecBole's command line only",
    "ip": "read on RecBole's command line only",
    "port": "read on RecBole's command line only",
    "group_offset": "read on RecBole's command line only",
    "config_file": "read on RecBole's command line only",
    "config_files": "read on RecBole's command line only",
    "verbose": "what is shown",
    "state": "what is shown; here `--quiet` and `--verbose`",
    "reproducibility": "the same seed always gives the same result",
    "save_dataset": "what is kept",
    "dataset_save_path": "what is kept",
    "save_dataloaders": "what is kept",
    "dataloaders_save_path": "what is kept",
    "log_wandb": "what is shown",
    "wandb_project": "what is shown",
    "draw_loss_pic": "what is shown",
    "loss_decimal_place": "what is shown",
    "metric_decimal_place": "what is shown",
    "require_pow": "a penalty that none of the models here has",
    "eval_batch_size": "how evaluation is cut into batches",
    "valid_metric_bigger": "follows from the metric, as in RecBole",
    "tail_ratio": "of a metric that is not offered",
    "seq_separator": "of columns with lists",
    "additional_feat_suffix": "no model here reads further files",
    "preload_weight": "no model here reads pretrained vectors",
    "NEG_PREFIX": "a name that RecBole gives",
    "ITEM_LIST_LENGTH_FIELD": "a name that RecBole gives",
    "LIST_SUFFIX": "a name that RecBole gives",
    "POSITION_FIELD": "a name that RecBole gives",
    "HEAD_ENTITY_ID_FIELD": "of knowledge graphs",
    "TAIL_ENTITY_ID_FIELD": "of knowledge graphs",
    "RELATION_ID_FIELD": "of knowledge graphs",
    "ENTITY_ID_FIELD": "of knowledge graphs",
    "kg_reverse_r": "of knowledge graphs",
    "entity_kg_num_interval": "of knowledge graphs",
    "relation_kg_num_interval": "of knowledge graphs",
    "augmentation": "of an older RecBole; every beginning of a history is an example",
    "drop_filter_field": "of an older RecBole; a column that filters is in no model here",
    "drop_preload_weight": "of an older RecBole; no model here reads pretrained vectors",
    "mf_pretrain_path": "read with `use_pretrain` only",
    "mlp_pretrain_path": "read with `use_pretrain` only",
}
"""Keys that change no result, and what they are about."""

# These come with every tutorial, and to be told each time that they do nothing helps nobody.
QUIET = ("load_col", "eval_batch_size", "seq_separator", "valid_metric_bigger")

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
    "repeatable": False,
    "filter_inter_by_user_or_item": True,
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
        "inner_size": 256,
        "hidden_act": "gelu",
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
ALSO: dict[str, dict[str, Any]] = {"widedeep": {"model.cross": False}}
"""What the models are in RecBole, beside their keys: its WideDeep crosses no features."""
POINTWISE = ("neumf", "widedeep")
SPLIT = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"}
SPLIT_OF_SEQUENCES = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}
NO_METRICS = ("logloss", "shannonentropy", "tailpercentage")
# Too common words to tell whose file it is.
COMMON = (
    "seed", "epochs", "metrics", "learning_rate", "weight_decay", "device", "k", "dropout",
    "shuffle", "encoding", "verbose", "ip", "port", "state", "threshold", "transform", "worker",
)  # fmt: skip
TRAINING = {
    "epochs": "epochs",
    "train_batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "learner": "optimizer",
    "weight_decay": "weight_decay",
}
"""Settings of training that not every model has."""
