"""What makes a model small."""

# The arguments that make a model small, by what its constructor takes.
SMALL = {
    "embedding_dim": 4,
    "hidden_dim": 3,
    "num_layers": 2,
    "max_length": 5,
    "n_negatives": 2,
    "gmf_dim": 3,
    "mlp_dim": 4,
    "factors": 3,
    "dim": 3,
    "layers": (5, 4),
    "hidden_units": 3,
}
