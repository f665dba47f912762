"""Head that scores what may come next."""

from typing import ClassVar

from torch import Tensor, nn

from nnkit.layers.checks import check_positive


class LanguageModel(nn.Module):
    """One linear layer from the features of each step to a score for each token of the vocabulary.

    Args:
        dim_in: Width of the features.
        vocab_size: Tokens to choose from.

    Raises:
        ValueError: If a number is below 1.
    """

    # It wants the features of every step, not their summary.
    each_step: ClassVar[bool] = True

    def __init__(self, dim_in: int, vocab_size: int) -> None:
        super().__init__()
        check_positive("dim_in", dim_in)
        check_positive("vocab_size", vocab_size)
        self.linear = nn.Linear(dim_in, vocab_size)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (batch, ..., dim_in) to logits (batch, ..., vocab_size)."""
        logits: Tensor = self.linear(features)
        return logits
