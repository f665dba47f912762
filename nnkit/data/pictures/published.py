"""Picture datasets that are published as files with a known hash: found or fetched, and kept prepared in the cache."""

import hashlib
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from nnkit.data.cache import cache_dir, commit, new_array, open_arrays, prepared
from nnkit.data.download.sources import Published, fingerprint, locate
from nnkit.data.pictures.base import PictureData, PictureSet, picture_statistics
from nnkit.errors import UserError
from nnkit.files.paths import expand

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
# Pictures (n, channels, height, width) and their labels (n,).
Part = tuple[Bytes, Bytes]

_CHUNK = 2000


@dataclass(kw_only=True, eq=False)
class PublishedPictures(PictureData):
    """Base of datasets of pictures with a fixed training and test part.

    Attributes:
        root: Folder with the files; None: cache, system folders, mirrors, packages.
        verify: Whether files in `root` must be the published ones; False admits others of the same format.

    Raises:
        ValueError: If an option is out of range.
    """

    root: str | None = None
    verify: bool = True
    test_fraction: float = field(default=0.0, init=False)

    published: ClassVar[Published]
    class_names: ClassVar[tuple[str, ...]]
    # Pictures of the published training part.
    num_train: ClassVar[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.root is None and not self.verify:
            raise ValueError("verify can be false only where root names a folder")

    @abstractmethod
    def read_parts(self, paths: dict[str, Path] | None) -> tuple[list[Part], list[bytes]]:
        """Read the training and the test part.

        Args:
            paths: The user's own files by name; None: those that are published, found or fetched.

        Returns:
            Both parts, and the contents of the files that they were read from.

        Raises:
            UserError: If a file is not what it should be.
            EnvironmentFault: If one cannot be had.
        """

    def own_files(self, root: Path) -> dict[str, Path]:
        """Return where a user's folder holds each file.

        Raises:
            UserError: If there is no such folder, or files are missing in it.
        """
        return locate(self.published, root)

    def open(self) -> PictureSet:
        """Open the prepared arrays, prepared from the files if need be."""
        folder, key, paths = self._where()
        opened = prepared(folder, key, lambda: self._prepare_arrays(folder, key, paths))
        arrays, num_train = opened.arrays, opened.facts["num_train"]
        return PictureSet(
            title=self.published.title,
            pixels=torch.from_numpy(arrays["pixels"]),
            targets=torch.from_numpy(arrays["targets"]),
            statistics=torch.from_numpy(arrays["statistics"]),
            class_names=list(self.class_names),
            fingerprint=opened.facts["fingerprint"],
            parts={
                "train": torch.arange(num_train),
                "test": torch.arange(num_train, len(arrays["targets"])),
            },
        )

    def num_train_samples(self) -> int:
        """Return the number of training pictures; from what is published where it is not here yet."""
        folder, key, paths = self._where()
        if self.preprocessing or paths is not None or open_arrays(folder, key) is not None:
            return super().num_train_samples()
        return round((self.num_train - round(self.num_train * self.val_fraction)) * (self.subset or 1.0))

    def _where(self) -> tuple[Path, Any, dict[str, Path] | None]:
        """Return the folder of the prepared arrays, what they depend on, and the user's own files."""
        home = cache_dir() / self.published.folder
        if self.root is None:
            return home / "prepared", self.published.fingerprint, None
        root = expand(self.root)
        paths = self.own_files(root)
        statuses = [(path.resolve(), path.stat()) for path in paths.values()]
        stamps = [[str(path), status.st_size, status.st_mtime_ns] for path, status in statuses]
        own = fingerprint([str(root.resolve()), str(self.verify)])[:16]
        return home / f"prepared-{own}", stamps, paths

    def _prepare_arrays(self, folder: Path, key: Any, paths: dict[str, Path] | None) -> None:
        parts, contents = self.read_parts(paths)
        for (pictures, labels), name in zip(parts, ("training", "test"), strict=True):
            _check_part(pictures, labels, f"{self.published.title}'s {name} part", len(self.class_names))
        num_train, num_all = len(parts[0][0]), sum(len(pictures) for pictures, _ in parts)
        statistics = []
        with new_array(folder, "pixels", (num_all, *self.shape), "u1") as pixels:
            pixels[:num_train], pixels[num_train:] = (pictures for pictures, _ in parts)
            for start in range(0, num_all, _CHUNK):
                statistics.append(picture_statistics(pixels[start : start + _CHUNK]))
        hashes = [hashlib.sha256(content).hexdigest() for content in contents]
        facts = {"num_train": num_train, "fingerprint": fingerprint(hashes)}
        targets = np.concatenate([labels for _, labels in parts]).astype(np.int64)
        commit(folder, key, facts, {"targets": targets, "statistics": np.concatenate(statistics)})


def _check_part(pictures: Bytes, labels: Bytes, origin: str, num_classes: int) -> None:
    if labels.ndim != 1:
        raise UserError(f"{origin} has labels of {labels.ndim} dimensions, not of one")
    if len(pictures) == 0:
        raise UserError(f"{origin} holds no pictures")
    if len(labels) != len(pictures):
        raise UserError(f"{origin} holds {len(pictures):,} pictures but {len(labels):,} labels")
    outside = int((labels >= num_classes).sum())
    if outside:
        raise UserError(
            f"{outside:,} of {len(labels):,} labels of {origin} lie outside 0 to {num_classes - 1}; "
            f"the largest is {int(labels.max())}"
        )
