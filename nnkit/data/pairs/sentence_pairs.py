"""Data for BERT's pre-training: documents as token ids, from which sentence pairs are drawn."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nnkit.batches import Sentences
from nnkit.data.base import DataModule, Preprocessing, Samples, Split, process
from nnkit.data.buckets import LengthSampler
from nnkit.data.pairs.documents import DocumentRule, Documents, EncodedDocuments, SentenceRule
from nnkit.data.pairs.sentence_samples import NUM_SPECIAL, SentencePairSamples, masked_pair
from nnkit.data.splits import SPLITS, check_fractions
from nnkit.data.text.corpus import Corpus, check_encoding, named_texts
from nnkit.data.text.items import read_texts
from nnkit.data.text.token_cache import refuse_changed, scan
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

# Share of unknown tokens beyond which it is worth a warning.
_MUCH = 0.03


class SentencePairs(DataModule):
    """Base of data for BERT: a subclass names the files of the documents.

    Each document is in one split; those of one sentence are left out. The vocabulary is learnt from the training
    documents. Token ids are prepared once, kept in the cache, and mapped into memory; pairs and their masked tokens
    are drawn anew each epoch, see `SentencePairSamples`. Batches hold pairs of similar length.

    Args:
        tokenizer: characters, bytes, words, bpe or wordpiece.
        max_vocab: Tokens at most, the four special ones included; None: every character, 20,000 words, 4,096 of bpe and
            wordpiece.
        max_length: Tokens of a pair, at most, special ones included.
        val_fraction: Share of the documents held out for validation; 0: none.
        test_fraction: Share of the documents held out for the test; 0: none.
        split_seed: Seed of the split; the split does not depend on `seed`.
        batch_size: Pairs in a training batch.
        eval_batch_size: Pairs in a validation or test batch; None: batch_size, as logits are large.
        num_workers: Worker processes; 0 is the fastest here.
        seed: Seed of pairs, masked tokens and order.

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
        least = NUM_SPECIAL + 2
        if max_length < least:
            raise ValueError(
                f"max_length must be at least {least}, three special tokens and one of each sentence, not {max_length}"
            )
        self._kind, self._max_vocab = tokenizer, max_vocab
        self.max_length = max_length
        self._split_options = {
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
            "split_seed": split_seed,
        }
        self._tokenizer: BertTokenizer | None = None
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
    def tokenizer(self) -> BertTokenizer:
        """The tokenizer, from `preprocessing`.

        Raises:
            UserError: If it has no special tokens, as that of another kind of run.
        """
        if self._tokenizer is None:
            tokenizer = tokenizer_from(self.preprocessing["tokenizer"])
            if not isinstance(tokenizer, BertTokenizer):
                raise UserError(
                    f"the vocabulary has no {', '.join(SPECIAL_TOKENS)}, which sentence pairs need"
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
        """Read the text, learn a vocabulary, and encode it; or find all of this in the cache."""
        rules = {"documents": self.documents, "sentences": self.sentences}
        found = self._documents({**rules, **self._split_options})
        spec = self.heritage.get("tokenizer") or found.learn(self._kind, self._max_vocab)
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
        self._report(found.corpus.title, counts)
        return {**self.preprocessing, "counts": counts}

    def _documents(self, options: dict[str, Any]) -> Documents:
        corpus = self.corpus()
        names = ("documents", "sentences", "val_fraction", "test_fraction", "split_seed")
        return Documents(corpus, scan(corpus), **{name: options[name] for name in names})

    def _open(self, documents: Documents) -> Any:
        """Open the prepared arrays, and return what each split holds."""
        opened = documents.encoded(self.tokenizer)
        names = EncodedDocuments._fields
        self._encoded = EncodedDocuments(*(opened.arrays[name] for name in names)), opened.arrays["parts"]
        return opened.facts["counts"]

    def facts(self) -> dict[str, Any]:
        """Return the number of different tokens, special ones included."""
        return {"vocab_size": self.tokenizer.vocab_size}

    def samples(self, split: Split) -> SentencePairSamples:
        """Open one split of the documents as the run that wrote `preprocessing` encoded them.

        Raises:
            UserError: If they are gone or have changed since.
        """
        if self._encoded is None:
            documents = self._documents(self.preprocessing)
            refuse_changed(documents.corpus.title, documents.scanned, self.preprocessing, self.origin())
            self._open(documents)
        assert self._encoded is not None
        texts, splits = self._encoded
        rows = np.flatnonzero(splits == SPLITS.index(split))
        return SentencePairSamples(
            texts,
            rows,
            self.tokenizer,
            self.preprocessing["max_length"],
            seed=self.seed,
            is_next=self.is_next,
        )

    def make_sampler(self, samples: Samples, batch_size: int, seed: int | None) -> LengthSampler:
        """Return the sampler of a split: batches of similar length, as the pairs are drawn in each epoch."""
        assert isinstance(samples, SentencePairSamples)
        lengths, (rank, world_size) = samples.lengths(None), process()
        return LengthSampler(
            lengths, batch_size, seed=seed, drawn=samples.lengths, rank=rank, world_size=world_size
        )

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, Sentences | str]]:
        """Read texts with [MASK] in place of tokens as batches of one; see `DataModule.read`.

        Args:
            items: Texts; paths of files with one on each line (.csv and .jsonl: under text); "-" for standard input.
        """
        mask = SPECIAL_TOKENS[self.tokenizer.mask_id]
        for name, text, problem in read_texts(items, "text"):
            if not problem and mask not in text:
                problem = f"nothing is masked in it: write {mask} where a word is to be found"
            try:
                yield name, problem or self.masked(text)
            except UserError as error:
                yield name, str(error)

    def masked(self, first: str, second: str | None = None) -> Sentences:
        """Return a batch of one text, or of a pair, in which each [MASK] is a masked token; see `masked_pair`.

        Raises:
            UserError: If it is longer than the pairs that the run was trained on, or a text is empty.
        """
        texts = [first] if second is None else [first, second]
        batch, most = masked_pair(self.tokenizer, texts), self.preprocessing["max_length"]
        count = batch.inputs.shape[1]
        if count > most:
            raise UserError(
                f"it has {count:,} tokens, special ones included, and the run was trained on at most {most}"
            )
        words = batch.inputs > self.tokenizer.sep_id
        if any(not words[batch.segments == number].any() for number in range(len(texts))):
            raise UserError("there is nothing to read: the text has no words")
        return batch

    def _report(self, title: str, counts: dict[str, dict[str, int]]) -> None:
        _logger.info(
            "%s: %d documents to train on, %d for validation, %d for the test, %d tokens in all, a vocabulary of %d",
            title,
            *(counts[split]["documents"] for split in SPLITS),
            *(sum(count["tokens"] for count in counts.values()), self.tokenizer.vocab_size),
        )
        num_tokens = sum(count["tokens"] for count in counts.values())
        num_unknown = sum(count["unknown"] for count in counts.values())
        if num_unknown > _MUCH * num_tokens:
            share = 100 * num_unknown / num_tokens
            _logger.warning("%.1f %% of the tokens are not in the vocabulary (data.max_vocab)", share)


class TextPairsFile(SentencePairs):
    """A file, a folder (all .txt and .md files below it, in the order of their names), or a list of these.

    Args:
        path: The file, folder, or list of them; plain or .gz.
        encoding: The files' codec; None: UTF-8.
        documents: Whether a document ends at "blank_lines", as in the files of BERT's own code, or with its file
            ("files").
        sentences: Whether each of the "lines" is a sentence, as there, or "punctuation" ends one.
        tokenizer: As in `SentencePairs`, like the rest.
        max_vocab: As in `SentencePairs`.
        max_length: As in `SentencePairs`.
        val_fraction: As in `SentencePairs`.
        test_fraction: As in `SentencePairs`.
        split_seed: As in `SentencePairs`.
        batch_size: As in `SentencePairs`.
        eval_batch_size: As in `SentencePairs`.
        num_workers: As in `SentencePairs`.
        seed: As in `SentencePairs`.

    Raises:
        ValueError: If no path is given or an argument is out of range.
    """

    def __init__(
        self,
        *,
        path: str | Sequence[str] | None = None,
        encoding: str | None = None,
        documents: DocumentRule = "blank_lines",
        sentences: SentenceRule = "lines",
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
            tokenizer=tokenizer,
            max_vocab=max_vocab,
            max_length=max_length,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        if not path:
            raise ValueError("path must name a text file or a folder: data.path=FILE.txt")
        if encoding is not None:
            check_encoding(encoding)
        self._paths = [path] if isinstance(path, str) else list(path)
        self._codec = encoding
        self.documents, self.sentences = documents, sentences

    def corpus(self) -> Corpus:
        """List the files."""
        return named_texts(self._paths, self._codec)
