"""Texts with labels as they were read, and the classes that are made of the labels."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnkit.data.base import Split
from nnkit.data.reading.cells import Texts
from nnkit.data.splitting import SplitKeys, keys_of
from nnkit.data.tables.targets import read_target
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.suggest import some_of

_logger = logging.getLogger("nnkit")

# So many different labels are some whatever the number of texts.
_MAX_FREE_LABELS = 100
# `DataModule.split_rows`.
SplitRows = Callable[..., dict[Split, Tensor]]


@dataclass(frozen=True)
class LabelledRows:
    """Texts as they were read.

    Attributes:
        title: What they were read from, for messages.
        columns: Name of the column of the "text" and of the "target".
        texts: The texts, blanks at both ends removed.
        labels: The label of each text, or of a text that may have several all of its labels; None where none is known.
        fingerprint: SHA-256 of what they were read from.
        split_keys: What the texts are split by, arguments of `DataModule.split_rows`; none: they are split at random.
    """

    title: str
    columns: dict[str, str]
    texts: list[str]
    labels: Sequence[str | tuple[str, ...] | None]
    fingerprint: str
    split_keys: SplitKeys = field(default_factory=SplitKeys)

    def take(self, rows: list[int]) -> "LabelledRows":
        """Return some of the texts."""
        places = torch.tensor(rows, dtype=torch.int64)
        return replace(
            self,
            texts=[self.texts[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            split_keys=keys_of(self.split_keys, places),
        )


@dataclass(frozen=True)
class Classified:
    """Texts with classes, in splits.

    Attributes:
        texts: The texts whose labels are known, none of them empty.
        target: Class of each, (texts,) int64, arbitrary for a text in no split; or which labels each has, (texts,
            classes) bool.
        class_names: Names of the classes, those that training texts have.
        rows: Which texts make up each split, int64.
    """

    texts: list[str]
    target: Tensor
    class_names: list[str]
    rows: dict[Split, Tensor]


def classify(labelled: LabelledRows, split_rows: SplitRows, report: bool) -> Classified:
    """Leave out what cannot be learnt from, split the rest, and number the classes.

    Args:
        labelled: The texts as they were read.
        split_rows: `DataModule.split_rows`.
        report: Whether to log what is left out.

    Raises:
        UserError: If too few texts are left.
        ConfigError: If the labels are not classes, or all the same.
    """
    labelled = _complete(labelled, report)
    column, labels = labelled.columns["target"], labelled.labels
    is_multi = any(isinstance(label, tuple) for label in labels)
    values, names = _number_sets(column, labels) if is_multi else _number(column, labels)
    rows = split_rows(len(values), None if is_multi else values, **labelled.split_keys)
    return _seen(labelled.texts, values, names, rows, report)


def _complete(labelled: LabelledRows, report: bool) -> LabelledRows:
    """Leave out texts that are empty or have no label."""
    texts, column = labelled.texts, labelled.columns["target"]
    pairs = enumerate(zip(texts, labelled.labels, strict=True))
    kept = [row for row, (text, label) in pairs if text and label is not None]
    empty = sum(not text for text in texts)
    if empty == len(texts):
        text = labelled.columns["text"]
        raise UserError(f"{labelled.title} has nothing but empty texts in {text!r}, {len(texts):,} of them")
    if not kept:
        raise UserError(f"{labelled.title} has no text with a label in {column!r}")
    if len(kept) == len(texts):
        return labelled
    missing = len(texts) - len(kept) - empty
    for count, what in ((empty, "an empty text"), (missing, f"no label ({column!r})")):
        if count and report:
            _logger.warning(
                "%s: %s of %s rows have %s; they are left out",
                *(labelled.title, f"{count:,}", f"{len(texts):,}", what),
            )
    return labelled.take(kept)


def _number(column: str, labels: Sequence[Any]) -> tuple[Tensor, list[str]]:
    codes: dict[str, int] = {}
    numbers = [codes.setdefault(label, len(codes)) for label in labels]
    try:
        target = read_target(column, Texts(np.array(numbers, np.int32), list(codes)), classes=True)
    except ConfigError as error:
        # The target of a table may be an amount, that of a text may not.
        hint = "name another one with data.target=NAME"
        raise ConfigError(
            [replace(problem, hint=problem.hint and hint) for problem in error.problems]
        ) from None
    assert target.class_names is not None
    return target.values, target.class_names


def _number_sets(column: str, labels: Sequence[Any]) -> tuple[Tensor, list[str]]:
    """Return which labels each text has, (texts, labels) bool, and their names by alphabet."""
    names = sorted({name for some in labels for name in some})
    if len(names) > max(_MAX_FREE_LABELS, len(labels) // 2):
        raise ConfigError(
            [
                Problem(
                    "data.target",
                    f"column {column!r} has {len(names):,} different labels in {len(labels):,} texts, such as "
                    f"{names[0]!r}: these are no classes",
                    "name another column with data.target=COLUMN, or what separates labels with data.target_separator",
                )
            ]
        )
    places = {name: place for place, name in enumerate(names)}
    values = torch.zeros((len(labels), len(names)), dtype=torch.bool)
    for row, some in enumerate(labels):
        values[row, [places[name] for name in some]] = True
    return values, names


def _seen(
    texts: list[str], values: Tensor, names: Sequence[str], rows: dict[Split, Tensor], report: bool
) -> Classified:
    """Keep the classes that training texts have."""
    is_multi = values.dim() == 2
    train = values[rows["train"]]
    seen = train.any(0) if is_multi else torch.bincount(train, minlength=len(names)) > 0
    if int(seen.sum()) < (1 if is_multi else 2):
        raise UserError(
            "the training texts have fewer than two different labels: there is nothing to tell apart"
        )
    kept = rows if is_multi else {split: part[seen[values[part]]] for split, part in rows.items()}
    if report and not seen.all():
        labels = some_of(
            [repr(name) for name, known in zip(names, seen.tolist(), strict=True) if not known], 10
        )
        count = sum(map(len, rows.values())) - sum(map(len, kept.values()))
        if is_multi:
            _logger.warning("labels that no training text has are left out: %s", labels)
        elif count:
            _logger.warning(
                "%s validation and test texts are left out, as their label is never seen in training: %s",
                *(f"{count:,}", labels),
            )
    class_names = [name for name, known in zip(names, seen.tolist(), strict=True) if known]
    target = values[:, seen] if is_multi else (seen.cumsum(0) - 1)[values]
    return Classified(texts, target, class_names, kept)
