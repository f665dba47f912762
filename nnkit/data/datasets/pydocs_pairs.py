"""CPython's own documentation as documents of sentences: what BERT can be pre-trained on anywhere."""

import platform
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from nnkit.data.datasets.documentation import documents, gathered
from nnkit.data.pairs.documents import cut_sentences, paragraphs
from nnkit.data.pairs.sentence_pairs import SentencePairs
from nnkit.data.text.corpus import Corpus, TextSource

# Raised when the same library gives another text.
_FORMAT = 1


class PyDocsPairs(SentencePairs):
    """The help topics of Python, each a document, and all docstrings of each module of its library; no network needed.

    The text is the same on machines with the same version of Python, and another one with each version.
    """

    def corpus(self) -> Corpus:
        """Gather the text, or find it in the cache."""
        path = gathered("pairs", ".txt", _FORMAT, _text)
        return Corpus("Python's documentation", [TextSource("pydocs-pairs.txt", path)], "utf-8")

    def origin(self) -> dict[str, str]:
        """Return the version of Python."""
        return {"Python": platform.python_version()}


def _text(library: Path) -> str:
    """Return a sentence on each line, a blank line behind each document."""
    return "\n\n".join("\n".join(sentences) for sentences in _documents(library)) + "\n"


def _documents(library: Path) -> Iterator[list[str]]:
    # A topic belongs to no module and is a document by itself.
    for _, group in groupby(documents(library), lambda found: found.module or f"topic {found.name}"):
        sentences = [
            sentence
            for found in group
            for lines in paragraphs(found.text)
            for sentence in cut_sentences(" ".join(" ".join(lines).split()))
        ]
        if sentences:
            yield sentences
