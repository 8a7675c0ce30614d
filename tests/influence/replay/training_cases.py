"""Small models and optimisers whose training is replayed."""

from __future__ import annotations

import whence

SMALL = {"epochs": 3, "batch_size": 16, "learning_rate": 0.02}
WINDOWS = {"embedding_dim": 4, "max_length": 4, "exclude_seen": False}
MODELS = {
    "neumf": lambda **more: whence.NeuMF(
        gmf_dim=3, mlp_dim=3, layers=(4, 3), n_negatives=2, activation="gelu", **SMALL | more
    ),
    "bpr": lambda **more: whence.BPRMF(embedding_dim=3, **SMALL | more),
    "gru": lambda **more: whence.GRU4Rec(hidden_dim=4, **{"dropout": 0.3} | WINDOWS | SMALL | more),
    "lstm": lambda **more: whence.LSTMRec(hidden_dim=4, **WINDOWS | SMALL | more),
    "sasrec": lambda **more: whence.SASRec(
        num_layers=1, activation="gelu", **{"dropout": 0.2} | WINDOWS | SMALL | more
    ),
    "widedeep": lambda **more: whence.WideDeep(
        embedding_dim=3, layers=(4,), activation="gelu", **SMALL | more
    ),
}
OPTIMIZERS = {
    "adam": {"optimizer": "adam", "eps_root": 1e-6, "weight_decay": 0.01},
    "adamw": {"optimizer": "adamw", "eps_root": 1e-6, "weight_decay": 0.1, "decay": 0.7},
    "averaged": {"optimizer": "adam", "eps_root": 1e-6, "averaging": 1.5},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.5, "weight_decay": 0.02},
    "adagrad": {"optimizer": "adagrad", "learning_rate": 0.1},
    "clipped": {"optimizer": "sgd", "learning_rate": 0.5, "gradient_clip": 0.05},
}
