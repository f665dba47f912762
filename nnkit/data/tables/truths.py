"""True targets beside new rows, for the metrics of predictions: in the form in which a run has learnt them."""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from nnkit.data.reading.columns import Column, Numbers, Texts
from nnkit.data.reading.values import parse_number
from nnkit.suggest import some_of

_logger = logging.getLogger("nnkit")

_LISTED = 5


class Truths:
    """Turns columns of targets into the targets of a run, and counts what is none.

    Args:
        preprocessing: What the run has learnt.

    Attributes:
        names: Names of the columns.
        kind: What they hold.
    """

    def __init__(self, preprocessing: Mapping[str, Any]) -> None:
        self._scale: Mapping[str, Any] = preprocessing["target"]
        self.names: list[str] = [self._scale["name"]]
        class_names: list[str] | None = preprocessing.get("class_names")
        self.kind: Literal["number", "text"] = "number" if class_names is None else "text"
        self._classes = {name: place for place, name in enumerate(class_names or ())}
        # 1 and 1.0 are one class where all are numbers.
        numbers = {parse_number(name): place for name, place in self._classes.items()}
        self._numbers = (
            numbers if all(number is not None and math.isfinite(number) for number in numbers) else {}
        )
        self._unknown = Counter[str]()

    def of(self, columns: Sequence[Column]) -> Tensor:
        """Return the targets of some rows.

        Args:
            columns: Those of `names`.

        Returns:
            Class (rows,) int64, -1 for none; or standardised values (rows, outputs) float32, NaN for none.
        """
        if self.kind == "text":
            (column,) = columns
            assert isinstance(column, Texts)
            table = np.array([*map(self._class, column.values), -1])
            for code in np.flatnonzero(table[:-1] < 0):
                self._unknown[column.values[code]] += int((column.codes == code).sum())
            return torch.from_numpy(table[column.codes])
        values = np.stack([column.values for column in columns if isinstance(column, Numbers)], axis=1)
        return torch.from_numpy((values - self._scale["mean"]) / self._scale["std"]).float()

    def _class(self, text: str) -> int:
        place = self._classes.get(text)
        return self._numbers.get(parse_number(text), -1) if place is None else place

    def say(self, title: str) -> None:
        """Log the labels of a table that are no classes of the run, and count anew."""
        if self._unknown:
            labels = [f"{label!r} {count:,}" for label, count in self._unknown.most_common()]
            _logger.warning(
                "%s: %s rows are left out of the metrics, as the run has no class of their name (%r): %s",
                *(title, f"{self._unknown.total():,}", self.names[0], some_of(labels, _LISTED)),
            )
        self._unknown.clear()
