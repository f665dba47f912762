"""Augmentation of a batch of pictures as a pure function of (seed, epoch, sample index)."""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nnkit.data.counted_random import coarse_uniform


@dataclass(frozen=True)
class Augment:
    """Random changes of training pictures.

    A sample gets the same change in the same epoch whatever batch it is in, and is mixed with the same other one of the
    same batch: resuming needs nothing saved.

    Attributes:
        shift: Moves by up to so many pixels each way; black comes in at the border.
        crop: The same for photographs: the border is mirrored, not black (the usual padded random crop).
        flip: Mirrors left and right, half of the time.
        rotate: Turns by up to so many degrees either way.
        cutout: Covers a square of so many pixels a side with the mean colour; its centre is anywhere in the picture
            (DeVries and Taylor 2017, "Improved regularization of convolutional neural networks with cutout").
        mixup: Mixes pictures of a batch in pairs, by one share drawn from Beta(mixup, mixup) (Zhang et al. 2018,
            "mixup: Beyond empirical risk minimization", equation 2).

    Raises:
        ValueError: If a value is out of range.
    """

    shift: int = 0
    crop: int = 0
    flip: bool = False
    rotate: float = 0.0
    cutout: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift", "crop", "cutout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"augment.{name} must be a whole number of pixels from 0, not {value}")
        if not isinstance(self.flip, bool):
            raise ValueError(f"augment.flip must be true or false, not {self.flip}")
        if isinstance(self.rotate, bool) or not isinstance(self.rotate, int | float):
            raise ValueError(f"augment.rotate must be a number of degrees, not {self.rotate}")
        if not 0 <= self.rotate <= 180:
            raise ValueError(f"augment.rotate must lie in [0, 180] degrees, not {self.rotate}")
        if (
            isinstance(self.mixup, bool)
            or not isinstance(self.mixup, int | float)
            or not 0 <= self.mixup < math.inf
        ):
            raise ValueError(f"augment.mixup must be a number from 0, such as 0.2, not {self.mixup}")

    @classmethod
    def of(cls, options: dict[str, Any] | None) -> "Augment | None":
        """Read the options of a config.

        Args:
            options: Values by name; missing ones are off.

        Returns:
            The augmentation, or None where all of it is off.

        Raises:
            ValueError: If a name is unknown or a value is out of range.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(options or {}) - set(known))
        if unknown:
            raise ValueError(f"augment knows {', '.join(known)}, not {', '.join(unknown)}")
        augment = cls(**(options or {}))
        return None if augment == cls() else augment

    def check_size(self, height: int, width: int) -> None:
        """Refuse moves and squares that would leave nothing of the smallest side.

        Raises:
            ValueError: If shift, crop or cutout is not smaller than both sides.
        """
        for name, value in (("shift", self.shift), ("crop", self.crop), ("cutout", self.cutout)):
            if value >= min(height, width):
                raise ValueError(
                    f"augment.{name} must be smaller than the pictures of {height}x{width}, not {value}"
                )

    def __call__(self, pixels: Tensor, seed: int, epoch: int, index: Tensor) -> Tensor:
        """Change a batch of pictures.

        Args:
            pixels: Grey or colour values, (batch, channels, height, width), uint8; not changed in place.
            seed: Seed of the run.
            epoch: Epoch of training.
            index: Number of each sample in its split, (batch,) int64.

        Returns:
            A new tensor of the same shape and range: float32 after a rotation, uint8 otherwise.
        """
        drawn = coarse_uniform(seed, epoch, index.numpy())
        if self.rotate:
            pixels = _rotate(pixels, self.rotate * (2 * drawn[0] - 1))
        if self.flip:
            flipped = torch.from_numpy(drawn[1] < 0.5)
            pixels = torch.where(flipped.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
        if self.shift:
            padded = functional.pad(pixels, [self.shift] * 4)
            pixels = _move(padded, self.shift, drawn[2], drawn[3])
        if self.crop:
            pixels = _move(_mirror(pixels, self.crop), self.crop, drawn[4], drawn[5])
        return pixels

    def cover(self, inputs: Tensor, seed: int, epoch: int, index: Tensor) -> None:
        """Cover a square of each picture with zeros, which is the mean colour once pictures are normalised.

        Args:
            inputs: Normalised pictures, (batch, channels, height, width) float32; changed in place.
            seed: As for `__call__`.
            epoch: As for `__call__`.
            index: As for `__call__`.
        """
        if not self.cutout:
            return
        drawn = torch.from_numpy(coarse_uniform(seed, epoch, index.numpy())[6:8])
        sides = []
        for centre, size in zip(drawn, inputs.shape[2:], strict=True):
            first = (centre * size).long() - self.cutout // 2  # (batch,)
            place = torch.arange(size) - first[:, None]  # (batch, size)
            sides.append((place >= 0) & (place < self.cutout))
        down, right = sides
        inputs.masked_fill_(down[:, None, :, None] & right[:, None, None, :], 0.0)

    def pairing(self, seed: int, epoch: int, index: Tensor) -> tuple[float, Tensor] | None:
        """Return how to mix a batch; None: not at all.

        Args:
            seed: As for `__call__`.
            epoch: As for `__call__`.
            index: As for `__call__`. The first of them tells the batch from the others of its epoch.

        Returns:
            The share of a picture, at least a half, and the place of the one that it is mixed with, (batch,) int64.
        """
        if not self.mixup:
            return None
        generator = np.random.default_rng([seed % 2**64, epoch, int(index[0])])
        share = float(generator.beta(self.mixup, self.mixup))
        # Shares a and 1 - a mix the same pairs.
        return max(share, 1 - share), torch.from_numpy(generator.permutation(len(index)))


def _move(padded: Tensor, margin: int, down: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> Tensor:
    """Cut from each padded picture a window of the old size, at its own place."""
    batch, channels, tall, wide = padded.shape
    plane = tall * wide
    rows = (down * (2 * margin + 1)).astype(np.int64)
    columns = (right * (2 * margin + 1)).astype(np.int64)
    starts = np.arange(batch) * (channels * plane) + rows * wide + columns
    # A view whose n-th entry is the window that starts at the n-th number in memory: the whole batch is one
    # index_select, several times faster than a gather of single pixels.
    last = (batch - 1) * channels * plane + 2 * margin * (wide + 1)
    windows = padded.contiguous().as_strided(
        (last + 1, channels, tall - 2 * margin, wide - 2 * margin), (1, plane, wide, 1)
    )
    return windows.index_select(0, torch.from_numpy(starts))


def _mirror(pixels: Tensor, margin: int) -> Tensor:
    """Pad by reflection; torch's own does not take uint8."""
    for axis in (-2, -1):
        size = pixels.shape[axis]
        place = torch.arange(-margin, size + margin).abs()
        place = torch.where(place < size, place, 2 * (size - 1) - place)
        pixels = pixels.index_select(axis, place)
    return pixels


def _rotate(pixels: Tensor, degrees: np.ndarray[Any, np.dtype[np.float64]]) -> Tensor:
    """Turn each picture about its centre with bilinear interpolation; black comes in at the corners."""
    height, width = pixels.shape[-2:]
    angle = torch.from_numpy(degrees * (math.pi / 180)).view(-1, 1, 1)
    down = torch.arange(height, dtype=torch.float64).view(1, -1, 1) - (height - 1) / 2
    right = torch.arange(width, dtype=torch.float64).view(1, 1, -1) - (width - 1) / 2
    # Element by element rather than as a matrix product, whose rounding may depend on the size of the batch.
    source_right = (angle.cos() * right + angle.sin() * down) * (2 / width)
    source_down = (angle.cos() * down - angle.sin() * right) * (2 / height)
    grid = torch.stack([source_right, source_down], dim=-1).to(torch.float32)
    return functional.grid_sample(pixels.to(torch.float32), grid, padding_mode="zeros", align_corners=False)
