"""What datasets of pairs of texts share: vocabularies, batches of like length, reading and writing single texts."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray

from nnkit.batches import IGNORED, Pairs
from nnkit.data.base import DataModule, Preprocessing, Samples, Split, process
from nnkit.data.buckets import LengthSampler
from nnkit.data.pairs.encoded_pairs import EncodedPairs, PairedTexts, PairSamples
from nnkit.data.pairs.pair_report import say_lost
from nnkit.data.pairs.pair_tokenizers import (
    BEGIN,
    END,
    SPECS,
    PairTokenizers,
    check_pair_tokenizers,
    learn_pair_tokenizers,
)
from nnkit.data.sampler import BatchSampler
from nnkit.data.splits import check_fractions
from nnkit.data.text.text_items import read_texts
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

# Samples of an evaluation batch: each step of each of them has scores of the whole vocabulary.
_EVAL_BATCH = 128
# Column of .csv and .tsv files, and key of .jsonl files, that holds the sources.
SOURCE_COLUMN = "source"


class PairData(DataModule):
    """Base of datasets of sources, each with a target to write: a subclass says where they are read from.

    Vocabularies are learnt from the training pairs. Token 0 begins a target, 1 ends it, sources have no marks. A
    training pair of which a side has more than `max_length` tokens is left out; validation and test pairs all stay,
    their sources cut after `max_length` tokens, their targets whole. Batches hold pairs of similar length.

    Args:
        source_tokenizer: characters, bytes, words, bpe or wordpiece.
        target_tokenizer: The same choice.
        max_vocab: Tokens of each vocabulary, at most; default: every character, or the tokenizer's own default.
        joint: Whether both sides have one vocabulary, learnt from both.
        max_length: Tokens of a source or a target, at most.
        val_fraction: Share of the pairs held out for validation.
        test_fraction: Share of the pairs held out for the test.
        split_seed: Seed of the split; the split does not depend on `seed`.
        batch_size: Pairs in a training batch.
        max_tokens: Instead of batch_size and eval_batch_size: pairs of a batch times the tokens of its longest text.
        buckets: Whether batches hold pairs of similar length; False: dealt out regardless of it.
        eval_batch_size: Pairs in a validation or test batch; default: the larger of batch_size and 128.
        num_workers: As in `DataModule`.
        seed: As in `DataModule`.

    Raises:
        ValueError: If an argument is out of range.
    """

    fact_names = ("source_vocab_size", "vocab_size")
    inherited = SPECS
    vouched = True
    begin: ClassVar[int] = BEGIN
    end: ClassVar[int] = END

    def __init__(
        self,
        *,
        source_tokenizer: TokenizerKind = "characters",
        target_tokenizer: TokenizerKind = "characters",
        max_vocab: int | None = None,
        joint: bool = False,
        max_length: int = 128,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 64,
        max_tokens: int | None = None,
        buckets: bool = True,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=max(batch_size, _EVAL_BATCH) if eval_batch_size is None else eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        check_pair_tokenizers(source_tokenizer, target_tokenizer, max_vocab, joint)
        check_fractions(val_fraction, test_fraction)
        _check_lengths(max_length, max_tokens, buckets)
        self._kinds = source_tokenizer, target_tokenizer
        self._vocabulary_options: dict[str, Any] = {"max_vocab": max_vocab, "joint": joint}
        self.max_length = max_length
        self.max_tokens = max_tokens
        self.buckets = buckets
        self._split_options = {
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
            "split_seed": split_seed,
        }
        self._forget()

    def _forget(self) -> None:
        self._tokenizers: PairTokenizers | None = None
        self._opened_pairs: tuple[EncodedPairs, dict[Split, torch.Tensor]] | None = None
        self._said = set[str]()

    @abstractmethod
    def load(self, expected: str | None) -> PairedTexts:
        """Read the pairs; neither side of any is blank.

        Args:
            expected: The fingerprint they must have; None admits any, and what is odd about them is said.

        Raises:
            UserError: If they cannot be read or have changed.
        """

    def setup_data(self, preprocessing: Preprocessing | None = None) -> None:
        """Prepare the data, or take over what an earlier run learnt."""
        self._forget()
        super().setup_data(preprocessing)

    def prepare(self) -> Preprocessing:
        """Read the pairs, split them, and learn the vocabularies from the training ones."""
        paired = self.load(None)
        rows = paired.deal(self._split_options)
        self._tokenizers = self._vocabularies(paired, rows["train"].tolist())
        with self.speaking_of_heritage():
            pairs, kept = self._open(paired, self._tokenizers, rows, self.max_length)
        longest = int(pairs.target_lengths[kept["train"]].max()) if len(kept["train"]) else 0
        say_lost(paired, self._tokenizers, pairs, rows, kept, max_length=self.max_length)
        self._say_padding(pairs, kept)
        return {
            **self._tokenizers.specs(),
            "max_length": self.max_length,
            # Room for answers somewhat longer than any that was learnt from.
            "max_target_len": longest + longest // 4 + 1,
            **({} if paired.parts else self._split_options),
            "counts": {name: len(part) for name, part in kept.items()},
            "fingerprint": paired.fingerprint,
        }

    def _vocabularies(self, paired: PairedTexts, training: list[int]) -> PairTokenizers:
        """Return the tokenizers that came along from another run, or learn them."""
        if self.heritage:
            return PairTokenizers.restore(self.heritage)
        return learn_pair_tokenizers(
            *self._kinds,
            [paired.sources[row] for row in training],
            [text for row in training for text in paired.targets[row]],
            **self._vocabulary_options,
        )

    def _open(
        self,
        paired: PairedTexts,
        tokenizers: PairTokenizers,
        rows: dict[Split, torch.Tensor],
        max_length: int,
    ) -> tuple[EncodedPairs, dict[Split, torch.Tensor]]:
        pairs = EncodedPairs.of(paired, tokenizers, max_length)
        # Without a token of the source there is nothing to read, without one of the target nothing to write.
        whole = (pairs.sources.lengths > 0) & (pairs.target_lengths > 1)
        short = ~pairs.sources.cut & (pairs.target_lengths <= max_length + 1)
        kept = {
            name: part[(whole & short)[part] if name == "train" else whole[part]]
            for name, part in rows.items()
        }
        self._opened_pairs = pairs, kept
        return self._opened_pairs

    def _say_padding(self, pairs: EncodedPairs, rows: dict[Split, torch.Tensor]) -> None:
        training = PairSamples(pairs, rows["train"])
        batches = self.make_sampler(training, self.batch_size, self.seed).deal()
        sides = training.source_lengths, training.target_lengths
        filled = sum(int(lengths.sum()) for lengths in sides)
        steps = sum(len(rows) * int(lengths[rows].max()) for rows in batches for lengths in sides)
        if steps:
            _logger.info("%.1f %% of the training batches is padding", 100 * (1 - filled / steps))

    @property
    def tokenizers(self) -> PairTokenizers:
        """The tokenizers of both sides, from `preprocessing`."""
        if self._tokenizers is None:
            self._tokenizers = PairTokenizers.restore(self.preprocessing)
        return self._tokenizers

    def facts(self) -> dict[str, Any]:
        """Return the sizes of both vocabularies, the two marks counted."""
        return {
            "source_vocab_size": self.tokenizers.source_vocab_size,
            "vocab_size": self.tokenizers.vocab_size,
        }

    def samples(self, split: Split) -> PairSamples:
        """Open one split as the run that wrote `preprocessing` split the pairs.

        Raises:
            UserError: If they are gone or have changed since.
        """
        if self._opened_pairs is None:
            learnt = self.preprocessing
            paired = self.load(learnt["fingerprint"])
            self._open(paired, self.tokenizers, paired.deal(learnt), learnt["max_length"])
        assert self._opened_pairs is not None
        pairs, rows = self._opened_pairs
        return PairSamples(pairs, rows[split])

    def make_sampler(self, samples: Samples, batch_size: int, seed: int | None) -> BatchSampler:
        """Return what deals the pairs of a split out to batches, of similar length unless `buckets` is False."""
        if not self.buckets:
            return super().make_sampler(samples, batch_size, seed)
        assert isinstance(samples, PairSamples)
        rank, world_size = process()
        return LengthSampler(
            samples.lengths,
            batch_size,
            max_tokens=self.max_tokens,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )

    @property
    def max_target_len(self) -> int:
        """Tokens that an answer may have, its end mark counted."""
        return int(self.preprocessing["max_target_len"])

    @property
    def target_unknown(self) -> int | None:
        """The token that stands for what is in no target of the training part; None if there is none."""
        return self.tokenizers.target_unknown

    def encode_source(self, text: str) -> NDArray[Any]:
        """Return the tokens of a source, (tokens,) int32, cut as in validation; what is lost is said once.

        Raises:
            UserError: If there is nothing in it to read.
        """
        encoded = self.tokenizers.encode_sources([text], self.preprocessing["max_length"])
        tokens: NDArray[Any] = encoded.tokens.numpy()
        if not len(tokens):
            raise UserError(f"there is nothing to read in it: {text[:40]!r}")
        if encoded.cut.any():
            self._say("longer than %d tokens and cut there: %r and maybe others", len(tokens), text[:40])
        lacking = self.tokenizers.out_of_vocabulary(text)
        if lacking:
            self._say(
                "not in the training sources, counts as unknown: %s in %r; maybe in others as well",
                *(lacking, text[:40]),
            )
        return tokens

    def _say(self, sentence: str, *values: object) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            _logger.warning(sentence, *values)

    def decode_target(self, tokens: Sequence[int]) -> str:
        """Return the text of what was written, up to the end mark."""
        return self.tokenizers.decode_target(tokens)

    def token_texts(self, tokens: Sequence[int], *, target: bool = False) -> list[str]:
        """Return what tokens of a source or of a target look like; see `DataModule.token_texts`."""
        return self.tokenizers.token_texts(tokens, target=target)

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, Pairs | str]]:
        """Read sources as batches of one, with no target; see `DataModule.read`.

        Args:
            items: Texts; paths of files, of which .csv, .tsv and .jsonl have a column "source" and others one text on
                each line; "-" for standard input, a text on each line.
        """
        for name, text, reason in read_texts(items, SOURCE_COLUMN):
            try:
                yield name, reason or _question(self.encode_source(text))
            except UserError as error:
                yield name, str(error)


def _question(tokens: NDArray[Any]) -> Pairs:
    inputs = torch.from_numpy(tokens).long()[None]
    target = torch.full((1, 1), IGNORED)
    prefix, indices = torch.full((1, 1), BEGIN), torch.zeros(1, dtype=torch.int64)
    return Pairs(inputs, torch.ones_like(inputs, dtype=torch.bool), prefix, target, target[None], indices)


def _check_lengths(max_length: int, max_tokens: int | None, buckets: bool) -> None:
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, not {max_length}")
    if max_tokens is not None and max_tokens <= max_length:
        raise ValueError(
            f"max_tokens must be more than max_length, {max_length}, or one pair is more; it is {max_tokens}"
        )
    if max_tokens is not None and not buckets:
        raise ValueError("max_tokens needs buckets=true, which put texts of similar length together")
