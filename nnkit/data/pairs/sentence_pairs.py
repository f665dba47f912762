"""Data for BERT's pre-training: documents as token ids, from which sentence pairs are drawn."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from nnkit.batches import SentenceBatch
from nnkit.data.base import Preprocessing, Samples, Split
from nnkit.data.pairs.documents import DocumentRule, Documents, EncodedDocuments, SentenceRule
from nnkit.data.pairs.sentence_samples import NUM_SPECIAL, SentencePairSamples, masked_pair
from nnkit.data.sampler import LengthSampler
from nnkit.data.splits import SPLITS
from nnkit.data.text.corpus import Corpus
from nnkit.data.text.corpus_data import CorpusData, NamedText
from nnkit.data.text.items import TextFiles, read_texts
from nnkit.data.text.samples import report_share
from nnkit.data.text.token_cache import Scan
from nnkit.data.tokenizing import (
    SPECIAL_TOKENS,
    BertTokenizer,
    TokenizerKind,
    check_tokenizer,
    tokenizer_from,
)
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

# As in the published models: google-research/bert's data and Hugging Face's BertForPreTraining.
IS_NEXT = 0


@dataclass(kw_only=True, eq=False)
class SentencePairs(CorpusData):
    """Base of data for BERT: a subclass names the files of the documents.

    Each document is in one split; those of one sentence are left out. The vocabulary is learnt from the training
    documents. Token ids are prepared once, kept in the cache, and mapped into memory; pairs and their masked tokens
    are drawn anew each epoch, see `SentencePairSamples`. Batches hold pairs of similar length.

    Attributes:
        max_length: Tokens of a pair, at most, special ones included.
        split_seed: Seed of the split; the split does not depend on `seed`.

    Raises:
        ValueError: If an option is out of range.
    """

    tokenizer: TokenizerKind = "wordpiece"
    max_length: int = 128
    split_seed: int = 0
    # How the files are read; options of those that a user names.
    documents: DocumentRule = field(default="blank_lines", init=False)
    sentences: SentenceRule = field(default="lines", init=False)

    split_by = ("documents", "sentences", "val_fraction", "test_fraction", "split_seed")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokenizer(self.tokenizer, self.max_vocab, special_tokens=True)
        least = NUM_SPECIAL + 2
        if self.max_length < least:
            raise ValueError(
                f"max_length must be at least {least}, three special tokens and one of each sentence, not "
                f"{self.max_length}"
            )

    def forget(self) -> None:
        """Drop the documents."""
        super().forget()
        self._tokenizer: BertTokenizer | None = None
        self._encoded: tuple[EncodedDocuments, Any] | None = None

    @property
    def learnt_tokenizer(self) -> BertTokenizer:
        """The tokenizer, from `preprocessing`.

        Raises:
            UserError: If it has no special tokens, as that of another kind of run.
        """
        if self._tokenizer is None:
            self._tokenizer = _bert(self.preprocessing["tokenizer"])
        return self._tokenizer

    @property
    def is_next(self) -> int:
        """Label of a pair whose second sentence follows the first, from `preprocessing`."""
        # Runs from before nnkit wrote the label down have the order opposite to that of the published models.
        return int(self.preprocessing.get("is_next", 1 - IS_NEXT))

    def prepare(self) -> Preprocessing:
        """Read the text, learn a vocabulary, and encode it; or find all of this in the cache."""
        found = self._documents(*self.scanned())
        spec = self.pretrained.get("tokenizer") or found.learn(self.tokenizer, self.max_vocab)
        self._tokenizer = _bert(spec)
        counts = self._open(found)
        self._report(found.corpus.title, counts)
        return {
            "tokenizer": spec,
            "max_length": self.max_length,
            "is_next": IS_NEXT,
            **self.split_options,
            **self.sources_of(found.scanned),
            "counts": counts,
        }

    def _documents(self, corpus: Corpus, scanned: Scan) -> Documents:
        return Documents(corpus, scanned, **self.split_options)

    def _open(self, documents: Documents) -> Any:
        """Open the prepared arrays, and return what each split holds."""
        opened = documents.encoded(self.learnt_tokenizer)
        names = EncodedDocuments._fields
        self._encoded = EncodedDocuments(*(opened.arrays[name] for name in names)), opened.arrays["parts"]
        return opened.facts["counts"]

    def facts(self) -> dict[str, Any]:
        """Return the number of different tokens, special ones included."""
        return {"vocab_size": self.learnt_tokenizer.vocab_size}

    def samples(self, split: Split) -> SentencePairSamples:
        """Open one split of the documents as the run that wrote `preprocessing` encoded them.

        Raises:
            UserError: If they are gone or have changed since.
        """
        if self._encoded is None:
            self._open(self._documents(*self.scanned()))
        assert self._encoded is not None
        texts, splits = self._encoded
        rows = np.flatnonzero(splits == SPLITS.index(split))
        return SentencePairSamples(
            texts,
            rows,
            self.learnt_tokenizer,
            self.preprocessing["max_length"],
            seed=self.seed,
            is_next=self.is_next,
        )

    def make_sampler(self, samples: Samples, batch_size: int, seed: int | None) -> LengthSampler:
        """Return the sampler of a split: batches of similar length, as the pairs are drawn in each epoch."""
        assert isinstance(samples, SentencePairSamples)
        return LengthSampler(samples.lengths(None), batch_size, seed=seed, drawn=samples.lengths)

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, SentenceBatch | str]]:
        """Read texts with [MASK] in place of tokens as batches of one; see `DataModule.read`.

        Args:
            items: Texts; paths of files with one on each line (.csv and .jsonl: under text); "-" for standard input.
        """
        mask = self.learnt_tokenizer.special[self.learnt_tokenizer.mask_id]
        for item in read_texts(items, TextFiles()):
            problem = item.problem
            if not problem and mask not in item.text:
                problem = f"nothing is masked in it: write {mask} where a word is to be found"
            try:
                yield item.name, problem or self.masked(item.text)
            except UserError as error:
                yield item.name, str(error)

    def masked(self, first: str, second: str | None = None) -> SentenceBatch:
        """Return a batch of one text, or of a pair, in which each [MASK] is a masked token; see `masked_pair`.

        Raises:
            UserError: If it is longer than the pairs that the run was trained on, or a text is empty.
        """
        texts = [first] if second is None else [first, second]
        batch, most = masked_pair(self.learnt_tokenizer, texts), self.preprocessing["max_length"]
        count = batch.inputs.shape[1]
        if count > most:
            raise UserError(
                f"it has {count:,} tokens, special ones included, and the run was trained on at most {most}"
            )
        words = ~torch.isin(batch.inputs, torch.tensor(list(self.learnt_tokenizer.special)))
        if any(not words[batch.segments == number].any() for number in range(len(texts))):
            raise UserError("there is nothing to read: the text has no words")
        return batch

    def _report(self, title: str, counts: dict[str, dict[str, int]]) -> None:
        _logger.info(
            "%s: %d documents to train on, %d for validation, %d for the test, %d tokens in all, a vocabulary of %d",
            title,
            *(counts[split]["documents"] for split in SPLITS),
            *(sum(count["tokens"] for count in counts.values()), self.learnt_tokenizer.vocab_size),
        )
        num_tokens, num_unknown = (
            sum(count[name] for count in counts.values()) for name in ("tokens", "unknown")
        )
        report_share(num_unknown, num_tokens, "tokens are not in the vocabulary (data.max_vocab)")


def _bert(spec: dict[str, Any]) -> BertTokenizer:
    tokenizer = tokenizer_from(spec)
    if not isinstance(tokenizer, BertTokenizer):
        raise UserError(f"the vocabulary has no {', '.join(SPECIAL_TOKENS)}, which sentence pairs need")
    return tokenizer


@dataclass(kw_only=True, eq=False)
class TextPairsFile(NamedText, SentencePairs):
    """Documents in files that a user names.

    Attributes:
        documents: Whether a document ends at "blank_lines", as in the files of BERT's own code, or with its file
            ("files").
        sentences: Whether each of the "lines" is a sentence, as there, or "punctuation" ends one.
    """

    documents: DocumentRule = "blank_lines"
    sentences: SentenceRule = "lines"
