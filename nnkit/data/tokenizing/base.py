"""What every tokenizer does: text to numbers and back, and a description that JSON can hold."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnkit.errors import UserError
from nnkit.suggest import some_of

TokenizerKind = Literal["characters", "bytes", "words", "bpe", "wordpiece"]

# A spec that claims more comes from elsewhere; the largest vocabularies in use have a quarter of it.
MAX_VOCAB = 1_000_000


class Tokenizer(ABC):
    """Turns text into token numbers and back.

    Attributes:
        vocab_size: Number of different tokens.
        unknown: Number of the token that stands for what is not in the vocabulary; None where every text can be
            encoded (bytes, bpe) or an outsider is refused (characters learnt without one).
    """

    vocab_size: int
    unknown: int | None

    @abstractmethod
    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the token numbers of a text, (tokens,) int32.

        Raises:
            UserError: If a character is not in the vocabulary and there is no unknown token.
        """

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the token numbers of each text; the same as `encode` one by one, and faster."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token numbers.

        What is left of a character cut in two is shown as U+FFFD, so that the text of a growing sequence can be
        shown as it grows. Characters, bytes and bpe give back exactly what was encoded; words and wordpiece
        give back the words, with blanks set by rule.
        """

    @abstractmethod
    def starts(self, text: str) -> NDArray[np.int64]:
        """Return the place in a text at which each of its tokens begins, (tokens,), in characters.

        Of tokens that share a character, each begins at it.
        """

    @abstractmethod
    def outsiders(self, text: str) -> list[str]:
        """Return the characters or words of a text that are not in the vocabulary, each once, in their order."""

    @abstractmethod
    def token_text(self, token: int) -> str:
        """Return what one token looks like, for tables: blanks and control characters made visible."""

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return plain JSON data from which `tokenizer_from` makes this tokenizer again."""


def visible(text: str) -> str:
    """Return a text on one line, with marks for blanks and escapes for what cannot be printed."""
    return "".join("␣" if char == " " else char if char.isprintable() else repr(char)[1:-1] for char in text)


def quoted(texts: Sequence[str], most: int = 8) -> str:
    """Return the first of some texts in quotes, and how many more there are."""
    return some_of([repr(text) for text in texts], most)


def strings_of(spec: dict[str, Any], key: str) -> list[str]:
    """Return a list of strings from a spec that may come from elsewhere.

    Raises:
        UserError: If it is no such list, or too long.
    """
    value = spec.get(key)
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise UserError(f"the tokenizer's {key} must be a list of strings, not {_short(value)}")
    if len(value) > MAX_VOCAB:
        raise UserError(f"the tokenizer's {key} has {len(value):,} entries, more than {MAX_VOCAB:,}")
    return value


def refuse_repeated(vocabulary: Sequence[str]) -> None:
    """Refuse a vocabulary that is empty or holds an entry twice.

    Raises:
        UserError: If it does.
    """
    if not vocabulary:
        raise UserError("the tokenizer's vocabulary is empty")
    if len(set(vocabulary)) < len(vocabulary):
        raise UserError("the tokenizer's vocabulary holds an entry twice")


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
