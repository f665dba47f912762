"""What tasks say of items: columns for a batch of them, and one object for each item in Python."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nnkit.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Coded:
    """A column of few different texts.

    Attributes:
        codes: Place of each item's text in `values`, (items,) int64.
        values: The different texts.
    """

    codes: NDArray[np.int64]
    values: Sequence[str]

    def __getitem__(self, rows: slice) -> Coded:
        return Coded(self.codes[rows], self.values)

    def tolist(self) -> list[str]:
        """Return the text of each item."""
        return [self.values[code] for code in self.codes.tolist()]


# One value for each item.
Column = NDArray[Any] | Coded
# An object of JSON lines, a column in place of each value.
Tree = Mapping[str, "Column | Tree | Sequence[Tree]"]

# Decimals of a probability, and significant digits of a value, in files.
_DECIMALS, _DIGITS = 6, 7
# Probability from which on a label is chosen.
_CHOSEN = 0.5
# Powers of ten that are exact in 64 bits.
_POWERS = np.array([float(f"1e{exponent}") for exponent in range(23)])


@dataclass(frozen=True)
class Ranking:
    """The most probable classes of one item.

    Attributes:
        item: Name of the item.
        top: Class names and probabilities, most probable first.
    """

    item: str
    top: tuple[tuple[str, float], ...]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.top[0][0]

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.top[0][1]


@dataclass(frozen=True)
class Labelled:
    """The labels of one item, any number of them.

    Attributes:
        item: Name of the item.
        labels: Those whose probability is at least a half, in the order of the data.
        top: Labels and probabilities, most probable first.
    """

    item: str
    labels: tuple[str, ...]
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Estimate:
    """The values predicted for one item, in the user's units.

    Attributes:
        item: Name of the item.
        values: Value of each target by its name.
    """

    item: str
    values: dict[str, float]


@dataclass(frozen=True)
class Forecast:
    """The steps that follow one series, in the user's units.

    Attributes:
        item: Name of the item.
        values: A value for each step, by the name of the channel.
        described: What stands beside them, by the name of the column: the series, the number of the step, its time.
    """

    item: str
    values: dict[str, tuple[float, ...]]
    described: dict[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Written:
    """The text written from one item.

    Attributes:
        item: Name of the item.
        text: What was written.
    """

    item: str
    text: str


Prediction = Ranking | Labelled | Estimate | Forecast | Written


class Predictions(ABC):
    """What a task says of a batch of items, as columns; a dataclass.

    Attributes:
        per_item: Fields that hold an entry for each item, in an array or a list: with these, predictions are put in
            another order. Without, items are predicted in the order in which they are read.
    """

    per_item: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def arranged(parts: Sequence[Predictions], rows: NDArray[np.int64]) -> Predictions:
        """Return predictions of several batches, one after the other, as those of one batch in another order.

        Args:
            parts: Of one task, with `per_item`.
            rows: Which of all items are wanted, (items,).
        """
        first: Any = parts[0]
        fields = {name: _arranged([getattr(part, name) for part in parts], rows) for name in first.per_item}
        found: Predictions = replace(first, **fields)
        return found

    @abstractmethod
    def columns(self) -> dict[str, Column]:
        """Return the columns of a table, such as a CSV file: numbers rounded, or texts (dtype object)."""

    @abstractmethod
    def each(self, names: Sequence[str], kept: pa.RecordBatch | None = None) -> Iterator[Prediction]:
        """Yield the prediction of each item.

        Args:
            names: Names of the items.
            kept: What stands beside the predictions; see `nnkit.data.read_batch.ReadBatch`.
        """

    def tree(self) -> Tree:
        """Return the object that an item is in JSON lines, a column in place of each value."""
        return self.columns()

    def probabilities(self) -> dict[str, Column]:
        """Return the probability of every class, by its name.

        Raises:
            UserError: If there are none.
        """
        raise UserError("--proba: this run predicts no classes, so there are no probabilities of all of them")


def _arranged(values: Sequence[Any], rows: NDArray[np.int64]) -> Any:
    if values[0] is None:
        return None
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)[rows]
    whole = [*chain.from_iterable(values)]
    return [whole[row] for row in rows.tolist()]


@dataclass(frozen=True)
class Rankings(Predictions):
    """The most probable classes of items.

    Attributes:
        labels: Names of the classes.
        top: Numbers of the most probable ones, (items, ranks) int64, the best first.
        shares: Their probabilities, (items, ranks) float.
        scores: Probabilities of all classes, (items, classes) float; None where they are not to be had.
    """

    per_item: ClassVar[tuple[str, ...]] = ("top", "shares", "scores")

    labels: Sequence[str]
    top: NDArray[np.int64]
    shares: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]] | None = None

    @classmethod
    def of(cls, probabilities: Tensor, labels: Sequence[str], top_k: int) -> Self:
        """Rank probabilities.

        Args:
            probabilities: Of all classes, (items, classes).
            labels: Names of the classes.
            top_k: Classes to rank, at most.
        """
        scores = probabilities.float().cpu()
        ranked = scores.topk(min(top_k, len(labels)), dim=-1)
        return cls(labels, ranked.indices.numpy(), ranked.values.numpy(), scores.numpy())

    def columns(self) -> dict[str, Column]:
        """Return ``label_1``, ``probability_1``, ``label_2`` and so on."""
        found: dict[str, Column] = {}
        for place, (label, share) in enumerate(self._ranks(), 1):
            found |= {f"label_{place}": label, f"probability_{place}": share}
        return found

    def tree(self) -> Tree:
        """Return the best class as ``label`` and ``probability``, and the ranked ones as ``top``."""
        top = [{"label": label, "probability": share} for label, share in self._ranks()]
        return {**top[0], "top": top}

    def _ranks(self) -> Iterator[tuple[Column, Column]]:
        for classes, shares in zip(self.top.T, self.shares.T, strict=True):
            yield Coded(classes, self.labels), _decimals(shares)

    def each(self, names: Sequence[str], kept: pa.RecordBatch | None = None) -> Iterator[Prediction]:
        """Yield a `Ranking` for each item."""
        return map(Ranking, names, self._tops())

    def _tops(self) -> Iterator[tuple[tuple[str, float], ...]]:
        for classes, shares in zip(self.top.tolist(), self.shares.tolist(), strict=True):
            yield tuple((self.labels[number], share) for number, share in zip(classes, shares, strict=True))

    def probabilities(self) -> dict[str, Column]:
        """Return a column for each class."""
        if self.scores is None:
            return super().probabilities()
        return dict(zip(self.labels, _decimals(self.scores).T, strict=True))


@dataclass(frozen=True)
class LabelSets(Rankings):
    """Any number of labels for each item: those whose probability is at least a half; the most probable are ranked."""

    def _sets(self) -> list[list[str]]:
        assert self.scores is not None
        labels = np.array(self.labels, dtype=object)
        return [labels[row >= _CHOSEN].tolist() for row in self.scores]

    def columns(self) -> dict[str, Column]:
        """Return ``labels`` with a bar between two of them, and the columns of `Rankings`."""
        return {
            "labels": np.array(["|".join(some) for some in self._sets()], dtype=object),
            **super().columns(),
        }

    def tree(self) -> Tree:
        """Return the labels as the list ``labels``, and the ranked ones as ``top``."""
        return {"labels": np.fromiter(self._sets(), dtype=object), "top": super().tree()["top"]}

    def each(self, names: Sequence[str], kept: pa.RecordBatch | None = None) -> Iterator[Prediction]:
        """Yield a `Labelled` for each item."""
        return map(Labelled, names, map(tuple, self._sets()), self._tops())


@dataclass(frozen=True)
class Estimates(Predictions):
    """Values predicted for items, in the user's units.

    Attributes:
        titles: Name of each target.
        values: (items, targets) float64.
    """

    per_item: ClassVar[tuple[str, ...]] = ("values",)

    titles: Sequence[str]
    values: NDArray[np.float64]

    def columns(self) -> dict[str, Column]:
        """Return a column for each target."""
        return dict(zip(self.titles, _digits(self.values).T, strict=True))

    def tree(self) -> Tree:
        """Return the targets below ``values``."""
        return {"values": self.columns()}

    def each(self, names: Sequence[str], kept: pa.RecordBatch | None = None) -> Iterator[Estimate]:
        """Yield an `Estimate` for each item."""
        for name, row in zip(names, self.values.tolist(), strict=True):
            yield Estimate(name, dict(zip(self.titles, row, strict=True)))


@dataclass(frozen=True)
class Forecasts(Predictions):
    """Steps that are forecast, in the user's units: a row of a table for each step.

    Attributes:
        titles: Name of each channel.
        values: (items, steps, channels) float64.
    """

    per_item: ClassVar[tuple[str, ...]] = ("values",)

    titles: Sequence[str]
    values: NDArray[np.float64]

    def columns(self) -> dict[str, Column]:
        """Return a column for each channel, the steps of an item one after the other."""
        return dict(zip(self.titles, _digits(self.values.reshape(-1, len(self.titles))).T, strict=True))

    def tree(self) -> Tree:
        """Return the channels below ``values``."""
        return {"values": self.columns()}

    def each(self, names: Sequence[str], kept: pa.RecordBatch | None = None) -> Iterator[Forecast]:
        """Yield a `Forecast` for each item."""
        steps = self.values.shape[1]
        beside = {} if kept is None else {name: tuple(values) for name, values in kept.to_pydict().items()}
        for place, (name, values) in enumerate(zip(names, self.values, strict=True)):
            rows = slice(place * steps, (place + 1) * steps)
            yield Forecast(
                name,
                {title: tuple(column) for title, column in zip(self.titles, values.T.tolist(), strict=True)},
                {title: column[rows] for title, column in beside.items()},
            )


@dataclass(frozen=True)
class WrittenTexts(Predictions):
    """Texts written from items.

    Attributes:
        texts: One for each item.
    """

    per_item: ClassVar[tuple[str, ...]] = ("texts",)

    texts: Sequence[str]

    def columns(self) -> dict[str, Column]:
        """Return the column ``text``."""
        return {"text": np.array(self.texts, dtype=object)}

    def each(self, names: Sequence[str], kept: pa.RecordBatch | None = None) -> Iterator[Written]:
        """Yield a `Written` for each item."""
        return map(Written, names, self.texts)


def _decimals(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return values.astype(np.float64).round(_DECIMALS)


def _digits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to significant digits; what is beyond powers of ten that are exact stays as it is."""
    sizes = np.abs(values)
    usual = (sizes > 0) & np.isfinite(sizes)
    places = _DIGITS - 1 - np.floor(np.log10(sizes, where=usual, out=np.zeros_like(sizes))).astype(np.int64)
    usual &= np.abs(places) < len(_POWERS)
    power = _POWERS[np.where(usual, np.abs(places), 0)]
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.where(places < 0, (values / power).round() * power, (values * power).round() / power)
    return np.where(usual, rounded, values)
