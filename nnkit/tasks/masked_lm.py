"""Masked language modelling with next-sentence prediction: BERT's pre-training."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from nnkit.batches import IGNORED, Batch, Sentences
from nnkit.tasks.base import Task


class MaskedLM(Task):
    """Hidden tokens against what stood there, and pairs of sentences against whether the second followed the first.

    Devlin et al. 2019, section 3.1. The loss is the sum of two means in nats: over hidden tokens, and over pairs. The
    vocabulary is scored at hidden tokens only.
    """

    metrics: ClassVar[dict[str, str]] = {
        "loss": "min",
        "mlm_loss": "min",
        "masked_accuracy": "max",
        "next_sentence_loss": "min",
        "next_sentence_accuracy": "max",
    }
    totals: ClassVar[tuple[str, ...]] = ("loss", "mlm_loss", "masked_accuracy", "next_sentence_accuracy")

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # Of hidden tokens the sum of losses, right answers and number, then of pairs. No buffer: a callback that swaps
        # averaged weights in for validation swaps the buffers as well.
        self._eval_sums = torch.zeros(6, dtype=torch.float64)

    def forward(self, inputs: Tensor, mask: Tensor, segments: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """Score hidden tokens and the pair.

        Args:
            inputs: Token numbers, (batch, time).
            mask: True where there is a token, (batch, time) bool.
            segments: The sentence of each token, (batch, time).
            where: True at hidden tokens, (batch, time) bool.

        Returns:
            Logits (hidden, vocab_size) of the tokens that may stand there, row by row, and (batch, 2) of the pair's
            label, see `Sentences.next_label`.
        """
        tokens, follows = self.network(inputs, mask, segments, where)
        return tokens, follows

    def _scored(self, batch: Sentences) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the logits of hidden tokens and of pairs, each with its target."""
        where = batch.target != IGNORED
        tokens, follows = self(batch.inputs, batch.mask, batch.segments, where)
        return tokens, batch.target[where], follows, batch.next_label

    def score(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Return the sum of both mean losses; of hidden tokens, means of the batch stand for each of its pairs."""
        assert isinstance(batch, Sentences)
        tokens, target, follows, truth = self._scored(batch)
        mlm_loss = self.loss(tokens, target)
        with torch.no_grad():
            size = len(batch.indices)
            accuracy = (tokens.argmax(-1) == target).float().mean()
            sums = [mlm_loss * size, accuracy * size, (follows.argmax(-1) == truth).sum()]
        return mlm_loss + self.loss(follows, truth), sums

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to both losses and accuracies."""
        assert isinstance(batch, Sentences)
        tokens, target, follows, truth = self._scored(batch)
        sums: list[float] = []
        for logits, right in ((tokens, target), (follows, truth)):
            hits = (logits.argmax(-1) == right).sum()
            sums += [float(self.loss(logits, right).detach()) * len(right), float(hits), len(right)]
        self._eval_sums = self._eval_sums + torch.tensor(sums, dtype=torch.float64)

    def results(self) -> dict[str, Tensor]:
        """Return losses and accuracies over all hidden tokens and all pairs seen."""
        mlm_loss, masked_hits, masked, next_loss, next_hits, pairs = self.over_processes(
            self._eval_sums
        ).float()
        masked, pairs = masked.clamp(min=1), pairs.clamp(min=1)
        self._eval_sums = torch.zeros(6, dtype=torch.float64)
        return {
            "loss": mlm_loss / masked + next_loss / pairs,
            "mlm_loss": mlm_loss / masked,
            "masked_accuracy": masked_hits / masked,
            "next_sentence_loss": next_loss / pairs,
            "next_sentence_accuracy": next_hits / pairs,
        }
