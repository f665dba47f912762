"""Labelled texts: classes, splits, a vocabulary, and batches of similar length."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnkit.batches import TextBatch
from nnkit.data.base import DataModule, Preprocessing, Samples, Split
from nnkit.data.read_batch import ReadBatch
from nnkit.data.reading.columns import Texts
from nnkit.data.reading.values import parse_number
from nnkit.data.sampler import Draw, LengthSampler, padding_share
from nnkit.data.splits import SPLITS
from nnkit.data.tables.targets import read_target
from nnkit.data.text.items import Item, TextFiles, batches_of, read_texts
from nnkit.data.text.samples import (
    EncodedTexts,
    LabelledTextSamples,
    SingleTexts,
    encode_texts,
    report_share,
    report_unknown,
)
from nnkit.data.tokenizing import Tokenizer, TokenizerKind, check_tokenizer, learn_tokenizer, tokenizer_from
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.suggest import some_of

_logger = logging.getLogger("nnkit")

# So many different labels are some whatever the number of texts.
_MAX_FREE_LABELS = 100
# Share of padding beyond which it is worth a warning.
_MUCH_PADDING = 0.1


# `DataModule.split_rows`.
SplitRows = Callable[..., dict[Split, Tensor]]


@dataclass(frozen=True)
class Labelled:
    """Texts as they were read.

    Attributes:
        title: What they were read from, for messages.
        columns: Name of the column of the "text" and of the "target".
        texts: The texts, blanks at both ends removed.
        labels: The label of each text, or of a text that may have several all of its labels; None where none is known.
        fingerprint: SHA-256 of what they were read from.
        split_keys: What the texts are split by, arguments of `DataModule.split_rows`; none: they are split at random.
    """

    title: str
    columns: dict[str, str]
    texts: list[str]
    labels: Sequence[str | tuple[str, ...] | None]
    fingerprint: str
    split_keys: Mapping[str, Any] = field(default_factory=dict)

    def take(self, rows: list[int]) -> "Labelled":
        """Return some of the texts."""
        places = torch.tensor(rows, dtype=torch.int64)
        return replace(
            self,
            texts=[self.texts[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            split_keys=keys_of(self.split_keys, places),
        )


def keys_of(keys: Mapping[str, Any], rows: Tensor) -> dict[str, Any]:
    """Return what some of the rows are split by, from what all of them are."""
    return {key: value[rows] if isinstance(value, Tensor) else value for key, value in keys.items()}


@dataclass(frozen=True)
class Classified:
    """Texts with classes, in splits.

    Attributes:
        texts: The texts whose labels are known, none of them empty.
        target: Class of each, (texts,) int64, arbitrary for a text in no split; or which labels each has, (texts,
            classes) bool.
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
        return ((item.name, found) for item, found in self._read(items, ()))

    def read_batches(self, items: Sequence[str], size: int, keep: Sequence[str] = ()) -> Iterator[ReadBatch]:
        """Read texts in batches; see `DataModule.read_batches`."""
        return batches_of(self._read(items, keep), size, keep)

    def _read(self, items: Sequence[str], keep: Sequence[str]) -> Iterator[tuple[Item, TextBatch | str]]:
        learnt = self.preprocessing
        single = SingleTexts(
            tokenizer_from(learnt["tokenizer"]),
            "training texts",
            learnt["max_length"],
            special_tokens=learnt.get("markers", False),
        )
        target_of = self.target_reader()
        first = torch.zeros(1, dtype=torch.int64)
        for item in read_texts(items, replace(self.text_files(), keep=tuple(keep))):
            try:
                if item.problem:
                    yield item, item.problem
                else:
                    samples = LabelledTextSamples(single.encode(item.text), target_of(item.target), first)
                    yield item, samples[Draw(None, first)]
            except UserError as error:
                yield item, str(error)

    def text_files(self) -> TextFiles:
        """Return what is known of the files of texts that a user names."""
        columns = self.preprocessing["columns"]
        return TextFiles(columns=(columns["text"],), target=columns["target"])

    def target_reader(self) -> Callable[[str | None], Tensor]:
        """Return what turns the cell of a label into a target, (1, ...); -1 or NaN for one that is not known."""
        class_of = ClassOf(self.preprocessing["class_names"])
        return lambda cell: torch.tensor([class_of(cell)])


class ClassOf:
    """Tells the number of a class by what a table calls it: where all classes are numbers, 1 and 1.0 are one.

    Args:
        names: Names of the classes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}
        numbers = {parse_number(name): place for place, name in enumerate(names)}
        self._numbers = {number: place for number, place in numbers.items() if number is not None}
        self._are_numbers = len(self._numbers) == len(names)

    def __call__(self, cell: str | None) -> int:
        """Return the number of the class, -1 for another one or none."""
        name = (cell or "").strip()
        place = self._places.get(name, -1)
        if place < 0 and self._are_numbers:
            number = parse_number(name)
            place = -1 if number is None else self._numbers.get(number, -1)
        return place


def classify(labelled: Labelled, split_rows: SplitRows, report: bool) -> Classified:
    """Leave out what cannot be learnt from, split the rest, and number the classes.

    Args:
        labelled: The texts as they were read.
        split_rows: `DataModule.split_rows`.
        report: Whether to log what is left out.

    Raises:
        UserError: If too few texts are left.
        ConfigError: If the labels are not classes, or all the same.
    """
    labelled = _complete(labelled, report)
    column, labels = labelled.columns["target"], labelled.labels
    is_multi = any(isinstance(label, tuple) for label in labels)
    values, names = _number_sets(column, labels) if is_multi else _number(column, labels)
    rows = split_rows(len(values), None if is_multi else values, **labelled.split_keys)
    return _seen(labelled.texts, values, names, rows, report)


def _complete(labelled: Labelled, report: bool) -> Labelled:
    """Leave out texts that are empty or have no label."""
    texts, column = labelled.texts, labelled.columns["target"]
    pairs = enumerate(zip(texts, labelled.labels, strict=True))
    kept = [row for row, (text, label) in pairs if text and label is not None]
    empty = sum(not text for text in texts)
    if empty == len(texts):
        text = labelled.columns["text"]
        raise UserError(f"{labelled.title} has nothing but empty texts in {text!r}, {len(texts):,} of them")
    if not kept:
        raise UserError(f"{labelled.title} has no text with a label in {column!r}")
    if len(kept) == len(texts):
        return labelled
    missing = len(texts) - len(kept) - empty
    for count, what in ((empty, "an empty text"), (missing, f"no label ({column!r})")):
        if count and report:
            _logger.warning(
                "%s: %s of %s rows have %s; they are left out",
                *(labelled.title, f"{count:,}", f"{len(texts):,}", what),
            )
    return labelled.take(kept)


def _number(column: str, labels: Sequence[Any]) -> tuple[Tensor, list[str]]:
    codes: dict[str, int] = {}
    numbers = [codes.setdefault(label, len(codes)) for label in labels]
    try:
        target = read_target(column, Texts(np.array(numbers, np.int32), list(codes)), classes=True)
    except ConfigError as error:
        # The target of a table may be an amount, that of a text may not.
        hint = "name another one with data.target=NAME"
        raise ConfigError(
            [replace(problem, hint=problem.hint and hint) for problem in error.problems]
        ) from None
    assert target.class_names is not None
    return target.values, target.class_names


def _number_sets(column: str, labels: Sequence[Any]) -> tuple[Tensor, list[str]]:
    """Return which labels each text has, (texts, labels) bool, and their names by alphabet."""
    names = sorted({name for some in labels for name in some})
    if len(names) > max(_MAX_FREE_LABELS, len(labels) // 2):
        raise ConfigError(
            [
                Problem(
                    "data.target",
                    f"column {column!r} has {len(names):,} different labels in {len(labels):,} texts, such as "
                    f"{names[0]!r}: these are no classes",
                    "name another column with data.target=COLUMN, or what separates labels with data.target_separator",
                )
            ]
        )
    places = {name: place for place, name in enumerate(names)}
    values = torch.zeros((len(labels), len(names)), dtype=torch.bool)
    for row, some in enumerate(labels):
        values[row, [places[name] for name in some]] = True
    return values, names


def _seen(
    texts: list[str], values: Tensor, names: Sequence[str], rows: dict[Split, Tensor], report: bool
) -> Classified:
    """Keep the classes that training texts have."""
    is_multi = values.dim() == 2
    train = values[rows["train"]]
    seen = train.any(0) if is_multi else torch.bincount(train, minlength=len(names)) > 0
    if int(seen.sum()) < (1 if is_multi else 2):
        raise UserError(
            "the training texts have fewer than two different labels: there is nothing to tell apart"
        )
    kept = rows if is_multi else {split: part[seen[values[part]]] for split, part in rows.items()}
    if report and not seen.all():
        labels = some_of(
            [repr(name) for name, known in zip(names, seen.tolist(), strict=True) if not known], 10
        )
        count = sum(map(len, rows.values())) - sum(map(len, kept.values()))
        if is_multi:
            _logger.warning("labels that no training text has are left out: %s", labels)
        elif count:
            _logger.warning(
                "%s validation and test texts are left out, as their label is never seen in training: %s",
                *(f"{count:,}", labels),
            )
    class_names = [name for name, known in zip(names, seen.tolist(), strict=True) if known]
    target = values[:, seen] if is_multi else (seen.cumsum(0) - 1)[values]
    return Classified(texts, target, class_names, kept)
