"""Paragraphs of CPython's documentation, and which part of it each is from: texts to fine-tune on."""

import hashlib
import json
import platform
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nnkit.data.base import Split
from nnkit.data.datasets.docstrings import Document, gathered, named_documents
from nnkit.data.datasets.library_chapters import chapter_of
from nnkit.data.text.labelled_texts import Labelled, LabelledTexts
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import UserError

# Raised when the same library gives other rows.
_FORMAT = 1
# Characters of a paragraph.
_SHORTEST, _LONGEST = 100, 600
# Share of a topic's paragraphs in the test and in the validation part, at most.
_HELD_OUT = 0.12

# A paragraph, what it is about, and the module or help topic it stands in.
_Row = tuple[str, str, str]


class PyDocsTopics(LabelledTexts):
    """Which part of Python's documentation a paragraph is from: a chapter of the library reference, or the language.

    Paragraphs are prose of 100 to 600 characters, without the name of what they describe, each once. A module is in
    one part of the split only: what stands around a paragraph of the test part was not trained on. No network is
    needed; each version of Python has other texts.

    Args:
        tokenizer: As in `LabelledTexts`, like the rest.
        max_vocab: As in `LabelledTexts`.
        max_length: As in `LabelledTexts`.
        markers: As in `LabelledTexts`.
        batch_size: As in `LabelledTexts`.
        max_tokens: As in `LabelledTexts`.
        eval_batch_size: As in `LabelledTexts`.
        num_workers: As in `LabelledTexts`.
        seed: As in `LabelledTexts`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        tokenizer: TokenizerKind = "wordpiece",
        max_vocab: int | None = None,
        max_length: int = 128,
        markers: bool = True,
        batch_size: int = 32,
        max_tokens: int | None = None,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            max_vocab=max_vocab,
            max_length=max_length,
            markers=markers,
            batch_size=batch_size,
            max_tokens=max_tokens,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )

    def load(self, expected: str | None) -> Labelled:
        """Gather the paragraphs, or find them in the cache.

        Raises:
            UserError: If this Python has others than that which prepared the run.
        """
        content = gathered("topics", ".jsonl", _FORMAT, _lines).read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if expected is not None and found != expected:
            raise UserError(
                f"the documentation of Python {platform.python_version()} is not that which this run was prepared "
                f"with: its SHA-256 was {expected[:12]}, now it is {found[:12]}; use the Python that prepared it"
            )
        rows: list[dict[str, Any]] = [json.loads(line) for line in content.splitlines()]
        return Labelled(
            title="Python's documentation",
            columns={"text": "text", "target": "topic"},
            texts=[row["text"] for row in rows],
            labels=[row["topic"] for row in rows],
            fingerprint=found,
            splits=[row["part"] for row in rows],
        )


def _lines(library: Path) -> str:
    """Return the content of the file in the cache: a JSON object on each line."""
    rows = _unambiguous(_paragraphs(named_documents(library)))
    parts = _dealt(rows)
    records = ({"text": text, "topic": topic, "part": parts[topic, unit]} for text, topic, unit in rows)
    return "".join(json.dumps(record) + "\n" for record in records)


def _paragraphs(documents: Iterable[Document]) -> Iterator[_Row]:
    for document in documents:
        topic = chapter_of(document.module)
        for paragraph in re.split(r"\n\s*\n", document.text) if topic else ():
            text = " ".join(paragraph.split())
            # Examples for the interpreter are no prose.
            if topic and _SHORTEST <= len(text) <= _LONGEST and ">>>" not in text:
                yield text, topic, document.module or document.name


def _unambiguous(rows: Iterable[_Row]) -> list[_Row]:
    """Keep the first of equal paragraphs, and none that stands in two parts of the documentation."""
    first: dict[str, _Row] = {}
    topics = defaultdict[str, set[str]](set)
    for row in rows:
        first.setdefault(row[0], row)
        topics[row[0]].add(row[1])
    return [row for text, row in first.items() if len(topics[text]) == 1]


def _dealt(rows: Iterable[_Row]) -> dict[tuple[str, str], Split]:
    """Return the split of each module of a topic: the first ones that fit, in an order by hash, are held out."""
    sizes = Counter((topic, unit) for _, topic, unit in rows)
    totals = Counter[str]()
    for (topic, _), size in sizes.items():
        totals[topic] += size
    filled = Counter[tuple[str, Split]]()
    parts: dict[tuple[str, str], Split] = {}
    for topic, unit in sorted(sizes, key=_shuffled):
        size, most = sizes[topic, unit], _HELD_OUT * totals[topic]
        held_out: tuple[Split, ...] = ("test", "val")
        fitting: list[Split] = [part for part in held_out if filled[topic, part] + size <= most]
        part = fitting[0] if fitting else "train"
        filled[topic, part] += size
        parts[topic, unit] = part
    return parts


def _shuffled(key: tuple[str, str]) -> str:
    return hashlib.sha256("/".join(key).encode()).hexdigest()
