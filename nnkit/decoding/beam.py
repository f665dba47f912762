"""Whole answers: the most probable ones that a beam search finds; a beam of one is greedy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nnkit.decoding.sampling import Step


@dataclass(frozen=True)
class Beam:
    """How answers are searched for.

    Attributes:
        size: Unfinished answers that are kept at each step; 1 takes the most probable token each time.
        length_penalty: An answer's log-probability is divided by ((5 + length) / 6) to this power, its end mark
            counted: 0 compares probabilities, which favours short answers (Wu et al. 2016, "Google's neural machine
            translation system", equation 14).

    Raises:
        ValueError: If a value is out of range.
    """

    size: int = 1
    length_penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"beam_size must be at least 1, not {self.size}")
        if not 0 <= self.length_penalty < math.inf:
            raise ValueError(f"length_penalty must be 0 or a positive number, not {self.length_penalty}")

    def score(self, log_probability: float, length: int) -> float:
        """Return what answers are compared by."""
        return float(log_probability / ((5 + length) / 6) ** self.length_penalty)


class Answer(NamedTuple):
    """A text that was written.

    Attributes:
        tokens: Without its end mark.
        score: What `Beam.score` makes of its log-probability in nats, the greater the better.
    """

    tokens: tuple[int, ...]
    score: float


def reorder(state: Any, rows: Tensor) -> Any:
    """Return the state of some rows of a batch.

    Args:
        state: Tensors, each with the batch as its first dimension, in nested tuples and lists; None may stand anywhere.
        rows: Their numbers, (new_batch,) int64; one may come several times, or not at all.
    """
    if isinstance(state, Tensor):
        return state.index_select(0, rows)
    if isinstance(state, tuple | list):
        parts = [reorder(part, rows) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    return state


@torch.inference_mode()
def search(
    step: Step,
    state: Any,
    first: Tensor,
    *,
    end: int,
    max_len: int,
    beam: Beam,
    banned: Sequence[int] = (),
) -> list[list[Answer]]:
    """Write answers, those of a whole batch side by side.

    At each step the most probable continuations of a sample are kept. Those that end are set aside, others take their
    places, and the sample is done when `beam.size` of them have ended.

    Args:
        step: Reads on in each answer; see `Step`.
        state: What it begins with; see `reorder`.
        first: What each answer begins with, (batch, 1) int64, on the network's device.
        end: The mark that ends an answer.
        max_len: Tokens of an answer at most, its end mark counted. One that has none by then is given only where fewer
            than `beam.size` have one.
        beam: How the answers are searched for.
        banned: Tokens that never come.

    Returns:
        For each sample at most `beam.size` answers and at least one, the best first.

    Raises:
        ValueError: If max_len is below 1.
    """
    if max_len < 1:
        raise ValueError(f"max_len must be at least 1, not {max_len}")
    going = _Going(len(first), end, beam)
    tokens, never = first, torch.tensor(list(banned), dtype=torch.int64, device=first.device)
    for _ in range(max_len):
        scores, state = step(tokens, state)
        log_probabilities = scores.float().index_fill(-1, never, -math.inf).log_softmax(-1)
        rows, drawn = going.advance(log_probabilities)
        if not len(rows):
            break
        if len(rows) != len(tokens) or not torch.equal(rows, torch.arange(len(rows))):
            state = reorder(state, rows.to(first.device))
        tokens = drawn.unsqueeze(-1).to(first.device)
    return going.answers()


class _Going:
    """Answers that have no end yet, as many for each sample, and those that have; all on the CPU."""

    def __init__(self, num_samples: int, end: int, beam: Beam) -> None:
        self._end, self._beam = end, beam
        self._ended: list[list[Answer]] = [[] for _ in range(num_samples)]
        # Which samples are not done; their answers (samples, width, length) and the answers' log-probabilities.
        self._samples = torch.arange(num_samples)
        self._tokens = torch.zeros(num_samples, 1, 0, dtype=torch.int64)
        self._totals = torch.zeros(num_samples, 1)

    def advance(self, log_probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Take the next token's log-probabilities, (samples * width, vocab_size).

        Returns:
            Rows that are continued, and the next token of each.
        """
        (count, width), vocab_size = self._totals.shape, log_probabilities.shape[-1]
        totals = self._totals.to(log_probabilities.device).unsqueeze(-1) + log_probabilities.view(
            count, width, vocab_size
        )
        # Twice as many, since half of them may end.
        num = min(2 * self._beam.size, width * vocab_size)
        best, places = (part.cpu() for part in totals.flatten(1).topk(num, dim=-1))
        parents, tokens = places // vocab_size, places % vocab_size
        ends = tokens == self._end
        done = self._set_aside(ends, best, parents)
        # Sorting is stable: those without an end come first, the most probable ones before others.
        width = min(self._beam.size, width * (vocab_size - 1))
        kept = ends.byte().argsort(dim=-1, stable=True)[~done, :width]
        best, parents, tokens = (part[~done].gather(1, kept) for part in (best, parents, tokens))
        numbers = (~done).nonzero()
        rows = numbers * self._totals.shape[1] + parents
        self._tokens = torch.cat([self._tokens[numbers, parents], tokens.unsqueeze(-1)], dim=-1)
        self._totals, self._samples = best, self._samples[~done]
        return rows.flatten(), tokens.flatten()

    def _set_aside(self, ends: Tensor, best: Tensor, parents: Tensor) -> Tensor:
        """Keep what ends among the most probable; return which samples have enough, (samples,) bool."""
        ends = ends & (best > -math.inf)
        length = self._tokens.shape[-1] + 1
        for sample, place in ends[:, : self._beam.size].nonzero().tolist():
            tokens = self._tokens[sample, parents[sample, place]].tolist()
            score = self._beam.score(best[sample, place].item(), length)
            self._ended[self._samples[sample]].append(Answer(tuple(tokens), score))
        counts = [len(self._ended[sample]) for sample in self._samples.tolist()]
        return torch.tensor(counts) >= self._beam.size

    def answers(self) -> list[list[Answer]]:
        """Return the best answers of each sample, the best first."""
        found = [sorted(ended, key=lambda answer: -answer.score) for ended in self._ended]
        length = self._tokens.shape[-1]
        rows = zip(self._samples.tolist(), self._tokens.tolist(), self._totals.tolist(), strict=True)
        for sample, texts, totals in rows:
            possible = [
                Answer(tuple(text), self._beam.score(total, length))
                for text, total in zip(texts, totals, strict=True)
                if total != -math.inf
            ]
            found[sample] += sorted(possible, key=lambda answer: -answer.score)
        return [answers[: self._beam.size] for answers in found]
