"""A run that answers requests: what they hold is read, predicted together, and written as nnkit predict does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import torch

from nnkit.batches import is_padded, join
from nnkit.data.read_batch import ReadBatch
from nnkit.errors import NnkitError, UserError
from nnkit.inference.output import JSONOutput
from nnkit.serve.fields import Field, Flag, Number
from nnkit.serve.forms import Form, form_of
from nnkit.serve.notes import collected
from nnkit.serve.refusal import Refusal

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task

# Inputs, and tokens with their padding, that go through the network together.
TOGETHER, _TOKENS = 256, 1 << 16
# Sentences about inputs that cannot be read.
_NAMED = 5
TOP_K = Number("top_k", "classes to rank", default=3, least=1, most=1_000)
PROBA = Flag("proba", "whether the probabilities of all classes are answered as well", default=False)


@dataclass(frozen=True)
class Asked:
    """What a request asks to be predicted.

    Attributes:
        values: The inputs, in the run's form, checked.
        top_k: Classes to rank.
        proba: Whether the probabilities of all classes are wanted.
    """

    values: Any
    top_k: int = 3
    proba: bool = False


@dataclass(frozen=True)
class Answered:
    """What is answered.

    Attributes:
        predictions: The objects that nnkit predict writes as JSON lines.
        notes: Sentences about the inputs, such as that one is unlike the training data.
    """

    predictions: list[dict[str, Any]]
    notes: list[str]


@dataclass(frozen=True)
class _Read:
    """Inputs of one request as they were read.

    Attributes:
        parts: The batches, none of them with problems.
        notes: What was logged.
    """

    parts: Sequence[ReadBatch]
    notes: list[str]


class Served:
    """A run that was opened once; to be closed. Its methods are for one thread.

    Args:
        name: What the user calls the run.
        task: Its task, in evaluation mode.
        data: Its data module.
        kind: The kind of its data.
        facts: What is known of it, by name.
    """

    def __init__(self, name: str, task: Task, data: DataModule, kind: str, facts: dict[str, str]) -> None:
        self.name, self.task, self.data, self.kind, self.facts = name, task, data, kind, facts
        self.form: Form = form_of(data, kind)
        self._folder = TemporaryDirectory(prefix="nnkit-serve-")

    def close(self) -> None:
        """Remove the folder of inputs that are files."""
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def predict_fields(self) -> list[Field]:
        """What a request to predict may hold."""
        return [self.form.field, TOP_K, PROBA]

    @contextmanager
    def _items(self, values: Any) -> Iterator[tuple[list[str], str]]:
        """Yield what the data module is given, and what its names begin with; files last as long as the block."""
        folder = Path(self._folder.name)
        try:
            yield self.form.items(values, folder), f"{folder}{os.sep}"
        finally:
            for path in folder.iterdir():
                path.unlink()

    def _read(self, values: Any) -> _Read:
        """Read the inputs of a request.

        Raises:
            Refusal: If one of them cannot be read.
        """
        parts, problems = list[ReadBatch](), list[str]()
        with collected() as notes, self._items(values) as (items, folder):
            try:
                for read in self.data.read_batches(items, TOGETHER):
                    names = [str(name).replace(folder, "") for name in read.names]
                    for place, text in read.problems.items():
                        label = names[place][:80].strip() or f"input {place + 1}"
                        text = text.replace(folder, "")
                        problems.append(text if label in text else f"{label}: {text}")
                    if read.batch is not None:
                        parts.append(
                            ReadBatch(names, read.batch, {}, read.labelled, read.kept, read.rows_each)
                        )
            except UserError as error:
                problems.append(str(error).replace(folder, ""))
            notes[:] = [note.replace(folder, "") for note in notes]
        if problems:
            more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
            raise Refusal(422, "; ".join(problems[:_NAMED]) + more)
        if not parts:
            raise Refusal(422, "there is nothing to predict: what was sent is empty")
        return _Read(parts, notes)

    def sample(self, values: Any) -> tuple[str, Batch, list[str]]:
        """Return the first input of a request as a batch of one without a true target, its name, and notes on it.

        Raises:
            Refusal: If it cannot be read.
        """
        read = self._read(values)
        first: Any = read.parts[0].batch
        alone = type(first)(*(part[:1] for part in first))
        sample: Any = self.task.without_truth(self.task.first_sample(alone))
        most = self.task.network.max_len
        if self.task.writes == "on" and most is not None:
            # What comes next rests on the last tokens that the network reads.
            sample = sample._replace(inputs=sample.inputs[:, -most:], target=sample.target[:, -most:])
        return str(read.parts[0].names[0]), sample, read.notes

    def predict(self, requests: Sequence[Asked]) -> list[Answered | NnkitError]:
        """Answer requests, those whose inputs are of one form by one pass through the network.

        Returns:
            For each request an answer, or why there is none.
        """
        found: dict[int, Answered | NnkitError] = {}
        groups: dict[Any, list[tuple[int, _Read, ReadBatch]]] = {}
        for place, asked in enumerate(requests):
            try:
                read = self._read(asked.values)
            except NnkitError as error:
                found[place] = error
                continue
            found[place] = Answered([], read.notes)
            for part in read.parts:
                key = (asked.top_k, asked.proba, *self._form_of(part))
                groups.setdefault(key, []).append((place, read, part))
        for (top_k, proba, *_), members in groups.items():
            for some in self._fitting(members):
                self._answer(some, top_k, proba, found)
        return [found[place] for place in range(len(requests))]

    @staticmethod
    def _form_of(part: ReadBatch) -> tuple[Any, ...]:
        """Return what inputs must share to go through the network together."""
        assert part.batch is not None
        shape = None if is_padded(part.batch) else tuple(part.batch.inputs.shape[1:])
        return type(part.batch), shape, part.rows_each, None if part.kept is None else str(part.kept.schema)

    def _fitting(
        self, members: Sequence[tuple[int, _Read, ReadBatch]]
    ) -> Iterator[list[tuple[int, ReadBatch]]]:
        """Cut inputs of one form into batches that are not too large."""
        batch, count, longest = list[tuple[int, ReadBatch]](), 0, 0
        for place, _, part in members:
            assert part.batch is not None
            size = len(part.batch.indices)
            length = part.batch.inputs.shape[1] if is_padded(part.batch) else 1
            whole = (count + size) * max(longest, length)
            if batch and (self.task.one_by_one or count + size > TOGETHER or whole > _TOKENS):
                yield batch
                batch, count, longest = [], 0, 0
            batch.append((place, part))
            count, longest = count + size, max(longest, length)
        if batch:
            yield batch

    def _answer(
        self,
        members: Sequence[tuple[int, ReadBatch]],
        top_k: int,
        proba: bool,
        found: dict[int, Answered | NnkitError],
    ) -> None:
        """Put the predictions of one batch into the answers of the requests that its parts came with."""
        parts = [part for _, part in members]
        try:
            lines = self._lines(parts, top_k, proba)
        except NnkitError as error:
            found |= {place: error for place, _ in members}
            return
        for place, part in members:
            answer, count = found[place], len(part.names) * part.rows_each
            own, lines = lines[:count], lines[count:]
            if isinstance(answer, Answered):
                answer.predictions.extend(own)

    def _lines(self, parts: Sequence[ReadBatch], top_k: int, proba: bool) -> list[dict[str, Any]]:
        batches: list[Any] = [part.batch for part in parts]
        whole = join(batches)
        with torch.inference_mode():
            batch: Any = type(whole)(*(part.to(self.task.device) for part in whole))
            predictions = self.task.predict(batch, self.data, top_k)
        names, kept = list[str](), list[Any]()
        for part in parts:
            part_names, part_kept = part.rows()
            names.extend(part_names)
            kept.append(part_kept)
        written = BytesIO()
        output = JSONOutput(lambda: written, proba=proba)
        output.write(names, predictions, _stacked(kept))
        try:
            return [json.loads(line, parse_constant=_refuse) for line in written.getvalue().splitlines()]
        except ValueError as error:
            raise UserError(str(error)) from error


def _refuse(name: str) -> Any:
    raise ValueError(
        f"the network says {name}: it has diverged in training, or the input is far out of range"
    )


def _stacked(kept: Sequence[Any]) -> Any:
    """Return columns of several requests one below the other; None where they have none."""
    if kept[0] is None:
        return None
    import pyarrow as pa

    (stacked,) = pa.Table.from_batches(kept).combine_chunks().to_batches() or [kept[0]]
    return stacked
