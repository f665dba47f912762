"""Embed for bodies that read tokens."""

import math

from torch import Tensor, nn

from nnkit.layers.checks import check_dropout, check_positive


class Tokens(nn.Module):
    """A learnt vector for each token of the vocabulary.

    Args:
        vocab_size: Tokens there are.
        dim: Width of their vectors.
        dropout: Probability that a number of a vector is set to zero while training.
        std: Standard deviation of the vectors before training.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, vocab_size: int, *, dim: int = 128, dropout: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        check_positive("vocab_size", vocab_size)
        check_positive("dim", dim)
        check_dropout(dropout)
        if not 0 < std < math.inf:
            raise ValueError(f"std must be a positive number, not {std}")
        self.vectors = nn.Embedding(vocab_size, dim)
        # torch draws them with a deviation of 1.
        if std != 1:
            nn.init.normal_(self.vectors.weight, std=std)
        self.dropout = nn.Dropout(dropout)
        self.dim_out = dim

    @property
    def token_vectors(self) -> Tensor:
        """The vectors, (vocab_size, dim), for a head that shares them."""
        return self.vectors.weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Map token numbers (batch, time) to vectors (batch, time, dim)."""
        vectors: Tensor = self.dropout(self.vectors(inputs))
        return vectors
