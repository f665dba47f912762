"""Documents as token numbers in the cache: dealt out to parts, a vocabulary learnt, encoded, each step once."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnkit.data.cache import Arrays, Prepared, cache_dir, commit, explained, new_array, prepared
from nnkit.data.counted_random import private_generator
from nnkit.data.pairs.documents import DocumentRule, SentenceRule, read_documents
from nnkit.data.text.text_cache import PARTS, Scan
from nnkit.data.text.text_reading import Corpus, shown
from nnkit.data.tokenizing import TokenizerKind, WithSpecialTokens, learn_tokenizer
from nnkit.errors import UserError

# Documents that are encoded at once.
_CHUNK = 1_000
_COPIED_AT_ONCE = 1 << 20
# Half of the second sentences of a part come from another document of it.
_LEAST = 2


@dataclass(frozen=True)
class Documents:
    """Documents of at least two sentences, and how they are dealt out.

    Attributes:
        corpus: The text.
        scanned: What reading it once tells.
        documents: As in `read_documents`.
        sentences: As in `read_documents`.
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
        """What decides the sentences of each part; JSON data."""
        rules = [self.documents, self.sentences, self.val_fraction, self.test_fraction, self.split_seed]
        return [self.scanned.fingerprint, self.corpus.encoding, *rules]

    def read(self, advance: Callable[[int], None]) -> Iterator[list[str]]:
        """Yield the sentences of each document that has two."""
        found = read_documents(self.corpus, self.documents, self.sentences, advance)
        return (document for document in found if len(document) >= 2)

    def parts(self) -> NDArray[np.uint8]:
        """Return which of `PARTS` each document belongs to, (documents,).

        Raises:
            UserError: If there are too few documents for the parts that are wanted.
        """
        with shown("Reading", self.corpus) as advance:
            count = sum(1 for _ in self.read(advance))
        sizes = [
            max(_LEAST, round(count * share)) if share else 0
            for share in (self.val_fraction, self.test_fraction)
        ]
        if count < sum(sizes) + _LEAST:
            raise UserError(self._too_few(count, sum(sizes) + _LEAST))
        order = torch.randperm(count, generator=private_generator(self.split_seed)).numpy()
        parts = np.zeros(count, np.uint8)
        parts[order[: sizes[0]]], parts[order[sizes[0] : sum(sizes)]] = 1, 2
        return parts

    def _too_few(self, count: int, least: int) -> str:
        advice = []
        if self.documents == "files":
            advice.append("data.documents=blank_lines ends a document at each blank line")
        if self.sentences == "lines":
            advice.append("data.sentences=punctuation ends a sentence at each full stop, not with its line")
        return (
            f"{self.corpus.title} has {count} documents of two sentences or more, and {least} are needed: two in each "
            "part, as half of the second sentences come from another document"
            + "".join(f"\n    {one}" for one in advice)
        )


def vocabulary_of(documents: Documents, kind: TokenizerKind, max_vocab: int | None) -> dict[str, Any]:
    """Return the spec of a tokenizer with marks, learnt from the training documents.

    Args:
        documents: The text.
        kind: As in `learn_tokenizer`.
        max_vocab: As in `learn_tokenizer`.
    """
    key = [*documents.key, kind, max_vocab]
    folder = cache_dir() / "text" / f"marked-{_short(key)}"

    def prepare() -> None:
        texts = _TrainingSentences(documents)
        learnt = learn_tokenizer(kind, texts, max_vocab=max_vocab, with_unknown=True, special_tokens=True)
        commit(folder, key, {"tokenizer": learnt.spec()})

    spec: dict[str, Any] = prepared(folder, key, prepare).facts["tokenizer"]
    return spec


class _TrainingSentences:
    """The sentences a vocabulary is learnt from; they can be gone through more than once."""

    def __init__(self, documents: Documents) -> None:
        self._documents, self._parts = documents, documents.parts()

    def __iter__(self) -> Iterator[str]:
        with shown("Learning a vocabulary", self._documents.corpus) as advance:
            for part, sentences in zip(self._parts, self._documents.read(advance), strict=True):
                if part == 0:
                    yield from sentences


def tokens_of(documents: Documents, tokenizer: WithSpecialTokens) -> Prepared:
    """Return documents as token numbers, memory-mapped, and what each part holds.

    Args:
        documents: The text.
        tokenizer: Encodes each sentence by itself; one without a token is left out.

    Returns:
        The arrays "tokens", "sentences" and "documents" as in `EncodedDocuments`, "parts" with the part of each
        document, and the fact "counts": of each part its documents, sentences and tokens, and how many of the tokens
        are the unknown one.
    """
    key = [*documents.key, _short(tokenizer.spec())]
    folder = cache_dir() / "text" / f"documents-{_short(key)}"

    def prepare() -> None:
        parts = documents.parts()
        dtype = np.min_scalar_type(tokenizer.vocab_size - 1)
        # How many tokens there will be is known at the end; a file without a name leaves nothing if we are killed.
        with explained(folder), tempfile.TemporaryFile(dir=folder) as file:
            encoded = _encode(documents, tokenizer, parts, file, dtype)
            file.seek(0)
            num_tokens = int(encoded.sentences[-1])
            with new_array(folder, "tokens", (num_tokens,), dtype.str) as array:
                for start in range(0, num_tokens, _COPIED_AT_ONCE):
                    array[start : start + _COPIED_AT_ONCE] = np.fromfile(file, dtype, _COPIED_AT_ONCE)
        arrays: Arrays = {"sentences": encoded.sentences, "documents": encoded.documents, "parts": parts}
        for name, values in arrays.items():
            with new_array(folder, name, values.shape, values.dtype.str) as array:
                array[:] = values
        commit(folder, key, {"counts": encoded.counts})

    return prepared(folder, key, prepare)


@dataclass(frozen=True)
class _Encoded:
    sentences: NDArray[np.int64]
    documents: NDArray[np.int64]
    counts: dict[str, dict[str, int]]


def _encode(
    documents: Documents,
    tokenizer: WithSpecialTokens,
    parts: NDArray[np.uint8],
    file: IO[bytes],
    dtype: np.dtype[Any],
) -> _Encoded:
    """Write the tokens of all sentences to a file, and return where sentences and documents begin and end."""
    counts = {part: dict.fromkeys(("documents", "sentences", "tokens", "unknown"), 0) for part in PARTS}
    sentence_lengths, document_lengths = [np.zeros(1, np.int64)], [0]
    with shown("Encoding", documents.corpus) as advance:
        reading = zip(parts.tolist(), documents.read(advance), strict=True)
        while chunk := list(islice(reading, _CHUNK)):
            rows = iter(tokenizer.encode_batch(list(chain.from_iterable(texts for _, texts in chunk))))
            for part, texts in chunk:
                found = [row for row in islice(rows, len(texts)) if len(row)]
                tokens = np.concatenate([np.empty(0, np.int32), *found])
                file.write(tokens.astype(dtype).tobytes())
                sentence_lengths.append(np.array([len(row) for row in found], np.int64))
                document_lengths.append(len(found))
                count = counts[PARTS[part]]
                count["documents"] += 1
                count["sentences"] += len(found)
                count["tokens"] += len(tokens)
                count["unknown"] += int((tokens == tokenizer.unknown).sum())
    return _Encoded(
        np.concatenate(sentence_lengths).cumsum(), np.array(document_lengths, np.int64).cumsum(), counts
    )


def _short(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]
