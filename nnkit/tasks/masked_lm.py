"""Masked language modelling with next-sentence prediction: BERT's pre-training."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from nnkit.batches import IGNORED, Batch, Sentences
from nnkit.losses.scoring import evaluation_share, training_share
from nnkit.tasks.base import Task, Totals, counted, nothing, on_cpu


class MaskedLM(Task):
    """Hidden tokens against what stood there, and pairs of sentences against whether the second followed the first.

    Devlin et al. 2019, section 3.1. The loss is the sum of two means in nats: over hidden tokens, and over pairs. The
    vocabulary is scored at hidden tokens only. docs/metrics.md defines the metrics.
    """

    metrics: ClassVar[dict[str, str]] = {
        "loss": "min",
        "mlm_loss": "min",
        "masked_accuracy": "max",
        "next_sentence_loss": "min",
        "next_sentence_accuracy": "max",
    }
    totals: ClassVar[tuple[str, ...]] = (
        "mlm_loss",
        "masked_accuracy",
        "next_sentence_loss",
        "next_sentence_accuracy",
    )

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # As `totals`, by rows. No buffer: a callback that swaps averaged weights in for validation swaps the buffers as
        # well.
        self._eval_sums = nothing(2, len(self.totals))

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

    def targets(self, batch: Batch) -> list[Tensor]:
        """Return the hidden tokens, and the labels of the pairs."""
        assert isinstance(batch, Sentences)
        return [batch.target[batch.target != IGNORED], batch.next_label]

    def score(self, batch: Batch) -> tuple[Tensor, Totals]:
        """Return the sum of both mean losses, and what each and its accuracy add up."""
        (mlm_loss, next_loss), totals = self.losses(batch)
        return mlm_loss + next_loss, totals

    def losses(self, batch: Batch) -> tuple[list[Tensor], Totals]:
        """Return both mean losses, and what each and its accuracy add up."""
        assert isinstance(batch, Sentences)
        tokens, target, follows, truth = self._scored(batch)
        mlm_loss, next_loss = self.loss(tokens, target), self.loss(follows, truth)
        with torch.no_grad():
            shares = (
                training_share(self.loss, mlm_loss, target),
                counted(tokens.argmax(-1) == target),
                training_share(self.loss, next_loss, truth),
                counted(follows.argmax(-1) == truth),
            )
        return [mlm_loss, next_loss], dict(zip(self.totals, shares, strict=True))

    def _means(self, totals: Tensor) -> dict[str, float]:
        means = super()._means(totals)
        parts = [means[name] for name in ("mlm_loss", "next_sentence_loss") if name in means]
        return {"loss": sum(parts), **means} if parts else {}

    @classmethod
    def convert_totals(cls, sums: Tensor, count: Tensor) -> Tensor:
        """Return totals of an earlier release, which kept both losses together and the first of them."""
        both, mlm_loss, masked, follows = sums
        return super().convert_totals(torch.stack([mlm_loss, masked, both - mlm_loss, follows]), count)

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to both losses and accuracies."""
        assert isinstance(batch, Sentences)
        tokens, target, follows, truth = self._scored(batch)
        shares = []
        for logits, right in ((tokens, target), (follows, truth)):
            shares += [evaluation_share(self.loss, logits, right), counted(logits.argmax(-1) == right)]
        rows = [on_cpu(row) for row in zip(*shares, strict=True)]
        self._eval_sums = self._eval_sums + torch.stack(rows)

    def results(self) -> dict[str, Tensor]:
        """Return losses and accuracies over all hidden tokens and all pairs seen."""
        sums, weights = self.over_processes(self._eval_sums)
        self._eval_sums = nothing(2, len(self.totals))
        # A part so small that nothing was hidden in it has no loss there.
        means = sums / weights.clamp(min=1)
        results = dict(zip(self.totals, means, strict=True))
        results["loss"] = results["mlm_loss"] + results["next_sentence_loss"]
        return {name: results[name].float() for name in self.metrics}
