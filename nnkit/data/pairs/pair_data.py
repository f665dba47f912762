"""Pairs of a source and a target text: vocabularies, batches of similar length, single texts in and out."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.batches import IGNORED, Pairs
from nnkit.data.base import DataModule, Preprocessing, Samples, Split, process
from nnkit.data.buckets import LengthSampler, padding_share
from nnkit.data.pairs.samples import (
    BEGIN,
    END,
    SPECS,
    EncodedPairs,
    PairedTexts,
    PairSamples,
    PairTokenizers,
    check_kinds,
)
from nnkit.data.sampler import BatchSampler
from nnkit.data.splits import SPLIT_TITLES, SPLITS, check_fractions
from nnkit.data.text.items import read_texts
from nnkit.data.text.samples import SingleTexts, report_share, report_unknown
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

# Pairs of an evaluation batch: each step of each pair has scores of the whole vocabulary.
_EVAL_BATCH = 128
# Column of .csv and .tsv files, and key of .jsonl files, that holds the sources.
SOURCE_COLUMN = "source"


class PairData(DataModule):
    """Base of datasets of pairs of a source and a target text: a subclass reads them.

    Vocabularies are learnt from the training pairs. Token 0 begins a target, 1 ends it; sources hold neither. Training
    pairs with a side of more than `max_length` tokens are left out. Validation and test pairs all stay: their sources
    are cut after `max_length` tokens, their targets are whole. Batches hold pairs of similar length.

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
        buckets: Whether batches hold pairs of similar length.
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
        self._kinds = source_tokenizer, target_tokenizer
        check_kinds(self._kinds, max_vocab, joint)
        check_fractions(val_fraction, test_fraction)
        _check_lengths(max_length, max_tokens, buckets)
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
        self._opened_pairs: tuple[EncodedPairs, dict[Split, Tensor]] | None = None
        self._single: SingleTexts | None = None

    @abstractmethod
    def load(self, expected: str | None) -> PairedTexts:
        """Read the pairs; neither side of any is blank.

        Args:
            expected: The fingerprint they must have; None admits any, and logs what is odd about them.

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
        rows = paired.rows(self._split_options)
        self._tokenizers = self._vocabularies(paired, rows["train"].tolist())
        with self.speaking_of_heritage():
            pairs, kept = self._open(paired, self._tokenizers, rows, self.max_length)
        longest = int(pairs.target_lengths[kept["train"]].max()) if len(kept["train"]) else 0
        self._report(paired, pairs, rows, kept)
        return {
            **self._tokenizers.specs(),
            "max_length": self.max_length,
            # Room for outputs somewhat longer than any target of the training split.
            "max_target_len": longest + longest // 4 + 1,
            **({} if paired.splits else self._split_options),
            "counts": {name: len(part) for name, part in kept.items()},
            "fingerprint": paired.fingerprint,
        }

    def _vocabularies(self, paired: PairedTexts, training: list[int]) -> PairTokenizers:
        """Return the pre-trained tokenizers, or learn them."""
        if self.heritage:
            return PairTokenizers.restore(self.heritage)
        sources = [paired.sources[row] for row in training]
        targets = [text for row in training for text in paired.targets[row]]
        return PairTokenizers.learn(self._kinds, sources, targets, **self._vocabulary_options)

    def _open(
        self,
        paired: PairedTexts,
        tokenizers: PairTokenizers,
        rows: dict[Split, Tensor],
        max_length: int,
    ) -> tuple[EncodedPairs, dict[Split, Tensor]]:
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

    def _report(
        self,
        paired: PairedTexts,
        pairs: EncodedPairs,
        rows: dict[Split, Tensor],
        kept: dict[Split, Tensor],
    ) -> None:
        """Log how many pairs each split has, what is left out, cut or unknown, and how much of a batch is padding."""
        source, target = self.tokenizers
        _logger.info(
            "%s: %s pairs to train on, %s for validation, %s for the test; %s different source tokens, %s target",
            *(paired.title, *(f"{len(kept[split]):,}" for split in SPLITS)),
            *(f"{source.vocab_size:,}", f"{target.vocab_size:,}"),
        )
        most = f"than {self.max_length} tokens and are"
        for split, title in SPLIT_TITLES.items():
            every, used = rows[split], kept[split]
            lost = len(every) - len(used)
            blank = int(((pairs.sources.lengths[every] == 0) | (pairs.target_lengths[every] == 1)).sum())
            if blank:
                _logger.warning("%s pairs with a side without a token, which are left out: %d", title, blank)
            report_share(
                lost - blank,
                len(every),
                f"training pairs have a side of more {most} left out (data.max_length)",
            )
            if split != "train":
                cut = int(pairs.sources.cut[used].sum())
                report_share(cut, len(used), f"{title} sources are longer {most} cut there (data.max_length)")
        report_unknown("source tokens", source, pairs.sources, paired.sources)
        report_unknown(
            "target tokens", target, pairs.targets, [text for some in paired.targets for text in some]
        )
        training = PairSamples(pairs, kept["train"])
        batches = self.make_sampler(training, self.batch_size, self.seed).deal()
        if batches:
            share = padding_share([training.source_lengths, training.target_lengths], batches)
            _logger.info("%.1f %% of the training batches is padding", 100 * share)

    @property
    def tokenizers(self) -> PairTokenizers:
        """The tokenizers of both sides, from `preprocessing`."""
        if self._tokenizers is None:
            self._tokenizers = PairTokenizers.restore(self.preprocessing)
        return self._tokenizers

    def facts(self) -> dict[str, Any]:
        """Return the sizes of both vocabularies, the two special tokens included."""
        source, target = self.tokenizers
        return {"source_vocab_size": source.vocab_size, "vocab_size": target.vocab_size}

    def samples(self, split: Split) -> PairSamples:
        """Open one split as the run that wrote `preprocessing` split the pairs.

        Raises:
            UserError: If they are gone or have changed since.
        """
        if self._opened_pairs is None:
            learnt = self.preprocessing
            paired = self.load(learnt["fingerprint"])
            self._open(paired, self.tokenizers, paired.rows(learnt), learnt["max_length"])
        assert self._opened_pairs is not None
        pairs, rows = self._opened_pairs
        return PairSamples(pairs, rows[split])

    def make_sampler(self, samples: Samples, batch_size: int, seed: int | None) -> BatchSampler:
        """Return the sampler of a split: batches of similar length unless `buckets` is False."""
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
        """Tokens that an output may have, its end token included."""
        return int(self.preprocessing["max_target_len"])

    @property
    def target_unknown(self) -> int | None:
        """The unknown token of the targets; None if there is none."""
        return self.tokenizers.target.unknown

    def encode_source(self, text: str) -> NDArray[Any]:
        """Return the token ids of a source, (tokens,) int32, cut as in validation; see `SingleTexts`.

        Raises:
            UserError: If there is nothing in it to read.
        """
        if self._single is None:
            most = self.preprocessing["max_length"]
            self._single = SingleTexts(self.tokenizers.source, "training sources", most)
        tokens: NDArray[Any] = self._single.encode(text).tokens.numpy()
        return tokens

    def decode_target(self, tokens: Sequence[int]) -> str:
        """Return the text of what was generated, up to its end token."""
        return self.tokenizers.decode_target(tokens)

    def token_texts(self, tokens: Sequence[int], *, target: bool = False) -> list[str]:
        """Return tokens of a source or of a target as text; see `DataModule.token_texts`."""
        tokenizer = self.tokenizers.target if target else self.tokenizers.source
        return [tokenizer.token_text(token) for token in tokens]

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, Pairs | str]]:
        """Read sources as batches of one, without a target; see `DataModule.read`.

        Args:
            items: Texts; paths of files, of which .csv, .tsv and .jsonl have a column "source" and others one text on
                each line; "-" for standard input, a text on each line.
        """
        for name, text, problem in read_texts(items, SOURCE_COLUMN):
            try:
                yield name, problem or _without_target(self.encode_source(text))
            except UserError as error:
                yield name, str(error)


def _without_target(tokens: NDArray[Any]) -> Pairs:
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
