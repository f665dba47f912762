"""Which rows are for training, validation and test: at random, by class, group, time, fold, column or file."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.data.counted_random import private_generator
from nnkit.errors import UserError
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


def split_rows(
    num_rows: int, val_fraction: float, test_fraction: float, seed: int, classes: Tensor | None = None
) -> dict[Split, Tensor]:
    """Deal rows out to the three parts.

    A part with a positive fraction gets at least one row. With `classes`, each class is dealt out in
    proportion and keeps at least one row for training; a class with one row is trained on.

    Args:
        num_rows: Rows in all.
        val_fraction: Share of the validation part.
        test_fraction: Share of the test part.
        seed: Seed of the shuffle.
        classes: Class of each row, (num_rows,) int64, or None to deal out at random.

    Returns:
        Row numbers in rising order for each part, int64.

    Raises:
        UserError: If there are too few rows for that many parts or classes.
    """
    num_test = max(1, round(num_rows * test_fraction)) if test_fraction else 0
    num_val = max(1, round(num_rows * val_fraction)) if val_fraction else 0
    num_classes = 1 if classes is None else len(class_sizes(classes))
    needed = max(2, num_classes) + num_test + num_val
    if num_rows < needed:
        raise UserError(
            f"{num_rows} rows are too few: {needed} are needed, {num_test} for the test part, {num_val} for "
            f"the validation part and {max(2, num_classes)} to train on"
            + (f" ({num_classes} classes)" if num_classes > 1 else "")
        )
    generator = private_generator(seed)
    order = torch.randperm(num_rows, generator=generator)
    if classes is not None:
        order = _stratified(order, classes, generator)
    # The split of each row in a byte: rows come out of it in rising order without being sorted.
    dealt = torch.full((num_rows,), SPLITS.index("train"), dtype=torch.int8)
    dealt[order[:num_test]] = SPLITS.index("test")
    dealt[order[num_test : num_test + num_val]] = SPLITS.index("val")
    del order
    return {name: torch.where(dealt == place)[0] for place, name in enumerate(SPLITS)}


def class_sizes(classes: Tensor) -> NDArray[np.int64]:
    """Return the number of rows of each class that occurs, (classes,), by the rising number of the class.

    Args:
        classes: Class of each row, (rows,) int64.
    """
    sizes = np.bincount(_from_zero(classes))
    return sizes[sizes > 0]


def _from_zero(classes: Tensor) -> NDArray[np.unsignedinteger[Any]]:
    """Return classes counted from 0 in the narrowest type, which takes the least memory and is sorted the fastest."""
    if not len(classes):
        return np.empty(0, np.uint8)
    lowest, highest = (int(bound) for bound in classes.aminmax())
    numbers: NDArray[np.unsignedinteger[Any]] = (classes - lowest).numpy()
    return numbers.astype(np.min_scalar_type(highest - lowest))


def _stratified(order: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Reorder so that any number from the front holds each class in proportion, the last of each last."""
    sizes = class_sizes(classes)
    by_class = _from_zero(classes)[order.numpy()].argsort(kind="stable")
    # A random start in each class, or small classes would all round the same way.
    starts = torch.rand(len(sizes), generator=generator, dtype=torch.float64).tolist()
    position = np.empty(len(order))
    for places, start in zip(np.split(by_class, sizes.cumsum()[:-1]), starts, strict=True):
        position[places] = (np.arange(len(places)) + start) / len(places)
        position[places[-1]] = 1.0
    del by_class
    return order[torch.from_numpy(position.argsort(kind="stable"))]
