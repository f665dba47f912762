"""True targets beside new rows, for the metrics of predictions: in the form in which a run has learnt them."""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.data.reading.cells import Column, Numbers, Texts
from nnkit.data.reading.values import parse_number
from nnkit.data.tables.targets import SEPARATORS, TRUTH, labels_in
from nnkit.suggest import some_of

_logger = logging.getLogger("nnkit")

_LISTED = 5


class ClassOf:
    """Tells the number of a class by what a table calls it: where all classes are numbers, 1 and 1.0 are one.

    Args:
        names: Names of the classes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}
        numbers = {parse_number(name): place for place, name in enumerate(names)}
        are_numbers = all(number is not None and math.isfinite(number) for number in numbers)
        self._numbers = numbers if are_numbers else {}

    def __call__(self, cell: str | None) -> int:
        """Return the number of the class, -1 for another one or none."""
        name = (cell or "").strip()
        place = self._places.get(name, -1)
        return self._numbers.get(parse_number(name), -1) if place < 0 and self._numbers else place


class Truths:
    """Turns columns of targets into the targets of a run, and counts the labels that are no classes of it.

    Args:
        learnt: What the run has learnt.
        is_multi: Whether a row has any number of labels.

    Attributes:
        names: Names of the columns.
        kind: What they hold.
    """

    def __init__(self, learnt: Mapping[str, Any], *, is_multi: bool = False) -> None:
        self._scale: Mapping[str, Any] = learnt["target"]
        self.names: list[str] = self._scale.get("names") or [self._scale["name"]]
        class_names: list[str] | None = learnt.get("class_names")
        self.kind: Literal["number", "text"] = "number" if class_names is None else "text"
        # As in the training rows, whatever letters the labels of these rows hold.
        self._is_multi, self._separator = is_multi, self._scale.get("separator", SEPARATORS[0])
        self._num_classes, self._class_of = len(class_names or ()), ClassOf(class_names or ())
        self._unknown = Counter[str]()

    def of(self, columns: Sequence[Column]) -> Tensor:
        """Return the targets of some rows.

        Args:
            columns: Those of `names`.

        Returns:
            Class (rows,) int64, -1 for none; labels (rows, labels) float32, 1 for those that a row has, or standardised
            values (rows, outputs) float32, NaN for none.
        """
        if self.kind == "number":
            values = np.stack([column.values for column in columns if isinstance(column, Numbers)], axis=1)
            return torch.from_numpy((values - self._scale["mean"]) / self._scale["std"]).float()
        texts = [column for column in columns if isinstance(column, Texts)]
        if self._is_multi and "names" in self._scale:
            truths = [self._truths(column) for column in texts]
            return torch.from_numpy(np.stack(truths, axis=1))
        table = self._label_rows(texts[0]) if self._is_multi else self._class_rows(texts[0])
        # A missing text has the code -1, which takes the last row.
        return torch.from_numpy(table[texts[0].codes])

    def _class_rows(self, column: Texts) -> NDArray[np.int64]:
        counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values)).tolist()
        found = [self._class(text, count) for text, count in zip(column.values, counts, strict=True)]
        return np.array([*found, -1], np.int64)

    def _label_rows(self, column: Texts) -> NDArray[np.float32]:
        counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values)).tolist()
        table = np.zeros((len(column.values) + 1, self._num_classes), np.float32)
        for row, labels in enumerate(labels_in(value, self._separator) for value in column.values):
            places = [self._class(label, counts[row]) for label in labels]
            table[row, [place for place in places if place >= 0]] = 1
        return table

    def _truths(self, column: Texts) -> NDArray[np.float32]:
        table = [TRUTH.get(value.casefold(), np.nan) for value in column.values]
        return np.array([*table, np.nan], np.float32)[column.codes]

    def _class(self, text: str, count: int) -> int:
        place = self._class_of(text)
        if place < 0:
            self._unknown[text] += count
        return place

    def say(self, title: str) -> None:
        """Log the labels of a table that are no classes of the run, and count anew."""
        if self._unknown:
            labels = [f"{label!r} {count:,}" for label, count in self._unknown.most_common()]
            _logger.warning(
                "%s: %s labels are left out of the metrics, as the run has no class of their name (%r): %s",
                *(title, f"{self._unknown.total():,}", self.names[0], some_of(labels, _LISTED)),
            )
        self._unknown.clear()
