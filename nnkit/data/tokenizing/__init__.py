"""Tokenizers: learnt from texts by their kind, or made again from their spec."""

from collections.abc import Iterable
from typing import Any, get_args

from nnkit.data.tokenizing.base import (
    MAX_VOCAB,
    SPECIAL_TOKENS,
    BertTokenizer,
    Reread,
    Tokenizer,
    TokenizerKind,
    WithSpecialTokens,
    cleaned,
    cut_before,
    next_cut,
    pieces,
    quoted,
)
from nnkit.data.tokenizing.library import DEFAULT_VOCAB, LibraryTokenizer, Rules
from nnkit.data.tokenizing.plain import Bytes, Characters
from nnkit.errors import UserError

__all__ = [
    "RULES",
    "SPECIAL_TOKENS",
    "BertTokenizer",
    "Reread",
    "Rules",
    "Tokenizer",
    "TokenizerKind",
    "WithSpecialTokens",
    "check_tokenizer",
    "cleaned",
    "cut_before",
    "learn_tokenizer",
    "next_cut",
    "pieces",
    "quoted",
    "tokenizer_from",
]

# Raised when equal texts give another vocabulary than before, so that one in the cache is learnt anew.
RULES = 2
# With fewer tokens there is no room for anything learnt.
_LEAST = {"characters": 2, "words": 2, "bpe": 257, "wordpiece": 16}


def check_tokenizer(kind: TokenizerKind, max_vocab: int | None, *, special_tokens: bool = False) -> None:
    """Refuse a vocabulary size that the kind of tokenizer cannot have.

    Args:
        kind: characters, bytes, words, bpe or wordpiece.
        max_vocab: Tokens at most, or None.
        special_tokens: Whether BERT's special tokens are among them.

    Raises:
        ValueError: If it is out of range.
    """
    if kind not in get_args(TokenizerKind):
        raise ValueError(f"tokenizer must be {', '.join(get_args(TokenizerKind))}, not {kind!r}")
    if max_vocab is None:
        return
    if kind == "bytes":
        raise ValueError("max_vocab does not go with tokenizer=bytes, which has the 256 bytes")
    least = _LEAST[kind] + (len(SPECIAL_TOKENS) if special_tokens else 0)
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
    special_tokens: bool = False,
) -> Tokenizer:
    """Learn a vocabulary; equal texts give equal vocabularies, and canonically equivalent ones count as equal.

    Args:
        kind: characters; bytes (nothing is learnt); words (words, signs and ends of lines; of scripts without blanks
            between words, such as Chinese, what `LibraryTokenizer` cuts them into); bpe (byte-level, loses
            nothing); wordpiece (BERT's, cased).
        texts: The texts, or pieces of one, cut where `cut_before` says. What can be iterated twice saves memory.
        max_vocab: Tokens at most; None: every character, and `DEFAULT_VOCAB` of the others.
        with_unknown: Whether characters have an unknown token, as they do wherever `max_vocab` cuts characters off;
            words and wordpiece always have one, bytes and bpe need none.
        special_tokens: Whether BERT's special tokens come first; they count as tokens.

    Returns:
        The tokenizer; with special tokens it is a `BertTokenizer`.

    Raises:
        ValueError: If `max_vocab` is out of range.
        UserError: If the texts are empty.
    """
    check_tokenizer(kind, max_vocab, special_tokens=special_tokens)
    if special_tokens:
        size = max_vocab or DEFAULT_VOCAB.get(kind)
        size = None if size is None else size - len(SPECIAL_TOKENS)
        return BertTokenizer(learn_tokenizer(kind, texts, max_vocab=size, with_unknown=with_unknown))
    once = iter(texts) is texts
    clean: Iterable[str] = map(cleaned, texts) if once else Reread(lambda: map(cleaned, texts))
    learnt: Tokenizer
    if kind == "bytes":
        learnt = Bytes()
    elif kind == "characters":
        learnt = Characters.learn(clean, max_vocab, with_unknown)
    else:
        learnt = LibraryTokenizer.learn(kind, clean, max_vocab)
    if learnt.vocab_size <= (learnt.unknown is not None):
        raise UserError(f"there is no text to learn {kind} from")
    learnt.normalises = True
    return learnt


def tokenizer_from(spec: dict[str, Any]) -> Tokenizer:
    """Make a tokenizer from what `Tokenizer.spec` returned; nothing of it is run, and its sizes are bounded.

    Raises:
        UserError: If it is no such spec.
    """
    kind = spec.get("kind") if isinstance(spec, dict) else None
    if kind == "marked":
        inner = spec.get("of")
        if not isinstance(inner, dict) or inner.get("kind") == "marked":
            raise UserError("a tokenizer with special tokens has another one inside, and its spec holds none")
        return BertTokenizer.restore(tokenizer_from(inner), spec.get("ids"))
    if kind == "bytes":
        made: Tokenizer = Bytes()
    elif kind == "characters":
        made = Characters.restore(spec)
    elif isinstance(kind, str) and kind in DEFAULT_VOCAB:
        made = LibraryTokenizer.restore(spec)
    else:
        raise UserError(f"a tokenizer's kind is {', '.join(get_args(TokenizerKind))}, not {str(kind)[:40]!r}")
    # Vocabularies of earlier releases were learnt from texts as they were.
    made.normalises = spec.get("form") == "NFC"
    return made
