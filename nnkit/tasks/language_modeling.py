"""Language modelling: the next token at every step of a text."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from nnkit.batches import IGNORED, Batch
from nnkit.tasks.base import Task


class LanguageModeling(Task):
    """Scores of the next token against the token that comes; logs loss, perplexity and bits per character.

    The loss is the mean over tokens in nats. Perplexity is exp of its mean over the whole epoch, not a mean of
    perplexities. Bits per character divide by the characters that the tokens stand for, so that models with different
    tokenizers can be compared.

    Args:
        tokens_per_character: Tokens for each character of the training text.
        arguments: As for `Task`.
    """

    metrics: ClassVar[dict[str, str]] = {"loss": "min", "perplexity": "min", "bits_per_character": "min"}
    totals: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    needs_causal: ClassVar[bool] = True

    def __init__(self, tokens_per_character: float = 1.0, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.tokens_per_character = tokens_per_character
        # Sum of the losses and number of tokens. No buffer: a callback that swaps averaged weights in for validation
        # swaps the buffers as well.
        self._eval_loss = torch.zeros(2, dtype=torch.float64)

    @classmethod
    def learnt(cls, preprocessing: dict[str, Any]) -> dict[str, Any]:
        """Return how much text a token stands for."""
        return {"tokens_per_character": preprocessing["tokens_per_character"]}

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits (batch, time, vocab_size) of what follows each token of inputs (batch, time)."""
        outputs: Tensor = self.network(inputs)
        return outputs

    def weight(self, batch: Batch) -> int:
        """Return the number of tokens; a training batch has no gaps."""
        return batch.target.numel()

    def score(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Return the mean loss and the number of tokens that were the most probable."""
        logits = self.network(batch.inputs).flatten(0, 1)
        target = batch.target.flatten()
        with torch.no_grad():
            right = (logits.argmax(-1) == target).sum()
        return self.loss(logits, target), [right]

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to the loss."""
        loss, count = self.text_loss(batch)
        total = torch.stack([loss.double(), count.double()]).cpu()
        self._eval_loss = self._eval_loss + total

    def text_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the sum of the losses of a batch that may have gaps, and the number of tokens scored.

        What is longer than the network reads is scored in pieces, each from its own beginning.
        """
        length = batch.inputs.shape[1]
        size = self.network.max_len or length
        places = [slice(start, start + size) for start in range(0, length, size)]
        pieces = (self._piece_loss(batch.inputs[:, place], batch.target[:, place]) for place in places)
        losses, counts = zip(*pieces, strict=True)
        return torch.stack(losses).sum(), torch.stack(counts).sum()

    def _piece_loss(self, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        target = target.flatten()
        scored = target != IGNORED
        logits = self.network(inputs).flatten(0, 1)
        if not scored.all():
            logits, target = logits[scored], target[scored]
        # The mean of nothing is not a number.
        loss = self.loss(logits, target) * len(target) if len(target) else logits.sum()
        return loss, scored.sum()

    def results(self) -> dict[str, Tensor]:
        """Return loss, perplexity and bits per character of all tokens seen."""
        total, count = self.over_processes(self._eval_loss)
        loss = (total / count.clamp(min=1)).float()
        self._eval_loss = torch.zeros(2, dtype=torch.float64)
        return {
            "loss": loss,
            "perplexity": loss.exp(),
            "bits_per_character": loss / math.log(2) * self.tokens_per_character,
        }
