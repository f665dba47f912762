"""Attention with several heads, by whichever of torch's kernels is faster, its weights at hand when asked for."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnkit.layers.checks import check_dropout, check_positive
from nnkit.layers.dropout import dropout
from nnkit.layers.positions import rotate

# Keys and values of the steps read so far, (batch, heads, time, dim / heads) each.
Cache = tuple[Tensor, Tensor]

# Up to so many keys, products of reduced precision make attention written out faster than the fused kernel of a CPU.
_SHORT = 256


class Attention(nn.Module):
    """Scaled dot-product attention of a sequence to itself, or to a memory (Vaswani et al. 2017, section 3.2).

    Queries, keys and values of self-attention come from one product; of a memory, keys and values do.

    Args:
        dim: Width of the features.
        num_heads: Heads, each of width dim / num_heads.
        dropout: Probability that an attention weight is set to zero while training.
        bias: Whether the projections have one.
        memory_dim: Width of the memory that is attended to; None: the sequence attends to itself.

    Attributes:
        record: Whether the next call keeps its weights.
        weights: Those of the last call that was recorded, (batch, heads, time, keys).

    Raises:
        ValueError: If a number is out of range or the heads do not divide the width.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        memory_dim: int | None = None,
    ) -> None:
        super().__init__()
        check_positive("dim", dim)
        check_positive("num_heads", num_heads)
        check_dropout(dropout)
        if dim % num_heads:
            raise ValueError(f"num_heads must divide dim, {dim}; {num_heads} does not")
        self.num_heads, self.dropout = num_heads, dropout
        self.is_cross = memory_dim is not None
        if memory_dim is None:
            self.query_key_value = nn.Linear(dim, 3 * dim, bias=bias)
        else:
            self.query = nn.Linear(dim, dim, bias=bias)
            self.key_value = nn.Linear(memory_dim, 2 * dim, bias=bias)
        self.out = nn.Linear(dim, dim, bias=bias)
        self.record = False
        self.weights: Tensor | None = None

    def forward(
        self,
        features: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        rotation: tuple[Tensor, Tensor] | None = None,
        cache: Cache | None = None,
    ) -> tuple[Tensor, Cache]:
        """Let each step of features (batch, time, dim) gather from the steps of the sequence.

        Args:
            features: One vector a step.
            mask: True where a key may be attended to, (batch, keys) bool; None: everywhere.
            causal: Whether a step sees those before it and itself only.
            rotation: Turns queries and keys; see `nnkit.layers.positions.rotations`.
            cache: Keys and values of the steps before; the new ones are appended.

        Returns:
            (batch, time, dim), and the keys and values to go on from.
        """
        query, key, value = map(self._split, self.query_key_value(features).chunk(3, dim=-1))
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        if cache is not None:
            key, value = torch.cat([cache[0], key], dim=2), torch.cat([cache[1], value], dim=2)
        return self._attend(query, key, value, mask, causal), (key, value)

    def look_up(
        self, features: Tensor, memory: Tensor, mask: Tensor | None = None, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """Let each step of features (batch, time, dim) gather from a memory (batch, keys, memory_dim).

        Args:
            features: One vector a step.
            memory: What is attended to.
            mask: True where the memory may be attended to, (batch, keys) bool; None: everywhere.
            cache: What an earlier call for the same memory returned, so that it is not projected again.

        Returns:
            (batch, time, dim), and the keys and values of the memory.
        """
        if cache is None:
            key, value = map(self._split, self.key_value(memory).chunk(2, dim=-1))
            cache = key, value
        return self._attend(self._split(self.query(features)), *cache, mask, causal=False), cache

    def _split(self, vectors: Tensor) -> Tensor:
        """Map (batch, time, dim) to (batch, heads, time, dim / heads)."""
        return vectors.reshape(*vectors.shape[:2], self.num_heads, -1).transpose(1, 2)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        time, num_keys = query.shape[2], key.shape[2]
        # One step sees all that is there.
        causal = causal and time > 1
        # Padding stands on the right, where a causal step does not look anyway.
        seen = None if mask is None or causal else mask[:, None, None, :]
        drop = self.dropout if self.training else 0.0
        written_out = self.record or _faster_written_out(query, num_keys, drop)
        if causal and (written_out or time < num_keys):
            seen = torch.ones(time, num_keys, dtype=torch.bool, device=query.device).tril(num_keys - time)
            causal = False
        if written_out:
            mixed = self._written_out(query, key, value, seen, drop)
        else:
            mixed = functional.scaled_dot_product_attention(
                query, key, value, attn_mask=seen, dropout_p=drop, is_causal=causal
            )
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result

    def _written_out(
        self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, drop: float
    ) -> Tensor:
        batch, heads, time, width = query.shape
        # One batch of products for all heads, which adds what rules keys out on the way: a quarter faster.
        ruled_out = query.new_zeros(())
        if seen is not None:
            ruled_out = query.new_zeros(seen.shape).masked_fill_(~seen, -math.inf)
        if ruled_out.ndim == 4:
            ruled_out = ruled_out.expand(-1, heads, -1, -1).flatten(0, 1)
        scores = torch.baddbmm(
            ruled_out,
            query.flatten(0, 1),
            key.flatten(0, 1).transpose(1, 2),
            alpha=1 / math.sqrt(width),
        )
        weights = scores.softmax(-1)
        if self.record:
            self.weights = weights.detach().view(batch, heads, time, -1)
        mixed = torch.bmm(dropout(weights, drop), value.flatten(0, 1))
        return mixed.view(batch, heads, time, width)


def _faster_written_out(query: Tensor, num_keys: int, drop: float) -> bool:
    """Return whether products and a softmax beat torch's fused kernel, which does not use a CPU's bfloat16 units."""
    if query.device.type != "cpu":
        return False
    if drop:
        # The fused kernel knows no dropout, and torch's way around it draws a number for each weight.
        return True
    if num_keys > _SHORT:
        return False
    reduced = torch.get_float32_matmul_precision() != "highest" or torch.is_autocast_enabled("cpu")
    return reduced or query.dtype == torch.bfloat16
