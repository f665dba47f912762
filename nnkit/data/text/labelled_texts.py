"""Labelled texts: classes, splits, a vocabulary, and batches of similar length."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnkit.batches import TextBatch
from nnkit.data.base import DataModule, Preprocessing, Samples, Split
from nnkit.data.read_batch import ReadBatch
from nnkit.data.sampler import Draw, LengthSampler, padding_share
from nnkit.data.splits import SPLITS
from nnkit.data.tables.truths import ClassOf
from nnkit.data.text.classes import Classified, LabelledRows, classify
from nnkit.data.text.items import Item, TextFiles, batches_of, one_by_one, read_texts
from nnkit.data.text.samples import (
    EncodedTexts,
    LabelledTextSamples,
    UserTexts,
    encode_texts,
    report_share,
    report_unknown,
)
from nnkit.data.tokenizing import Tokenizer, TokenizerKind, check_tokenizer, learn_tokenizer, tokenizer_from
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

# Share of padding beyond which it is worth a warning.
_MUCH_PADDING = 0.1


@dataclass(kw_only=True, eq=False)
class LabelledTexts(DataModule):
    """Base of datasets of texts with a label each: a subclass reads them.

    Vocabulary and classes are learnt from the training texts. Batches hold texts of similar length.

    Attributes:
        tokenizer: characters, bytes, words, bpe or wordpiece.
        max_vocab: Tokens of the vocabulary, at most; None: every character, or the tokenizer's own default.
        max_length: Tokens of a text, at most; what follows is cut off.
        markers: Whether [CLS] begins and [SEP] ends each text, as BERT reads it; they count as tokens.
        max_tokens: Instead of batch_size and eval_batch_size: texts of a batch times the tokens of its longest.

    Raises:
        ValueError: If an option is out of range.
    """

    tokenizer: TokenizerKind = "characters"
    max_vocab: int | None = None
    max_length: int = 256
    markers: bool = False
    max_tokens: int | None = None

    fact_names = ("vocab_size", "num_classes")
    inherited = ("tokenizer",)
    is_checked = True
    reads_targets = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokenizer(self.tokenizer, self.max_vocab, special_tokens=self.markers)
        # Between the special tokens there is one of the text.
        least = 3 if self.markers else 1
        if self.max_length < least:
            raise ValueError(f"max_length must be at least {least}, not {self.max_length}")
        if self.max_tokens is not None and self.max_tokens < self.max_length:
            raise ValueError(
                f"max_tokens must be at least max_length, {self.max_length}, or one text is more; it is "
                f"{self.max_tokens}"
            )

    def forget(self) -> None:
        """Drop the texts."""
        super().forget()
        self._encoded: tuple[EncodedTexts, Classified] | None = None

    @abstractmethod
    def load(self) -> LabelledRows:
        """Read the texts; what is odd about them is logged where the module `is_new`.

        Raises:
            UserError: If they cannot be read or have changed.
            ConfigError: If they are not where the config says.
        """

    def prepare(self) -> Preprocessing:
        """Read the texts, split them, and learn vocabulary and classes from the training ones."""
        labelled = self.load()
        classified = classify(labelled, self.split_rows, report=True)
        tokenizer = self._vocabulary(classified)
        with self.about_pretrained():
            encoded, classified = self._encode(
                tokenizer, classified, self.max_length, markers=self.markers, report=True
            )
        counts = {name: len(part) for name, part in classified.rows.items()}
        _logger.info(
            "%s: %s texts to train on, %s for validation, %s for the test; %d classes, a vocabulary of %s",
            *(labelled.title, *(f"{counts[split]:,}" for split in SPLITS)),
            *(len(classified.class_names), f"{tokenizer.vocab_size:,}"),
        )
        self._report(tokenizer, encoded, classified)
        return {
            "tokenizer": tokenizer.spec(),
            "class_names": classified.class_names,
            "columns": labelled.columns,
            "max_length": self.max_length,
            "markers": self.markers,
            **self.split_options,
            "counts": counts,
            "fingerprint": labelled.fingerprint,
        }

    def _vocabulary(self, classified: Classified) -> Tokenizer:
        """Return the pre-trained tokenizer, or learn one."""
        if self.pretrained:
            return tokenizer_from(self.pretrained["tokenizer"])
        return learn_tokenizer(
            self.tokenizer,
            [classified.texts[row] for row in classified.rows["train"].tolist()],
            max_vocab=self.max_vocab,
            with_unknown=True,
            special_tokens=self.markers,
        )

    def _encode(
        self, tokenizer: Tokenizer, classified: Classified, max_length: int, *, markers: bool, report: bool
    ) -> tuple[EncodedTexts, Classified]:
        """Encode the texts and leave out those without a token, for which a network has no input."""
        encoded = encode_texts(tokenizer, classified.texts, max_length, special_tokens=markers)
        rows = {name: part[encoded.lengths[part] > 0] for name, part in classified.rows.items()}
        blank = sum(map(len, classified.rows.values())) - sum(map(len, rows.values()))
        if blank and report:
            _logger.warning("texts without a token, which are left out: %s", f"{blank:,}")
        self._encoded = encoded, replace(classified, rows=rows)
        return self._encoded

    def _report(self, tokenizer: Tokenizer, encoded: EncodedTexts, classified: Classified) -> None:
        """Log how much of the texts the network will not see, and how much of a batch is padding."""
        what = f"texts are longer than {self.max_length} tokens and are cut there (data.max_length)"
        report_share(int(encoded.cut.sum()), len(encoded.cut), what)
        report_unknown("tokens", tokenizer, encoded, classified.texts)
        training = LabelledTextSamples(encoded, classified.target, classified.rows["train"])
        sampler = self.make_sampler(training, self.batch_size, self.seed)
        share = padding_share([training.lengths], sampler.deal())
        level = logging.WARNING if share > _MUCH_PADDING else logging.INFO
        _logger.log(level, "%.1f %% of the training batches is padding", 100 * share)

    def facts(self) -> dict[str, Any]:
        """Return the size of the vocabulary and the number of classes."""
        return {
            "vocab_size": tokenizer_from(self.preprocessing["tokenizer"]).vocab_size,
            "num_classes": len(self.preprocessing["class_names"]),
        }

    def samples(self, split: Split) -> LabelledTextSamples:
        """Open one split as the run that wrote `preprocessing` split the texts.

        Raises:
            UserError: If they are gone or have changed since.
        """
        if self._encoded is None:
            learnt, labelled = self.preprocessing, self.load()
            self.unchanged(labelled.title, labelled.fingerprint)
            classified = classify(labelled, self.split_rows, report=False)
            _, opened = self._encode(
                tokenizer_from(learnt["tokenizer"]),
                classified,
                learnt["max_length"],
                markers=learnt.get("markers", False),
                report=False,
            )
            self._check_counts(labelled.title, opened)
        assert self._encoded is not None
        encoded, classified = self._encoded
        return LabelledTextSamples(encoded, classified.target, classified.rows[split])

    def _check_counts(self, title: str, classified: Classified) -> None:
        """Refuse a file that an earlier release read in another way, such as one with stray quotes."""
        counts = {split: len(rows) for split, rows in classified.rows.items()}
        before = self.preprocessing["counts"]
        if counts != before:
            raise UserError(
                f"{title} is read as {sum(counts.values()):,} texts, and was read as {sum(before.values()):,} by the "
                "release of nnkit that prepared this run\n    go on with that release, or train anew: nnkit train"
            )

    def make_sampler(self, samples: Samples, batch_size: int, seed: int | None) -> LengthSampler:
        """Return the sampler of a split: batches of similar length."""
        assert isinstance(samples, LabelledTextSamples)
        return LengthSampler(samples.lengths, batch_size, max_tokens=self.max_tokens, seed=seed)

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, TextBatch | str]]:
        """Read texts as batches of one; see `DataModule.read`.

        Args:
            items: Texts; paths of files: tables with a column of texts, and maybe one of labels, others with one text
                on each line; "-" for standard input.
        """
        read = one_by_one(read_texts(items, self.text_files()), self._reader())
        return ((item.name, found) for item, found in read)

    def read_batches(self, items: Sequence[str], size: int, keep: Sequence[str] = ()) -> Iterator[ReadBatch]:
        """Read texts in batches; see `DataModule.read_batches`."""
        read = read_texts(items, replace(self.text_files(), keep=tuple(keep)))
        return batches_of(read, self._reader(), size, keep)

    def _reader(self) -> Callable[[Sequence[Item]], TextBatch]:
        """Return what makes a batch of texts; it raises a UserError if one of them cannot be read."""
        learnt = self.preprocessing
        encoder = UserTexts(
            tokenizer_from(learnt["tokenizer"]),
            "training texts",
            learnt["max_length"],
            special_tokens=learnt.get("markers", False),
        )
        target_of = self.target_reader()

        def batch_of(items: Sequence[Item]) -> TextBatch:
            encoded, rows = encoder.encode([item.text for item in items]), torch.arange(len(items))
            target = torch.cat([target_of(item.target) for item in items])
            return LabelledTextSamples(encoded, target, rows)[Draw(None, rows)]

        return batch_of

    def text_files(self) -> TextFiles:
        """Return what is known of the files of texts that a user names."""
        columns = self.preprocessing["columns"]
        return TextFiles(columns=(columns["text"],), target=columns["target"])

    def target_reader(self) -> Callable[[str | None], Tensor]:
        """Return what turns the cell of a label into a target, (1, ...); -1 or NaN for one that is not known."""
        class_of = ClassOf(self.preprocessing["class_names"])
        return lambda cell: torch.tensor([class_of(cell)])
