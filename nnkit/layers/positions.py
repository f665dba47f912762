"""Where a step stands in its sequence: sinusoids to add, or rotations of queries and keys."""

import torch
from torch import Tensor

_BASE = 10_000.0


def sinusoids(start: int, length: int, dim: int, like: Tensor) -> Tensor:
    """Return sines and cosines of falling frequencies (Vaswani et al. 2017, section 3.5).

    Args:
        start: Number of the first step.
        length: Steps.
        dim: Width; sines stand at even places, cosines at odd ones.
        like: Whose device and type the result has.

    Returns:
        (length, dim).
    """
    angles = _angles(start, length, dim, like.device)
    table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return table[:, :dim].to(like.dtype)


def rotations(start: int, length: int, dim: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `rotate` turns queries and keys by (Su et al. 2021, "RoFormer").

    Args:
        start: Number of the first step.
        length: Steps.
        dim: Width of a head, an even number.
        like: Whose device and type the result has.

    Returns:
        Cosines and sines, (length, dim) each; the second half of the width repeats the first.
    """
    angles = _angles(start, length, dim, like.device)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotary_dim(dim: int, num_heads: int) -> int:
    """Return the width of a head whose queries and keys are turned.

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
    """Turn each pair of places (i, i + dim / 2) of vectors (..., time, dim) by the angle of its step."""
    cos, sin = rotation
    first, second = vectors.chunk(2, dim=-1)
    return vectors * cos + torch.cat([-second, first], dim=-1) * sin


def _angles(start: int, length: int, dim: int, device: torch.device) -> Tensor:
    frequencies = _BASE ** (-torch.arange(0, dim, 2, device=device, dtype=torch.float32) / dim)
    steps = torch.arange(start, start + length, device=device, dtype=torch.float32)
    return steps[:, None] * frequencies
