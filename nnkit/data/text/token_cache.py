"""The cache of long texts: what reading one tells, vocabularies learnt from it, and its token ids."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnkit.data.cache import Arrays, Prepared, cache_dir, commit, growing_array, prepared
from nnkit.data.download.sources import fingerprint
from nnkit.data.text.corpus import Corpus, Measure, read_all, shown
from nnkit.data.tokenizing import RULES, Tokenizer
from nnkit.suggest import some_of

# Takes the next token ids of a text.
Write = Callable[[NDArray[np.int32]], object]


class Scan(NamedTuple):
    """What reading a text once tells.

    Attributes:
        sources: For each file its name, bytes and SHA-256 (unpacked); JSON data.
        num_characters: Characters of the whole text.
        fingerprint: SHA-256 over the files' hashes.
    """

    sources: list[dict[str, Any]]
    num_characters: int
    fingerprint: str


def scan(corpus: Corpus) -> Scan:
    """Hash and count a text; files that have not changed (by size and time) are not read again.

    Raises:
        UserError: If a file is not text in its encoding.
        EnvironmentFault: If one cannot be read, or the cache not be written.
    """
    resolved = [source.path.resolve() for source in corpus.sources]
    statuses = [path.stat() for path in resolved]
    stamps = [[status.st_size, status.st_mtime_ns] for status in statuses]
    folder = _folder("scan", [*map(str, resolved), str(corpus.encoding)])
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


def changes(scanned: Scan, sources: list[dict[str, Any]]) -> str:
    """Return how the files of a text differ from those that a run was trained on; "" if they do not.

    Args:
        scanned: The text as it is now.
        sources: The run's; none where it has not been prepared.
    """
    old = {source["name"]: source for source in sources}
    new = {source["name"]: source for source in scanned.sources}
    found = [f"{name} is gone" for name in old if name not in new]
    found += [f"{name} is new" for name in new if name not in old]
    for name, source in new.items():
        if name in old and old[name]["sha256"] != source["sha256"]:
            sizes = f"{old[name]['bytes']:,} bytes then, {source['bytes']:,} now"
            found.append(f"{name} is another one ({sizes})")
    return some_of(found, 5, "; ") or "its files have another order"


def learnt_spec(name: str, key: object, learn: Callable[[], Tokenizer]) -> dict[str, Any]:
    """Return the spec of a tokenizer from the cache; it is learnt only if it is not there.

    Args:
        name: What kind of vocabulary it is; part of its place in the cache.
        key: What decides the vocabulary; JSON data.
        learn: Learns it.
    """
    key = [RULES, key]
    folder = _folder(name, key)
    spec: dict[str, Any] = prepared(
        folder, key, lambda: commit(folder, key, {"tokenizer": learn().spec()})
    ).facts["tokenizer"]
    return spec


def cached_tokens(
    name: str, key: list[Any], tokenizer: Tokenizer, encode: Callable[[Write], tuple[dict[str, Any], Arrays]]
) -> Prepared:
    """Return the token ids of a text from the cache, memory-mapped; they are made only if they are not there.

    Args:
        name: What kind of text it is; part of its place in the cache.
        key: What decides the token ids but for the tokenizer; JSON data.
        tokenizer: Its spec decides them as well, and its size their type.
        encode: Calls its argument with the ids, piece by piece, and returns facts and further arrays.

    Returns:
        The array "tokens", (tokens,) of the smallest unsigned type that holds the vocabulary, and what `encode`
        returned.
    """
    key = [*key, _short(tokenizer.spec())]
    folder = _folder(name, key)
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)

    def prepare() -> None:
        with growing_array(folder, "tokens", dtype) as append:
            facts, arrays = encode(append)
        commit(folder, key, facts, arrays)

    return prepared(folder, key, prepare)


def _folder(name: str, key: object) -> Path:
    return cache_dir() / "text" / f"{name}-{_short(key)}"


def _short(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]
