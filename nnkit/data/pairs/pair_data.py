"""Pairs of a source and a target text: vocabularies, batches of similar length, single texts in and out."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.batches import IGNORED, Batch, PairBatch
from nnkit.data.base import DataModule, Preprocessing, Samples, Split
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
from nnkit.data.read_batch import ReadBatch, only_labelled
from nnkit.data.sampler import BatchSampler, Draw, LengthSampler, padding_share
from nnkit.data.splits import SPLIT_TITLES, SPLITS
from nnkit.data.text.items import Item, TextFiles, batches_of, one_by_one, read_texts
from nnkit.data.text.samples import UserTexts, report_share, report_unknown
from nnkit.data.tokenizing import TokenizerKind

_logger = logging.getLogger("nnkit")

# Columns of tables that hold sources and targets where those of the run have no other names.
SIDES = ("source", "target")


@dataclass(kw_only=True, eq=False)
class PairData(DataModule):
    """Base of datasets of pairs of a source and a target text: a subclass reads them.

    Vocabularies are learnt from the training pairs. Token 0 begins a target, 1 ends it; sources hold neither. Training
    pairs with a side of more than `max_length` tokens are left out. Validation and test pairs all stay: their sources
    are cut after `max_length` tokens, their targets are whole. Batches hold pairs of similar length; evaluation batches
    have at least 128 of them by default, as each step of each pair has scores of the whole vocabulary.

    Attributes:
        source_tokenizer: characters, bytes, words, bpe or wordpiece.
        target_tokenizer: The same choice.
        max_vocab: Tokens of each vocabulary, at most; None: every character, or the tokenizer's own default.
        joint: Whether both sides have one vocabulary, learnt from both.
        max_length: Tokens of a source or a target, at most.
        max_tokens: Instead of batch_size and eval_batch_size: pairs of a batch times the tokens of its longest text.
        buckets: Whether batches hold pairs of similar length.

    Raises:
        ValueError: If an option is out of range.
    """

    source_tokenizer: TokenizerKind = "characters"
    target_tokenizer: TokenizerKind = "characters"
    max_vocab: int | None = None
    joint: bool = False
    max_length: int = 128
    max_tokens: int | None = None
    buckets: bool = True

    fact_names = ("source_vocab_size", "vocab_size")
    inherited = SPECS
    is_checked = True
    reads_targets = True
    least_eval_batch = 128
    begin: ClassVar[int] = BEGIN
    end: ClassVar[int] = END

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kinds((self.source_tokenizer, self.target_tokenizer), self.max_vocab, self.joint)
        if self.max_length < 1:
            raise ValueError(f"max_length must be at least 1, not {self.max_length}")
        if self.max_tokens is not None and self.max_tokens <= self.max_length:
            raise ValueError(
                f"max_tokens must be more than max_length, {self.max_length}, or one pair is more; it is "
                f"{self.max_tokens}"
            )
        if self.max_tokens is not None and not self.buckets:
            raise ValueError("max_tokens needs buckets=true, which put texts of similar length together")

    def forget(self) -> None:
        """Drop the pairs."""
        super().forget()
        self._tokenizers: PairTokenizers | None = None
        self._opened_pairs: tuple[EncodedPairs, dict[Split, Tensor]] | None = None
        self._encoder: UserTexts | None = None

    @abstractmethod
    def load(self) -> PairedTexts:
        """Read the pairs; neither side of any is blank. What is odd about them is logged where the module `is_new`.

        Raises:
            UserError: If they cannot be read or have changed.
        """

    def prepare(self) -> Preprocessing:
        """Read the pairs, split them, and learn the vocabularies from the training ones."""
        paired = self.load()
        rows = paired.rows(self.split_rows)
        self._tokenizers = self._vocabularies(paired, rows["train"].tolist())
        with self.about_pretrained():
            pairs, kept = self._open(paired, self._tokenizers, rows, self.max_length)
        longest = int(pairs.target_lengths[kept["train"]].max()) if len(kept["train"]) else 0
        self._report(paired, pairs, rows, kept)
        return {
            **self._tokenizers.specs(),
            **({} if paired.columns is None else {"columns": paired.columns}),
            "max_length": self.max_length,
            # Room for outputs somewhat longer than any target of the training split.
            "max_target_len": longest + longest // 4 + 1,
            **self.split_options,
            "counts": {name: len(part) for name, part in kept.items()},
            "fingerprint": paired.fingerprint,
        }

    def _vocabularies(self, paired: PairedTexts, training: list[int]) -> PairTokenizers:
        """Return the pre-trained tokenizers, or learn them."""
        if self.pretrained:
            return PairTokenizers.restore(self.pretrained)
        sources = [paired.sources[row] for row in training]
        targets = [text for row in training for text in paired.targets[row]]
        kinds = self.source_tokenizer, self.target_tokenizer
        return PairTokenizers.learn(kinds, sources, targets, max_vocab=self.max_vocab, joint=self.joint)

    def _open(
        self, paired: PairedTexts, tokenizers: PairTokenizers, rows: dict[Split, Tensor], max_length: int
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
        self, paired: PairedTexts, pairs: EncodedPairs, rows: dict[Split, Tensor], kept: dict[Split, Tensor]
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
            paired = self.load()
            self.unchanged(paired.title, paired.fingerprint)
            rows = paired.rows(self.split_rows)
            self._open(paired, self.tokenizers, rows, self.preprocessing["max_length"])
        assert self._opened_pairs is not None
        pairs, rows = self._opened_pairs
        return PairSamples(pairs, rows[split])

    def make_sampler(self, samples: Samples, batch_size: int, seed: int | None) -> BatchSampler:
        """Return the sampler of a split: batches of similar length unless `buckets` is False."""
        if not self.buckets:
            return super().make_sampler(samples, batch_size, seed)
        assert isinstance(samples, PairSamples)
        return LengthSampler(samples.lengths, batch_size, max_tokens=self.max_tokens, seed=seed)

    @property
    def max_target_len(self) -> int:
        """Tokens that an output may have, its end token included."""
        return int(self.preprocessing["max_target_len"])

    @property
    def target_unknown(self) -> int | None:
        """The unknown token of the targets; None if there is none."""
        return self.tokenizers.target.unknown

    def encode_source(self, text: str) -> NDArray[Any]:
        """Return the token ids of a source, (tokens,) int32, cut as in validation; see `UserTexts`.

        Raises:
            UserError: If there is nothing in it to read.
        """
        if self._encoder is None:
            most = self.preprocessing["max_length"]
            self._encoder = UserTexts(self.tokenizers.source, "training sources", most)
        tokens: NDArray[Any] = self._encoder.encode([text]).tokens.numpy()
        return tokens

    def decode_target(self, tokens: Sequence[int]) -> str:
        """Return the text of what was generated, up to its end token."""
        return self.tokenizers.decode_target(tokens)

    def token_texts(self, tokens: Sequence[int], *, target: bool = False) -> list[str]:
        """Return tokens of a source or of a target as text; see `DataModule.token_texts`."""
        tokenizer = self.tokenizers.target if target else self.tokenizers.source
        return [tokenizer.token_text(token) for token in tokens]

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, PairBatch | str]]:
        """Read sources as batches of one, with their targets where there are any; see `DataModule.read`.

        Args:
            items: Texts; paths of files: tables with the column of sources, or one called "source", others with one
                text on each line; "-" for standard input.
        """
        read = one_by_one(read_texts(items, self.text_files()), self._pair_of)
        return ((item.name, found) for item, found in read)

    def read_batches(self, items: Sequence[str], size: int, keep: Sequence[str] = ()) -> Iterator[ReadBatch]:
        """Read sources in batches; see `DataModule.read_batches`.

        Their targets are not said to be true ones: to score an output takes writing it once more, as a test does.
        """
        return (replace(read, labelled=None) for read in self._read(items, size, keep))

    def labelled_batches(self, path: str) -> Iterator[Batch]:
        """Read the pairs of a file to test on; see `DataModule.labelled_batches`."""
        return only_labelled(self._read([path], self.read_at_once, ()), path)

    def _read(self, items: Sequence[str], size: int, keep: Sequence[str]) -> Iterator[ReadBatch]:
        read = read_texts(items, replace(self.text_files(), keep=tuple(keep)))
        return batches_of(read, self._pair_of, size, keep, together=False)

    def text_files(self) -> TextFiles:
        """Return what is known of the files of texts that a user names."""
        columns = self.preprocessing.get("columns") or dict(zip(SIDES, SIDES, strict=True))
        return TextFiles(columns=(columns["source"], SIDES[0]), target=columns["target"])

    def _pair_of(self, items: Sequence[Item]) -> PairBatch:
        """Return a batch of one text; without a target where it has none."""
        (item,) = items
        tokens = self.encode_source(item.text)
        target = (item.target or "").strip()
        first = torch.zeros(1, dtype=torch.int64)
        if target:
            paired = PairedTexts("", [item.text], [(target,)], "")
            pairs = EncodedPairs.of(paired, self.tokenizers, self.preprocessing["max_length"])
            return PairSamples(pairs, first)[Draw(None, first)]
        inputs = torch.from_numpy(tokens).long()[None]
        none, prefix = torch.full((1, 1), IGNORED), torch.full((1, 1), BEGIN)
        return PairBatch(inputs, torch.ones_like(inputs, dtype=torch.bool), prefix, none, none[None], first)
