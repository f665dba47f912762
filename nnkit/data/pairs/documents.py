"""A text as documents of sentences: read, split, and encoded into the cache."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nnkit.data.cache import Arrays, Prepared
from nnkit.data.counted_random import private_generator
from nnkit.data.splits import SPLITS
from nnkit.data.text.corpus import Corpus, read_text, shown
from nnkit.data.text.token_cache import Scan, Write, cached_tokens, learnt_spec
from nnkit.data.tokenizing import BertTokenizer, Reread, Tokenizer, TokenizerKind, learn_tokenizer
from nnkit.errors import UserError

DocumentRule = Literal["blank_lines", "files"]
SentenceRule = Literal["lines", "punctuation"]

# After a full stop a sentence begins with anything but a small letter; East Asian full stops need no blank.
_ENDS = re.compile(r"(?<=[.!?\u2026])[\"')\]\u2019\u201d]*\s+(?=`|\W?[^\Wa-z_])|(?<=[\u3002\uff01\uff1f])\s*")
# Documents that are encoded at once.
_CHUNK = 1_000
# Documents of a split: half of the second sentences come from another one.
_LEAST = 2


class EncodedDocuments(NamedTuple):
    """Documents as token ids.

    Attributes:
        tokens: Those of all sentences, one after the other, (tokens,) of an unsigned type.
        sentences: Where each sentence begins in `tokens`, and where the last one ends, (sentences + 1,) int64.
        documents: Where each document begins among the sentences, and where the last one ends, (documents + 1,) int64.
    """

    tokens: NDArray[Any]
    sentences: NDArray[np.int64]
    documents: NDArray[np.int64]


@dataclass(frozen=True)
class Documents:
    """A text as documents of at least two sentences, and the rules of its splits.

    Attributes:
        corpus: The text.
        scanned: What `scan` returns for it.
        documents: Whether a document ends at "blank_lines" or with its file ("files").
        sentences: Whether each of the "lines" is a sentence, or "punctuation" ends one; a blank line ends one as well.
        val_fraction: Share of the documents held out for validation.
        test_fraction: Share held out for the test.
        split_seed: Seed of the split.
    """

    corpus: Corpus
    scanned: Scan
    documents: DocumentRule
    sentences: SentenceRule
    val_fraction: float
    test_fraction: float
    split_seed: int

    @property
    def key(self) -> list[Any]:
        """What decides the sentences of each split; JSON data."""
        rules = [self.documents, self.sentences, self.val_fraction, self.test_fraction, self.split_seed]
        return [self.scanned.fingerprint, self.corpus.encoding, *rules]

    def read(self, title: str) -> Iterator[list[str]]:
        """Yield the sentences of each document that has two, none of them empty; the title is that of the bar."""
        with shown(title, self.corpus) as advance:
            for source in self.corpus.sources:
                found: Iterator[list[str]] = (
                    paragraph if self.sentences == "lines" else cut_sentences(" ".join(paragraph))
                    for paragraph in _paragraphs(
                        read_text(source.path, self.corpus.encoding, advance=advance)
                    )
                )
                if self.documents == "files":
                    found = iter([list(chain.from_iterable(found))])
                yield from (document for document in found if len(document) >= 2)

    def splits(self) -> NDArray[np.uint8]:
        """Return the split of each document as its number in `SPLITS`, (documents,).

        Raises:
            UserError: If there are too few documents for the splits that are wanted.
        """
        count = sum(1 for _ in self.read("Reading"))
        sizes = [
            max(_LEAST, round(count * share)) if share else 0
            for share in (self.val_fraction, self.test_fraction)
        ]
        if count < sum(sizes) + _LEAST:
            raise UserError(self._too_few(count, sum(sizes) + _LEAST))
        order = torch.randperm(count, generator=private_generator(self.split_seed)).numpy()
        splits = np.zeros(count, np.uint8)
        splits[order[: sizes[0]]], splits[order[sizes[0] : sum(sizes)]] = 1, 2
        return splits

    def _too_few(self, count: int, least: int) -> str:
        advice = []
        if self.documents == "files":
            advice.append("data.documents=blank_lines ends a document at each blank line")
        if self.sentences == "lines":
            advice.append("data.sentences=punctuation ends a sentence at each full stop, not with its line")
        return (
            f"{self.corpus.title} has {count} documents of two sentences or more, and {least} are needed: two in each "
            "split, as half of the second sentences come from another document"
            + "".join(f"\n    {one}" for one in advice)
        )

    def learn(self, kind: TokenizerKind, max_vocab: int | None) -> dict[str, Any]:
        """Return the spec of a tokenizer with special tokens, learnt from the training documents.

        Args:
            kind: As in `learn_tokenizer`.
            max_vocab: As in `learn_tokenizer`.
        """

        def learn() -> Tokenizer:
            splits = self.splits()
            texts = Reread(lambda: self._training_sentences(splits))
            options: dict[str, Any] = {"max_vocab": max_vocab, "with_unknown": True, "special_tokens": True}
            return learn_tokenizer(kind, texts, **options)

        return learnt_spec("marked", [*self.key, kind, max_vocab], learn)

    def _training_sentences(self, splits: NDArray[np.uint8]) -> Iterator[str]:
        for split, sentences in zip(splits, self.read("Learning a vocabulary"), strict=True):
            if split == 0:
                yield from sentences

    def encoded(self, tokenizer: BertTokenizer) -> Prepared:
        """Return the documents as token ids, memory-mapped; each sentence is encoded by itself.

        Args:
            tokenizer: Encodes the sentences; those without a token are left out.

        Returns:
            The arrays of `EncodedDocuments` by name, "parts" with the split of each document as its number in
            `SPLITS`, and the fact "counts": of each split its documents, sentences and tokens, and how many of the
            tokens are the unknown one.
        """
        return cached_tokens("documents", self.key, tokenizer, lambda write: self._encode(tokenizer, write))

    def _encode(self, tokenizer: BertTokenizer, write: Write) -> tuple[dict[str, Any], Arrays]:
        splits = self.splits()
        counts = {
            split: dict.fromkeys(("documents", "sentences", "tokens", "unknown"), 0) for split in SPLITS
        }
        sentence_lengths, document_lengths = [np.zeros(1, np.int64)], [0]
        reading = zip(splits.tolist(), self.read("Encoding"), strict=True)
        while chunk := list(islice(reading, _CHUNK)):
            rows = iter(tokenizer.encode_batch(list(chain.from_iterable(texts for _, texts in chunk))))
            for split, texts in chunk:
                found = [row for row in islice(rows, len(texts)) if len(row)]
                tokens = np.concatenate([np.empty(0, np.int32), *found])
                write(tokens)
                sentence_lengths.append(np.array([len(row) for row in found], np.int64))
                document_lengths.append(len(found))
                count = counts[SPLITS[split]]
                count["documents"] += 1
                count["sentences"] += len(found)
                count["tokens"] += len(tokens)
                count["unknown"] += int((tokens == tokenizer.unknown).sum())
        return {"counts": counts}, {
            "sentences": np.concatenate(sentence_lengths).cumsum(),
            "documents": np.array(document_lengths, np.int64).cumsum(),
            "parts": splits,
        }


def cut_sentences(text: str) -> list[str]:
    """Cut one paragraph after full stops, question and exclamation marks, and the quotes and brackets that follow.

    Abbreviations are not known: a capital letter after one begins a sentence.
    """
    sentences, begin = [], 0
    for match in _ENDS.finditer(text):
        # A closing quote belongs to the sentence before it.
        closing = match.group().rstrip()
        sentences.append(text[begin : match.start()] + closing)
        begin = match.end()
    sentences.append(text[begin:])
    return [sentence.strip() for sentence in sentences if sentence.strip()]


def paragraphs(text: str) -> Iterator[list[str]]:
    """Yield the lines of each paragraph of a text, blanks at both ends removed; blank lines separate paragraphs."""
    return _paragraphs(iter([text]))


def _paragraphs(pieces: Iterator[str]) -> Iterator[list[str]]:
    lines: list[str] = []
    for line in _lines(pieces):
        if line:
            lines.append(line)
        elif lines:
            yield lines
            lines = []
    if lines:
        yield lines


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Yield stripped lines of a text that comes in pieces."""
    held = ""
    for piece in pieces:
        *whole, held = (held + piece).split("\n")
        yield from (line.strip() for line in whole)
    yield held.strip()
