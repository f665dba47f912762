"""Training, validation and test rows as a pure function of a seed, stratified where there are classes."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nnkit.data.counted_random import private_generator
from nnkit.errors import UserError

Split = Literal["train", "val", "test"]
# The splits, and what sentences call them.
SPLIT_TITLES: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}
SPLITS: tuple[Split, ...] = tuple(SPLIT_TITLES)


def rows_of(splits: Sequence[Split]) -> dict[Split, Tensor]:
    """Return the rows of each split, int64, where the split of every row is settled."""
    names = np.array(splits)
    return {split: torch.from_numpy(np.flatnonzero(names == split)) for split in SPLITS}


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
    num_classes = 1 if classes is None else int(torch.unique(classes).numel())
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
    test, val, train = order[:num_test], order[num_test : num_test + num_val], order[num_test + num_val :]
    return {"train": train.sort().values, "val": val.sort().values, "test": test.sort().values}


def _stratified(order: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Reorder so that any number from the front holds each class in proportion, the last of each last."""
    _, shuffled = torch.unique(classes[order], return_inverse=True)
    counts = torch.bincount(shuffled)
    starts = counts.cumsum(0) - counts
    by_class = shuffled.argsort(stable=True)
    rank = torch.empty_like(order)
    rank[by_class] = torch.arange(len(order)) - starts[shuffled[by_class]]
    # A random start in each class, or small classes would all round the same way.
    start = torch.rand(len(counts), generator=generator, dtype=torch.float64)
    position = (rank + start[shuffled]) / counts[shuffled]
    position[rank == counts[shuffled] - 1] = 1.0
    return order[position.argsort(stable=True)]
