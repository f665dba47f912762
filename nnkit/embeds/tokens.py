"""Embed for bodies that read tokens."""

from torch import Tensor, nn

from nnkit.layers.checks import check_dropout, check_positive


class Tokens(nn.Module):
    """A learnt vector for each token of the vocabulary.

    Args:
        vocab_size: Tokens there are.
        dim: Width of their vectors.
        dropout: Probability that a number of a vector is set to zero while training.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, vocab_size: int, *, dim: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        check_positive("vocab_size", vocab_size)
        check_positive("dim", dim)
        check_dropout(dropout)
        self.vectors = nn.Embedding(vocab_size, dim)
        self.dropout = nn.Dropout(dropout)
        self.dim_out = dim

    def forward(self, inputs: Tensor) -> Tensor:
        """Map token numbers (batch, time) to vectors (batch, time, dim)."""
        vectors: Tensor = self.dropout(self.vectors(inputs))
        return vectors
