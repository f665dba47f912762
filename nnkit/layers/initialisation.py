"""Weights before training, as families that share a recipe draw them."""

from torch import nn

# Standard deviation (Devlin et al. 2019: the published code's initializer_range).
_STD = 0.02


def draw_small(module: nn.Module) -> None:
    """Draw matrices and vectors of tokens from a normal distribution cut at two deviations; biases begin at zero.

    Args:
        module: Whose linear layers and embeddings are changed in place; what normalises is left as it is.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(part.weight, std=_STD, a=-2 * _STD, b=2 * _STD)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
