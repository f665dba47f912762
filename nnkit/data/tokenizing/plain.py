"""Tokenizers of characters and of bytes of UTF-8."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nnkit.data.tokenizing.base import Tokenizer, quoted, refuse_repeated, visible
from nnkit.errors import UserError

_NUM_CODE_POINTS: Final = 0x110000
_UNKNOWN: Final = "<unk>"
_REPLACEMENT: Final = "\ufffd"
# Marks a byte without an id.
_MISSING: Final = 255


class Characters(Tokenizer):
    """One token a character (a Unicode code point), looked up in a table.

    Args:
        vocabulary: The characters, each once, in the order of their ids.
        with_unknown: Whether id 0 stands for every other character; otherwise others are refused.
    """

    def __init__(self, vocabulary: str, with_unknown: bool) -> None:
        self._vocabulary = vocabulary
        self._texts = [_UNKNOWN, *vocabulary] if with_unknown else list(vocabulary)
        self.vocab_size = len(self._texts)
        self.unknown = 0 if with_unknown else None
        points = code_points(vocabulary)
        # The last entry answers for every code point beyond the largest one of the vocabulary.
        self._table = np.full(int(points.max(initial=0)) + 2, -1, np.int32)
        self._table[points] = np.arange(len(points)) + with_unknown
        # Of Latin-1, whose bytes are translated several times as fast as code points are looked up.
        latin = self._table.take(np.arange(256), mode="clip")
        is_small = latin.max() < _MISSING
        self._latin = np.where(latin < 0, _MISSING, latin).astype(np.uint8).tobytes() if is_small else None

    @classmethod
    def learn(cls, texts: Iterable[str], max_vocab: int | None, with_unknown: bool) -> "Characters":
        """Take every character of the texts, in the order of their code points.

        Args:
            texts: The texts, or pieces of one.
            max_vocab: Tokens at most, the unknown one included; the most frequent characters stay.
            with_unknown: As for `Characters`; there is one in any case where characters had to go.
        """
        if max_vocab is None:
            return cls("".join(map(chr, seen_code_points(texts).tolist())), with_unknown)
        counts = count_code_points(texts)
        points = np.flatnonzero(counts)
        if len(points) + with_unknown > max_vocab:
            with_unknown = True
            # Stable, so that of equally frequent ones the smaller code point stays.
            order = np.argsort(-counts[points], kind="stable")
            points = np.sort(points[order[: max_vocab - with_unknown]])
        return cls("".join(map(chr, points.tolist())), with_unknown)

    @classmethod
    def restore(cls, spec: dict[str, Any]) -> "Characters":
        """Make it from its spec; a UserError if it is none."""
        vocabulary, with_unknown = spec.get("vocabulary"), spec.get("with_unknown")
        if not isinstance(vocabulary, str) or not isinstance(with_unknown, bool):
            raise UserError(
                "a tokenizer of characters has a vocabulary, a string, and with_unknown, true or false"
            )
        refuse_repeated(vocabulary)
        return cls(vocabulary, with_unknown)

    def _encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        text = "".join(texts)
        ids = self._looked_up(text)
        if ids.size and ids.min() < 0:
            if self.unknown is None:
                lacking = self._out_of_vocabulary(text)
                noun = "a character" if len(lacking) == 1 else "characters"
                raise UserError(f"the text has {noun} that the vocabulary lacks: {quoted(lacking)}")
            np.maximum(ids, self.unknown, out=ids)
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64).tolist()
        return [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def _looked_up(self, text: str) -> NDArray[np.int32]:
        """Return the id of each character, -1 of one that the vocabulary lacks."""
        if self._latin is not None:
            with suppress(UnicodeEncodeError):
                content = text.encode("latin-1").translate(self._latin)
                if _MISSING not in content:
                    return np.frombuffer(content, np.uint8).astype(np.int32)
        ids: NDArray[np.int32] = self._table.take(code_points(text), mode="clip")
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the characters; the unknown one as U+FFFD."""
        return "".join(_REPLACEMENT if token == self.unknown else self._texts[token] for token in tokens)

    def _starts(self, text: str) -> NDArray[np.int64]:
        return np.arange(len(text))

    def _out_of_vocabulary(self, text: str) -> list[str]:
        points = code_points(text)
        missing = points[self._table.take(points, mode="clip") < 0]
        return [chr(point) for point in dict.fromkeys(missing.tolist())]

    def token_text(self, token: int) -> str:
        """Return the character, made visible."""
        return self._texts[token] if token == self.unknown else visible(self._texts[token])

    def _spec(self) -> dict[str, Any]:
        return {
            "kind": "characters",
            "vocabulary": self._vocabulary,
            "with_unknown": self.unknown is not None,
        }


class Bytes(Tokenizer):
    """One token a byte of UTF-8: 256 tokens, every text can be encoded."""

    vocab_size = 256
    unknown = None

    def _encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        # Half a surrogate pair, which only broken input holds, is written as its own bytes.
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        return [np.frombuffer(content, np.uint8).astype(np.int32) for content in encoded]

    def decode(self, tokens: Sequence[int]) -> str:
        """Read the bytes as UTF-8; invalid ones become U+FFFD."""
        return bytes(tokens).decode("utf-8", errors="replace")

    def _starts(self, text: str) -> NDArray[np.int64]:
        points = code_points(text)
        return np.repeat(np.arange(len(text)), 1 + sum(points >= most for most in (0x80, 0x800, 0x10000)))

    def _out_of_vocabulary(self, text: str) -> list[str]:
        return []

    def token_text(self, token: int) -> str:
        """Return the ASCII character, or the byte in hex digits."""
        return visible(chr(token)) if token < 0x80 else f"\\x{token:02x}"

    def _spec(self) -> dict[str, Any]:
        return {"kind": "bytes"}


def code_points(text: str) -> NDArray[np.uint32]:
    """Return the code point of each character, (characters,) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def seen_code_points(texts: Iterable[str]) -> NDArray[np.int64]:
    """Return the code points that occur in the texts, each once, in order; several times as fast as counting them."""
    seen, latin = np.zeros(_NUM_CODE_POINTS, np.bool_), b""
    for text in texts:
        try:
            content = text.encode("latin-1")
        except UnicodeEncodeError:
            seen[code_points(text)] = True
        else:
            latin += bytes(set(content.translate(None, latin)))
    seen[list(latin)] = True
    return np.flatnonzero(seen)


def count_code_points(texts: Iterable[str]) -> NDArray[np.int64]:
    """Return how often each code point occurs in the texts, (0x110000,) int64."""
    counts = np.zeros(_NUM_CODE_POINTS, np.int64)
    for text in texts:
        part = np.bincount(code_points(text))
        counts[: len(part)] += part
    return counts
