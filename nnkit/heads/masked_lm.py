"""Head that predicts masked tokens, and whether one sentence follows another."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnkit.layers.activation import ActivationName, activation_layer
from nnkit.layers.checks import check_positive
from nnkit.layers.transformer import draw_small


class MaskedLM(nn.Module):
    """BERT's two heads of pre-training (Devlin et al. 2019, section 3.1).

    The features of a masked token go through a layer, the model's activation and a normalisation, and are multiplied by
    a vector for each token of the vocabulary. The summary of a pair goes through a linear layer.

    Args:
        dim_in: Width of the features.
        vocab_size: Tokens to choose from.
        tied: Whether the vectors that tokens are read by score them as well, as in the paper.
        tied_dim: Width of those vectors.
        activation: Of the layer before the normalisation; None: GELU, as in the paper.
        eps: Added to the variance in the normalisation; None: 1e-12, as in the published code.

    Raises:
        ValueError: If a number is below 1.
    """

    # It wants the features of the masked steps, and their summary for `next_sentence`.
    each_step_and_summary: ClassVar[bool] = True
    # Arguments that the body decides where the config leaves them null, by the body's attribute.
    as_body: ClassVar[dict[str, str]] = {"activation": "activation", "eps": "eps", "tied": "ties_head"}

    def __init__(
        self,
        dim_in: int,
        vocab_size: int,
        *,
        tied: bool | None = True,
        tied_dim: int | None = None,
        activation: ActivationName | None = None,
        eps: float | None = None,
    ) -> None:
        super().__init__()
        check_positive("dim_in", dim_in)
        check_positive("vocab_size", vocab_size)
        self.tied = bool(tied)
        dim = tied_dim if tied and tied_dim is not None else dim_in
        self.transform = nn.Linear(dim_in, dim)
        self.activation = activation_layer(activation or "gelu")
        self.norm = nn.LayerNorm(dim, eps=1e-12 if eps is None else eps)
        self.vectors = None if tied else nn.Linear(dim, vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.follows = nn.Linear(dim_in, 2)
        draw_small(self)

    def forward(self, features: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Map features (..., dim_in) to logits (..., vocab_size) of the token that stands there.

        Args:
            features: Of the steps to score.
            vectors: One vector a token, (vocab_size, tied_dim), if they are tied.
        """
        hidden = self.norm(self.activation(self.transform(features)))
        if self.vectors is not None:
            vectors = self.vectors.weight
        assert vectors is not None
        return functional.linear(hidden, vectors, self.bias)

    def next_sentence(self, summary: Tensor) -> Tensor:
        """Map summaries of pairs (batch, dim_in) to logits (batch, 2) of `Sentences.next_label`."""
        logits: Tensor = self.follows(summary)
        return logits
