"""What a trained task says of items a user names: read in batches, predicted, and scored where they have targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnkit.batches import Batch
from nnkit.data.read_batch import ReadBatch
from nnkit.tasks.predictions import Prediction, Predictions

if TYPE_CHECKING:
    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task


@dataclass(frozen=True)
class Unreadable:
    """An item that could not be read.

    Attributes:
        item: Name of the item.
        reason: What is wrong with it.
    """

    item: str
    reason: str


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

    def add(self, batch: Batch, labelled: Tensor) -> None:
        """Add those items of a batch, on the task's device, that are labelled, (items,) bool."""
        rows = labelled.nonzero().squeeze(1)
        self.num_labelled += len(rows)
        self.num_unlabelled += len(labelled) - len(rows)
        if len(rows):
            self._task.evaluate(type(batch)(*(part[rows.to(part.device)] for part in batch)))

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
    for read in data.read_batches(items, size, keep):
        if read.batch is None:
            yield read, None
            continue
        with torch.inference_mode():
            batch: Batch = type(read.batch)(*(part.to(task.device) for part in read.batch))
            predictions = task.predict(batch, data, top_k)
            if scores is not None and read.labelled is not None:
                scores.add(batch, read.labelled)
        yield read, predictions


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
