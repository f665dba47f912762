"""What a trained task says of items a user names: read in batches, predicted, and scored where they have targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnkit.batches import Batch, first_of, is_padded
from nnkit.data.read_batch import ReadBatch
from nnkit.inference.like_length import is_one, like_length, windows
from nnkit.tasks.base import Task
from nnkit.tasks.predictions import Prediction, Predictions

if TYPE_CHECKING:
    from nnkit.data.base import DataModule


@dataclass(frozen=True)
class Unreadable:
    """An item that could not be read.

    Attributes:
        item: Name of the item.
        reason: What is wrong with it.
    """

    item: str
    reason: str


# What a task may have a way of its own for.
_STEPS = frozenset({"predict", "evaluate", "predict_evaluated"})


class Scores:
    """The metrics of a task on those predicted items that have a true target.

    Args:
        task: A trained task, in evaluation mode.

    Attributes:
        num_labelled: Items that have one.
        num_unlabelled: Items without one in an input that has targets.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self.num_labelled = self.num_unlabelled = 0
        # A task that has another way of predicting alone is asked twice.
        kind: Any = next(kind for kind in type(task).__mro__ if _STEPS & vars(kind).keys())
        together: Callable[..., Predictions] = (
            kind if "predict_evaluated" in vars(kind) else Task
        ).predict_evaluated
        self._predict_evaluated = together

    def predict(self, batch: Batch, labelled: Tensor, data: DataModule, top_k: int) -> Predictions:
        """Predict a batch, on the task's device, and add those items that are labelled, (items,) bool."""
        rows = labelled.nonzero().squeeze(1)
        self.num_labelled += len(rows)
        self.num_unlabelled += len(labelled) - len(rows)
        if len(rows) == len(labelled):
            return self._predict_evaluated(self._task, batch, data, top_k)
        predictions = self._task.predict(batch, data, top_k)
        if len(rows):
            self._task.evaluate(type(batch)(*(part[rows.to(part.device)] for part in batch)))
        return predictions

    def results(self) -> dict[str, float]:
        """Return the metrics, those of `nnkit test`; empty where no item is labelled."""
        return (
            {name: float(value) for name, value in self._task.results().items()} if self.num_labelled else {}
        )


def predict_batches(
    task: Task,
    data: DataModule,
    items: Sequence[str],
    *,
    top_k: int = 3,
    batch_size: int | None = None,
    keep: Sequence[str] = (),
    scores: Scores | None = None,
) -> Iterator[tuple[ReadBatch, Predictions | None]]:
    """Predict items in the order in which the data module reads them.

    Texts of like length go through the network together: some batches are read ahead, and their predictions put back in
    order.

    Args:
        task: A trained task, in evaluation mode.
        data: The data module it was trained on, with its preprocessing.
        items: What `DataModule.read` takes: paths of pictures, folders or tables, or texts.
        top_k: Classes to rank, at most; must be at least 1.
        batch_size: Items that go through the network at once; None: as many as suit the data. One where the task
            takes them one by one.
        keep: Columns of the input to repeat beside the predictions.
        scores: What adds up the metrics of the items that have a target.

    Yields:
        What was read, with the predictions of those items that could be read; None where none could.

    Raises:
        UserError: If the task predicts nothing, its head does not turn its outputs into probabilities, or the input has
            no such columns.
    """
    size = 1 if task.one_by_one else batch_size or data.read_at_once
    reads = data.read_batches(items, size, keep)
    predictor = _Predictor(task, data, top_k, scores)
    for window in windows(reads) if size > 1 else ([read] for read in reads):
        found = predictor.in_any_order(window, size) if size > 1 else None
        for place, read in enumerate(window):
            yield read, predictor.in_order(read) if found is None else found[place]


class _Predictor:
    """Predicts batches with one task; the arguments are as for `predict_batches`."""

    def __init__(self, task: Task, data: DataModule, top_k: int, scores: Scores | None) -> None:
        self._task, self._data, self._top_k, self._scores = task, data, top_k, scores
        self._arranges: bool | None = None

    def in_order(self, read: ReadBatch) -> Predictions | None:
        """Return the predictions of a batch as it was read; None where no item could be."""
        return None if read.batch is None else self._predict(read.batch, read.labelled)

    def in_any_order(self, window: Sequence[ReadBatch], size: int) -> list[Predictions | None] | None:
        """Return the predictions of some batches, texts of like length having gone through the network together.

        Args:
            window: Batches, or one that is not padded.
            size: Texts that go through the network together, at most.

        Returns:
            None where nothing was predicted, as lengths do not differ or the predictions have no other order.
        """
        batches = [read.batch for read in window if read.batch is not None]
        if (
            not batches
            or not is_padded(batches[0])
            or is_one(batches, size)
            or not self._can_arrange(batches[0])
        ):
            return None
        known = [read.labelled for read in window if read.batch is not None and read.labelled is not None]
        labelled = torch.cat(known) if known else None
        parts, rows = list[Predictions](), list[Tensor]()
        for some, batch in like_length(batches, size):
            parts.append(self._predict(batch, None if labelled is None else labelled[some]))
            rows.append(some)
        places = torch.cat(rows).argsort().numpy()
        found, begin = list[Predictions | None](), 0
        for read in window:
            count = 0 if read.batch is None else len(read.batch.indices)
            found.append(Predictions.arranged(parts, places[begin : begin + count]) if count else None)
            begin += count
        return found

    def _can_arrange(self, batch: Batch) -> bool:
        """Return whether the task's predictions can be put in another order, as those of one item tell."""
        if self._arranges is None:
            with torch.inference_mode():
                one: Batch = type(batch)(*(part.to(self._task.device) for part in first_of(batch)))
                self._arranges = bool(self._task.predict(one, self._data, self._top_k).per_item)
        return self._arranges

    def _predict(self, read: Batch, labelled: Tensor | None) -> Predictions:
        with torch.inference_mode():
            batch: Batch = type(read)(*(part.to(self._task.device) for part in read))
            if self._scores is None or labelled is None:
                return self._task.predict(batch, self._data, self._top_k)
            return self._scores.predict(batch, labelled, self._data, self._top_k)


def predict(
    task: Task, data: DataModule, items: Sequence[str], top_k: int = 3, batch_size: int | None = None
) -> Iterator[Prediction | Unreadable]:
    """Predict items as `predict_batches` does, one answer for each; one that cannot be read is answered with why."""
    for read, predictions in predict_batches(task, data, items, top_k=top_k, batch_size=batch_size):
        answers: Iterator[Prediction] = iter(())
        if predictions is not None:
            answers = predictions.each(*read.readable())
        for place, name in enumerate(read.names):
            yield Unreadable(name, read.problems[place]) if place in read.problems else next(answers)
