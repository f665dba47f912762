"""Rows dealt out to the splits as options say: at random, by fold, by time, or whole groups at once."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.data.counted_random import private_generator
from nnkit.data.splits import SPLIT_TITLES, SPLITS, Note, Split, SplitOptions
from nnkit.errors import UserError


class SplitKeys(TypedDict, total=False):
    """What rows are split by, one value a row: arguments of `make_splits`."""

    groups: Tensor
    times: Tensor
    settled: Tensor
    time_text: Callable[[float], str]


def keys_of(keys: SplitKeys, rows: Tensor) -> SplitKeys:
    """Return what some of the rows are split by, from what all of them are."""
    found = {key: value[rows] if isinstance(value, Tensor) else value for key, value in keys.items()}
    return cast(SplitKeys, found)


def make_splits(
    num_rows: int,
    options: SplitOptions,
    *,
    classes: Tensor | None = None,
    groups: Tensor | None = None,
    times: Tensor | None = None,
    settled: Tensor | None = None,
    time_text: Callable[[float], str] = "{:.10g}".format,
) -> tuple[dict[Split, Tensor], list[Note]]:
    """Split rows as the options say; equal arguments give equal splits, whatever was drawn before.

    Splits that are settled stay as they are. What is missing is taken from the training rows: a fold, the newest ones,
    or rows at random; whole groups where there are any, and each class in proportion.

    Args:
        num_rows: Rows in all.
        options: How they are split.
        classes: Class of each row, (num_rows,) int64; None where there are no classes.
        groups: Group of each row, (num_rows,) int64, where `options.group` is given; -1: a group of its own.
        times: Time of each row, (num_rows,) float64, where `options.time` is given; NaN: the row is in no split.
        settled: Place in `SPLITS` of each row's split, (num_rows,) int64; -1: in none. From `settled_by_words` or
            `settled_by_sizes`, or None.
        time_text: How a time is written in a note.

    Returns:
        Row numbers in rising order for each split, int64; and what a user is to be told of them.

    Raises:
        UserError: If there are too few rows, groups, times or rows of a class for it.
    """
    own = (
        {}
        if settled is None
        else {name: torch.where(settled == place)[0] for place, name in enumerate(SPLITS)}
    )
    own = {name: rows for name, rows in own.items() if len(rows)}
    notes: list[Note] = []
    if options.fold is not None and "test" in own:
        raise UserError(
            "data.fold: the data have a test split of their own, so no fold can be the test split"
        )
    # None: all rows, which need no numbers.
    pool = own.pop("train", torch.arange(0) if own else None)
    num_pool = num_rows if pool is None else len(pool)
    left_out = num_rows - num_pool - sum(map(len, own.values()))
    if left_out and options.split_column is not None:
        text = f"{left_out:,} of {num_rows:,} rows have no {options.split_column!r}; they are left out"
        notes.append((logging.WARNING, text))
    wanted = replace(
        options,
        val_fraction=0.0 if "val" in own else options.val_fraction,
        test_fraction=0.0 if "test" in own else options.test_fraction,
    )
    seen, groups, times = (
        values if values is None or pool is None else values[pool] for values in (classes, groups, times)
    )
    if times is not None:
        dealt = _by_time(times, wanted, notes, time_text)
    elif groups is not None:
        dealt = _by_group(groups, wanted, seen, notes)
    elif wanted.fold is not None:
        dealt = _by_fold(num_pool, wanted, seen)
    else:
        fractions = wanted.val_fraction, wanted.test_fraction
        dealt = split_rows(num_pool, *fractions, wanted.split_seed, seen)
    rows = dealt if pool is None else {name: own.get(name, pool[dealt[name]]) for name in SPLITS}
    if classes is not None:
        notes += _unseen(classes, rows)
    return rows, notes


def _unseen(classes: Tensor, rows: Mapping[Split, Tensor]) -> list[Note]:
    """Note classes that nothing is trained on, which splits at random never leave."""
    found = len(class_sizes(classes[torch.cat(list(rows.values()))]))
    missing = found - len(class_sizes(classes[rows["train"]]))
    text = f"{missing:,} of {found:,} classes have no training row in this split"
    return [(logging.WARNING, text)] if missing else []


def _by_fold(num_rows: int, options: SplitOptions, classes: Tensor | None) -> dict[Split, Tensor]:
    """Hold one fold out, each class dealt out to the folds in turn, and draw validation rows from the others."""
    if num_rows < options.folds:
        raise UserError(f"data.folds: {num_rows:,} rows are too few for {options.folds} folds")
    order = torch.randperm(num_rows, generator=private_generator(options.split_seed, options.folds))
    if classes is not None:
        order = order[classes[order].argsort(stable=True)]
    in_fold = torch.arange(num_rows) % options.folds == options.fold
    test, rest = order[in_fold].sort().values, order[~in_fold].sort().values
    # The fraction is one of all rows.
    val_fraction = options.val_fraction * num_rows / len(rest)
    dealt = split_rows(
        len(rest), val_fraction, 0.0, options.split_seed, None if classes is None else classes[rest]
    )
    return {"train": rest[dealt["train"]], "val": rest[dealt["val"]], "test": test}


def _by_time(
    times: Tensor, options: SplitOptions, notes: list[Note], time_text: Callable[[float], str]
) -> dict[Split, Tensor]:
    """Cut between two times, as near to the wanted numbers of rows as can be."""
    known = torch.where(~times.isnan())[0]
    if missing := len(times) - len(known):
        text = f"{missing:,} of {len(times):,} rows have no {options.time!r}; they are left out"
        notes.append((logging.WARNING, text))
    moments, place, counts = torch.unique(times[known], return_inverse=True, return_counts=True)
    fractions: dict[Split, float] = {"val": options.val_fraction, "test": options.test_fraction}
    held_out: list[Split] = [name for name, fraction in fractions.items() if fraction]
    if len(moments) <= len(held_out):
        raise UserError(
            f"data.time: column {options.time!r} holds {len(moments):,} different times, and "
            f"{len(held_out) + 1} splits need one each at least"
        )
    up_to = counts.cumsum(0)
    end, splits = len(moments), torch.zeros_like(place)
    for later, name in enumerate(reversed(held_out), 1):
        # Each split before this one keeps a time at least.
        fewest = len(held_out) + 1 - later
        goal = int(up_to[end - 1]) - len(known) * fractions[name]
        start = fewest + int((up_to[fewest - 1 : end - 1] - goal).abs().argmin())
        splits[(place >= start) & (place < end)] = SPLITS.index(name)
        end = start
    for name in ("train", *held_out):
        first, last = times[known][splits == SPLITS.index(name)].aminmax()
        span = f"{time_text(first.item())} to {time_text(last.item())}"
        notes.append((logging.INFO, f"{SPLIT_TITLES[name]} rows: {options.time!r} is {span}"))
    return {name: known[splits == place] for place, name in enumerate(SPLITS)}


def _by_group(
    groups: Tensor, options: SplitOptions, classes: Tensor | None, notes: list[Note]
) -> dict[Split, Tensor]:
    """Deal whole groups out, rows and classes as near to the wanted numbers as can be."""
    num_rows, alone = len(groups), torch.where(groups < 0)[0]
    if len(alone):
        text = f"{len(alone):,} of {num_rows:,} rows have no {options.group!r}; each is a group of its own"
        notes.append((logging.WARNING, text))
        groups = groups.index_copy(0, alone, groups.max() + 1 + torch.arange(len(alone)))
    classes = torch.zeros_like(groups) if classes is None else classes
    num_test = max(1, round(num_rows * options.test_fraction)) if options.test_fraction else 0
    num_val = max(1, round(num_rows * options.val_fraction)) if options.val_fraction else 0
    splits, rest = torch.zeros_like(groups), torch.arange(num_rows)
    try:
        if options.fold is not None:
            num_test = 0
            sizes = [num_rows / options.folds] * options.folds
            folds = _deal(groups, classes, sizes, private_generator(options.split_seed, options.folds))
            rest = torch.where(folds != options.fold)[0]
            splits[folds == options.fold] = SPLITS.index("test")
        sizes = [max(1, len(rest) - num_val - num_test), num_val, num_test]
        splits[rest] = _deal(groups[rest], classes[rest], sizes, private_generator(options.split_seed))
    except UserError as error:
        raise UserError(f"data.group: column {options.group!r} holds {error}") from error
    rows = {name: torch.where(splits == place)[0] for place, name in enumerate(SPLITS)}
    counts = {name: len(torch.unique(groups[part])) for name, part in rows.items()}
    said = ", ".join(f"{counts[name]:,} for {title}" for name, title in SPLIT_TITLES.items())
    notes.append((logging.INFO, f"values of {options.group!r}: {said}"))
    return rows


def _deal(groups: Tensor, classes: Tensor, sizes: Sequence[float], generator: torch.Generator) -> Tensor:
    """Deal groups out to parts of about these sizes, the largest first, each where its classes are wanted most.

    Returns:
        Part of each row, int64.
    """
    groups = torch.unique(groups, return_inverse=True)[1]
    members, totals = torch.bincount(groups), torch.bincount(classes)
    parts = [part for part, size in enumerate(sizes) if size]
    if len(members) < len(parts):
        raise UserError(f"{len(members):,} different values, too few for {len(parts)} parts")
    pairs, tally = torch.unique(groups * len(totals) + classes, return_counts=True)
    starts = torch.bincount(pairs // len(totals)).cumsum(0).tolist()
    held, shares = (pairs % len(totals)).tolist(), (tally / totals[pairs % len(totals)]).tolist()
    # How much of its share of a class a part still lacks, and how many rows fit in.
    lacks = [[1.0] * len(totals) for _ in sizes]
    room, empty = list(sizes), set(parts)
    order = torch.randperm(len(members), generator=generator)
    order = order[members[order].argsort(descending=True, stable=True)]
    chosen = torch.zeros(len(members), dtype=torch.int64)
    for dealt, (group, size) in enumerate(zip(order.tolist(), members[order].tolist(), strict=True)):
        content = range(starts[group - 1] if group else 0, starts[group])
        fits = [part for part in parts if room[part] >= size] or [max(parts, key=room.__getitem__)]
        if len(members) - dealt <= len(empty):
            fits = sorted(empty)
        part = max(fits, key=lambda part: sum(shares[i] * lacks[part][held[i]] for i in content))
        chosen[group] = part
        empty.discard(part)
        room[part] -= size
        for i in content:
            lacks[part][held[i]] -= shares[i] * len(groups) / sizes[part]
    return chosen[groups]


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
