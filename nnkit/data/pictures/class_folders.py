"""Which pictures lie in a folder of class folders, and which class and part each belongs to."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nnkit.data.base import Split
from nnkit.data.download.sources import fingerprint
from nnkit.data.pictures.image_files import list_pictures
from nnkit.errors import UserError

logger = logging.getLogger("nnkit")

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
    _check(root, class_names, by_part)
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


def _check(root: Path, class_names: list[str], by_part: dict[Split, dict[str, list[Path]]]) -> None:
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
