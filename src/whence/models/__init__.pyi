"""Recommenders: where each is from."""

from .adapters.cornac import (
    CornacModel as CornacModel,
)
from .adapters.implicit import (
    ImplicitModel as ImplicitModel,
)
from .adapters.recbole import (
    RecBoleModel as RecBoleModel,
)
from .adapters.torch_module import (
    TorchModel as TorchModel,
)
from .adapters.wrapped import (
    Wrapped as Wrapped,
)
from .base import (
    MODELS as MODELS,
)
from .base import (
    Recommender as Recommender,
)
from .files import (
    load_model as load_model,
)
from .knn.itemknn import (
    ItemKNN as ItemKNN,
)
from .knn.tifu import (
    TIFUKNN as TIFUKNN,
)
from .knn.vmis import (
    VMISKNN as VMISKNN,
)
from .markov import (
    MarkovChain as MarkovChain,
)
from .matrix.als import (
    ALS as ALS,
)
from .matrix.bpr import (
    BPRMF as BPRMF,
)
from .matrix.ease import (
    EASE as EASE,
)
from .matrix.mf import (
    BiasedMF as BiasedMF,
)
from .neural.gru4rec import (
    GRU4Rec as GRU4Rec,
)
from .neural.lstm import (
    LSTMRec as LSTMRec,
)
from .neural.neumf import (
    NeuMF as NeuMF,
)
from .neural.rbm import (
    RBM as RBM,
)
from .neural.sasrec import (
    SASRec as SASRec,
)
from .neural.wide_deep import (
    WideDeep as WideDeep,
)
from .popularity import (
    Popularity as Popularity,
)
from .training.checkpoints import (
    Checkpoint as Checkpoint,
)
from .training.checkpoints import (
    load_checkpoints as load_checkpoints,
)
from .training.differentiable import (
    DifferentiableRecommender as DifferentiableRecommender,
)

__all__ = [
    "ALS",
    "BPRMF",
    "EASE",
    "MODELS",
    "RBM",
    "TIFUKNN",
    "VMISKNN",
    "BiasedMF",
    "Checkpoint",
    "CornacModel",
    "DifferentiableRecommender",
    "GRU4Rec",
    "ImplicitModel",
    "ItemKNN",
    "LSTMRec",
    "MarkovChain",
    "NeuMF",
    "Popularity",
    "RecBoleModel",
    "Recommender",
    "SASRec",
    "TorchModel",
    "WideDeep",
    "Wrapped",
    "load_checkpoints",
    "load_model",
]
