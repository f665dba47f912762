"""The contract of tokenizers: text to token ids and back, special tokens, and where a text can be cut."""

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from nnkit.errors import UserError
from nnkit.suggest import some_of

TokenizerKind = Literal["characters", "bytes", "words", "bpe", "wordpiece"]

# A spec may come from elsewhere; the largest vocabularies in use have a quarter of this.
MAX_VOCAB = 1_000_000
# Devlin et al. 2019, section 3 and appendix A.1. Padding is the first one, so that its id is 0.
SPECIAL_TOKENS: Final = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")


class Tokenizer(ABC):
    """Turns text into token ids and back.

    Attributes:
        vocab_size: Number of different tokens.
        unknown: Id of the token for what is out of vocabulary; None where every text can be encoded (bytes, bpe), and
            where such a text is refused (characters learnt without an unknown token).
        normalises: Whether canonically equivalent texts are equal, and all ways to end a line; see `cleaned`. Those of
            earlier releases read texts as they are.
    """

    vocab_size: int
    unknown: int | None
    normalises: bool = False

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the token ids of a text, (tokens,) int32.

        Raises:
            UserError: If a character is out of vocabulary and there is no unknown token.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the token ids of each text, as `encode` does one by one; most tokenizers are faster this way."""
        return self._encode([self.cleaned(text) for text in texts])

    @abstractmethod
    def _encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]: ...

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids.

        An incomplete character is decoded to U+FFFD, so that the text of a growing sequence can be shown as it grows.
        Characters, bytes and bpe give back exactly what was encoded; words and wordpiece give back the words, with
        blanks set by rule. What is encoded is the text as `cleaned` returns it.
        """

    def starts(self, text: str) -> NDArray[np.int64]:
        """Return the place at which each token begins, (tokens,), in characters of the text as `cleaned` returns it.

        Tokens that share a character begin at the same place.
        """
        return self._starts(self.cleaned(text))

    @abstractmethod
    def _starts(self, text: str) -> NDArray[np.int64]: ...

    def out_of_vocabulary(self, text: str) -> list[str]:
        """Return the characters or words of a text that are not in the vocabulary, each once, in their order."""
        return self._out_of_vocabulary(self.cleaned(text))

    @abstractmethod
    def _out_of_vocabulary(self, text: str) -> list[str]: ...

    @abstractmethod
    def token_text(self, token: int) -> str:
        """Return a token as tables show it: blanks and control characters made visible."""

    def spec(self) -> dict[str, Any]:
        """Return plain JSON data from which `tokenizer_from` makes this tokenizer again."""
        return self._spec() | ({"form": "NFC"} if self.normalises else {})

    @abstractmethod
    def _spec(self) -> dict[str, Any]: ...

    def cleaned(self, text: str) -> str:
        """Return the text whose tokens `encode` returns: as it is, unless several spellings are read as one.

        A letter with an accent is one code point or two, depending on where a text was written; Unicode's form NFC
        (UAX 15) makes it one. Carriage returns, alone or before a line feed, become line feeds.
        """
        return cleaned(text) if self.normalises else text


def cleaned(text: str) -> str:
    """Return a text in Unicode's form NFC, with line feeds as its only line ends."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        # No letter of Latin-1 has another form; to find that out takes a fifth of the time.
        text.encode("latin-1")
    except UnicodeEncodeError:
        return unicodedata.normalize("NFC", text)
    return text


class Reread:
    """Pieces of a text that are read anew each time they are iterated, as what learns a vocabulary may need it."""

    def __init__(self, read: Callable[[], Iterator[str]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[str]:
        return self._read()


class WithSpecialTokens(Tokenizer):
    """A tokenizer of any kind with special tokens; its own ids follow theirs.

    `encode` never makes a special token of text, even where the text looks like one.

    Args:
        inner: Encodes the text itself.
        special: The special tokens, in the order of their ids.
        ids: Their ids where they belong to the inner tokenizer's vocabulary, as in published models; None: they come
            before it.

    Attributes:
        special: The special tokens by their ids.
        first: Id of the inner tokenizer's first token.
    """

    def __init__(self, inner: Tokenizer, special: Sequence[str], ids: Sequence[int] | None = None) -> None:
        self.inner, self.first = inner, len(special) if ids is None else 0
        self.special = dict(zip(range(len(special)) if ids is None else ids, special, strict=True))
        self.vocab_size = inner.vocab_size + self.first
        self.unknown = None if inner.unknown is None else inner.unknown + self.first
        self.normalises = inner.normalises

    def _encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        return [ids + np.int32(self.first) for ids in self.inner._encode(texts)]

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the token ids of a text, without special tokens."""
        return self.inner.encode(text) + np.int32(self.first)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text, each special token as a word of its own."""
        parts: list[str] = []
        for is_special, run in groupby(map(int, tokens), self.special.__contains__):
            if is_special:
                parts += [self.special[token] for token in run]
            else:
                parts.append(self.inner.decode([token - self.first for token in run]))
        return " ".join(parts)

    def _starts(self, text: str) -> NDArray[np.int64]:
        return self.inner._starts(text)

    def _out_of_vocabulary(self, text: str) -> list[str]:
        return self.inner._out_of_vocabulary(text)

    def token_text(self, token: int) -> str:
        """Return the special token, or the inner tokenizer's text."""
        special = self.special.get(token)
        return self.inner.token_text(token - self.first) if special is None else special

    def spec(self) -> dict[str, Any]:
        """Return the inner tokenizer's spec, which does not name the special tokens."""
        return self._spec()

    def _spec(self) -> dict[str, Any]:
        return self.inner.spec()


class BertTokenizer(WithSpecialTokens):
    """A tokenizer of any kind with `SPECIAL_TOKENS`.

    Args:
        inner: Encodes the text itself.
        ids: As for `WithSpecialTokens`, in the order of `SPECIAL_TOKENS`.

    Attributes:
        cls_id: Id of [CLS], which begins a text.
        sep_id: Id of [SEP], which ends a text.
        mask_id: Id of [MASK], which replaces a masked token.
    """

    def __init__(self, inner: Tokenizer, ids: Sequence[int] | None = None) -> None:
        super().__init__(inner, SPECIAL_TOKENS, ids)
        _, self.cls_id, self.sep_id, self.mask_id = self.special

    def encode_masked(self, text: str) -> NDArray[np.int32]:
        """Return the token ids of a text in which each [MASK] is a masked token."""
        first, *others = map(self.encode, text.split(self.special[self.mask_id]))
        mask = np.array([self.mask_id], np.int32)
        return np.concatenate([first, *(row for ids in others for row in (mask, ids))])

    def _spec(self) -> dict[str, Any]:
        # "marked" is what the preprocessing.json of earlier releases has.
        spec: dict[str, Any] = {"kind": "marked", "of": self.inner.spec()}
        return spec if self.first else spec | {"ids": list(self.special)}

    @classmethod
    def restore(cls, inner: Tokenizer, ids: Any) -> "BertTokenizer":
        """Make it from the ids of its spec; a UserError if they are no ids."""
        if ids is None:
            return cls(inner)
        known = isinstance(ids, list) and all(
            type(token) is int and 0 <= token < inner.vocab_size for token in ids
        )
        if not known or not len(ids) == len({*ids}) == len(SPECIAL_TOKENS):
            raise UserError(f"the ids of {', '.join(SPECIAL_TOKENS)} must be four tokens of the vocabulary")
        return cls(inner, ids)


def visible(text: str) -> str:
    """Return a text on one line, with signs for blanks and escapes for what cannot be printed."""
    return "".join("␣" if char == " " else char if char.isprintable() else repr(char)[1:-1] for char in text)


def quoted(texts: Sequence[str], most: int = 8) -> str:
    """Return the first of some texts in quotes, and how many more there are."""
    return some_of([repr(text) for text in texts], most)


def strings_of(spec: dict[str, Any], key: str) -> list[str]:
    """Return a list of strings from a spec that may come from elsewhere; a UserError if it is none, or too long."""
    value = spec.get(key)
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise UserError(f"the tokenizer's {key} must be a list of strings, not {_short(value)}")
    if len(value) > MAX_VOCAB:
        raise UserError(f"the tokenizer's {key} has {len(value):,} entries, more than {MAX_VOCAB:,}")
    return value


def refuse_repeated(vocabulary: Sequence[str]) -> None:
    """Raise a UserError if a vocabulary is empty or holds an entry twice."""
    if not vocabulary:
        raise UserError("the tokenizer's vocabulary is empty")
    if len(set(vocabulary)) < len(vocabulary):
        raise UserError("the tokenizer's vocabulary holds an entry twice")


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."


def cut_before(text: str, end: int, start: int = 0) -> int | None:
    """Return the last place in a text where it can be cut without changing the tokens on either side.

    That is before white space that follows something else: words end there, byte-level BPE never merges across it,
    and no rule for the token before reads what comes after.

    Args:
        text: The text.
        end: Where to cut at the latest.
        start: Where to cut at the earliest, exclusive.

    Returns:
        The place, above start and at most end; None if there is none.
    """
    while end > start:
        place = max(text.rfind(" ", start + 1, end + 1), text.rfind("\n", start + 1, end + 1))
        if place < 0:
            return None
        if not text[place - 1].isspace():
            return place
        end = place - 1
    return None


def pieces(text: str, size: int) -> Iterator[str]:
    """Cut a text before white space into pieces of about `size` characters, which joined are the text."""
    start = 0
    while len(text) - start > size:
        place = cut_before(text, start + size, start)
        if place is None:
            # One word, or one run of blanks, is longer than a piece.
            place = next_cut(text, start + size)
        yield text[start:place]
        start = place
    yield text[start:]


def next_cut(text: str, start: int) -> int:
    """Return the first place after `start` where a text can be cut; its end if there is none."""
    for place in range(start + 1, len(text)):
        if text[place] in " \n" and not text[place - 1].isspace():
            return place
    return len(text)
