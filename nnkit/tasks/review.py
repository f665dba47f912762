"""What a task's metrics are made of, sample by sample, and which samples a reader should see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nnkit.data.tokenizing import tokenizer_from

Sums = NDArray[np.float64]
# Mistakes that a review keeps, the most certain ones.
KEPT = 24


class Mistake(NamedTuple):
    """A wrong answer.

    Attributes:
        certainty: Probability that the network gives it.
        cells: What a table says of it.
    """

    certainty: float
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Review:
    """Some samples with what the network makes of them.

    Attributes:
        sums: What each sample adds to totals, (samples, totals).
        metrics: Makes metrics of added-up totals (..., totals): by name, (...) each.
        mistakes: Wrong answers, the most certain ones.
        mistake_headers: Names of their cells.
        samples: What was made of single samples, in their order.
        sample_headers: Names of their cells.
    """

    sums: Sums
    metrics: Callable[[Sums], dict[str, Sums]]
    mistakes: Sequence[Mistake] = ()
    mistake_headers: Sequence[str] = ()
    samples: Sequence[tuple[str, ...]] = ()
    sample_headers: Sequence[str] = ()


def joined(reviews: Sequence[Review], most: int = KEPT) -> Review:
    """Return several reviews of one task as one; of mistakes and samples, `most` each."""
    mistakes = sorted((one for review in reviews for one in review.mistakes), key=lambda one: -one.certainty)
    samples = [cells for review in reviews for cells in review.samples]
    first = reviews[0]
    return Review(
        np.concatenate([review.sums for review in reviews]),
        first.metrics,
        mistakes[:most],
        first.mistake_headers,
        samples[:most],
        first.sample_headers,
    )


def text_of(data: Any, tokens: Sequence[int]) -> str:
    """Return the text that tokens of an input stand for; the texts of single tokens where the data cannot tell."""
    both = getattr(data, "tokenizers", None)
    if both is not None:
        found: str = both.source.decode(tokens)
        return found
    if "tokenizer" in data.preprocessing:
        return tokenizer_from(data.preprocessing["tokenizer"]).decode(tokens)
    return " ".join(data.token_texts(tokens))


def certain_mistakes(
    probabilities: Tensor, target: Tensor, most: int = KEPT
) -> Iterator[tuple[float, int, int, float]]:
    """Yield the wrong choices that a network is most certain of.

    Args:
        probabilities: Of all choices, (items, choices).
        target: The right one of each, (items,) int64; below 0: none is.
        most: Choices to yield, at most.

    Yields:
        The probability of a choice, the item's number, the choice, and the probability of the right one; the most
        certain first.
    """
    shares, chosen = probabilities.max(-1)
    wrong = ((chosen != target) & (target >= 0)).nonzero().flatten()
    for item in wrong[shares[wrong].argsort(descending=True, stable=True)][:most].tolist():
        yield float(shares[item]), item, int(chosen[item]), float(probabilities[item, int(target[item])])
