"""Digits: 1,797 handwritten digits of 8x8 that come with nnkit (Alpaydin and Kaynak 1998)."""

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnkit.data.pictures.base import PictureData, Store
from nnkit.data.pictures.image_files import centre_ink, load, to_array
from nnkit.data.pictures.statistics import picture_statistics

_SIDE = 8
# Each value counts the black pixels in a 4x4 block of a scanned digit: 0 to 16.
_LEVELS = 16


class Digits(PictureData):
    """1,797 handwritten digits, 8x8 grey, 10 classes, shipped with nnkit: needs no network.

    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.

    Args:
        val_fraction: Share held out for validation, drawn evenly over the classes; 0: none.
        test_fraction: Share held out for the test, drawn in the same way.
        split_seed: Seed of that draw; it does not depend on `seed`.
        subset: Share of the remaining training pictures to use; None: all.
        augment: Options of `nnkit.data.pictures.augment.Augment` by name.
        batch_size: Pictures in a training batch.
        eval_batch_size: Pictures in a validation or test batch; None: the larger of batch_size and 512.
        num_workers: Worker processes; 0 is the fastest here.
        seed: Seed of the sample order and of augmentation.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        subset: float | None = None,
        augment: dict[str, Any] | None = None,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            shape=(1, _SIDE, _SIDE),
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            subset=subset,
            augment=augment,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )

    def open(self) -> Store:
        """Read the shipped arrays."""
        with (
            files("nnkit.data").joinpath("datasets/files/digits.npz").open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            counts, targets = arrays["pixels"], arrays["targets"]
        pixels = _to_bytes(counts)[:, None]
        return Store(
            pixels=torch.from_numpy(pixels),
            targets=torch.from_numpy(targets.astype(np.int64)),
            statistics=torch.from_numpy(picture_statistics(pixels)),
            class_names=list("0123456789"),
            fingerprint=hashlib.sha256(counts.tobytes() + targets.tobytes()).hexdigest(),
            parts={"train": torch.arange(len(targets))},
        )

    def read_picture(self, path: Path) -> Tensor:
        """Read an 8x8 picture as it is, and any other as these were made: scaled to fill 8x8."""
        image = load(path, channels=1)
        if image.size != (_SIDE, _SIDE):
            image = centre_ink(image, size=_SIDE, box=_SIDE, by_mass=False)
        return torch.from_numpy(to_array(image))


def _to_bytes(counts: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Stretch 0 to 16 over the range of a byte, as in the picture files a user brings."""
    levels: np.ndarray[Any, np.dtype[np.uint8]] = np.round(counts * (255 / _LEVELS)).astype(np.uint8)
    return levels
