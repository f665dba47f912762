"""What a trained task says of items a user names: read, batched, and put into the user's terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnkit.errors import UserError
from nnkit.tasks.classification import Classification

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task

BATCH_SIZE = 256


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
class Estimate:
    """The values predicted for one item, in the user's units.

    Attributes:
        item: Name of the item.
        values: Value of each target by its name.
    """

    item: str
    values: dict[str, float]


@dataclass(frozen=True)
class Unreadable:
    """An item that could not be read.

    Attributes:
        item: Name of the item.
        reason: What is wrong with it.
    """

    item: str
    reason: str


Prediction = Ranking | Estimate


def predict(
    task: Task, data: DataModule, items: Sequence[str], top_k: int = 3, batch_size: int = BATCH_SIZE
) -> Iterator[Prediction | Unreadable]:
    """Predict items in the order in which the data module reads them.

    Args:
        task: A trained task, in evaluation mode.
        data: The data module it was trained on, with its preprocessing.
        items: What `DataModule.read` takes: paths of pictures, folders or CSV files.
        top_k: Classes to rank, at most; must be at least 1.
        batch_size: Items that go through the network at once.

    Yields:
        One answer an item; an item that cannot be read is answered with the reason.

    Raises:
        UserError: If the task's head does not turn its outputs into probabilities.
    """
    answer = _ranker(task, top_k) if isinstance(task, Classification) else _estimator(data)
    for group in _grouped(data.read(items), batch_size):
        readable = [(name, batch) for name, batch in group if not isinstance(batch, str)]
        answers: Iterator[Prediction] = iter(())
        if readable:
            with torch.inference_mode():
                outputs = task(torch.cat([batch.inputs for _, batch in readable]).to(task.device))
                answers = answer([name for name, _ in readable], outputs)
        for name, batch in group:
            yield Unreadable(name, batch) if isinstance(batch, str) else next(answers)


_Answer = Callable[[list[str], Tensor], Iterator[Prediction]]


def _grouped(
    read: Iterable[tuple[str, Batch | str]], batch_size: int
) -> Iterator[list[tuple[str, Batch | str]]]:
    """Yield runs of items whose inputs have one shape, in order."""
    iterator = iter(read)
    while group := list(islice(iterator, batch_size)):
        shapes: list[Any] = [None if isinstance(batch, str) else batch.inputs.shape[1:] for _, batch in group]
        start, shape = 0, None
        for number, other in enumerate(shapes):
            if other is None:
                continue
            if shape is not None and other != shape:
                yield group[start:number]
                start = number
            shape = other
        yield group[start:]


def _ranker(task: Classification, top_k: int) -> _Answer:
    probabilities: Callable[[Tensor], Tensor] | None = getattr(task.network.head, "probabilities", None)
    if probabilities is None:
        head = type(task.network.head).__name__
        raise UserError(f"the head {head} has no method probabilities(outputs), which predict needs")

    def answer(names: list[str], outputs: Tensor) -> Iterator[Prediction]:
        ranked = probabilities(outputs).float().topk(min(top_k, task.num_classes), dim=-1)
        rows = zip(names, ranked.values.tolist(), ranked.indices.tolist(), strict=True)
        for name, shares, classes in rows:
            labels = [task.class_names[number] for number in classes]
            yield Ranking(name, tuple(zip(labels, shares, strict=True)))

    return answer


def _estimator(data: DataModule) -> _Answer:
    target = data.preprocessing["target"]

    def answer(names: list[str], outputs: Tensor) -> Iterator[Prediction]:
        for name, row in zip(names, outputs.float().tolist(), strict=True):
            titles = (
                [target["name"]] if len(row) == 1 else [f"{target['name']}_{n + 1}" for n in range(len(row))]
            )
            yield Estimate(name, dict(zip(titles, row, strict=True)))

    return answer
