"""What datasets of labelled texts share: the vocabulary, batches of like length, reading a user's texts."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from nnkit.batches import Tokens
from nnkit.data.base import DataModule, Preprocessing, Samples, Split, process
from nnkit.data.buckets import LengthSampler, padding_share
from nnkit.data.sampler import Draw
from nnkit.data.splits import check_fractions
from nnkit.data.text.encoded_texts import EncodedTexts, TextSamples, encode_texts
from nnkit.data.text.labelled import Classified, Labelled, classify
from nnkit.data.text.text_items import read_texts
from nnkit.data.tokenizing import (
    Tokenizer,
    TokenizerKind,
    check_tokenizer,
    learn_tokenizer,
    quoted,
    tokenizer_from,
)
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

# Shares beyond which what is lost is worth a warning.
_MUCH = 0.03
_MUCH_PADDING = 0.1
_FIRST = torch.zeros(1, dtype=torch.int64)


class LabelledTexts(DataModule):
    """Base of datasets of texts with a label each: a subclass says where they are read from.

    Vocabulary and classes are learnt from the training texts. Batches hold texts of similar length.

    Args:
        tokenizer: characters, bytes, words, bpe or wordpiece.
        max_vocab: Tokens of the vocabulary, at most; default: every character, or the tokenizer's own default.
        max_length: Tokens of a text, at most; what follows is cut off.
        markers: Whether [CLS] stands before and [SEP] behind each text, as BERT reads it; they count as tokens.
        val_fraction: Share of the texts held out for validation.
        test_fraction: Share of the texts held out for the test.
        split_seed: Seed of the split; the split does not depend on `seed`.
        batch_size: Texts in a training batch.
        max_tokens: Instead of batch_size and eval_batch_size: texts of a batch times the tokens of its longest.
        eval_batch_size: As in `DataModule`, like the rest.
        num_workers: As in `DataModule`.
        seed: As in `DataModule`.

    Raises:
        ValueError: If an argument is out of range.
    """

    fact_names = ("vocab_size", "num_classes")
    inherited = ("tokenizer",)
    vouched = True

    def __init__(
        self,
        *,
        tokenizer: TokenizerKind = "characters",
        max_vocab: int | None = None,
        max_length: int = 256,
        markers: bool = False,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 64,
        max_tokens: int | None = None,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, num_workers=num_workers, seed=seed
        )
        check_tokenizer(tokenizer, max_vocab, special_tokens=markers)
        check_fractions(val_fraction, test_fraction)
        # Between the marks there is a token.
        least = 3 if markers else 1
        if max_length < least:
            raise ValueError(f"max_length must be at least {least}, not {max_length}")
        if max_tokens is not None and max_tokens < max_length:
            raise ValueError(
                f"max_tokens must be at least max_length, {max_length}, or one text is more; it is {max_tokens}"
            )
        self.tokenizer = tokenizer
        self.max_vocab = max_vocab
        self.max_length = max_length
        self.markers = markers
        self.max_tokens = max_tokens
        self._split_options = {
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
            "split_seed": split_seed,
        }
        self._encoded: tuple[EncodedTexts, Classified] | None = None

    @abstractmethod
    def load(self, expected: str | None) -> Labelled:
        """Read the texts.

        Args:
            expected: The fingerprint they must have; None admits any, and what is odd about them is said.

        Raises:
            UserError: If they cannot be read or have changed.
            ConfigError: If they are not where the config says.
        """

    def setup_data(self, preprocessing: Preprocessing | None = None) -> None:
        """Prepare the data, or take over what an earlier run learnt."""
        self._encoded = None
        super().setup_data(preprocessing)

    def prepare(self) -> Preprocessing:
        """Read the texts, split them, and learn vocabulary and classes from the training ones."""
        labelled = self.load(None)
        classified = classify(labelled, self._split_options, say=True)
        tokenizer = self._vocabulary(classified)
        with self.speaking_of_heritage():
            encoded, classified = self._encode(
                tokenizer, classified, self.max_length, markers=self.markers, say=True
            )
        counts = {name: len(part) for name, part in classified.rows.items()}
        _logger.info(
            "%s: %s texts to train on, %s for validation, %s for the test; %d classes, a vocabulary of %s",
            *(labelled.source, *(f"{counts[name]:,}" for name in ("train", "val", "test"))),
            *(len(classified.class_names), f"{tokenizer.vocab_size:,}"),
        )
        self._say_lost(tokenizer, encoded, classified)
        return {
            "tokenizer": tokenizer.spec(),
            "class_names": classified.class_names,
            "columns": labelled.columns,
            "max_length": self.max_length,
            "markers": self.markers,
            **({} if labelled.parts else self._split_options),
            "counts": counts,
            "fingerprint": labelled.fingerprint,
        }

    def _vocabulary(self, classified: Classified) -> Tokenizer:
        """Return the tokenizer that came along from another run, or learn one."""
        if self.heritage:
            return tokenizer_from(self.heritage["tokenizer"])
        return learn_tokenizer(
            self.tokenizer,
            [classified.texts[row] for row in classified.rows["train"].tolist()],
            max_vocab=self.max_vocab,
            with_unknown=True,
            special_tokens=self.markers,
        )

    def _encode(
        self, tokenizer: Tokenizer, classified: Classified, max_length: int, *, markers: bool, say: bool
    ) -> tuple[EncodedTexts, Classified]:
        """Encode the texts and leave out those without a token, of which a network could say nothing."""
        encoded = encode_texts(tokenizer, classified.texts, max_length, markers=markers)
        rows = {name: part[encoded.lengths[part] > 0] for name, part in classified.rows.items()}
        blank = sum(map(len, classified.rows.values())) - sum(map(len, rows.values()))
        if blank and say:
            _logger.warning("texts without a token, which are left out: %s", f"{blank:,}")
        self._encoded = encoded, replace(classified, rows=rows)
        return self._encoded

    def _say_lost(self, tokenizer: Tokenizer, encoded: EncodedTexts, classified: Classified) -> None:
        """Report how much of the texts the network will not see, and how much of a batch is padding."""
        num_cut, num_texts = int(encoded.cut.sum()), len(encoded.cut)
        if num_cut:
            _logger.log(
                logging.WARNING if num_cut > _MUCH * num_texts else logging.INFO,
                "%s of %s texts (%.1f %%) are longer than %d tokens and are cut there (data.max_length)",
                *(f"{num_cut:,}", f"{num_texts:,}", 100 * num_cut / num_texts, self.max_length),
            )
        num_tokens = len(encoded.tokens)
        num_unknown = int((encoded.tokens == tokenizer.unknown).sum()) if tokenizer.unknown is not None else 0
        if num_unknown:
            strange = dict.fromkeys(
                word for text in classified.texts for word in tokenizer.out_of_vocabulary(text)
            )
            _logger.log(
                logging.WARNING if num_unknown > _MUCH * num_tokens else logging.INFO,
                "%s of %s tokens (%.2f %%) are not in the vocabulary and count as unknown: %s",
                *(f"{num_unknown:,}", f"{num_tokens:,}", 100 * num_unknown / num_tokens, quoted([*strange])),
            )
        training = TextSamples(encoded, classified.target, classified.rows["train"])
        share = padding_share(
            training.lengths, self.make_sampler(training, self.batch_size, self.seed).deal()
        )
        _logger.log(
            logging.WARNING if share > _MUCH_PADDING else logging.INFO,
            "%.1f %% of the training batches is padding",
            100 * share,
        )

    def facts(self) -> dict[str, Any]:
        """Return the size of the vocabulary and the number of classes."""
        return {
            "vocab_size": tokenizer_from(self.preprocessing["tokenizer"]).vocab_size,
            "num_classes": len(self.preprocessing["class_names"]),
        }

    def samples(self, split: Split) -> TextSamples:
        """Open one split as the run that wrote `preprocessing` split the texts.

        Raises:
            UserError: If they are gone or have changed since.
        """
        if self._encoded is None:
            learnt = self.preprocessing
            classified = classify(self.load(learnt["fingerprint"]), learnt, say=False)
            self._encode(
                tokenizer_from(learnt["tokenizer"]),
                classified,
                learnt["max_length"],
                markers=learnt.get("markers", False),
                say=False,
            )
        assert self._encoded is not None
        encoded, classified = self._encoded
        return TextSamples(encoded, classified.target, classified.rows[split])

    def make_sampler(self, samples: Samples, batch_size: int, seed: int | None) -> LengthSampler:
        """Return what deals the texts of a split out to batches of similar length."""
        assert isinstance(samples, TextSamples)
        rank, world_size = process()
        return LengthSampler(
            samples.lengths,
            batch_size,
            max_tokens=self.max_tokens,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, Tokens | str]]:
        """Read texts as batches of one; see `DataModule.read`.

        Args:
            items: Texts; paths of files, of which .csv and .jsonl have a column of texts and others one on each line;
                "-" for standard input, a text on each line.
        """
        learnt = self.preprocessing
        tokenizer, max_length = tokenizer_from(learnt["tokenizer"]), learnt["max_length"]
        said = set[str]()
        for name, text, reason in read_texts(items, learnt["columns"]["text"]):
            if reason:
                yield name, reason
                continue
            try:
                encoded = encode_texts(tokenizer, [text], max_length, markers=learnt.get("markers", False))
            except UserError as error:
                # A vocabulary that came along from another run may have no token for what it lacks.
                yield name, str(error)
                continue
            if not len(encoded.tokens):
                yield name, f"there is nothing to read in it: {text[:40]!r}"
                continue
            _say_read(tokenizer, text, encoded, said)
            yield name, TextSamples(encoded, _FIRST, _FIRST)[Draw(None, _FIRST)]


def _say_read(tokenizer: Tokenizer, text: str, encoded: EncodedTexts, said: set[str]) -> None:
    """Warn of the first text that the network does not see as it is."""
    if encoded.cut.any() and "cut" not in said:
        said.add("cut")
        _logger.warning(
            "longer than %d tokens and cut there: %r and maybe others", len(encoded.tokens), text[:40]
        )
    if (
        tokenizer.unknown is not None
        and "unknown" not in said
        and (encoded.tokens == tokenizer.unknown).any()
    ):
        said.add("unknown")
        _logger.warning(
            "not in the training texts, counts as unknown: %s in %r; maybe in others as well",
            *(quoted(tokenizer.out_of_vocabulary(text)), text[:40]),
        )
