"""The layers of a Transformer: attention and a feed-forward network, each with a residual connection."""

import math

from torch import Tensor, nn
from torch.nn import functional

from nnkit.layers.activation import ActivationName, activation_layer
from nnkit.layers.attention import Cache, CrossAttention, SelfAttention
from nnkit.layers.checks import check_eps, check_positive
from nnkit.layers.dropout import Dropout


class FeedForward(nn.Sequential):
    """FFN(x) = activation(x W_1 + b_1) W_2 + b_2, applied to each step by itself (Vaswani et al. 2017, equation 2).

    Args:
        dim: Width of the features.
        hidden: Width between the layers.
        activation: Name of the activation; ReLU in the paper.
    """

    def __init__(self, dim: int, hidden: int, activation: ActivationName) -> None:
        check_positive("hidden", hidden)
        super().__init__(
            nn.Linear(dim, hidden),  # (batch, time, hidden)
            activation_layer(activation),
            nn.Identity(),  # keeps the name of the second layer's weights in checkpoints, "3.weight"
            nn.Linear(hidden, dim),  # (batch, time, dim)
        )


class GatedFeedForward(nn.Module):
    """SwiGLU(x) = (SiLU(x W) * x V) W_2, without biases (Shazeer 2020, "GLU variants improve Transformer", equation 6).

    Args:
        dim: Width of the features.
        hidden: Width between the layers.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        check_positive("hidden", hidden)
        self.gate = nn.Linear(dim, hidden, bias=False)  # W
        self.up = nn.Linear(dim, hidden, bias=False)  # V
        self.down = nn.Linear(hidden, dim, bias=False)  # W_2

    def forward(self, features: Tensor) -> Tensor:
        """Map features (batch, time, dim) to (batch, time, dim)."""
        mixed: Tensor = self.down(functional.silu(self.gate(features)) * self.up(features))
        return mixed


class TransformerLayer(nn.Module):
    """One layer of a Transformer: self-attention, attention to a memory if there is one, and a feed-forward network.

    Each of the three has a residual connection and a normalisation. Post-norm is the order of Vaswani et al. 2017,
    section 3.1; pre-norm that of GPT-2 (Radford et al. 2019, section 2.3), whose gradients need no long warm-up (Xiong
    et al. 2020, "On layer normalization in the Transformer architecture").

    Args:
        dim: Width of the features.
        attention: Of the sequence to itself.
        feed_forward: Applied to each step.
        memory_attention: Of the sequence to a memory; None for an encoder or a language model.
        norm_first: Whether pre-norm.
        dropout: Probability that a number of what is added to the residual is set to zero while training (section 5.4).
        eps: Added to the variance in each normalisation.
        norm: The normalisation, `nn.LayerNorm` or `nn.RMSNorm`.
    """

    def __init__(
        self,
        dim: int,
        attention: SelfAttention,
        feed_forward: FeedForward | GatedFeedForward,
        *,
        memory_attention: CrossAttention | None = None,
        norm_first: bool = False,
        dropout: float = 0.0,
        eps: float = 1e-5,
        norm: type[nn.LayerNorm] | type[nn.RMSNorm] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        check_eps(eps)
        self.attention, self.attention_norm = attention, norm(dim, eps=eps)
        self.memory_attention = memory_attention
        if memory_attention is not None:
            self.memory_norm = norm(dim, eps=eps)
        self.feed_forward, self.feed_forward_norm = feed_forward, norm(dim, eps=eps)
        self.norm_first = norm_first
        self.dropout = Dropout(dropout)

    def forward(
        self,
        features: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        rotation: tuple[Tensor, Tensor] | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: tuple[Cache, Cache | None] | None = None,
    ) -> tuple[Tensor, tuple[Cache, Cache | None]]:
        """Map features (batch, time, dim) to (batch, time, dim).

        Args:
            features: One vector a step.
            mask: As in `SelfAttention.forward`, like `causal` and `rotation`.
            causal: As in `SelfAttention.forward`.
            rotation: As in `SelfAttention.forward`.
            memory: What a decoder attends to, (batch, keys, memory_dim).
            memory_mask: True where the memory may be attended to, (batch, keys) bool.
            cache: What the call for the earlier steps returned.

        Returns:
            The features, and the caches of both attentions for the call for the next steps.
        """
        x, (own, of_memory) = features, cache or (None, None)
        if self.norm_first:
            # Pre-norm, x + Sublayer(LayerNorm(x)): nothing on the way of the residual is ever normalised.
            change, own = self.attention(
                self.attention_norm(x), mask=mask, causal=causal, rotation=rotation, cache=own
            )
            x = x + self.dropout(change)
            if self.memory_attention is not None:
                change, of_memory = self.memory_attention(self.memory_norm(x), memory, memory_mask, of_memory)
                x = x + self.dropout(change)
            x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        else:
            # Post-norm, LayerNorm(x + Sublayer(x)).
            change, own = self.attention(x, mask=mask, causal=causal, rotation=rotation, cache=own)
            x = self.attention_norm(x + self.dropout(change))
            if self.memory_attention is not None:
                change, of_memory = self.memory_attention(x, memory, memory_mask, of_memory)
                x = self.memory_norm(x + self.dropout(change))
            x = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        assert own is not None
        return x, (own, of_memory)


def draw_scaled(module: nn.Module, num_layers: int) -> None:
    """Draw matrices as GPT-2 does (Radford et al. 2019, section 2.3); biases begin at zero.

    The standard deviation is 0.02 (Radford et al. 2018, section 4.1), divided by sqrt(2 * num_layers) for weights that
    lead back to the residual: that many outputs are added to it, and their sum keeps the size of one.

    Args:
        module: Its matrices and biases are changed in place, its normalisations are not.
        num_layers: Layers of the residual.
    """
    back = ("attention.out.weight", "feed_forward.3.weight", "feed_forward.down.weight")
    for name, parameter in module.named_parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * num_layers) if name.endswith(back) else 0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


def draw_small(module: nn.Module) -> None:
    """Draw matrices and token vectors as BERT's published code does; biases begin at zero.

    The distribution is normal with a standard deviation of 0.02 (its initializer_range), cut at two deviations.

    Args:
        module: Its linear layers and embeddings are changed in place, its normalisation layers are not.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(part.weight, std=0.02, a=-0.04, b=0.04)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
