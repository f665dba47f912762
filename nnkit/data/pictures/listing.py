"""Pictures of a folder and below: which are read, which class and split each belongs to, and what is left out."""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from nnkit.data.download.sources import fingerprint
from nnkit.data.splits import SPLIT_TITLES, Split, split_of_word
from nnkit.errors import UserError
from nnkit.suggest import some_of

# fmt: off
SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf",
    ".jpg", ".jpx", ".pbm", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
})
# fmt: on
# Files and folders that systems leave behind; no user means them.
_BY_SYSTEMS = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_NAMED = 3

LeftOut = Mapping[str, Sequence[object]]


def summary(left_out: LeftOut) -> str:
    """Return one line on what is left out: reasons, how many files or folders each has, and the first of them."""
    return "; ".join(f"{why}: {len(names):,} ({some_of(names, _NAMED)})" for why, names in left_out.items())


@dataclass
class Found:
    """What lies below a folder.

    Attributes:
        pictures: Files that end like pictures, sorted.
        left_out: Other files and folders by the reason why they are not read, sorted; hidden ones are not counted.
    """

    pictures: list[Path] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))


def find_pictures(folder: Path, within: Sequence[Path] = (), without: Collection[Path] = ()) -> Found:
    """List the pictures of a folder and below; linked folders are followed, and each folder is read once.

    Args:
        folder: The folder.
        within: Folders around it, which no link leads back to.
        without: Folders that are passed over, as real paths.
    """
    found = Found()
    seen = {real for top in within for real in (top.resolve(), *top.resolve().parents)}
    seen.update(folder.resolve().parents)
    # A folder that lies here comes before a link to it.
    here, linked = [folder], list[Path]()
    while here or linked:
        current = here.pop() if here else linked.pop(0)
        real = current.resolve()
        if real in without:
            continue
        if real in seen:
            found.left_out["links to folders that are read already or lie around"].append(current)
            continue
        seen.add(real)
        try:
            inside = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError:
            found.left_out["folders that cannot be opened"].append(current)
            continue
        for entry in (entry for entry in inside if not _is_hidden(entry.name)):
            path = current / entry.name
            # A link into a circle of links is no folder to pathlib, and an error to `os`.
            one = path if entry.is_symlink() else entry
            if one.is_dir():
                (linked if entry.is_symlink() else here).append(path)
            else:
                _note_file(path, found, one.is_file)
    found.pictures.sort()
    for paths in found.left_out.values():
        paths.sort()
    return found


def _note_file(path: Path, found: Found, is_file: Callable[[], bool]) -> None:
    if path.suffix.lower() not in SUFFIXES:
        kind = f"{path.suffix.lower()} files" if path.suffix else "files without a suffix"
        found.left_out[f"{kind}, which are not read"].append(path)
    elif is_file():
        found.pictures.append(path)
    else:
        found.left_out["names of pictures without a file behind them"].append(path)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _BY_SYSTEMS


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder, by class and split.

    Attributes:
        root: The folder.
        paths: All pictures.
        names: What messages call them: their paths below the root, or below the folder of their split.
        targets: Class of each, (n,) int64.
        class_names: Names of the class folders, sorted.
        parts: Rows of each split that has a folder of its own; all rows are "train" otherwise.
        fingerprint: SHA-256 over names, sizes and modification times.
        names_fingerprint: SHA-256 over names and sizes alone, the same for a copy of the folder.
        left_out: Names of files and folders below the root by the reason why they are not used.
    """

    root: Path
    paths: list[Path]
    names: list[str]
    targets: Tensor
    class_names: list[str]
    parts: dict[Split, Tensor]
    fingerprint: str
    names_fingerprint: str
    left_out: LeftOut


def list_classes(root: Path, elsewhere: Mapping[Split, Path] | None = None) -> Listing:
    """List the pictures of a folder with one folder a class, or train, val and test with those inside.

    Args:
        root: The folder.
        elsewhere: Folders of class folders for splits that have one of their own.

    Raises:
        UserError: If there is no such folder, it holds no pictures or fewer than two classes, a split has a class that
            the training split lacks, or two folders.
    """
    elsewhere = elsewhere or {}
    found = Found()
    folders = _split_folders(root, elsewhere, found)
    without = {path.resolve() for path in elsewhere.values()}
    by_split = {split: _by_class(root, inside, without, found) for split, inside in folders.items()}
    left_out = {
        why: [_name(path, root, elsewhere) for path in paths] for why, paths in found.left_out.items()
    }
    class_names = sorted(by_split["train"])
    _check_classes(root, class_names, by_split, left_out)
    paths: list[Path] = []
    targets: list[int] = []
    rows: dict[Split, Tensor] = {}
    for split, classes in by_split.items():
        first = len(paths)
        for name in sorted(classes):
            paths += classes[name]
            targets += [class_names.index(name)] * len(classes[name])
        rows[split] = torch.arange(first, len(paths))
    names = [_name(path, root, elsewhere) for path in paths]
    statuses = [(name, path.stat()) for name, path in zip(names, paths, strict=True)]
    return Listing(
        root=root,
        paths=paths,
        names=names,
        targets=torch.tensor(targets, dtype=torch.int64),
        class_names=class_names,
        parts=rows,
        fingerprint=fingerprint(f"{name} {status.st_size} {status.st_mtime_ns}" for name, status in statuses),
        names_fingerprint=fingerprint(f"{name} {status.st_size}" for name, status in statuses),
        left_out=left_out,
    )


def _name(path: Path, root: Path, elsewhere: Mapping[Split, Path]) -> str:
    for split, folder in elsewhere.items():
        if path.is_relative_to(folder):
            return f"{split}_path/{below(path, folder)}"
    return below(path, root)


def below(path: Path, folder: Path) -> str:
    """Return the place of a path below a folder, divided by "/".

    Raises:
        ValueError: If it does not lie there.
    """
    # Many times as fast as `relative_to`, which has the other cases: a folder that is "." or ends in a separator.
    whole, start = str(path), str(folder) + os.sep
    short = whole[len(start) :] if whole.startswith(start) else str(path.relative_to(folder))
    return short.replace(os.sep, "/")


def _split_folders(root: Path, elsewhere: Mapping[Split, Path], found: Found) -> dict[Split, list[Path]]:
    """Return the folders of each split, in the order of their names; the root itself where there are none."""
    options = {"root": root, **{f"{split}_path": path for split, path in elsewhere.items()}}
    if missing := next((option for option, path in options.items() if not path.is_dir()), None):
        raise UserError(f"data.{missing}: there is no folder {options[missing]}")
    if len({path.resolve() for path in options.values()}) < len(options):
        raise UserError(f"two of data.{', data.'.join(options)} are the same folder")
    folders = _subfolders(root, {path.resolve() for path in elsewhere.values()})
    splits: dict[Split, list[Path]] = {}
    for folder in folders:
        if split := split_of_word(folder.name):
            splits.setdefault(split, []).append(folder)
    if any(map(_subfolders, splits.get("train", ()))):
        if others := [folder for folder in folders if not split_of_word(folder.name)]:
            found.left_out["folders beside train that are no split"] += others
        _leave_loose(root, found)
    else:
        splits = {"train": [root]}
    for split, folder in elsewhere.items():
        if split in splits:
            raise UserError(f"data.{split}_path: {root} holds {splits[split][0].name} already: leave one out")
        splits[split] = [folder]
    return splits


def _by_class(
    root: Path, folders: list[Path], without: Collection[Path], found: Found
) -> dict[str, list[Path]]:
    classes: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        _leave_loose(folder, found)
        for path in _subfolders(folder, without):
            inside = find_pictures(path, (root, folder), without)
            for why, paths in inside.left_out.items():
                found.left_out[why] += paths
            if inside.pictures:
                classes[path.name] += inside.pictures
            elif not any(path in paths for paths in inside.left_out.values()):
                found.left_out["class folders without pictures"].append(path)
    return classes


def _subfolders(folder: Path, without: Collection[Path] = ()) -> list[Path]:
    inside = [path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name)]
    return sorted(path for path in inside if path.resolve() not in without)


def _leave_loose(folder: Path, found: Found) -> None:
    """Note the pictures that lie in a folder of class folders, or of splits."""
    loose = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    if loose := sorted(path for path in loose if not _is_hidden(path.name)):
        found.left_out["pictures outside of class folders"] += loose


def _check_classes(
    root: Path, class_names: list[str], by_split: dict[Split, dict[str, list[Path]]], left_out: LeftOut
) -> None:
    if len(class_names) < 2:
        held = (
            f"pictures of one class only, {class_names[0]}"
            if class_names
            else "no class folders with pictures"
        )
        raise UserError(
            f"data.root: {root} holds {held}; expected is a folder for each of at least two classes"
            + (f"\n    not used: {summary(left_out)}" if left_out else "")
        )
    for split, classes in by_split.items():
        if unknown := sorted(set(classes) - set(class_names)):
            raise UserError(
                f"data.root: {root}'s {SPLIT_TITLES[split]} split has classes without training pictures: {unknown}"
            )
