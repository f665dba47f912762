"""Which split a row or a file is in, where options, words or names say so."""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from nnkit.errors import UserError
from nnkit.files.paths import expand
from nnkit.suggest import some_of

Split = Literal["train", "val", "test"]
# The splits, and what sentences call them.
SPLIT_TITLES: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}
SPLITS: tuple[Split, ...] = tuple(SPLIT_TITLES)
# What columns, folders and files call them, upper case made lower.
_WORDS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training", "训练", "训练集"),
    "val": ("val", "valid", "validation", "dev", "验证", "验证集"),
    "test": ("test", "testing", "测试", "测试集"),
}
_SPLIT_OF_WORD = {word: split for split, words in _WORDS.items() for word in words}
_LISTED = 5
# Endings of files that tell of data and hold none.
_ABOUT = (".json", ".md", ".yaml", ".yml", ".lock")
# A shard's number, as in train-00000-of-00002.parquet, and the endings.
_AFTER_WORD = re.compile(r"(-\d+-of-\d+)?(\.\w+)*")
# A logging level, and a sentence of what is to be said of a split.
Note = tuple[int, str]
# What options do that cannot be combined, and which of them cannot.
_DOES = {
    "fold": "holds one fold out",
    "group": "keeps the rows of a value together",
    "time": "holds the newest rows out",
    "split_column": "reads the split from a column",
    "val_path": "names the validation rows",
    "test_path": "names the test rows",
}
_CONTRADICTIONS = (
    *(("fold", name) for name in ("time", "split_column", "test_path")),
    *(("group", name) for name in ("time", "split_column")),
    *(("split_column", name) for name in ("time", "val_path", "test_path")),
)


@dataclass(kw_only=True, eq=False)
class RandomSplit:
    """Options of data that are split at random or into folds; it is the first base of a data module that has them.

    Attributes:
        val_fraction: Share of the rows held out for validation, where they have no validation split of their own.
        test_fraction: Share held out for the test in the same way; without effect where `fold` holds them out.
        split_seed: Seed of the split; the split does not depend on `seed`.
        fold: Which of the folds is the test split, counted from 0; None: no folds. The folds follow from `split_seed`
            and the data alone, are disjoint, and make up all rows. Validation rows are drawn from the other folds.
        folds: Number of folds.
    """

    val_fraction: float = 0.1
    test_fraction: float = 0.2
    split_seed: int = 0
    fold: int | None = None
    folds: int = 5

    split_by: ClassVar[tuple[str, ...]] = ("val_fraction", "test_fraction", "split_seed", "fold", "folds")


@dataclass(kw_only=True)
class SplitOptions(RandomSplit):
    """How rows become training, validation and test rows; `nnkit.data.splitting.make_splits` does it.

    A data module has those of these options as fields that make sense for its data, and lists them in `split_by`.

    Attributes:
        group: Column whose values keep their rows together: all rows of one value are in one split.
        time: Column in whose order the rows are split: the oldest train, the newest test. Rows of one time stay
            together.
        split_column: Column that says for each row which split it is in.
        train_path: File of the training rows.
        val_path: File of the validation rows.
        test_path: File of the test rows.

    Raises:
        ValueError: If an option is out of range or two contradict each other.
    """

    val_fraction: float = 0.0
    test_fraction: float = 0.0
    group: str | int | None = None
    time: str | int | None = None
    split_column: str | int | None = None
    train_path: str | None = None
    val_path: str | None = None
    test_path: str | None = None

    def __post_init__(self) -> None:
        check_fractions(self.val_fraction, self.test_fraction)
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, not {self.folds}")
        if self.fold is not None and not 0 <= self.fold < self.folds:
            raise ValueError(
                f"fold must lie from 0 to {self.folds - 1} (folds={self.folds}), not {self.fold}"
            )
        for one, other in _CONTRADICTIONS:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"{one} {_DOES[one]} and {other} {_DOES[other]}: leave one of them out")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Take what it knows of out of a data module's `split_options`; None is the default."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in options.items() if name in names and value is not None})


def split_of_word(word: str) -> Split | None:
    """Return the split that a word of a column or the name of a folder stands for, None if for none."""
    return _SPLIT_OF_WORD.get(word.strip().casefold())


def split_by_hash(text: str, of: int, num_test: int = 1, num_val: int = 1) -> Split:
    """Return the split that the SHA-256 of a text puts it into: `num_test` in `of` are test, `num_val` validation."""
    number = int(hashlib.sha256(text.encode()).hexdigest(), 16) % of
    return "test" if number < num_test else "val" if number < num_test + num_val else "train"


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Refuse parts that leave nothing to train on.

    Raises:
        ValueError: If a fraction is negative or both together leave less than a tenth for training.
    """
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise ValueError(f"{name} must lie in [0, 1), not {fraction}")
    if val_fraction + test_fraction > 0.9:
        raise ValueError(
            f"val_fraction and test_fraction must add up to 0.9 at most, not {val_fraction + test_fraction:g}"
        )


def settled_by_names(splits: Sequence[Split]) -> Tensor:
    """Return the place of each row's split in `SPLITS`, (rows,) int64, where the split of every row is known."""
    return torch.tensor([SPLITS.index(split) for split in splits], dtype=torch.int64)


def settled_by_words(codes: Tensor, words: Sequence[str], column: object) -> Tensor:
    """Return which split each row is in, where a column says so.

    Args:
        codes: Word of each row, (rows,) int64; -1 where there is none: such a row is in no split.
        words: The words that the codes number, such as "train" and "dev"; see `split_of_word`.
        column: Name of the column.

    Returns:
        Place of each row's split in `SPLITS`, -1 for none, (rows,) int64.

    Raises:
        UserError: If other words are among them, or none of them is for training.
    """
    found = [split_of_word(word) for word in words]
    counts = torch.bincount(codes[codes >= 0], minlength=len(words)).tolist()
    used = [(word, split, count) for word, split, count in zip(words, found, counts, strict=True) if count]
    other = [f"{word!r} ({count:,} rows)" for word, split, count in used if split is None and word.strip()]
    known = "; ".join(f"{split} ({', '.join(names[1:])})" for split, names in _WORDS.items())
    if other:
        raise UserError(
            f"data.split_column: column {column!r} holds {some_of(other, _LISTED)}, which "
            f"{'is no split' if len(other) == 1 else 'are no splits'}\n    expected: {known}; "
            "data.group=COLUMN keeps the rows of one value together"
        )
    if not any(split == "train" for _, split, _ in used):
        raise UserError(
            f"data.split_column: no row of column {column!r} is for training\n    expected: {known}"
        )
    # The last place is that of the code -1.
    return torch.tensor([*(-1 if split is None else SPLITS.index(split) for split in found), -1])[codes]


def settled_by_sizes(sizes: Mapping[Split, int]) -> Tensor:
    """Return which split each row is in, where the rows of files of their own follow one another.

    Args:
        sizes: Number of rows of each split, in the order of the files.
    """
    return torch.cat([torch.full((size,), SPLITS.index(split)) for split, size in sizes.items()])


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
