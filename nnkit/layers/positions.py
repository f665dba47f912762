"""Where a step is in its sequence: sinusoids to add, or rotations of queries and keys."""

import torch
from torch import Tensor

# Of both papers.
_BASE = 10_000.0


def sinusoids(start: int, length: int, dim: int, like: Tensor) -> Tensor:
    """Return sines and cosines of falling frequencies (Vaswani et al. 2017, section 3.5).

    Args:
        start: Number of the first step.
        length: Steps.
        dim: Width; sines have the even places, cosines the odd ones.
        like: Whose device and type the result has.

    Returns:
        (length, dim).
    """
    angles = _angles(start, length, dim, like.device)
    # PE(pos, 2i) = sin(pos / 10000^(2i / dim)), PE(pos, 2i + 1) = cos(pos / 10000^(2i / dim))
    table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return table[:, :dim].to(like.dtype)


def rotations(start: int, length: int, dim: int, like: Tensor, base: float = _BASE) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines that `rotate` rotates queries and keys by (Su et al. 2021, "RoFormer").

    Args:
        start: Number of the first step.
        length: Steps.
        dim: Width of a head, an even number.
        like: Whose device and type the result has.
        base: The slowest pair of places turns by about 1 / base at each step.

    Returns:
        Cosines and sines, (length, dim) each; the second half of the width repeats the first.
    """
    angles = _angles(start, length, dim, like.device, base)
    angles = torch.cat([angles, angles], dim=-1)  # (length, dim)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotary_dim(dim: int, num_heads: int) -> int:
    """Return the width of a head whose queries and keys are rotated.

    Raises:
        ValueError: If it is odd.
    """
    width = dim // num_heads
    if width % 2:
        raise ValueError(
            f"num_heads must leave heads of even width for rotary positions: {dim} / {num_heads}"
        )
    return width


def rotate(vectors: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate each pair of places (i, i + dim / 2) of vectors (..., time, dim) by the angle of its step.

    The product of a query and a key then depends on their distance only: rotations by m and by n leave one by n - m.
    """
    cos, sin = rotation
    first, second = vectors.chunk(2, dim=-1)  # (..., time, dim / 2) each
    # (a, b) becomes (a cos - b sin, b cos + a sin).
    return vectors * cos + torch.cat([-second, first], dim=-1) * sin


def _angles(start: int, length: int, dim: int, device: torch.device, base: float = _BASE) -> Tensor:
    """Return pos / base^(2i / dim) for each step pos and each pair of places i, (length, dim / 2)."""
    frequencies = base ** (-torch.arange(0, dim, 2, device=device, dtype=torch.float32) / dim)
    steps = torch.arange(start, start + length, device=device, dtype=torch.float32)
    return steps[:, None] * frequencies
