"""What data for BERT's pre-training share: documents as tokens, dealt out to pairs of sentences."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nnkit.batches import Sentences
from nnkit.data.base import DataModule, Preprocessing, Samples, Split, process
from nnkit.data.pairs.document_cache import Documents, tokens_of, vocabulary_of
from nnkit.data.pairs.documents import DocumentRule, SentenceRule
from nnkit.data.pairs.pair_samples import NUM_MARKS, EncodedDocuments, PairSampler, PairSamples, written_pair
from nnkit.data.splits import check_fractions
from nnkit.data.text.text_cache import PARTS, Scan, scan
from nnkit.data.text.text_items import read_texts
from nnkit.data.text.text_reading import Corpus
from nnkit.data.tokenizing import (
    SPECIAL_TOKENS,
    TokenizerKind,
    WithSpecialTokens,
    check_tokenizer,
    tokenizer_from,
)
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

# As in the published models: google-research/bert's data and Hugging Face's BertForPreTraining.
IS_NEXT = 0

# Share of unknown tokens beyond which it is worth a warning.
_MUCH = 0.03


class SentencePairs(DataModule):
    """Base of data for BERT: a subclass says which files the documents stand in.

    Whole documents are dealt out to the parts, those of one sentence left out. The vocabulary is learnt from the
    training documents. Tokens are prepared once, kept in the cache, and mapped into memory; pairs, and what of them is
    hidden, are drawn anew each epoch, see `PairSamples`. Batches hold pairs of similar length.

    Args:
        tokenizer: characters, bytes, words, bpe or wordpiece.
        max_vocab: Tokens at most, the four marks included; None: every character, 20,000 words, 4,096 of bpe and
            wordpiece.
        max_length: Tokens of a pair, at most, marks included.
        val_fraction: Share of the documents held out for validation; 0: none.
        test_fraction: Share of the documents held out for the test; 0: none.
        split_seed: Seed of the split; the split does not depend on `seed`.
        batch_size: Pairs in a training batch.
        eval_batch_size: Pairs in a validation or test batch; None: batch_size, as logits are large.
        num_workers: Worker processes; 0 is the fastest here.
        seed: Seed of pairs, hidden tokens and order.

    Raises:
        ValueError: If an argument is out of range.
    """

    fact_names = ("vocab_size",)
    inherited = ("tokenizer",)
    vouched = True

    # How a subclass's files are read.
    documents: DocumentRule = "blank_lines"
    sentences: SentenceRule = "lines"

    def __init__(
        self,
        *,
        tokenizer: TokenizerKind = "wordpiece",
        max_vocab: int | None = None,
        max_length: int = 128,
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        split_seed: int = 0,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=batch_size if eval_batch_size is None else eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        check_tokenizer(tokenizer, max_vocab, special_tokens=True)
        check_fractions(val_fraction, test_fraction)
        least = NUM_MARKS + 2
        if max_length < least:
            raise ValueError(
                f"max_length must be at least {least}, three marks and a token of each sentence, not {max_length}"
            )
        self._kind, self._max_vocab = tokenizer, max_vocab
        self.max_length = max_length
        self._split_options = {
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
            "split_seed": split_seed,
        }
        self._tokenizer: WithSpecialTokens | None = None
        self._encoded: tuple[EncodedDocuments, Any] | None = None

    @abstractmethod
    def corpus(self) -> Corpus:
        """Find or make the files of the text; called again for each verb, so what is made is kept in the cache.

        Raises:
            UserError: If the user named files that cannot be used.
            EnvironmentFault: If they cannot be had.
        """

    def origin(self) -> dict[str, str]:
        """Return what else made the text what it is, by name; shown when it has changed."""
        return {}

    @property
    def tokenizer(self) -> WithSpecialTokens:
        """The tokenizer, from `preprocessing`.

        Raises:
            UserError: If it is one without marks, from another kind of run.
        """
        if self._tokenizer is None:
            tokenizer = tokenizer_from(self.preprocessing["tokenizer"])
            if not isinstance(tokenizer, WithSpecialTokens):
                raise UserError(
                    f"the vocabulary has no {', '.join(SPECIAL_TOKENS)}, which pairs of sentences need"
                )
            self._tokenizer = tokenizer
        return self._tokenizer

    @property
    def is_next(self) -> int:
        """Label of a pair whose second sentence follows the first, from `preprocessing`."""
        # Runs from before nnkit wrote the label down have the order opposite to that of the published models.
        return int(self.preprocessing.get("is_next", 1 - IS_NEXT))

    def setup_data(self, preprocessing: Preprocessing | None = None) -> None:
        """Prepare the data, or take over what an earlier run learnt."""
        self._tokenizer = self._encoded = None
        super().setup_data(preprocessing)

    def prepare(self) -> Preprocessing:
        """Read the text, learn a vocabulary, and encode it; or find this done in the cache."""
        rules = {"documents": self.documents, "sentences": self.sentences}
        found = self._documents({**rules, **self._split_options})
        spec = self.heritage.get("tokenizer") or vocabulary_of(found, self._kind, self._max_vocab)
        self.preprocessing = {
            "tokenizer": spec,
            "max_length": self.max_length,
            "is_next": IS_NEXT,
            **rules,
            **self._split_options,
            **({"origin": self.origin()} if self.origin() else {}),
            "sources": found.scanned.sources,
            "fingerprint": found.scanned.fingerprint,
        }
        counts = self._open(found)
        self._say(found.corpus.title, counts)
        return {**self.preprocessing, "counts": counts}

    def _documents(self, options: dict[str, Any]) -> Documents:
        corpus = self.corpus()
        names = ("documents", "sentences", "val_fraction", "test_fraction", "split_seed")
        return Documents(corpus, scan(corpus), **{name: options[name] for name in names})

    def _open(self, documents: Documents) -> Any:
        """Open the prepared arrays, and return what each part holds."""
        opened = tokens_of(documents, self.tokenizer)
        names = EncodedDocuments._fields
        self._encoded = EncodedDocuments(*(opened.arrays[name] for name in names)), opened.arrays["parts"]
        return opened.facts["counts"]

    def facts(self) -> dict[str, Any]:
        """Return the number of different tokens, marks included."""
        return {"vocab_size": self.tokenizer.vocab_size}

    def samples(self, split: Split) -> PairSamples:
        """Open one split of the documents as the run that wrote `preprocessing` encoded them.

        Raises:
            UserError: If they are gone or have changed since.
        """
        if self._encoded is None:
            documents = self._documents(self.preprocessing)
            if documents.scanned.fingerprint != self.preprocessing["fingerprint"]:
                raise UserError(self._changed(documents.corpus.title, documents.scanned))
            self._open(documents)
        assert self._encoded is not None
        texts, parts = self._encoded
        rows = np.flatnonzero(parts == PARTS.index(split))
        return PairSamples(
            texts,
            rows,
            self.tokenizer,
            self.preprocessing["max_length"],
            seed=self.seed,
            is_next=self.is_next,
        )

    def make_sampler(self, samples: Samples, batch_size: int, seed: int | None) -> PairSampler:
        """Return what deals the pairs of a split out to batches of similar length."""
        assert isinstance(samples, PairSamples)
        rank, world_size = process()
        return PairSampler(samples, batch_size, seed=seed, rank=rank, world_size=world_size)

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, Sentences | str]]:
        """Read texts in which [MASK] hides a token as batches of one; see `DataModule.read`.

        Args:
            items: Texts; paths of files with one on each line (.csv and .jsonl: under text); "-" for standard input.
        """
        mask = SPECIAL_TOKENS[self.tokenizer.mask_id]
        for name, text, reason in read_texts(items, "text"):
            if not reason and mask not in text:
                reason = f"nothing is masked in it: write {mask} where a word is to be found"
            try:
                yield name, reason or self.written(text)
            except UserError as error:
                yield name, str(error)

    def written(self, first: str, second: str | None = None) -> Sentences:
        """Return a batch of one text, or of a pair, in which [MASK] hides a token; see `written_pair`.

        Raises:
            UserError: If it is longer than the pairs that the run was trained on, or a text is empty.
        """
        batch, most = written_pair(self.tokenizer, first, second), self.preprocessing["max_length"]
        if batch.inputs.shape[1] > most:
            raise UserError(
                f"it has {batch.inputs.shape[1]:,} tokens, marks included, and the run was trained on at most {most}"
            )
        words = batch.inputs > self.tokenizer.sep_id
        if any(not words[batch.segments == part].any() for part in range(1 if second is None else 2)):
            raise UserError("there is nothing to read: the text has no words")
        return batch

    def _say(self, title: str, counts: dict[str, dict[str, int]]) -> None:
        _logger.info(
            "%s: %d documents to train on, %d for validation, %d for the test, %d tokens in all, a vocabulary of %d",
            title,
            *(counts[part]["documents"] for part in PARTS),
            *(sum(counts[part]["tokens"] for part in PARTS), self.tokenizer.vocab_size),
        )
        num_tokens = sum(counts[part]["tokens"] for part in PARTS)
        num_unknown = sum(counts[part]["unknown"] for part in PARTS)
        if num_unknown > _MUCH * num_tokens:
            share = 100 * num_unknown / num_tokens
            _logger.warning("%.1f %% of the tokens are not in the vocabulary (data.max_vocab)", share)

    def _changed(self, title: str, scanned: Scan) -> str:
        then = self.preprocessing.get("origin", {})
        made = [
            f", which was made by {name} {then[name]}, and this is {value}"
            for name, value in self.origin().items()
            if then.get(name, value) != value
        ]
        return (
            f"{title} is not the text the run was trained on{''.join(made)}: its SHA-256 was "
            f"{self.preprocessing['fingerprint'][:12]}, now it is {scanned.fingerprint[:12]}. Put the old text back "
            "to go on; a new run takes the new text: nnkit train"
        )
