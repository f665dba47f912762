"""Embed for bodies that read one text and write another."""

from torch import Tensor, nn

from nnkit.layers.checks import check_dropout, check_positive


class PairTokens(nn.Module):
    """A learnt vector for each token of the sources, and for each token of the targets.

    Their standard deviation is dim^-0.5 at the start, so that tied heads begin with scores of order one.

    Args:
        source_vocab_size: Tokens of the sources.
        vocab_size: Tokens of the targets.
        dim: Width of the vectors.
        dropout: Probability that a number of a vector is set to zero while training.
        shared: Whether sources and targets have one vocabulary and one set of vectors (Vaswani et al. 2017, section
            3.4).

    Raises:
        ValueError: If a number is out of range, or vectors are to be shared by vocabularies of different size.
    """

    def __init__(
        self,
        source_vocab_size: int,
        vocab_size: int,
        *,
        dim: int = 128,
        dropout: float = 0.0,
        shared: bool = False,
    ) -> None:
        super().__init__()
        sizes = {"source_vocab_size": source_vocab_size, "vocab_size": vocab_size, "dim": dim}
        for name, value in sizes.items():
            check_positive(name, value)
        check_dropout(dropout)
        if shared and source_vocab_size != vocab_size:
            raise ValueError(
                f"shared vectors need one vocabulary, not {source_vocab_size} source and {vocab_size} target "
                "tokens: shared=false gives each its own"
            )
        self.dim_out = dim
        self.target_vectors = nn.Embedding(vocab_size, dim)
        self.source_vectors = None if shared else nn.Embedding(source_vocab_size, dim)
        self.dropout = nn.Dropout(dropout)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=dim**-0.5)

    @property
    def token_vectors(self) -> Tensor:
        """Vectors of the target tokens, (vocab_size, dim), for a head that shares them."""
        return self.target_vectors.weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Map source tokens (batch, source_time) to vectors (batch, source_time, dim)."""
        vectors: Tensor = self.dropout((self.source_vectors or self.target_vectors)(inputs))
        return vectors

    def target(self, tokens: Tensor) -> Tensor:
        """Map target tokens (batch, time) to vectors (batch, time, dim)."""
        vectors: Tensor = self.dropout(self.target_vectors(tokens))
        return vectors
