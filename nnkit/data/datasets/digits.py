"""Digits: 1,797 handwritten digits of 8x8 that come with nnkit (Alpaydin and Kaynak 1998)."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnkit.data.pictures.base import PictureData, PictureSet, picture_statistics
from nnkit.data.pictures.image_files import centre_ink, load, to_array

_SIDE = 8
# Each value counts the black pixels in a 4x4 block of a scanned digit: 0 to 16.
_LEVELS = 16


@dataclass(kw_only=True, eq=False)
class Digits(PictureData):
    """1,797 handwritten digits, 8x8 grey, 10 classes, shipped with nnkit: needs no network.

    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
    """

    batch_size: int = 32

    shape = (1, _SIDE, _SIDE)

    def open(self) -> PictureSet:
        """Read the shipped arrays."""
        with (
            files("nnkit.data").joinpath("datasets/files/digits.npz").open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            counts, targets = arrays["pixels"], arrays["targets"]
        pixels = _to_bytes(counts)[:, None]
        return PictureSet(
            title="digits",
            pixels=torch.from_numpy(pixels),
            targets=torch.from_numpy(targets.astype(np.int64)),
            statistics=torch.from_numpy(picture_statistics(pixels)),
            class_names=list("0123456789"),
            fingerprint=hashlib.sha256(counts.tobytes() + targets.tobytes()).hexdigest(),
            parts={"train": torch.arange(len(targets))},
        )

    def read_picture(self, path: Path) -> Tensor:
        """Read an 8x8 picture as it is, and any other as these were made: scaled to fill 8x8."""
        return torch.from_numpy(to_array(centre_ink(load(path, channels=1), _SIDE, _SIDE, by_mass=False)))


def _to_bytes(counts: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Stretch 0 to 16 over the range of a byte, as in the picture files a user brings."""
    levels: np.ndarray[Any, np.dtype[np.uint8]] = np.round(counts * (255 / _LEVELS)).astype(np.uint8)
    return levels
