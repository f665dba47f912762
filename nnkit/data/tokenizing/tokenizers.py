"""Choosing a tokenizer: learnt from texts by its kind, or made again from its spec."""

from collections.abc import Iterable
from typing import Any, get_args

from nnkit.data.tokenizing.base import MAX_VOCAB, Tokenizer, TokenizerKind, quoted
from nnkit.data.tokenizing.library import DEFAULT_VOCAB, LibraryTokenizer
from nnkit.data.tokenizing.marked import MARKS, Marked
from nnkit.data.tokenizing.pieces import cut_before, next_cut, pieces
from nnkit.data.tokenizing.plain import Bytes, Characters
from nnkit.errors import UserError

__all__ = [
    "DEFAULT_VOCAB",
    "MARKS",
    "Marked",
    "Tokenizer",
    "TokenizerKind",
    "check_tokenizer",
    "cut_before",
    "learn_tokenizer",
    "next_cut",
    "pieces",
    "quoted",
    "tokenizer_from",
]

# Fewer hold nothing but what the kind itself needs.
_LEAST = {"characters": 2, "words": 2, "bpe": 257, "wordpiece": 16}


def check_tokenizer(kind: TokenizerKind, max_vocab: int | None, *, markers: bool = False) -> None:
    """Refuse a vocabulary size that the kind of tokenizer cannot have.

    Args:
        kind: characters, bytes, words, bpe or wordpiece.
        max_vocab: Tokens at most, or None.
        markers: Whether BERT's marks are among them.

    Raises:
        ValueError: If it is out of range.
    """
    if kind not in get_args(TokenizerKind):
        raise ValueError(f"tokenizer must be {', '.join(get_args(TokenizerKind))}, not {kind!r}")
    if max_vocab is None:
        return
    if kind == "bytes":
        raise ValueError("max_vocab does not go with tokenizer=bytes, which has the 256 bytes")
    least = _LEAST[kind] + (len(MARKS) if markers else 0)
    if not least <= max_vocab <= MAX_VOCAB:
        raise ValueError(
            f"max_vocab must lie between {least} and {MAX_VOCAB:,} for tokenizer={kind}, not {max_vocab}"
        )


def learn_tokenizer(
    kind: TokenizerKind,
    texts: Iterable[str],
    *,
    max_vocab: int | None,
    with_unknown: bool,
    markers: bool = False,
) -> Tokenizer:
    """Learn a vocabulary; equal texts give equal vocabularies.

    Args:
        kind: characters; bytes (nothing is learnt); words (words, signs and ends of lines); bpe (byte-level, loses
            nothing); wordpiece (BERT's, cased).
        texts: The texts, or stretches of one, cut where `cut_before` says. A list, or what can be gone through twice,
            saves memory.
        max_vocab: Tokens at most; None: every character, and `DEFAULT_VOCAB` of the others.
        with_unknown: Whether characters get a token for those outside the vocabulary; words and wordpiece always
            have one, bytes and bpe need none, characters that `max_vocab` cuts off demand one.
        markers: Whether BERT's marks come before the tokens; they count as tokens.

    Returns:
        The tokenizer; with markers a `Marked` one.

    Raises:
        ValueError: If `max_vocab` is out of range.
        UserError: If the texts are empty.
    """
    check_tokenizer(kind, max_vocab, markers=markers)
    if markers:
        size = max_vocab or DEFAULT_VOCAB.get(kind)
        size = None if size is None else size - len(MARKS)
        return Marked(learn_tokenizer(kind, texts, max_vocab=size, with_unknown=with_unknown))
    if kind == "bytes":
        return Bytes()
    if kind == "characters":
        learnt: Tokenizer = Characters.learn(texts, max_vocab, with_unknown)
    else:
        learnt = LibraryTokenizer.learn(kind, texts, max_vocab)
    if learnt.vocab_size <= (learnt.unknown is not None):
        raise UserError(f"there is no text to learn {kind} from")
    return learnt


def tokenizer_from(spec: dict[str, Any]) -> Tokenizer:
    """Make a tokenizer from its spec, which may come from elsewhere: nothing of it is run, sizes are bounded.

    Args:
        spec: What `Tokenizer.spec` returned.

    Raises:
        UserError: If it is no such spec.
    """
    kind = spec.get("kind") if isinstance(spec, dict) else None
    if kind == "marked":
        inner = spec.get("of")
        if not isinstance(inner, dict) or inner.get("kind") == "marked":
            raise UserError("a marked tokenizer is of another one, and its spec holds none")
        return Marked(tokenizer_from(inner))
    if kind == "bytes":
        return Bytes()
    if kind == "characters":
        return Characters.restore(spec)
    if isinstance(kind, str) and kind in DEFAULT_VOCAB:
        return LibraryTokenizer.restore(spec)
    raise UserError(f"a tokenizer's kind is {', '.join(get_args(TokenizerKind))}, not {str(kind)[:40]!r}")
