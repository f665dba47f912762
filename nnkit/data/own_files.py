"""Which files hold the training, validation and test rows, where a user has them apart."""

import logging
import re
from pathlib import Path

from nnkit.data.splits import SPLIT_TITLES, SPLITS, Note, Split, split_of_word
from nnkit.errors import UserError
from nnkit.files.paths import expand
from nnkit.suggest import some_of

_LISTED = 5
# Endings of files that tell of data and hold none.
_ABOUT = (".json", ".md", ".yaml", ".yml", ".lock")
# A shard's number, as in train-00000-of-00002.parquet, and the endings.
_AFTER_WORD = re.compile(r"(-\d+-of-\d+)?(\.\w+)*")


def files_of_splits(
    path: str | None, train_path: str | None, val_path: str | None, test_path: str | None
) -> tuple[dict[Split, str], list[Note]]:
    """Return the file or folder of each split that has one; the training rows are always among them.

    Args:
        path: The data, or a folder with files or folders that are named as splits: train.csv and test.csv, train/ and
            dev/, train-00000-of-00002.parquet.
        train_path: The training rows, instead of `path`.
        val_path: The validation rows; None: they are taken from the training rows.
        test_path: The test rows; None: they are taken from the training rows.

    Returns:
        Path by split, in the order of `SPLITS`; and what a user is to be told.

    Raises:
        UserError: If there is no training file or one is named twice.
    """
    if path and train_path:
        raise UserError("data.train_path: data.path names the training rows already: leave one of them out")
    training = path or train_path
    if not training:
        raise UserError("data.path: name the file, or data.train_path with data.val_path and data.test_path")
    files, notes = _named_inside(training)
    others: dict[Split, str | None] = {"val": val_path, "test": test_path}
    for split, given in others.items():
        if given and split in files:
            raise UserError(
                f"data.{split}_path: {training} holds {Path(files[split]).name} already: leave one out"
            )
        if given:
            files[split] = given
    resolved = {name: expand(file).resolve() for name, file in files.items()}
    for name, file in resolved.items():
        twin = next((other for other in resolved if other != name and resolved[other] == file), None)
        if twin is not None:
            raise UserError(
                f"{files[name]} cannot hold the {SPLIT_TITLES[name]} and the {SPLIT_TITLES[twin]} rows"
            )
    return {name: files[name] for name in SPLITS if name in files}, notes


def _named_inside(path: str) -> tuple[dict[Split, str], list[Note]]:
    """Return the files or folders of a folder that are named as splits, or the path itself as the training rows."""
    folder = expand(path)
    found: dict[Split, set[str]] = {}
    others = []
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        word = re.split(r"[-.]", entry.name)[0]
        split = split_of_word(word)
        after = _AFTER_WORD.fullmatch(entry.name, len(word))
        if split is None or after is None:
            others += [] if entry.name.startswith((".", "_")) or entry.suffix in _ABOUT else [entry.name]
            continue
        shards = f"{word}-*{after[2] or ''}" if after[1] else entry.name
        found.setdefault(split, set()).add(shards)
    if len(found) < 2 or "train" not in found:
        # Repositories of datasets keep their files in there.
        inner = _named_inside(str(folder / "data")) if (folder / "data").is_dir() else None
        return inner if inner is not None and len(inner[0]) > 1 else ({"train": path}, [])
    for split, names in found.items():
        if len(names) > 1:
            listed = ", ".join(sorted(names))
            raise UserError(
                f"{path} holds {listed}: name the {SPLIT_TITLES[split]} rows with data.{split}_path"
            )
    files = {split: str(folder / name) for split, (name,) in found.items()}
    said = ", ".join(
        f"{Path(files[split]).name} for {SPLIT_TITLES[split]}" for split in SPLITS if split in files
    )
    notes: list[Note] = [(logging.INFO, f"{path}: {said}")]
    if others:
        notes.append(
            (logging.WARNING, f"{path}: left out, as it is named for no split: {some_of(others, _LISTED)}")
        )
    return files, notes
