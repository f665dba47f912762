"""Multi-head attention, of a sequence to itself or to a memory (Vaswani et al. 2017, section 3.2)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnkit.layers.checks import check_dropout, check_positive
from nnkit.layers.dropout import dropout
from nnkit.layers.packed import PackedLinear
from nnkit.layers.positions import rotate

# Keys and values of the steps read so far, (batch, kv_heads, time, dim / heads) each.
Cache = tuple[Tensor, Tensor]

# Up to this number of keys, products of reduced precision make the written-out formula faster on a CPU.
_SHORT = 256


def scaled_dot_product(
    query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None, dropout_p: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Compute Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V (equation 1), written out.

    Args:
        query: (batch, heads, time, width).
        key: (batch, heads, keys, width).
        value: (batch, heads, keys, width).
        allowed: True where a step may attend to a key, bool; (batch, 1, 1, keys) or (time, keys). None: everywhere.
        dropout_p: Probability that a weight is set to zero.

    Returns:
        The mixed values (batch, heads, time, width), and the weights (batch, heads, time, keys).
    """
    batch, heads, time, width = query.shape
    # Minus infinity in the softmax's input makes a weight of exactly 0 (section 3.2.3).
    bias = query.new_zeros(())
    if allowed is not None:
        bias = query.new_zeros(allowed.shape).masked_fill_(~allowed, -math.inf)
    if bias.ndim == 4:
        bias = bias.expand(-1, heads, -1, -1).flatten(0, 1)  # (batch * heads, 1, keys)
    # One batch of products for all heads, which also adds the bias: a quarter faster than four dimensions.
    query, key, value = (each.flatten(0, 1) for each in (query, key, value))  # (batch * heads, ..., width)
    # Without the scale, scores grow with the width and the softmax saturates (section 3.2.1).
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=1 / math.sqrt(width))
    weights = scores.softmax(-1)  # (batch * heads, time, keys); each row adds up to 1
    mixed = torch.bmm(dropout(weights, dropout_p), value)  # (batch * heads, time, width)
    return mixed.view(batch, heads, time, width), weights.view(batch, heads, time, -1)


class MultiHead(nn.Module):
    """Base of both kinds of attention: heads, each of width dim / num_heads, and the projection of their results.

    Args:
        dim: Width of the features.
        num_heads: Heads; they divide `dim`.
        dropout: Probability that an attention weight is set to zero while training.

    Attributes:
        record: Whether the next call keeps its weights.
        weights: The weights of the last recorded call, (batch, heads, time, keys).
        is_cross: Whether it attends to a memory.

    Raises:
        ValueError: If a number is out of range or the heads do not divide the width.
    """

    is_cross: bool
    # W^O of section 3.2.2; made after the other projections, whose initial weights are drawn first.
    out: nn.Linear

    def __init__(self, dim: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        check_positive("dim", dim)
        check_positive("num_heads", num_heads)
        check_dropout(dropout)
        if dim % num_heads:
            raise ValueError(f"num_heads must divide dim, {dim}; {num_heads} does not")
        self.num_heads, self.head_dim, self.dropout = num_heads, dim // num_heads, dropout
        self.record = False
        self.weights: Tensor | None = None

    def _split(self, vectors: Tensor) -> Tensor:
        """Map (batch, time, dim) to (batch, heads, time, dim / heads); fewer heads where there are fewer keys."""
        return vectors.reshape(*vectors.shape[:2], -1, self.head_dim).transpose(1, 2)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Mix values in each head; map heads back to (batch, time, dim)."""
        if key.shape[1] < self.num_heads:
            # A head of keys and values serves the heads of queries that follow each other.
            key, value = (part.repeat_interleave(self.num_heads // part.shape[1], 1) for part in (key, value))
        dropout_p = self.dropout if self.training else 0.0
        written_out = self.record or _is_faster_written_out(query, key.shape[2], dropout_p)
        allowed, causal = _allowed(query, key.shape[2], mask, causal, as_tensor=written_out)
        if written_out:
            mixed, weights = scaled_dot_product(query, key, value, allowed, dropout_p)
            if self.record:
                self.weights = weights.detach()
        else:  # the same formula in one kernel of torch's, which keeps no weights
            mixed = functional.scaled_dot_product_attention(
                query, key, value, attn_mask=allowed, dropout_p=dropout_p, is_causal=causal
            )
        joined = mixed.transpose(1, 2).flatten(2)  # Concat(head_1, ..., head_h): (batch, time, dim)
        result: Tensor = self.out(joined)
        return result


class SelfAttention(MultiHead):
    """Attention of each step to the steps of its own sequence; further arguments as `MultiHead`.

    Args:
        num_kv_heads: Heads of keys and values, which divide `num_heads`; each serves as many heads of queries, so that
            the cache of generation is smaller (Ainslie et al. 2023, "GQA: training generalized multi-query Transformer
            models from multi-head checkpoints"). None: one for each head.
        bias: Whether projections have one.
    """

    is_cross = False

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        dropout: float = 0.0,
        num_kv_heads: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__(dim, num_heads, dropout=dropout)
        if num_kv_heads is not None and (num_kv_heads < 1 or num_heads % num_kv_heads):
            raise ValueError(f"num_kv_heads must divide num_heads, {num_heads}; {num_kv_heads} does not")
        width = dim // num_heads * (num_kv_heads or num_heads)
        self.widths = (dim, width, width)
        # W^Q, W^K and W^V of all heads in one matrix: one product instead of 3 * num_heads.
        names = ("query", "key", "value")
        self.query_key_value = PackedLinear(dim, dict(zip(names, self.widths, strict=True)), bias=bias)
        self.out = nn.Linear(dim, dim, bias=bias)

    def forward(
        self,
        features: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        rotation: tuple[Tensor, Tensor] | None = None,
        cache: Cache | None = None,
    ) -> tuple[Tensor, Cache]:
        """Map features (batch, time, dim) to (batch, time, dim).

        Args:
            features: One vector a step.
            mask: True where a key may be attended to, (batch, keys) bool, padded on the right; None: everywhere.
            causal: Whether a step attends only to earlier steps and itself.
            rotation: Rotates queries and keys; see `nnkit.layers.positions.rotations`.
            cache: Keys and values of the earlier steps; the new ones are appended.

        Returns:
            The features, and the keys and values to continue with.
        """
        parts = self.query_key_value(features).split(self.widths, dim=-1)  # (batch, time, dim or less) each
        query, key, value = map(self._split, parts)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        if cache is not None:
            # (batch, heads, earlier + time, dim / heads)
            key, value = torch.cat([cache[0], key], dim=2), torch.cat([cache[1], value], dim=2)
        return self._attend(query, key, value, mask, causal), (key, value)


class CrossAttention(MultiHead):
    """Attention of each step to a memory, what an encoder made of its source; further arguments as `MultiHead`.

    Args:
        memory_dim: Width of the memory.
    """

    is_cross = True

    def __init__(self, dim: int, num_heads: int, memory_dim: int, *, dropout: float = 0.0) -> None:
        super().__init__(dim, num_heads, dropout=dropout)
        self.query = nn.Linear(dim, dim)
        self.key_value = PackedLinear(memory_dim, {"key": dim, "value": dim})
        self.out = nn.Linear(dim, dim)

    def forward(
        self, features: Tensor, memory: Tensor, mask: Tensor | None = None, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """Map features (batch, time, dim) to (batch, time, dim).

        Args:
            features: One vector a step.
            memory: What is attended to, (batch, keys, memory_dim).
            mask: True where the memory may be attended to, (batch, keys) bool; None: everywhere.
            cache: What an earlier call for the same memory returned, so that it is not projected again.

        Returns:
            The features, and the keys and values of the memory.
        """
        if cache is None:
            key, value = self.key_value(memory).chunk(2, dim=-1)  # (batch, keys, dim) each
            cache = self._split(key), self._split(value)
        query = self._split(self.query(features))
        return self._attend(query, *cache, mask), cache


def _allowed(
    query: Tensor, num_keys: int, mask: Tensor | None, causal: bool, *, as_tensor: bool
) -> tuple[Tensor | None, bool]:
    """Return which keys each step may attend to, and whether torch's kernel is to make the causal triangle itself."""
    time = query.shape[2]
    if causal and time > 1:
        # A mask adds nothing: padding is on the right, later than every real step.
        if not as_tensor and time == num_keys:
            return None, True
        # With a cache, step t of the new ones has num_keys - time earlier steps before it.
        triangle = torch.ones(time, num_keys, dtype=torch.bool, device=query.device).tril(num_keys - time)
        return triangle, False
    # One causal step is the last of all: it attends to every key.
    return None if mask is None else mask[:, None, None, :], False


def _is_faster_written_out(query: Tensor, num_keys: int, dropout_p: float) -> bool:
    """Return whether the written-out formula beats torch's fused kernel, which uses no bfloat16 units of a CPU."""
    if query.device.type != "cpu":
        return False
    if dropout_p:
        # The fused kernel of a CPU has no dropout; torch's substitute draws a whole number for each weight.
        return True
    reduced = _multiplies_in_bfloat16() or torch.is_autocast_enabled("cpu")
    # The length last: a program that is exported keeps what was asked of it as a condition.
    return (reduced or query.dtype == torch.bfloat16) and num_keys <= _SHORT


# The name of a precision is no tensor, and would cut a compiled graph in two.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _multiplies_in_bfloat16() -> bool:
    """Return whether products of float32 are of reduced precision; compiled graphs are made for one answer."""
    return torch.get_float32_matmul_precision() != "highest"
