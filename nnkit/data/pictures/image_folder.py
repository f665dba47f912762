"""A user's own pictures: a folder for each class, of any sizes and formats."""

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from torch import Tensor

from nnkit.data.base import Preprocessing, Split
from nnkit.data.cache import Prepared, cache_dir, commit, new_array, prepared
from nnkit.data.download.fetch import console
from nnkit.data.download.sources import fingerprint
from nnkit.data.pictures.base import PictureData, PictureSet, picture_statistics
from nnkit.data.pictures.image_files import (
    Fit,
    PictureError,
    Pixels,
    fit,
    list_pictures,
    load,
    quiet,
    to_array,
)
from nnkit.errors import UserError
from nnkit.files.paths import expand
from nnkit.machine.memory import total_memory
from nnkit.suggest import some_of
from nnkit.ui.consoles import progress_bar

Decode = partial[Pixels]

logger = logging.getLogger("nnkit")

# Pictures whose statistics are taken where not all are decoded beforehand.
_LOOKED_AT = 1000
# Unreadable files that are put up with: so many, or a tenth of all.
_FEW = 3
_LISTED = 10
# Preparing fewer than this takes no time worth a progress bar.
_QUICK = 500
_CHUNK = 256
_PART_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder.

    Attributes:
        root: The folder.
        paths: All pictures.
        targets: Class of each, (n,) int64.
        class_names: Names of the class folders, sorted.
        parts: Rows of each part that has a folder of its own; all rows are "train" otherwise.
        fingerprint: SHA-256 over names, sizes and modification times.
        names_fingerprint: SHA-256 over names and sizes alone, the same for a copy of the folder.
    """

    root: Path
    paths: list[Path]
    targets: Tensor
    class_names: list[str]
    parts: dict[Split, Tensor]
    fingerprint: str
    names_fingerprint: str


@dataclass(kw_only=True, eq=False)
class ImageFolder(PictureData):
    """Pictures in a folder for each class, or in train, val and test folders with such folders inside.

    They are decoded once, brought to one size and kept in the cache as bytes. Where those would fill more
    than half of the memory, the files are decoded anew in each epoch, by `num_workers` processes.

    Attributes:
        root: The folder.
        height: Height of the pictures the model sees.
        width: Their width.
        in_channels: 1 for grey, 3 for colour.
        resize: How a picture of another shape gets there: "crop" cuts off what sticks out, "pad" adds
            black bars, "stretch" distorts.

    Raises:
        ValueError: If an option is out of range.
    """

    root: str | None = None
    height: int = 64
    width: int = 64
    in_channels: int = 3
    resize: Fit = "crop"

    fact_names: ClassVar[tuple[str, ...]] = ("num_classes",)

    def __post_init__(self) -> None:
        for name, value in (("height", self.height), ("width", self.width)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if self.in_channels not in (1, 3):
            raise ValueError(f"in_channels must be 1 (grey) or 3 (colour), not {self.in_channels}")
        if self.resize not in get_args(Fit):
            raise ValueError(f"resize must be one of {', '.join(get_args(Fit))}, not {self.resize}")
        super().__post_init__()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.in_channels, self.height, self.width

    def open(self) -> PictureSet:
        """List the folder and open the prepared arrays, prepared if need be."""
        if self.root is None:
            raise UserError("data.root: name the folder that holds one folder of pictures for each class")
        root = expand(self.root)
        listing = list_classes(root)
        decode = partial(read_fitted, shape=self.shape, resize=self.resize)
        fits = len(listing.paths) * int(np.prod(self.shape)) <= (total_memory() or 2**33) // 2
        options = [str(root.resolve()), str(self.shape), self.resize, str(fits)]
        folder = cache_dir() / "image_folder" / fingerprint(options)[:16]
        key = [listing.fingerprint, *options[1:]]
        opened = prepared(folder, key, lambda: _prepare(folder, key, listing, decode, fits))
        return self._set_of(listing, opened, decode)

    def prepare(self) -> Preprocessing:
        """Add how the pictures were brought to size to what every dataset of pictures learns."""
        return {**super().prepare(), "resize": self.resize}

    def read_picture(self, path: Path) -> Tensor:
        """Read a picture and bring it to size as in training."""
        channels, height, width = self.preprocessing["shape"]
        return torch.from_numpy(
            read_fitted(path, shape=(channels, height, width), resize=self.preprocessing["resize"])
        )

    def _set_of(self, listing: Listing, opened: Prepared, decode: Decode) -> PictureSet:
        arrays, facts = opened.arrays, opened.facts
        if facts["unreadable"]:
            logger.warning("%s", _report(facts["unreadable"], len(listing.paths)))
        readable = torch.from_numpy(arrays["readable"]).to(torch.bool)
        parts = {name: rows[readable[rows]] for name, rows in listing.parts.items()}
        kept = set(listing.targets[parts["train"]].tolist())
        lost = [name for number, name in enumerate(listing.class_names) if number not in kept]
        if lost:
            raise UserError(f"no picture of {', '.join(lost)} below {listing.root} can be read")
        decoded = "pixels" in arrays
        # Of files that are decoded anew the bytes are unknown: names and sizes must do.
        found = [opened.hashes["pixels"], fingerprint(map(str, listing.targets.tolist()))] if decoded else []
        return PictureSet(
            title=str(listing.root),
            pixels=torch.from_numpy(arrays["pixels"]) if decoded else FileGather(listing.paths, decode),
            targets=listing.targets,
            statistics=torch.from_numpy(arrays["statistics"]),
            class_names=listing.class_names,
            fingerprint=fingerprint(found) if decoded else listing.names_fingerprint,
            parts=parts,
        )


class FileGather:
    """Decodes the pictures of a batch when they are asked for.

    Args:
        paths: All files.
        decode: Reads one as (channels, height, width) uint8.
    """

    def __init__(self, paths: list[Path], decode: Decode) -> None:
        self._paths = paths
        self._decode = decode

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the pictures of these rows, (batch, channels, height, width) uint8.

        Raises:
            UserError: If a file cannot be read any more.
        """
        pictures = []
        for row in rows.tolist():
            try:
                with quiet():
                    pictures.append(self._decode(self._paths[row]))
            except PictureError as error:
                raise UserError(f"{self._paths[row]} cannot be used: {error}") from error
        return torch.from_numpy(np.stack(pictures))


def read_fitted(path: Path, shape: tuple[int, int, int], resize: Fit) -> Pixels:
    """Read one picture and bring it to size.

    Args:
        path: The file.
        shape: Channels, height and width.
        resize: How.

    Returns:
        The picture, (channels, height, width) uint8.

    Raises:
        PictureError: If it cannot be read.
    """
    channels, height, width = shape
    return to_array(fit(load(path, channels, (height, width)), height, width, resize))


def _prepare(folder: Path, key: list[str], listing: Listing, decode: Decode, whole: bool) -> None:
    """Decode the pictures, all or a sample, and keep what the training needs of them."""
    count = len(listing.paths)
    shape = decode.keywords["shape"]
    statistics = np.full((count, shape[0], 3), np.nan)
    (folder / "pixels.npy").unlink(missing_ok=True)
    if whole:
        with new_array(folder, "pixels", (count, *shape), "u1") as pixels:
            unreadable = _decode_all(listing.paths, range(count), decode, statistics, pixels)
    else:
        logger.warning(
            "%s pictures of %s fill more than half of the memory: they are decoded anew in each epoch; "
            "data.num_workers=N shares this among processes",
            f"{count:,}",
            "x".join(map(str, shape)),
        )
        sample = range(0, count, max(1, count // _LOOKED_AT))
        unreadable = _decode_all(listing.paths, sample, decode, statistics)
    with new_array(folder, "readable", (count,), "u1") as readable:
        readable[:] = [str(path) not in unreadable for path in listing.paths]
    with new_array(folder, "statistics", statistics.shape, "f8") as kept:
        kept[:] = statistics
    commit(folder, key, {"unreadable": unreadable})


def _decode_all(
    paths: list[Path],
    rows: range,
    decode: Decode,
    statistics: np.ndarray[Any, np.dtype[np.float64]],
    pixels: Pixels | None = None,
) -> dict[str, str]:
    """Fill in statistics, and pixels if they are kept; return the unreadable files and why they are."""

    def attempt(row: int) -> Pixels | str:
        try:
            return decode(paths[row])
        except PictureError as error:
            return str(error)

    unreadable: dict[str, str] = {}
    # Pillow lets go of the interpreter's lock while it decodes.
    with quiet(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, _progress(len(rows)) as advance:
        for first in range(0, len(rows), _CHUNK):
            # Chunk by chunk, or the pictures that wait to be stored could fill the memory.
            chunk = rows[first : first + _CHUNK]
            for row, result in zip(chunk, pool.map(attempt, chunk), strict=True):
                if isinstance(result, str):
                    unreadable[str(paths[row])] = result
                    continue
                statistics[row] = picture_statistics(result[None])[0]
                if pixels is not None:
                    pixels[row] = result
            advance(len(chunk))
    if len(unreadable) > max(_FEW, len(rows) // 10):
        raise UserError(f"too many unreadable files: {_report(unreadable, len(rows))}")
    return unreadable


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    if total < _QUICK:
        yield lambda _: None
        return
    text = f"Preparing {total:,} pictures"
    if not console.is_terminal:
        console.print(text, highlight=False)
        yield lambda _: None
        return
    with progress_bar(console, text, total) as advance:
        yield advance


def _report(unreadable: dict[str, str], total: int) -> str:
    lines = [f"{name}: {reason}" for name, reason in unreadable.items()]
    head = f"{len(unreadable):,} of {total:,} pictures cannot be read and are left out:\n  "
    return head + some_of(lines, _LISTED, "\n  ")


def list_classes(root: Path) -> Listing:
    """List the pictures of a folder with one folder a class, or train, val and test with those inside.

    Args:
        root: The folder.

    Raises:
        UserError: If there is no such folder, it holds no pictures or fewer than two classes, or a part has a
            class that the training part lacks.
    """
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}")
    folders = _subfolders(root)
    parts = {_PART_NAMES[path.name.lower()]: path for path in folders if path.name.lower() in _PART_NAMES}
    if "train" not in parts or not _subfolders(parts["train"]):
        parts = {"train": root}
    by_part = {part: _by_class(folder) for part, folder in parts.items()}
    class_names = sorted(by_part["train"])
    _check_folders(root, class_names, by_part)
    paths: list[Path] = []
    targets: list[int] = []
    rows: dict[Split, Tensor] = {}
    for part, classes in by_part.items():
        first = len(paths)
        for name in sorted(classes):
            paths += classes[name]
            targets += [class_names.index(name)] * len(classes[name])
        rows[part] = torch.arange(first, len(paths))
    statuses = [(path.relative_to(root).as_posix(), path.stat()) for path in paths]
    return Listing(
        root=root,
        paths=paths,
        targets=torch.tensor(targets, dtype=torch.int64),
        class_names=class_names,
        parts=rows,
        fingerprint=fingerprint(f"{name} {status.st_size} {status.st_mtime_ns}" for name, status in statuses),
        names_fingerprint=fingerprint(f"{name} {status.st_size}" for name, status in statuses),
    )


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _by_class(folder: Path) -> dict[str, list[Path]]:
    classes = {path.name: list_pictures(path) for path in _subfolders(folder)}
    empty = sorted(name for name, paths in classes.items() if not paths)
    if empty:
        logger.warning("%s: no pictures in %s, left out", folder, ", ".join(empty))
    return {name: paths for name, paths in classes.items() if paths}


def _check_folders(root: Path, class_names: list[str], by_part: dict[Split, dict[str, list[Path]]]) -> None:
    if len(class_names) < 2:
        loose = len(list_pictures(root)) if not class_names else 0
        found = (
            f"{root} holds pictures of one class only, {class_names[0]}"
            if class_names
            else f"{root} holds {loose:,} pictures outside of class folders"
            if loose
            else f"{root} holds no pictures"
        )
        raise UserError(f"data.root: {found}; expected is a folder for each of at least two classes")
    for part, classes in by_part.items():
        unknown = sorted(set(classes) - set(class_names))
        if unknown:
            raise UserError(
                f"data.root: {root}'s {part} part has classes without training pictures: {unknown}"
            )
