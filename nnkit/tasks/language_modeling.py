"""Language modelling: the next token at every step of a text."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nnkit.batches import IGNORED, Batch, BlockBatch
from nnkit.losses.scoring import at_least_32_bits, evaluation_share, is_log_likelihood, training_share
from nnkit.tasks.base import Task, Totals
from nnkit.tasks.examples import example_tokens
from nnkit.tasks.outcome import NamedScores, of_tokens, vocabulary
from nnkit.tasks.pieces import counted, nothing, on_cpu, step_names
from nnkit.tasks.predictions import Estimates
from nnkit.tasks.review import Mistake, Review, Sums, certain_mistakes, text_of

# Logits that a review holds at once, and tokens of the text before a mistake.
_HELD, _BEFORE = 1 << 24, 40


class LanguageModeling(Task):
    """Scores of the next token against the token that comes; logs loss, perplexity and bits per character.

    The loss is the mean over tokens in nats. Perplexity and bits per character are of the negative log-probability of
    the tokens, whatever the loss: perplexity is exp of its mean over all tokens, and bits divide its sum by the
    characters that the tokens stand for, so that models with different tokenizers can be compared. docs/metrics.md
    defines the metrics.

    Args:
        arguments: As for `Task`.
    """

    metrics: ClassVar[dict[str, str]] = {"loss": "min", "perplexity": "min", "bits_per_character": "min"}
    totals: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    needs_causal: ClassVar[bool] = True
    writes: ClassVar[Literal["on", "answer", "masked"] | None] = "on"
    one_by_one: ClassVar[bool] = True
    most_reviewed: ClassVar[int] = 64

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # Loss and what to divide it by, surprise in nats, tokens, characters. No buffer: a callback that swaps averaged
        # weights in for validation swaps the buffers as well.
        self._eval_sums = nothing(5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits (batch, time, vocab_size) of what follows each token of inputs (batch, time)."""
        outputs: Tensor = self.network(inputs)
        return outputs

    def score(self, batch: Batch) -> tuple[Tensor, Totals]:
        """Return the mean loss, and what loss and accuracy add up; a training batch has no gaps."""
        logits = self.network(batch.inputs).flatten(0, 1)
        target = batch.target.flatten()
        loss: Tensor = self.loss(logits, target)
        with torch.no_grad():
            right = logits.argmax(-1) == target
            return loss, {"loss": training_share(self.loss, loss, target), "accuracy": counted(right)}

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to the metrics."""
        assert isinstance(batch, BlockBatch)
        self._eval_sums = self._eval_sums + self._text_sums(batch)

    def score_text(self, batch: BlockBatch) -> dict[str, float]:
        """Return the metrics of a batch alone, which may have gaps."""
        return {name: float(value) for name, value in _metrics(self._text_sums(batch)).items()}

    def _text_sums(self, batch: BlockBatch) -> Tensor:
        """Return what a batch adds to `_eval_sums`.

        What is longer than the network reads is scored in pieces, each from its own beginning.
        """
        length = batch.inputs.shape[1]
        size = self.network.max_len or length
        places = [slice(start, start + size) for start in range(0, length, size)]
        sums = nothing(5)
        for place in places:
            sums[:4] += self._piece_sums(batch.inputs[:, place], batch.target[:, place])
        sums[4] = batch.characters.cpu().double().sum()
        return sums

    def _piece_sums(self, inputs: Tensor, target: Tensor) -> Tensor:
        target = target.flatten()
        scored = target != IGNORED
        logits = self.network(inputs).flatten(0, 1)
        if not scored.all():
            logits, target = logits[scored], target[scored]
        logits = at_least_32_bits(logits)
        loss, weight = evaluation_share(self.loss, logits, target)
        plain = is_log_likelihood(self.loss)
        surprise = loss if plain else functional.cross_entropy(logits, target, reduction="sum")
        return on_cpu((loss, weight, surprise, scored.sum()))

    @classmethod
    def example_batch(cls, facts: Mapping[str, Any], size: int, device: str = "cpu") -> Batch:
        """Return blocks of tokens; see `Task.example_batch`."""
        tokens = example_tokens(size, facts["block_size"], facts["vocab_size"], device)
        return BlockBatch(tokens, tokens, torch.ones(size, device=device), torch.arange(size, device=device))

    def predict(self, batch: Batch, data: Any, top_k: int) -> Estimates:
        """Return how surprising a text is; its first token is read and not scored."""
        assert isinstance(batch, BlockBatch)
        scores = self.score_text(batch)
        titles = ("perplexity", "bits_per_character")
        return Estimates(titles, np.array([[scores[title] for title in titles]]))

    def without_truth(self, sample: Batch) -> Batch:
        """Return the sample: the tokens that follow are read with it."""
        return sample

    def outcome(self, outputs: Any, sample: Batch, data: Any) -> NamedScores:
        """Return the scores of what follows each token, the last one in focus; see `Visible.outcome`."""
        steps, size = outputs.shape[-2:]
        rows = step_names(sample.inputs, steps, data)
        return of_tokens(outputs, rows, vocabulary(data, size), [steps - 1], sample.target[0])

    def review(self, batch: Batch, data: Any) -> Review:
        """Return surprise, tokens and characters of each block, and the wrong tokens that were most certain."""
        assert isinstance(batch, BlockBatch)
        length = min(batch.inputs.shape[1], self.network.max_len or batch.inputs.shape[1])
        rows, mistakes = [], []
        # As many blocks at once as keep the logits small.
        at_once = max(1, _HELD // (length * int(data.facts()["vocab_size"])))
        for start in range(0, len(batch.inputs), at_once):
            inputs, target = (part[start : start + at_once, :length] for part in (batch.inputs, batch.target))
            logits = at_least_32_bits(self.network(inputs))
            surprise = functional.cross_entropy(
                logits.flatten(0, 1), target.flatten(), ignore_index=IGNORED, reduction="none"
            ).view_as(target)
            rows += [surprise.sum(1).double().cpu(), (target != IGNORED).sum(1).double().cpu()]
            mistakes += self._mistakes(inputs, target, logits.softmax(-1), data)
        surprises, tokens = (torch.cat(rows[place::2]) for place in (0, 1))
        # Those of a block that is cut are taken to be spread evenly.
        shares = tokens / (batch.target != IGNORED).sum(1).clamp(min=1).cpu()
        characters = batch.characters.double().cpu() * shares
        sums = torch.stack([surprises, tokens, characters], dim=1).numpy()
        headers = ["text before", "says", "probability", "came", "its probability"]
        return Review(sums, _metrics_of_sums, mistakes, headers)

    def _mistakes(self, inputs: Tensor, target: Tensor, shares: Tensor, data: Any) -> list[Mistake]:
        found = []
        for share, place, chosen, right in certain_mistakes(shares.flatten(0, 1), target.flatten()):
            row, step = divmod(place, target.shape[1])
            before = text_of(data, inputs[row, max(0, step + 1 - _BEFORE) : step + 1].tolist())
            before = before.replace("\n", "\u21b5 ")
            said, came = data.token_texts([chosen, int(target[row, step])])
            found.append(Mistake(share, (before, said, f"{share:.1%}", came, f"{right:.1%}")))
        return found

    def results(self) -> dict[str, Tensor]:
        """Return loss, perplexity and bits per character of all tokens seen."""
        sums = self.over_processes(self._eval_sums)
        self._eval_sums = nothing(5)
        return {name: value.float() for name, value in _metrics(sums).items()}


def _metrics(sums: Tensor) -> dict[str, Tensor]:
    loss, weight, surprise, tokens, characters = sums
    return {
        "loss": loss / weight,
        "perplexity": (surprise / tokens).exp(),
        "bits_per_character": surprise / math.log(2) / characters,
    }


def _metrics_of_sums(sums: Sums) -> dict[str, Sums]:
    """Return the metrics of surprise, tokens and characters, (..., 3)."""
    surprise, tokens, characters = np.moveaxis(sums, -1, 0)
    return {
        "perplexity": np.exp(surprise / tokens),
        "bits_per_character": surprise / math.log(2) / characters,
    }
