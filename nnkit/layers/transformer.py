"""The layers of a Transformer: attention and a feed-forward network, each with a residual connection."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from nnkit.layers.activation import ActivationName, activation_layer
from nnkit.layers.attention import Attention, Cache
from nnkit.layers.checks import check_dropout, check_positive
from nnkit.layers.dropout import Dropout


class FeedForward(nn.Sequential):
    """Two linear layers with an activation between them, applied to each step (Vaswani et al. 2017, eq. 2).

    Args:
        dim: Width of the features.
        hidden: Width between the layers.
        activation: Name of the activation.
        dropout: Probability that a hidden unit is set to zero while training.
        bias: Whether the layers have one.
    """

    def __init__(
        self, dim: int, hidden: int, activation: ActivationName, *, dropout: float = 0.0, bias: bool = True
    ) -> None:
        check_positive("hidden", hidden)
        check_dropout(dropout)
        super().__init__(
            nn.Linear(dim, hidden, bias=bias),
            activation_layer(activation),
            Dropout(dropout),
            nn.Linear(hidden, dim, bias=bias),
        )


class TransformerLayer(nn.Module):
    """One layer of a Transformer: self-attention, attention to a memory if there is one, and a feed-forward network.

    Around each of them leads a residual connection. Its sum is normalised (post-norm, as in Vaswani et al. 2017), or
    what goes into it is (pre-norm, as in GPT-2).

    Args:
        attention: Of the sequence to itself.
        feed_forward: Applied to each step.
        make_norm: Makes a normalisation layer.
        memory_attention: Of the sequence to a memory; None for an encoder or a language model.
        norm_first: Whether pre-norm.
        dropout: Probability that a number of what is added to the residual is set to zero while training.
    """

    def __init__(
        self,
        attention: Attention,
        feed_forward: nn.Module,
        make_norm: Callable[[], nn.Module],
        *,
        memory_attention: Attention | None = None,
        norm_first: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention, self.attention_norm = attention, make_norm()
        self.memory_attention = memory_attention
        if memory_attention is not None:
            self.memory_norm = make_norm()
        self.feed_forward, self.feed_forward_norm = feed_forward, make_norm()
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
            mask: As in `Attention.forward`, like `causal` and `rotation`.
            causal: As in `Attention.forward`.
            rotation: As in `Attention.forward`.
            memory: What a decoder looks things up in, (batch, keys, memory_dim).
            memory_mask: True where the memory may be attended to, (batch, keys) bool.
            cache: What the call for the steps before returned.

        Returns:
            The features, and what the call for the next steps wants: caches of both attentions.
        """
        own, looked_up = cache or (None, None)

        def attend(inputs: Tensor) -> tuple[Tensor, Any]:
            found: tuple[Tensor, Any] = self.attention(
                inputs, mask=mask, causal=causal, rotation=rotation, cache=own
            )
            return found

        features, own = self._around(features, self.attention_norm, attend)
        attention = self.memory_attention
        if attention is not None:
            assert memory is not None

            def look_up(inputs: Tensor) -> tuple[Tensor, Any]:
                return attention.look_up(inputs, memory, memory_mask, looked_up)

            features, looked_up = self._around(features, self.memory_norm, look_up)
        features, _ = self._around(features, self.feed_forward_norm, lambda x: (self.feed_forward(x), None))
        assert own is not None
        return features, (own, looked_up)

    def _around(
        self, features: Tensor, norm: nn.Module, inner: Callable[[Tensor], tuple[Tensor, Any]]
    ) -> tuple[Tensor, Any]:
        if self.norm_first:
            change, kept = inner(norm(features))
            return features + self.dropout(change), kept
        change, kept = inner(features)
        result: Tensor = norm(features + self.dropout(change))
        return result, kept
