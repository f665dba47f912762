"""What a network says of one sample, with names: what is drawn and explained of it, whatever the task."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from nnkit.batches import Batch, first_of
from nnkit.errors import UserError
from nnkit.tasks.pieces import step_names


@dataclass(frozen=True)
class NamedScores:
    """Scores of samples, in rows and columns: one row for a whole sample, or one for each step of a sequence.

    Attributes:
        noun: What a column is: a "class", a "label", a "value" or a "token".
        scores: Logits or values in the user's units, (samples, rows, columns); gradients flow through them.
        rows: Name of each row.
        columns: Name of each column.
        probabilities: Of the columns, (samples, rows, columns); None where scores are values.
        focus: The rows that a reader asks about: masked steps, the last step of a language model.
        truth: The right column of each row of `focus`, -1 where none is known; empty: none is.
        written: The text that the network writes, where it writes one.
        expected: The text that was to be written, where it is known.
    """

    noun: str
    scores: Tensor
    rows: Sequence[str]
    columns: Sequence[str]
    probabilities: Tensor | None
    focus: Sequence[int] = (0,)
    truth: Sequence[int] = ()
    written: str | None = None
    expected: str = ""

    @property
    def best(self) -> tuple[int, int]:
        """The first row that is asked about, and its column of the highest score; a value has no rival."""
        row = self.focus[0]
        return row, 0 if self.probabilities is None else int(self.scores[0, row].argmax())


class Visible:
    """What every task tells of a sample beside its scores; `nnkit inspect` and TensorBoard ask for it."""

    def first_sample(self, batch: Batch) -> Batch:
        """Return the first sample of a batch as a batch of one, without its padding."""
        return first_of(batch)

    def without_truth(self, sample: Batch) -> Batch:
        """Return a batch of one whose target is known not to be the true one: -1, or not a number."""
        target = sample.target
        unknown: Batch = sample._replace(
            target=torch.full_like(target, torch.nan if target.is_floating_point() else -1)
        )
        return unknown

    def completed(self, sample: Batch, data: Any) -> Batch:
        """Return a batch of one with what the task itself adds to it, such as the text that it writes."""
        return sample

    def attention_axes(
        self, layer: str, is_cross: bool, sizes: Sequence[int], sample: Batch, data: Any
    ) -> tuple[list[str], list[str]]:
        """Return the names of the steps that attend in a layer, and of those attended to.

        Args:
            layer: Name of the layer.
            is_cross: Whether it attends to another text than its own.
            sizes: How many steps there are of both.
            sample: What the network was called with, a batch of one.
            data: The data module of the run; None: all names are numbers.
        """
        names = step_names(sample.inputs, sizes[0], data)
        return names, names

    def outcome(self, outputs: Any, sample: Batch, data: Any) -> NamedScores:
        """Name what the network put out.

        Args:
            outputs: What the network returned for the sample, or for several of its form.
            sample: A batch of one.
            data: The data module of the run.

        Raises:
            UserError: If the task cannot.
        """
        raise UserError(f"the task {type(self).__name__} has no method outcome, which nnkit inspect needs")


def of_classes(
    noun: str, outputs: Tensor, probabilities: Tensor, names: Sequence[str], target: Tensor
) -> NamedScores:
    """Return the outcome of scores of classes (samples, classes), the target of a batch of one beside them."""
    known = target.ndim == 1 and 0 <= int(target[0]) < len(names)
    truth = [int(target[0])] if known else []
    return NamedScores(noun, outputs.unsqueeze(1), [""], names, probabilities.unsqueeze(1), truth=truth)


def of_tokens(
    logits: Tensor, rows: Sequence[str], names: Sequence[str], focus: Sequence[int], target: Tensor
) -> NamedScores:
    """Return the outcome of scores of tokens (samples, steps, tokens), with the target of each step (steps,)."""
    wanted: list[int] = [int(target[row]) for row in focus]
    truth = [token if token >= 0 else -1 for token in wanted]
    return NamedScores("token", logits, rows, names, logits.softmax(-1), focus, truth)


@lru_cache(maxsize=2)
def vocabulary(data: Any, size: int, *, target: bool = False) -> list[str]:
    """Return the texts of all tokens; their numbers where the data have no vocabulary."""
    if data is None:
        return [str(number) for number in range(size)]
    texts: list[str] = data.token_texts(range(size), target=target)
    return texts


def masked_steps(target: Tensor, ignored: int) -> list[int]:
    """Return the steps of a target (steps,) that are to be predicted; all where none is."""
    found: list[int] = torch.nonzero(target != ignored).flatten().tolist()
    return found or list(range(len(target)))
