"""Texts with a label each: what is empty left out, classes told, parts dealt out, all of it said."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnkit.data.base import Split
from nnkit.data.reading.frame import Texts
from nnkit.data.splits import split_rows
from nnkit.data.tables.targets import read_target
from nnkit.errors import ConfigError, UserError

_logger = logging.getLogger("nnkit")

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Labelled:
    """Texts as they were read.

    Attributes:
        source: What they were read from, for sentences.
        columns: Name of the column or key of the "text" and of the "target".
        texts: The texts, blanks at both ends removed.
        labels: The label of each text, None where there is none.
        fingerprint: SHA-256 of the source.
        parts: The part each text belongs to, where that is settled; None: they are dealt out.
    """

    source: str
    columns: dict[str, str]
    texts: list[str]
    labels: list[str | None]
    fingerprint: str
    parts: list[Split] | None = None


@dataclass(frozen=True)
class Classified:
    """Texts with classes, in parts.

    Attributes:
        texts: The texts that have a label, none of them empty.
        target: Class of each, (texts,) int64; anything for a text in no part.
        class_names: Names of the classes, those that training texts have.
        rows: Which texts make up each part, int64.
    """

    texts: list[str]
    target: Tensor
    class_names: list[str]
    rows: dict[Split, Tensor]


def classify(labelled: Labelled, options: dict[str, Any], say: bool) -> Classified:
    """Leave out what cannot be learnt from, and number the classes.

    Args:
        labelled: The texts as they were read.
        options: val_fraction, test_fraction and split_seed, unless the parts are settled.
        say: Whether to log what is left out.

    Raises:
        UserError: If too few texts are left.
        ConfigError: If the labels are no classes, or all the same.
    """
    labelled = _complete(labelled, say)
    codes: dict[str, int] = {}
    numbers = [codes.setdefault(label, len(codes)) for label in labelled.labels if label is not None]
    values, names = _number(labelled.columns["target"], Texts(np.array(numbers, np.int32), list(codes)))
    if labelled.parts is None:
        rows = split_rows(len(values), **_fractions(options), classes=values)
    else:
        parts = np.array(labelled.parts)
        rows = {name: torch.from_numpy(np.flatnonzero(parts == name)) for name in _SPLITS}
    return _seen(labelled.texts, values, names, rows, say)


def _complete(labelled: Labelled, say: bool) -> Labelled:
    """Leave out texts that are empty or have no label."""
    texts, labels = labelled.texts, labelled.labels
    kept = [
        n for n, (text, label) in enumerate(zip(texts, labels, strict=True)) if text and label is not None
    ]
    empty = sum(not text for text in texts)
    if empty == len(texts):
        column = labelled.columns["text"]
        raise UserError(
            f"{labelled.source} has nothing but empty texts in {column!r}, {len(texts):,} of them"
        )
    if not kept:
        raise UserError(f"{labelled.source} has no text with a label in {labelled.columns['target']!r}")
    if len(kept) == len(texts):
        return labelled
    missing = len(texts) - len(kept) - empty
    for count, what in ((empty, "an empty text"), (missing, f"no label ({labelled.columns['target']!r})")):
        if count and say:
            _logger.warning(
                "%s: %s of %s rows have %s; they are left out",
                *(labelled.source, f"{count:,}", f"{len(texts):,}", what),
            )
    parts = labelled.parts
    return replace(
        labelled,
        texts=[texts[n] for n in kept],
        labels=[labels[n] for n in kept],
        parts=None if parts is None else [parts[n] for n in kept],
    )


def _number(name: str, column: Texts) -> tuple[Tensor, list[str]]:
    try:
        target = read_target(name, column, classes=True)
    except ConfigError as error:
        # A table's target may be an amount, a text's may not.
        hint = "name another one with data.target=NAME"
        raise ConfigError(
            [replace(problem, hint=problem.hint and hint) for problem in error.problems]
        ) from None
    assert target.class_names is not None
    return target.values, target.class_names


def _fractions(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "val_fraction": options["val_fraction"],
        "test_fraction": options["test_fraction"],
        "seed": options["split_seed"],
    }


def _seen(
    texts: list[str], values: Tensor, names: Sequence[str], rows: dict[Split, Tensor], say: bool
) -> Classified:
    """Keep the classes that training texts have."""
    seen = torch.bincount(values[rows["train"]], minlength=len(names)) > 0
    if int(seen.sum()) < 2:
        raise UserError(
            "the training texts have fewer than two different labels: there is nothing to tell apart"
        )
    strange = {name: part[~seen[values[part]]] for name, part in rows.items()}
    count = sum(map(len, strange.values()))
    if count and say:
        labels = [repr(name) for name, known in zip(names, seen.tolist(), strict=True) if not known]
        _logger.warning(
            "%s validation and test texts are left out, as their label is never seen in training: %s%s",
            *(f"{count:,}", ", ".join(labels[:10]), " ..." if len(labels) > 10 else ""),
        )
    kept = {name: part[seen[values[part]]] for name, part in rows.items()}
    class_names = [name for name, known in zip(names, seen.tolist(), strict=True) if known]
    return Classified(texts, (seen.cumsum(0) - 1)[values], class_names, kept)
