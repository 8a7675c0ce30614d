"""Neural recommenders; they need torch."""

from whence.models.neural.gru4rec import GRU4Rec
from whence.models.neural.lstm import LSTMRec
from whence.models.neural.sasrec import SASRec

__all__ = ["GRU4Rec", "LSTMRec", "SASRec"]
