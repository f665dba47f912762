"""A tokenizer of any kind with four marks before its tokens, as BERT reads texts."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nnkit.data.tokenizing.base import Tokenizer

# Devlin et al. 2019, section 3 and appendix A.1; the first one fills up what is short, so that it is number 0.
MARKS: Final = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")


class Marked(Tokenizer):
    """Tokens of another tokenizer, numbered on after the marks.

    A mark that stands in a text is text like any other: `encode` never makes a mark of it.

    Args:
        inner: Encodes what lies between the marks.

    Attributes:
        begin: Number of the mark before a text, [CLS].
        end: Number of the mark behind a text, [SEP].
        hidden: Number of the mark that hides a token, [MASK].
    """

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner
        self.vocab_size = inner.vocab_size + len(MARKS)
        self.unknown = None if inner.unknown is None else inner.unknown + len(MARKS)
        self.begin, self.end, self.hidden = (MARKS.index(mark) for mark in ("[CLS]", "[SEP]", "[MASK]"))

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the token numbers of a text, without marks."""
        return self.inner.encode(text) + np.int32(len(MARKS))

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the token numbers of each text, without marks."""
        return [numbers + np.int32(len(MARKS)) for numbers in self.inner.encode_batch(texts)]

    def encode_hidden(self, text: str) -> NDArray[np.int32]:
        """Return the token numbers of a text in which each [MASK] hides a token."""
        shown = re.split(re.escape(MARKS[self.hidden]), text)
        rows = [self.encode(part) for part in shown]
        mark = np.array([self.hidden], np.int32)
        return np.concatenate([rows[0], *(row for part in rows[1:] for row in (mark, part))])

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text, each mark as a word of its own."""
        parts = []
        for is_mark, run in groupby(tokens, lambda token: token < len(MARKS)):
            numbers = list(run)
            if is_mark:
                parts += [MARKS[number] for number in numbers]
            else:
                parts.append(self.inner.decode([number - len(MARKS) for number in numbers]))
        return " ".join(parts)

    def starts(self, text: str) -> NDArray[np.int64]:
        """Return where each token of a text begins."""
        return self.inner.starts(text)

    def outsiders(self, text: str) -> list[str]:
        """Return what of a text the vocabulary lacks."""
        return self.inner.outsiders(text)

    def token_text(self, token: int) -> str:
        """Return the mark, or what the token looks like."""
        return MARKS[token] if token < len(MARKS) else self.inner.token_text(token - len(MARKS))

    def spec(self) -> dict[str, Any]:
        """Return the spec of the tokenizer between the marks."""
        return {"kind": "marked", "of": self.inner.spec()}
