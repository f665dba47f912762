"""Masked language modelling with next-sentence prediction: BERT's pre-training."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from nnkit.batches import IGNORED, Batch, SentenceBatch
from nnkit.data.tokenizing import BertTokenizer
from nnkit.errors import UserError
from nnkit.losses.scoring import evaluation_share, training_share
from nnkit.tasks.base import Task, Totals
from nnkit.tasks.examples import example_tokens
from nnkit.tasks.outcome import NamedScores, masked_steps, of_tokens, vocabulary
from nnkit.tasks.pieces import counted, nothing, on_cpu, step_names
from nnkit.tasks.predictions import Rankings
from nnkit.tasks.review import Mistake, Review, Sums, certain_mistakes

# Tokens to each side of one that is masked.
_AROUND = 8
# Number of a token and its probability.
Candidate = tuple[int, float]


class MaskedLM(Task):
    """Hidden tokens against what stood there, and pairs of sentences against whether the second followed the first.

    Devlin et al. 2019, section 3.1. The loss is the sum of two means in nats: over masked tokens, and over pairs. The
    vocabulary is scored at masked tokens only. docs/metrics.md defines the metrics.
    """

    metrics: ClassVar[dict[str, str]] = {
        "loss": "min",
        "mlm_loss": "min",
        "masked_accuracy": "max",
        "next_sentence_loss": "min",
        "next_sentence_accuracy": "max",
    }
    writes: ClassVar[Literal["on", "answer", "masked"] | None] = "masked"
    one_by_one: ClassVar[bool] = True
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
        """Score masked tokens and the pair.

        Args:
            inputs: Token numbers, (batch, time).
            mask: True where there is a token, (batch, time) bool.
            segments: The sentence of each token, (batch, time).
            where: True at masked tokens, (batch, time) bool.

        Returns:
            Logits (hidden, vocab_size) of the tokens that may stand there, row by row, and (batch, 2) of the pair's
            label, see `SentenceBatch.next_label`.
        """
        tokens, follows = self.network(inputs, mask, segments, where)
        return tokens, follows

    def _scored(self, batch: SentenceBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the logits of masked tokens and of pairs, each with its target."""
        where = batch.target != IGNORED
        tokens, follows = self(batch.inputs, batch.mask, batch.segments, where)
        return tokens, batch.target[where], follows, batch.next_label

    def targets(self, batch: Batch) -> list[Tensor]:
        """Return the masked tokens, and the labels of the pairs."""
        assert isinstance(batch, SentenceBatch)
        return [batch.target[batch.target != IGNORED], batch.next_label]

    def score(self, batch: Batch) -> tuple[Tensor, Totals]:
        """Return the sum of both mean losses, and what each and its accuracy add up."""
        (mlm_loss, next_loss), totals = self.losses(batch)
        return mlm_loss + next_loss, totals

    def losses(self, batch: Batch) -> tuple[list[Tensor], Totals]:
        """Return both mean losses, and what each and its accuracy add up."""
        assert isinstance(batch, SentenceBatch)
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
        assert isinstance(batch, SentenceBatch)
        tokens, target, follows, truth = self._scored(batch)
        shares = []
        for logits, right in ((tokens, target), (follows, truth)):
            shares += [evaluation_share(self.loss, logits, right), counted(logits.argmax(-1) == right)]
        rows = [on_cpu(row) for row in zip(*shares, strict=True)]
        self._eval_sums = self._eval_sums + torch.stack(rows)

    def review(self, batch: Batch, data: Any) -> Review:
        """Return loss, found and all masked tokens of each pair, and whether its label was found.

        The mistakes are the wrong tokens that were most certain.
        """
        assert isinstance(batch, SentenceBatch)
        tokens, target, follows, truth = self._scored(batch)
        places = (batch.target != IGNORED).nonzero().cpu()
        loss = torch.nn.functional.cross_entropy(tokens.float(), target, reduction="none")
        each = torch.stack([loss, (tokens.argmax(-1) == target).float(), torch.ones_like(loss)], dim=1)
        masked = torch.zeros(len(batch.inputs), 3, dtype=torch.float64)
        masked.index_add_(0, places[:, 0], each.double().cpu())
        right = (follows.argmax(-1) == truth).double().cpu().unsqueeze(1)
        mistakes = []
        for share, item, chosen, its in certain_mistakes(tokens.float().softmax(-1), target):
            row, step = places[item].tolist()
            read = batch.inputs[row][batch.mask[row]].tolist()
            before, behind = (
                " ".join(data.token_texts(part))
                for part in (read[max(0, step - _AROUND) : step], read[step + 1 : step + 1 + _AROUND])
            )
            said, came = data.token_texts([chosen, int(target[item])])
            text = f"{before} ____ {behind}".strip()
            mistakes.append(Mistake(share, (text, said, f"{share:.1%}", came, f"{its:.1%}")))
        headers = ["text around", "says", "probability", "true", "its probability"]
        sums = torch.cat([masked, right, torch.ones_like(right)], dim=1).numpy()
        return Review(sums, _metrics_of_sums, mistakes, headers)

    def without_truth(self, sample: Batch) -> Batch:
        """Return a batch of one whose masked tokens are not known, but where they are."""
        assert isinstance(sample, SentenceBatch)
        return sample._replace(target=sample.target.where(sample.target == IGNORED, -1))

    def outcome(self, outputs: Any, sample: Batch, data: Any) -> NamedScores:
        """Return the scores of what stands at each step, the masked ones in focus; see `Visible.outcome`."""
        logits = outputs[0]
        steps, size = logits.shape[-2:]
        rows, target = step_names(sample.inputs, steps, data), sample.target[0]
        return of_tokens(logits, rows, vocabulary(data, size), masked_steps(target, IGNORED), target)

    def results(self) -> dict[str, Tensor]:
        """Return losses and accuracies over all masked tokens and all pairs seen."""
        sums, weights = self.over_processes(self._eval_sums)
        self._eval_sums = nothing(2, len(self.totals))
        # A split so small that nothing was masked in it has no loss there.
        means = sums / weights.clamp(min=1)
        results = dict(zip(self.totals, means, strict=True))
        results["loss"] = results["mlm_loss"] + results["next_sentence_loss"]
        return {name: results[name].float() for name in self.metrics}

    @classmethod
    def example_batch(cls, facts: Mapping[str, Any], size: int, device: str = "cpu") -> Batch:
        """Return pairs of sentences, as many of their tokens masked as in training; see `Task.example_batch`."""
        tokens = example_tokens(size, facts["max_length"], facts["vocab_size"], device)
        masked = torch.arange(facts["max_length"], device=device).expand_as(tokens) % 7 == 0
        target = tokens.masked_fill(~masked, IGNORED)
        indices = torch.arange(size, device=device)
        return SentenceBatch(
            tokens, torch.ones_like(masked), torch.zeros_like(tokens), target, indices % 2, indices
        )

    def predict(self, batch: Batch, data: Any, top_k: int) -> Rankings:
        """Return the most probable choices for the masked tokens of a text."""
        assert isinstance(batch, SentenceBatch)
        found, _ = self.masked_tokens(batch, data.learnt_tokenizer, top_k)
        # As many for every text, however many of its tokens are masked: each is a column.
        choices = best_together(found, len(found[0]))
        texts = [" ".join(map(data.learnt_tokenizer.token_text, tokens)) for tokens, _ in choices]
        return Rankings(texts, np.arange(len(texts))[None], np.array([[share for _, share in choices]]))

    def masked_tokens(
        self, batch: SentenceBatch, tokenizer: BertTokenizer, top_k: int
    ) -> tuple[list[list[Candidate]], list[float]]:
        """Rank the tokens at the masked places of a batch of one, without special tokens and the unknown one.

        Args:
            batch: What is read; its target says where something is masked.
            tokenizer: That of the run.
            top_k: Tokens to rank, at most.

        Returns:
            For each masked token candidates, the best first, and the probabilities of the pair's labels 0 and 1.

        Raises:
            UserError: If the network's scores are not finite.
        """
        inputs, mask, segments, target = (part.to(self.device) for part in batch[:4])
        with torch.inference_mode():
            logits, labels = self(inputs, mask, segments, target != IGNORED)
        logits, labels = logits.double().cpu(), labels.double().cpu()
        if not (torch.isfinite(logits).all() and torch.isfinite(labels).all()):
            raise UserError("the network's scores are not finite: it has diverged in training")
        banned = [*tokenizer.special, *([] if tokenizer.unknown is None else [tokenizer.unknown])]
        logits[:, banned] = -torch.inf
        most = min(top_k, tokenizer.vocab_size - len(banned))
        ranked = logits.softmax(-1).topk(most, dim=-1)
        rows = zip(ranked.indices.tolist(), ranked.values.tolist(), strict=True)
        shares: list[float] = labels.softmax(-1)[0].tolist()
        return [list(zip(*row, strict=True)) for row in rows], shares


def _metrics_of_sums(sums: Sums) -> dict[str, Sums]:
    """Return the metrics of loss, found and all masked tokens, found and all labels of pairs, (..., 5)."""
    loss, right, masked, follows, pairs = np.moveaxis(sums, -1, 0)
    masked = np.maximum(masked, 1)
    return {
        "mlm_loss": loss / masked,
        "masked_accuracy": right / masked,
        "next_sentence_accuracy": follows / pairs,
    }


def best_together(found: Sequence[Sequence[Candidate]], top_k: int) -> list[tuple[list[int], float]]:
    """Return the most probable choices of a token for each place, the places taken as independent.

    Args:
        found: Candidates of each place, the best first, at least `top_k` or all there are.
        top_k: Choices, at most.

    Returns:
        Choices and their probabilities, the best first.
    """
    choices: list[tuple[list[int], float]] = [([], 1.0)]
    for candidates in found:
        longer = [
            ([*chosen, token], share * other) for chosen, share in choices for token, other in candidates
        ]
        # A choice among the best has among the best what it begins with.
        choices = sorted(longer, key=lambda choice: -choice[1])[:top_k]
    return choices
