"""CIFAR's binary format: records of one or two labels and 3 x 32 x 32 bytes of colour (Krizhevsky 2009)."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from nnkit.data.download.sources import collect, own_copy
from nnkit.data.pictures.image_files import fit, load, to_array
from nnkit.data.pictures.published import Part, PublishedPictures
from nnkit.errors import EnvironmentFault, UserError

SIDE = 32
_PIXELS = 3 * SIDE * SIDE
# Larger than any file of this format; one that is not published may be anything.
_MAX_BYTES = 2**30


@dataclass(kw_only=True, eq=False)
class CifarPictures(PublishedPictures):
    """Base of CIFAR-10 and CIFAR-100: colour pictures of 32x32, 50,000 to train on and 10,000 to test.

    Only the archive has a hash that is published: `verify` wants it in `root`. Without, its files are read as they were
    unpacked.
    """

    val_fraction: float = 0.1

    shape = (3, SIDE, SIDE)
    num_train: ClassVar[int] = 50_000
    # Bytes of a record before the pixels; the last of them is the class.
    label_bytes: ClassVar[int]
    # The files of the archive, below one folder in it: of the training part, and of the test part.
    train_files: ClassVar[tuple[str, ...]]
    test_file: ClassVar[str]

    def own_files(self, root: Path) -> dict[str, Path]:
        """Return the archive in a user's folder, or the files it was unpacked to where nothing is verified."""
        if self.verify:
            archive = self.published.files[0].name
            if root.is_dir() and not (root / archive).is_file() and (root / self.test_file).is_file():
                raise UserError(
                    f"data.root: {root} lacks {archive}; what it was unpacked to has no published hash: "
                    "data.verify=false reads that"
                )
            return super().own_files(root)
        if not root.is_dir():
            raise UserError(f"data.root: there is no folder {root}")
        paths = {name: root / name for name in (*self.train_files, self.test_file)}
        if missing := [name for name, path in paths.items() if not path.is_file()]:
            raise UserError(
                f"data.root: {root} lacks {', '.join(missing)}, as data.verify=false reads unpacked files"
            )
        return paths

    def read_parts(self, paths: dict[str, Path] | None) -> tuple[list[Part], list[bytes]]:
        """Read the records of both parts."""
        names, archive = (*self.train_files, self.test_file), self.published.files[0]
        if self.verify:
            packed = (
                own_copy(archive, paths[archive.name]) if paths else collect(self.published)[archive.name]
            )
            contents, sources = _members(packed, names), [packed]
        else:
            assert paths is not None
            contents = {name: _read(paths[name]) for name in names}
            sources = list(contents.values())
        train = b"".join(contents[name] for name in self.train_files)
        return [self._records(train, "training"), self._records(contents[self.test_file], "test")], sources

    def _records(self, content: bytes, part: str) -> Part:
        size = self.label_bytes + _PIXELS
        if len(content) % size:
            raise UserError(
                f"{self.published.title}'s {part} part has {len(content):,} bytes, which are no records of {size:,}"
            )
        records = np.frombuffer(content, np.uint8).reshape(-1, size)
        # Red, green and blue one after the other, each row by row.
        pictures = records[:, self.label_bytes :].reshape(-1, *self.shape)
        return pictures, records[:, self.label_bytes - 1]

    def read_picture(self, path: Path) -> Tensor:
        """Read a picture in colour, cut and scaled to 32x32."""
        return torch.from_numpy(to_array(fit(load(path, channels=3), SIDE, SIDE, "crop")))


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path} cannot be read: it has more than the {_MAX_BYTES:,} bytes expected")
        return path.read_bytes()
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be read: {error.strerror or error}") from error


def _members(packed: bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return files of a published archive, by the last part of their names; nothing is written."""
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        for entry in archive:
            name = Path(entry.name).name
            if name in names and (file := archive.extractfile(entry)) is not None:
                contents[name] = file.read()
    return contents
