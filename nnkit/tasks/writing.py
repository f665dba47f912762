"""What tasks share in which one text is read and another is written."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nnkit.batches import IGNORED, Batch, PairBatch
from nnkit.decoding.beam import Answer, Beam, search
from nnkit.losses.scoring import training_share
from nnkit.tasks.base import Task, Totals
from nnkit.tasks.examples import example_tokens
from nnkit.tasks.outcome import NamedScores, of_tokens, vocabulary
from nnkit.tasks.pieces import counted, nothing, on_cpu, step_names
from nnkit.tasks.predictions import WrittenTexts
from nnkit.tasks.review import KEPT, Review, Sums, text_of

Tokens = tuple[int, ...]


class Vocabulary(Protocol):
    """What writing asks of a data module of pairs.

    Attributes:
        begin: Mark that an answer is begun with.
        end: Mark that ends it.
        target_unknown: The token for what the vocabulary lacks, None if there is none.
        max_target_len: Tokens of an answer at most, its end mark counted.
    """

    @property
    def begin(self) -> int:
        """See `Vocabulary`."""

    @property
    def end(self) -> int:
        """See `Vocabulary`."""

    @property
    def target_unknown(self) -> int | None:
        """See `Vocabulary`."""

    @property
    def max_target_len(self) -> int:
        """See `Vocabulary`."""

    def encode_source(self, text: str) -> Any:
        """Return the tokens of a source as an array of integers."""

    def decode_target(self, tokens: Sequence[int]) -> str:
        """Return the text of target tokens."""

    def split(self, name: Any) -> Sized:
        """Return the samples of a part of the data."""


class Writing(Task):
    """Base of tasks in which each sample is a text to read and a text to write.

    The training loss is the mean over target tokens, each scored with the true ones before it. In evaluation ``loss``
    is the negative log-probability of a token in nats, whatever the training loss (label smoothing would hide it), and
    ``token_accuracy`` the share of tokens that are the most probable ones. Beside them answers are written without a
    see the targets: greedily in validation, by beam search in the test.

    Args:
        max_decoded: Validation samples that answers are written for, at most, spread evenly over the part; None: for
            all.
        beam_size: Answers kept at each step in the test; 1 is greedy. See `nnkit.decoding.beam.Beam`.
        length_penalty: How far long answers are favoured, with a beam above 1.
        arguments: As for `Task`.

    Raises:
        ValueError: If a number is out of range.
    """

    totals: ClassVar[tuple[str, ...]] = ("loss", "token_accuracy")
    writes: ClassVar[Literal["on", "answer", "masked"] | None] = "answer"
    keeps_tested: ClassVar[bool] = True

    def __init__(
        self,
        *,
        max_decoded: int | None = None,
        beam_size: int = 1,
        length_penalty: float = 0.6,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        if max_decoded is not None and max_decoded < 1:
            raise ValueError(f"max_decoded must be at least 1, or null for all, not {max_decoded}")
        self.max_decoded = max_decoded
        self.beam = Beam(beam_size, length_penalty)
        # Sum of the losses, right tokens and all tokens. No buffer: a callback that swaps averaged weights in for
        # validation swaps the buffers as well.
        self._eval_sums = nothing(3)
        # The best answers of the last batch tested, and its samples' numbers.
        self._tested: tuple[Tensor, list[Tokens]] | None = None

    @abstractmethod
    def add_answers(self, answers: list[Tokens], references: list[list[Tokens]], data: Vocabulary) -> None:
        """Add answers to the metrics, each with the texts that count as right."""

    def forward(self, inputs: Tensor, mask: Tensor, prefix: Tensor) -> Tensor:
        """Return the logits (batch, time, vocab_size) of what follows each token of prefix (batch, time)."""
        outputs: Tensor = self.network(inputs, mask, prefix)
        return outputs

    def targets(self, batch: Batch) -> list[Tensor]:
        """Return the target tokens, the padding left out."""
        return [batch.target[batch.target != IGNORED]]

    def score(self, batch: Batch) -> tuple[Tensor, Totals]:
        """Return the mean loss, and what loss and token accuracy add up."""
        logits, target = self._scored(batch)
        loss: Tensor = self.loss(logits, target)
        with torch.no_grad():
            right = logits.argmax(-1) == target
            return loss, {"loss": training_share(self.loss, loss, target), "token_accuracy": counted(right)}

    def _scored(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (tokens, vocab_size) and target (tokens,), the padding left out."""
        where = batch.target != IGNORED
        return self.network(*batch.network_inputs(), where), batch.target[where]

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to the metrics."""
        assert isinstance(batch, PairBatch)
        logits, target = self._scored(batch)
        loss = functional.cross_entropy(logits.float(), target, reduction="sum")
        self._eval_sums = self._eval_sums + on_cpu((loss, *counted(logits.argmax(-1) == target)))
        self._decode(batch)

    def _decode(self, batch: PairBatch) -> None:
        trainer: Any = self.trainer
        data: Vocabulary = trainer.datamodule
        testing = bool(trainer.testing)
        if not testing and self.max_decoded is not None:
            count = max(len(data.split("val")), 1)
            # Of `count` samples this chooses exactly `most`, whatever batches they come in.
            most = min(self.max_decoded, count)
            chosen = batch.indices * most % count < most
            if not chosen.any():
                return
            batch = PairBatch(*(part[chosen] for part in batch))
        answers = self.write(batch.inputs, batch.mask, data, self.beam if testing else Beam())
        best = [several[0].tokens for several in answers]
        self._tested = (batch.indices, best) if testing else None
        self.add_answers(best, _texts(batch.references, data.end), data)

    def write(
        self, inputs: Tensor, mask: Tensor, data: Vocabulary, beam: Beam, max_len: int | None = None
    ) -> list[list[Answer]]:
        """Write answers to sources.

        Args:
            inputs: Tokens of the sources, (batch, source_time) int64.
            mask: True where there is one, (batch, source_time) bool.
            data: Where they come from.
            beam: How the answers are searched for.
            max_len: Tokens of an answer at most, its end mark counted; None: `Vocabulary.max_target_len`.

        Returns:
            For each source at most `beam.size` answers and at least one, the best first.
        """
        # What stands behind the longest of these sources is padding of others.
        longest = int(mask.sum(1).max())
        inputs, mask = inputs[:, :longest], mask[:, :longest]
        unknown = data.target_unknown
        return search(
            self.network.step,
            self.network.begin(inputs, mask),
            torch.full((len(inputs), 1), data.begin, device=inputs.device),
            end=data.end,
            max_len=max_len or data.max_target_len,
            beam=beam,
            banned=[data.begin] if unknown is None else [data.begin, unknown],
        )

    @classmethod
    def example_batch(cls, facts: Mapping[str, Any], size: int, device: str = "cpu") -> Batch:
        """Return pairs of texts; see `Task.example_batch`."""
        source = example_tokens(size, facts["max_length"], facts["source_vocab_size"], device)
        target = example_tokens(size, facts["max_length"], facts["vocab_size"], device)
        mask, indices = torch.ones_like(source, dtype=torch.bool), torch.arange(size, device=device)
        return PairBatch(source, mask, target, target, target[:, None], indices)

    def first_sample(self, batch: Batch) -> Batch:
        """Return the first pair of a batch as a batch of one, without its padding."""
        assert isinstance(batch, PairBatch)
        one = PairBatch(*(part[:1] for part in batch))
        read, written = int(one.mask.sum()), int((one.target != IGNORED).sum())
        return one._replace(
            inputs=one.inputs[:, :read], mask=one.mask[:, :read], prefix=one.prefix[:, :written]
        )

    def attention_axes(
        self, layer: str, is_cross: bool, sizes: Sequence[int], sample: Batch, data: Any
    ) -> tuple[list[str], list[str]]:
        """Return source tokens for the encoder, target tokens for the decoder, both where it attends to the source."""
        assert isinstance(sample, PairBatch)
        in_encoder = "encoder" in layer.split(".")
        tokens = sample.inputs if in_encoder else sample.prefix
        names = step_names(tokens, sizes[0], data, target=not in_encoder)
        return names, step_names(sample.inputs, sizes[1], data) if is_cross else names

    def predict(self, batch: Batch, data: Vocabulary, top_k: int) -> WrittenTexts:
        """Return the answer to each item, searched for as in the test."""
        assert isinstance(batch, PairBatch)
        answers = self.write(batch.inputs, batch.mask, data, self.beam)
        return WrittenTexts([data.decode_target(best[0].tokens) for best in answers])

    def completed(self, sample: Batch, data: Vocabulary) -> Batch:
        """Put the text that the network writes in place of the prefix; no token of it is known to be right."""
        assert isinstance(sample, PairBatch)
        tokens = self.write(sample.inputs, sample.mask, data, self.beam)[0][0].tokens
        written = torch.tensor([[data.begin, *tokens, data.end]], device=sample.inputs.device)
        prefix = written[:, :-1]
        return sample._replace(prefix=prefix, target=torch.full_like(prefix, IGNORED))

    def outcome(self, outputs: Any, sample: Batch, data: Any) -> NamedScores:
        """Return the scores of what follows each token that is written; see `Visible.outcome`."""
        assert isinstance(sample, PairBatch)
        steps, size = outputs.shape[-2:]
        rows = step_names(sample.prefix, steps, data, target=True)
        names = vocabulary(data, size, target=True)
        found = of_tokens(outputs, rows, names, range(steps), sample.target[0])
        references = _texts(sample.references, data.end)[0]
        return replace(
            found,
            written=data.decode_target(sample.prefix[0, 1:].tolist()),
            expected=data.decode_target(references[0]) if references else "",
        )

    def sums_of(self, answer: Tokens, references: Sequence[Tokens], data: Vocabulary) -> list[float]:
        """Return what an answer adds to the totals that `metrics_of` reads; here that it is one."""
        return [1.0]

    @staticmethod
    def metrics_of(sums: Sums) -> dict[str, Sums]:
        """Return metrics of added-up totals (..., totals), (...) each; here none."""
        return {}

    def review(self, batch: Batch, data: Any) -> Review:
        """Return what each answer adds to the metrics, and the first answers beside what was to be written.

        Answers to the batch that was tested last are not searched for again.
        """
        assert isinstance(batch, PairBatch)
        if self._tested is not None and self._tested[0] is batch.indices:
            answers = self._tested[1]
        else:
            answers = [best[0].tokens for best in self.write(batch.inputs, batch.mask, data, self.beam)]
        references = _texts(batch.references, data.end)
        pairs = [*zip(answers, references, strict=True)]
        samples = [
            (
                text_of(data, source[there].tolist()),
                data.decode_target(answer),
                " | ".join(map(data.decode_target, right)),
            )
            for source, there, (answer, right) in zip(
                batch.inputs[:KEPT], batch.mask[:KEPT], pairs[:KEPT], strict=True
            )
        ]
        sums = np.array([self.sums_of(answer, right, data) for answer, right in pairs], dtype=np.float64)
        return Review(sums, self.metrics_of, samples=samples, sample_headers=["read", "written", "true"])

    def results(self) -> dict[str, Tensor]:
        """Return loss and share of right tokens of all that was seen."""
        loss, right, count = self.over_processes(self._eval_sums)
        self._eval_sums = nothing(3)
        count = count.clamp(min=1)
        return {"loss": (loss / count).float(), "token_accuracy": (right / count).float()}


def _texts(references: Tensor, end: int) -> list[list[Tokens]]:
    """Return the references of each sample as tokens, without end marks and padding."""
    found = []
    for several in references.tolist():
        texts = [tuple(token for token in text if token not in (end, IGNORED)) for text in several]
        # Where a sample has fewer than others, no end mark stands.
        found.append([text for text, row in zip(texts, several, strict=True) if end in row])
    return found
