"""Texts as documents of sentences: what pairs of sentences are drawn from."""

import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Literal

from nnkit.data.text.text_reading import Corpus, read_text

DocumentRule = Literal["blank_lines", "files"]
SentenceRule = Literal["lines", "punctuation"]

# After a full stop a sentence begins with anything but a small letter; East Asian full stops need no blank.
_ENDS = re.compile(r"(?<=[.!?\u2026])[\"')\]\u2019\u201d]*\s+(?=`|\W?[^\Wa-z_])|(?<=[\u3002\uff01\uff1f])\s*")


def read_documents(
    corpus: Corpus,
    documents: DocumentRule,
    sentences: SentenceRule,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[list[str]]:
    """Yield the sentences of each document, none of them empty.

    Args:
        corpus: The text.
        documents: Whether a document ends at "blank_lines" or with its file ("files").
        sentences: Whether each of the "lines" is a sentence, or "punctuation" ends one; then no sentence goes on over
            a blank line.
        advance: Is told how many bytes were read.
    """
    for source in corpus.sources:
        found = (
            paragraph if sentences == "lines" else cut_sentences(" ".join(paragraph))
            for paragraph in _paragraphs(read_text(source.path, corpus.encoding, advance=advance))
        )
        if documents == "blank_lines":
            yield from found
        else:
            yield list(chain.from_iterable(found))


def cut_sentences(text: str) -> list[str]:
    """Cut one paragraph behind full stops, marks of question and of exclamation; quotes and brackets stay behind them.

    Abbreviations are not known: a capital letter after one begins a sentence.
    """
    sentences, begin = [], 0
    for match in _ENDS.finditer(text):
        # What closes a quotation belongs to what it closes.
        closing = match.group().rstrip()
        sentences.append(text[begin : match.start()] + closing)
        begin = match.end()
    sentences.append(text[begin:])
    return [sentence.strip() for sentence in sentences if sentence.strip()]


def paragraphs(text: str) -> Iterator[list[str]]:
    """Yield the lines of each paragraph of a text, blanks at both ends removed; blank lines part paragraphs."""
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
