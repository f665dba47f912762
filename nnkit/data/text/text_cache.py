"""A long text as token numbers in the cache: measured, a vocabulary learnt, encoded, each step once."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnkit.data.cache import Prepared, cache_dir, commit, explained, new_array, prepared
from nnkit.data.download.sources import fingerprint
from nnkit.data.text.text_reading import Corpus, Measure, read_all, shown, whole_words
from nnkit.data.tokenizing import Tokenizer, TokenizerKind, learn_tokenizer, next_cut
from nnkit.errors import EnvironmentFault

PARTS = ("train", "val", "test")
_COPIED_AT_ONCE = 1 << 20
# How far a border between parts may move for a word's sake.
_LONGEST_WORD = 100


class Scan(NamedTuple):
    """What reading a text once tells.

    Attributes:
        sources: Of each file its name, bytes and SHA-256 (unpacked); JSON data.
        num_characters: Characters of the whole text.
        fingerprint: SHA-256 over the files' hashes.
    """

    sources: list[dict[str, Any]]
    num_characters: int
    fingerprint: str


class PartEnds(NamedTuple):
    """Where the parts of a text end, in characters.

    Attributes:
        train: End of the training part.
        val: End of the validation part.
        test: End of the text.
    """

    train: int
    val: int
    test: int


def scan(corpus: Corpus) -> Scan:
    """Hash and count a text; what is known of unchanged files (by size and time) is not read again.

    Raises:
        UserError: If a file is no text in its encoding.
        EnvironmentFault: If one cannot be read, or the cache not be written.
    """
    resolved = [source.path.resolve() for source in corpus.sources]
    statuses = [path.stat() for path in resolved]
    stamps = [[status.st_size, status.st_mtime_ns] for status in statuses]
    places = [*map(str, resolved), str(corpus.encoding)]
    folder = cache_dir() / "text" / f"scan-{_short(places)}"
    names = [source.name for source in corpus.sources]

    def prepare() -> None:
        measures = [Measure() for _ in names]
        with shown("Reading", corpus) as advance:
            num_characters = sum(map(len, read_all(corpus, measures, advance)))
        hashes = [measure.sha256.hexdigest() for measure in measures]
        sizes = [measure.num_bytes for measure in measures]
        commit(folder, stamps, {"hashes": hashes, "sizes": sizes, "num_characters": num_characters})

    facts = prepared(folder, stamps, prepare).facts
    rows = zip(names, facts["sizes"], facts["hashes"], strict=True)
    sources = [{"name": name, "bytes": size, "sha256": sha256} for name, size, sha256 in rows]
    return Scan(sources, facts["num_characters"], fingerprint(facts["hashes"]))


def vocabulary_of(
    corpus: Corpus, scanned: Scan, ends: PartEnds, kind: TokenizerKind, max_vocab: int | None
) -> dict[str, Any]:
    """Return the spec of a tokenizer: characters learnt from the whole text, the others from the training part.

    Args:
        corpus: The text.
        scanned: What `scan` says of it.
        ends: Where its parts end.
        kind: As in `learn_tokenizer`.
        max_vocab: As in `learn_tokenizer`.
    """
    whole = kind == "characters"
    key = [scanned.fingerprint, corpus.encoding, kind, max_vocab, None if whole else ends]
    folder = cache_dir() / "text" / f"vocabulary-{_short(key)}"

    def prepare() -> None:
        texts = _Stretches(corpus, ends, whole)
        learnt = learn_tokenizer(kind, texts, max_vocab=max_vocab, with_unknown=False)
        commit(folder, key, {"tokenizer": learnt.spec()})

    spec: dict[str, Any] = prepared(folder, key, prepare).facts["tokenizer"]
    return spec


def tokens_of(corpus: Corpus, scanned: Scan, ends: PartEnds, tokenizer: Tokenizer) -> Prepared:
    """Return a text as token numbers, memory-mapped, and what each part holds.

    Args:
        corpus: The text.
        scanned: What `scan` says of it.
        ends: Where its parts end.
        tokenizer: Encodes it; each part by itself.

    Returns:
        The array "tokens", (tokens,) of the smallest unsigned type that holds the vocabulary, and the fact "counts":
        of each part its tokens and characters, and how many of the tokens are the unknown one, if there is one.
    """
    key = [scanned.fingerprint, corpus.encoding, ends, _short(tokenizer.spec())]
    folder = cache_dir() / "text" / f"tokens-{_short(key)}"
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)

    def prepare() -> None:
        counts = {part: {"tokens": 0, "characters": 0} for part in PARTS}
        if tokenizer.unknown is not None:
            counts = {part: {**count, "unknown": 0} for part, count in counts.items()}
        # How many tokens there will be is known at the end; a file without a name leaves nothing if we are killed.
        with explained(folder), tempfile.TemporaryFile(dir=folder) as file:
            with shown("Encoding", corpus) as advance:
                for part, text in _dealt(corpus, ends, advance):
                    numbers = tokenizer.encode(text)
                    _count(counts[part], text, numbers, tokenizer.unknown)
                    file.write(numbers.astype(dtype).tobytes())
            num_tokens = file.tell() // dtype.itemsize
            if sum(count["characters"] for count in counts.values()) != scanned.num_characters:
                raise EnvironmentFault(f"{corpus.title} was changed while it was being read; start again")
            file.seek(0)
            with new_array(folder, "tokens", (num_tokens,), dtype.str) as array:
                for start in range(0, num_tokens, _COPIED_AT_ONCE):
                    array[start : start + _COPIED_AT_ONCE] = np.fromfile(file, dtype, _COPIED_AT_ONCE)
        commit(folder, key, {"counts": counts})

    return prepared(folder, key, prepare)


def _count(count: dict[str, int], text: str, numbers: NDArray[np.int32], unknown: int | None) -> None:
    count["tokens"] += len(numbers)
    count["characters"] += len(text)
    if unknown is not None:
        count["unknown"] += int((numbers == unknown).sum())


class _Stretches:
    """The text a vocabulary is learnt from, in pieces; it can be gone through more than once."""

    def __init__(self, corpus: Corpus, ends: PartEnds, whole: bool) -> None:
        self._corpus, self._ends, self._whole = corpus, ends, whole

    def __iter__(self) -> Iterator[str]:
        with shown("Learning a vocabulary", self._corpus) as advance:
            for part, text in _dealt(self._corpus, self._ends, advance):
                if part != "train" and not self._whole:
                    return
                yield text


def _dealt(corpus: Corpus, ends: PartEnds, advance: Any) -> Iterator[tuple[str, str]]:
    """Yield stretches of the text with the part each belongs to; words on a border stay whole, in the part before."""
    yield from deal(whole_words(read_all(corpus, advance=advance)), ends)


def deal(texts: Iterable[str], ends: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Deal a text that comes in pieces out to its parts.

    Args:
        texts: The pieces, cut between words.
        ends: Where the parts end, in characters.

    Yields:
        The part and a piece of it, cut between words.
    """
    position, part = 0, 0
    for text in texts:
        while part < len(PARTS) - 1 and position + len(text) > ends[part]:
            begin = ends[part] - position
            place = next_cut(text, begin - 1) if begin > 0 else 0
            if place - begin > min(_LONGEST_WORD, (ends[part + 1] - ends[part]) // 2):
                # A script without blanks, no words at all, or a part as short as a word.
                place = max(begin, 0)
            if place:
                yield PARTS[part], text[:place]
            position, text, part = position + place, text[place:], part + 1
        if text:
            yield PARTS[part], text
        position += len(text)


def _short(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]
