"""What a trained task says of items a user names: read, batched, and put into the user's terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnkit.batches import Batch, Blocks, Pairs, Sentences, Tokens, join, network_inputs
from nnkit.errors import UserError
from nnkit.inference.filling import best_together, hidden_tokens
from nnkit.tasks.classification import Classification
from nnkit.tasks.forecasting import Forecasting
from nnkit.tasks.language_modeling import LanguageModeling
from nnkit.tasks.masked_lm import MaskedLM
from nnkit.tasks.writing import Writing

if TYPE_CHECKING:
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


@dataclass(frozen=True)
class Written:
    """The text written from one item.

    Attributes:
        item: Name of the item.
        text: What was written.
    """

    item: str
    text: str


Prediction = Ranking | Estimate | Written


def predict(
    task: Task, data: DataModule, items: Sequence[str], top_k: int = 3, batch_size: int = BATCH_SIZE
) -> Iterator[Prediction | Unreadable]:
    """Predict items in the order in which the data module reads them.

    Args:
        task: A trained task, in evaluation mode.
        data: The data module it was trained on, with its preprocessing.
        items: What `DataModule.read` takes: paths of pictures, folders or tables, or texts.
        top_k: Classes to rank, at most; must be at least 1.
        batch_size: Items that go through the network at once; texts go one by one through a model of texts.

    Yields:
        One answer an item; an item that cannot be read is answered with the reason.

    Raises:
        UserError: If the task's head does not turn its outputs into probabilities.
    """
    answer, at_once = _ways(task, data, top_k, batch_size)
    for group in _grouped(data.read(items), at_once):
        readable = [(name, batch) for name, batch in group if not isinstance(batch, str)]
        answers: Iterator[Prediction] = iter(())
        if readable:
            names, batches = zip(*readable, strict=True)
            batch = join(batches)
            with torch.inference_mode():
                # A list, so that all of it is computed in this mode.
                answers = iter(list(answer(names, type(batch)(*(part.to(task.device) for part in batch)))))
        for name, found in group:
            yield Unreadable(name, found) if isinstance(found, str) else next(answers)


# Names of some items and the batch of them, on the device of the task.
_Answer = Callable[[Sequence[str], Batch], Iterator[Prediction]]


def _ways(task: Task, data: DataModule, top_k: int, batch_size: int) -> tuple[_Answer, int]:
    """Return how a task answers, and for how many items at once."""
    if isinstance(task, Classification):
        return _ranker(task, top_k), batch_size
    if isinstance(task, LanguageModeling):
        return _reader(task), 1
    if isinstance(task, MaskedLM):
        return _filler(task, data, top_k), 1
    if isinstance(task, Writing):
        return _writer(task, data), batch_size
    if isinstance(task, Forecasting):
        return _forecaster(task, data), batch_size
    return _estimator(task, data), batch_size


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
            other = None if isinstance(batch, Tokens | Pairs) else batch.inputs.shape[1:]
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

    def answer(names: Sequence[str], batch: Batch) -> Iterator[Prediction]:
        outputs = task(*network_inputs(batch))
        ranked = probabilities(outputs).float().topk(min(top_k, task.num_classes), dim=-1)
        rows = zip(names, ranked.values.tolist(), ranked.indices.tolist(), strict=True)
        for name, shares, classes in rows:
            labels = [task.class_names[number] for number in classes]
            yield Ranking(name, tuple(zip(labels, shares, strict=True)))

    return answer


def _estimator(task: Task, data: DataModule) -> _Answer:
    target = data.preprocessing["target"]

    def answer(names: Sequence[str], batch: Batch) -> Iterator[Prediction]:
        outputs = task(*network_inputs(batch))
        for name, row in zip(names, outputs.tolist(), strict=True):
            titles = (
                [target["name"]] if len(row) == 1 else [f"{target['name']}_{n + 1}" for n in range(len(row))]
            )
            yield Estimate(name, dict(zip(titles, row, strict=True)))

    return answer


def _forecaster(task: Forecasting, data: DataModule) -> _Answer:
    series: list[str] = data.preprocessing["target"]["names"]

    def answer(names: Sequence[str], batch: Batch) -> Iterator[Prediction]:
        forecasts = task(*network_inputs(batch)).tolist()
        for name, steps in zip(names, forecasts, strict=True):
            values = {
                f"{one}+{number}": value
                for number, step in enumerate(steps, 1)
                for one, value in zip(series, step, strict=True)
            }
            yield Estimate(name, values)

    return answer


def _reader(task: LanguageModeling) -> _Answer:
    def answer(names: Sequence[str], batch: Batch) -> Iterator[Prediction]:
        assert isinstance(batch, Blocks)
        # The first token of a text is read and not scored.
        scores = task.score_text(batch)
        yield Estimate(names[0], {name: scores[name] for name in ("perplexity", "bits_per_character")})

    return answer


def _writer(task: Writing, data: DataModule) -> _Answer:
    pairs: Any = data

    def answer(names: Sequence[str], batch: Batch) -> Iterator[Prediction]:
        assert isinstance(batch, Pairs)
        for name, best in zip(names, task.write(batch.inputs, batch.mask, pairs, task.beam), strict=True):
            yield Written(name, pairs.decode_target(best[0].tokens))

    return answer


def _filler(task: MaskedLM, data: DataModule, top_k: int) -> _Answer:
    texts: Any = data
    tokenizer = texts.tokenizer

    def answer(names: Sequence[str], batch: Batch) -> Iterator[Prediction]:
        assert isinstance(batch, Sentences)
        found, _ = hidden_tokens(task, batch, tokenizer, top_k)
        yield Ranking(
            names[0],
            tuple(
                (" ".join(map(tokenizer.token_text, tokens)), share)
                for tokens, share in best_together(found, top_k)
            ),
        )

    return answer
