"""A model trained by RecBole in Whence: evaluated, asked, and its losses taken apart.

Needs ``pip install recbole``, which wants old versions of numpy, pandas and torch. The data come
with RecBole.
"""

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

import whence
from whence.models.adapters import RecBoleModel

# As RecBole trains a model.
settings = {"epochs": 10, "show_progress": False, "seed": 1}
config = Config(model="BPR", dataset="ml-100k", config_dict=settings)
init_seed(config["seed"], config["reproducibility"])
train_data, valid_data, _ = data_preparation(config, create_dataset(config))
network = get_model(config["model"])(config, train_data.dataset).to(config["device"])
trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
trainer.fit(train_data, valid_data, saved=False, show_progress=False)

# RecBoleModel.load("saved/BPR-....pth") does the same with a checkpoint of RecBole.
model = RecBoleModel(network, train_data)
valid = RecBoleModel(network, valid_data).train_
print("BPR:", whence.evaluate(model, valid, ["recall@10", "mrr@10"]).scores)

user = model.vocabulary.sources[0]
items, scores = model.recommend(user, k=3)
print(f"RecBole's BPR recommends to user {user}:", items.tolist())

# The loss of each training example, of which RecBole gives the mean.
with torch.no_grad():
    losses = model.example_loss(model.examples_.batch(np.arange(5)))
print("Losses of the first examples:", [round(loss, 3) for loss in losses.tolist()])
