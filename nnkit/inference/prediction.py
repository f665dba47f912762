"""What a trained task says of items a user names: read, put together in batches, and answered in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch

from nnkit.batches import Batch, is_padded, join
from nnkit.tasks.predictions import Prediction

if TYPE_CHECKING:
    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task

BATCH_SIZE = 256


@dataclass(frozen=True)
class Unreadable:
    """An item that could not be read.

    Attributes:
        item: Name of the item.
        reason: What is wrong with it.
    """

    item: str
    reason: str


def predict(
    task: Task, data: DataModule, items: Sequence[str], top_k: int = 3, batch_size: int = BATCH_SIZE
) -> Iterator[Prediction | Unreadable]:
    """Predict items in the order in which the data module reads them.

    Args:
        task: A trained task, in evaluation mode.
        data: The data module it was trained on, with its preprocessing.
        items: What `DataModule.read` takes: paths of pictures, folders or tables, or texts.
        top_k: Classes to rank, at most; must be at least 1.
        batch_size: Items that go through the network at once, unless the task takes them one by one.

    Yields:
        One answer an item; an item that cannot be read is answered with the reason.

    Raises:
        UserError: If the task predicts nothing, or its head does not turn its outputs into probabilities.
    """
    for group in _grouped(data.read(items), 1 if task.one_by_one else batch_size):
        readable = [(name, batch) for name, batch in group if not isinstance(batch, str)]
        answers: Iterator[Prediction] = iter(())
        if readable:
            names, batches = zip(*readable, strict=True)
            batch = join(batches)
            with torch.inference_mode():
                moved = type(batch)(*(part.to(task.device) for part in batch))
                # A list, so that all of it is computed in this mode.
                answers = iter(list(task.predict(names, moved, data, top_k)))
        for name, found in group:
            yield Unreadable(name, found) if isinstance(found, str) else next(answers)


def _grouped(
    read: Iterable[tuple[str, Batch | str]], batch_size: int
) -> Iterator[list[tuple[str, Batch | str]]]:
    """Yield runs of items that can be joined, in order: texts of any length, or inputs of one shape."""
    iterator = iter(read)
    while group := list(islice(iterator, batch_size)):
        start, shape = 0, None
        for number, (_, batch) in enumerate(group):
            if isinstance(batch, str):
                continue
            other = None if is_padded(batch) else batch.inputs.shape[1:]
            if shape is not None and other != shape:
                yield group[start:number]
                start = number
            shape = other
        yield group[start:]
