"""Labelled texts: classes, splits, a vocabulary, and batches of similar length."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnkit.batches import TextBatch
from nnkit.data.base import DataModule, Preprocessing, Samples, Split, process
from nnkit.data.reading.frame import Texts
from nnkit.data.sampler import Draw, LengthSampler, padding_share
from nnkit.data.splits import SPLITS, rows_of
from nnkit.data.tables.targets import read_target
from nnkit.data.text.items import read_texts
from nnkit.data.text.samples import (
    EncodedTexts,
    LabelledTextSamples,
    SingleTexts,
    encode_texts,
    report_share,
    report_unknown,
)
from nnkit.data.tokenizing import Tokenizer, TokenizerKind, check_tokenizer, learn_tokenizer, tokenizer_from
from nnkit.errors import ConfigError, UserError
from nnkit.suggest import some_of

_logger = logging.getLogger("nnkit")

# Share of padding beyond which it is worth a warning.
_MUCH_PADDING = 0.1

SplitRows = Callable[[int, Tensor], dict[Split, Tensor]]


@dataclass(frozen=True)
class Labelled:
    """Texts as they were read.

    Attributes:
        title: What they were read from, for messages.
        columns: Name of the column or key of the "text" and of the "target".
        texts: The texts, blanks at both ends removed.
        labels: The label of each text, None where there is none.
        fingerprint: SHA-256 of what they were read from.
        splits: The split of each text, where that is settled; None: they are split at random.
    """

    title: str
    columns: dict[str, str]
    texts: list[str]
    labels: list[str | None]
    fingerprint: str
    splits: list[Split] | None = None


@dataclass(frozen=True)
class Classified:
    """Texts with classes, in splits.

    Attributes:
        texts: The texts that have a label, none of them empty.
        target: Class of each, (texts,) int64; arbitrary for a text in no split.
        class_names: Names of the classes, those that training texts have.
        rows: Which texts make up each split, int64.
    """

    texts: list[str]
    target: Tensor
    class_names: list[str]
    rows: dict[Split, Tensor]


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
    def load(self) -> Labelled:
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
            self._encode(
                tokenizer_from(learnt["tokenizer"]),
                classified,
                learnt["max_length"],
                markers=learnt.get("markers", False),
                report=False,
            )
        assert self._encoded is not None
        encoded, classified = self._encoded
        return LabelledTextSamples(encoded, classified.target, classified.rows[split])

    def make_sampler(self, samples: Samples, batch_size: int, seed: int | None) -> LengthSampler:
        """Return the sampler of a split: batches of similar length."""
        assert isinstance(samples, LabelledTextSamples)
        rank, world_size = process()
        return LengthSampler(
            samples.lengths,
            batch_size,
            max_tokens=self.max_tokens,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, TextBatch | str]]:
        """Read texts as batches of one; see `DataModule.read`.

        Args:
            items: Texts; paths of files: .csv and .jsonl with a column of texts, others with one on each line;
                "-" for standard input, a text on each line.
        """
        learnt = self.preprocessing
        single = SingleTexts(
            tokenizer_from(learnt["tokenizer"]),
            "training texts",
            learnt["max_length"],
            special_tokens=learnt.get("markers", False),
        )
        first = torch.zeros(1, dtype=torch.int64)
        for name, text, problem in read_texts(items, learnt["columns"]["text"]):
            try:
                samples = None if problem else LabelledTextSamples(single.encode(text), first, first)
                yield name, problem if samples is None else samples[Draw(None, first)]
            except UserError as error:
                yield name, str(error)


def classify(labelled: Labelled, split_rows: SplitRows, report: bool) -> Classified:
    """Leave out what cannot be learnt from, split the rest, and number the classes.

    Args:
        labelled: The texts as they were read.
        split_rows: `DataModule.split_rows`, called unless the splits are settled.
        report: Whether to log what is left out.

    Raises:
        UserError: If too few texts are left.
        ConfigError: If the labels are not classes, or all the same.
    """
    labelled = _complete(labelled, report)
    codes: dict[str, int] = {}
    numbers = [codes.setdefault(label, len(codes)) for label in labelled.labels if label is not None]
    values, names = _number(labelled.columns["target"], Texts(np.array(numbers, np.int32), list(codes)))
    rows = split_rows(len(values), values) if labelled.splits is None else rows_of(labelled.splits)
    return _seen(labelled.texts, values, names, rows, report)


def _complete(labelled: Labelled, report: bool) -> Labelled:
    """Leave out texts that are empty or have no label."""
    texts, labels = labelled.texts, labelled.labels
    kept = [
        n for n, (text, label) in enumerate(zip(texts, labels, strict=True)) if text and label is not None
    ]
    empty = sum(not text for text in texts)
    if empty == len(texts):
        column = labelled.columns["text"]
        raise UserError(f"{labelled.title} has nothing but empty texts in {column!r}, {len(texts):,} of them")
    if not kept:
        raise UserError(f"{labelled.title} has no text with a label in {labelled.columns['target']!r}")
    if len(kept) == len(texts):
        return labelled
    missing = len(texts) - len(kept) - empty
    for count, what in ((empty, "an empty text"), (missing, f"no label ({labelled.columns['target']!r})")):
        if count and report:
            _logger.warning(
                "%s: %s of %s rows have %s; they are left out",
                *(labelled.title, f"{count:,}", f"{len(texts):,}", what),
            )
    splits = labelled.splits
    return replace(
        labelled,
        texts=[texts[n] for n in kept],
        labels=[labels[n] for n in kept],
        splits=None if splits is None else [splits[n] for n in kept],
    )


def _number(name: str, column: Texts) -> tuple[Tensor, list[str]]:
    try:
        target = read_target(name, column, classes=True)
    except ConfigError as error:
        # The target of a table may be an amount, that of a text may not.
        hint = "name another one with data.target=NAME"
        raise ConfigError(
            [replace(problem, hint=problem.hint and hint) for problem in error.problems]
        ) from None
    assert target.class_names is not None
    return target.values, target.class_names


def _seen(
    texts: list[str], values: Tensor, names: Sequence[str], rows: dict[Split, Tensor], report: bool
) -> Classified:
    """Keep the classes that training texts have."""
    seen = torch.bincount(values[rows["train"]], minlength=len(names)) > 0
    if int(seen.sum()) < 2:
        raise UserError(
            "the training texts have fewer than two different labels: there is nothing to tell apart"
        )
    kept = {split: part[seen[values[part]]] for split, part in rows.items()}
    count = sum(map(len, rows.values())) - sum(map(len, kept.values()))
    if count and report:
        labels = [repr(name) for name, known in zip(names, seen.tolist(), strict=True) if not known]
        _logger.warning(
            "%s validation and test texts are left out, as their label is never seen in training: %s",
            *(f"{count:,}", some_of(labels, 10)),
        )
    class_names = [name for name, known in zip(names, seen.tolist(), strict=True) if known]
    return Classified(texts, (seen.cumsum(0) - 1)[values], class_names, kept)
