"""Embed for bodies that read a text, or a pair of them, with a mark for which of the two a token belongs to."""

from torch import Tensor, nn

from nnkit.layers.checks import check_positive
from nnkit.layers.transformer import draw_small


class Sentences(nn.Module):
    """A learnt vector for each token, plus one for the sentence it is in (Devlin et al. 2019, section 3).

    Where a token stands is the body's affair.

    Args:
        vocab_size: Tokens there are.
        dim: Width of the vectors.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(self, vocab_size: int, *, dim: int = 256) -> None:
        super().__init__()
        check_positive("vocab_size", vocab_size)
        check_positive("dim", dim)
        self.dim_out = dim
        self.vectors = nn.Embedding(vocab_size, dim)
        self.segments = nn.Embedding(2, dim)
        draw_small(self)

    @property
    def token_vectors(self) -> Tensor:
        """The vectors of the tokens, (vocab_size, dim), for a head that shares them."""
        return self.vectors.weight

    def forward(self, inputs: Tensor, segments: Tensor | None = None) -> Tensor:
        """Map token numbers (batch, time) to vectors (batch, time, dim).

        Args:
            inputs: Token numbers.
            segments: 0 in the first sentence, 1 in the second, (batch, time) int64; None: there is one sentence.
        """
        vectors: Tensor = self.vectors(inputs)
        return vectors + (self.segments.weight[0] if segments is None else self.segments(segments))
