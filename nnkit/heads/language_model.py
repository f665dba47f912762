"""Head that scores what may come next."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from nnkit.layers.checks import check_positive


class LanguageModel(nn.Module):
    """One linear layer from the features of each step to a score for each token of the vocabulary.

    Args:
        dim_in: Width of the features.
        vocab_size: Tokens to choose from.
        bias: Whether scores have a bias, where they are not tied.
        tied: Whether the vectors that tokens are read by score them as well, without a bias (Press and Wolf 2017,
            "Using the output embedding to improve language models").
        tied_dim: Width of those vectors; features of another width are projected to it.

    Raises:
        ValueError: If a number is below 1.
    """

    # It wants the features of every step, not their summary.
    each_step: ClassVar[bool] = True
    # Arguments that the body decides where the config leaves them null, by the body's attribute.
    as_body: ClassVar[dict[str, str]] = {"bias": "head_bias", "tied": "ties_head"}

    def __init__(
        self,
        dim_in: int,
        vocab_size: int,
        *,
        bias: bool | None = True,
        tied: bool | None = False,
        tied_dim: int | None = None,
    ) -> None:
        super().__init__()
        check_positive("dim_in", dim_in)
        check_positive("vocab_size", vocab_size)
        self.tied = bool(tied)
        if not tied:
            self.linear: nn.Module = nn.Linear(dim_in, vocab_size, bias=bool(bias))
        elif tied_dim is None or tied_dim == dim_in:
            self.linear = nn.Identity()
        else:
            self.linear = nn.Linear(dim_in, tied_dim, bias=False)

    def forward(self, features: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Map features (batch, ..., dim_in) to logits (batch, ..., vocab_size).

        Args:
            features: Of the steps to score.
            vectors: One vector a token, (vocab_size, tied_dim), if they are tied.
        """
        hidden: Tensor = self.linear(features)
        if not self.tied:
            return hidden
        assert vectors is not None
        return functional.linear(hidden, vectors)
