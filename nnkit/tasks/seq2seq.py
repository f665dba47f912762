"""Sequence to sequence: answers that are right or wrong, token by token."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nnkit.tasks.pieces import nothing
from nnkit.tasks.review import Sums
from nnkit.tasks.writing import Tokens, Vocabulary, Writing


class Seq2Seq(Writing):
    """One text written from another, where a few texts count as right: dates, spellings, pronunciations.

    Beside loss and token accuracy it logs ``exact_match``, the share of answers that equal a reference, and
    ``token_error``: the insertions, deletions and substitutions that lead from each answer to its nearest reference,
    over the lengths of these references. With phonemes as tokens the first is 1 - word error rate, the second the
    phoneme error rate.

    Args:
        arguments: As for `Writing`.
    """

    metrics: ClassVar[dict[str, str]] = {
        "loss": "min",
        "token_accuracy": "max",
        "exact_match": "max",
        "token_error": "min",
    }

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # Right answers, all answers, edits, and tokens of the nearest references.
        self._answer_sums = nothing(4)

    def add_answers(self, answers: list[Tokens], references: list[list[Tokens]], data: Vocabulary) -> None:
        """Add answers to the metrics, each with the texts that count as right."""
        each = [self.sums_of(*pair, data) for pair in zip(answers, references, strict=True)]
        sums = torch.tensor(each, dtype=torch.float64, device="cpu")
        self._answer_sums = self._answer_sums + sums.sum(0)

    def sums_of(self, answer: Tokens, references: Sequence[Tokens], data: Vocabulary) -> list[float]:
        """Return whether an answer is right, 1, its edits, and the length of the nearest reference."""
        if answer in references:
            return [1, 1, 0, len(answer)]
        edits, length = min((edit_distance(answer, one), len(one)) for one in references)
        return [edits == 0, 1, edits, length]

    @staticmethod
    def metrics_of(sums: Sums) -> dict[str, Sums]:
        """Return the metrics of what `sums_of` returns, added up."""
        right, count, edits, length = np.moveaxis(sums, -1, 0)
        return {"exact_match": right / count, "token_error": edits / np.maximum(length, 1)}

    def results(self) -> dict[str, Tensor]:
        """Return all metrics; those of answers are not a number if none was written."""
        right, count, edits, length = self.over_processes(self._answer_sums)
        self._answer_sums = nothing(4)
        return super().results() | {
            "exact_match": (right / count).float(),
            "token_error": (edits / length).float(),
        }


def edit_distance(one: Tokens, other: Tokens) -> int:
    """Return the fewest insertions, deletions and substitutions between two texts (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for number, token in enumerate(one, 1):
        corner, row[0] = row[0], number
        for place, rival in enumerate(other, 1):
            corner, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, corner + (token != rival)),
            )
    return row[-1]
