"""The tokenizers of both sides of pairs of texts, whose numbers leave room for two marks."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nnkit.data.text.encoded_texts import EncodedTexts, encode_texts
from nnkit.data.tokenizing import (
    Tokenizer,
    TokenizerKind,
    check_tokenizer,
    learn_tokenizer,
    quoted,
    tokenizer_from,
)

BEGIN: Final = 0
END: Final = 1
# Under which keys a data module keeps them.
SPECS: Final = ("source_tokenizer", "target_tokenizer")
_NUM_MARKS: Final = 2


class PairTokenizers:
    """Turns sources and targets into numbers: 0 begins a target, 1 ends it, a tokenizer's own numbers come behind.

    Sources have the same numbers without marks in them, so that one vocabulary for both sides is one numbering.

    Args:
        source: Tokenizer of the sources.
        target: Tokenizer of the targets, maybe the same one.

    Attributes:
        source: As given.
        target: As given.
        source_vocab_size: Numbers that a source may hold, and the marks.
        vocab_size: Numbers that a target may hold, the marks among them.
        source_unknown: The number of what no source of the training part holds; None if there is none.
        target_unknown: The number of what no target of the training part holds; None if there is none.
    """

    def __init__(self, source: Tokenizer, target: Tokenizer) -> None:
        self.source, self.target = source, target
        self.source_vocab_size = source.vocab_size + _NUM_MARKS
        self.vocab_size = target.vocab_size + _NUM_MARKS
        self.source_unknown = None if source.unknown is None else source.unknown + _NUM_MARKS
        self.target_unknown = None if target.unknown is None else target.unknown + _NUM_MARKS

    @classmethod
    def restore(cls, learnt: Mapping[str, Any]) -> "PairTokenizers":
        """Make them from what `specs` returned, or a mapping with its keys.

        Raises:
            UserError: If a spec is none.
        """
        source, target = (learnt[key] for key in SPECS)
        tokenizer = tokenizer_from(source)
        return cls(tokenizer, tokenizer if source == target else tokenizer_from(target))

    def specs(self) -> dict[str, Any]:
        """Return plain JSON data from which `restore` makes these again."""
        return dict(zip(SPECS, (self.source.spec(), self.target.spec()), strict=True))

    def encode_sources(self, texts: Sequence[str], max_length: int) -> EncodedTexts:
        """Encode sources and cut them after `max_length` tokens."""
        encoded = encode_texts(self.source, texts, max_length)
        return encoded._replace(tokens=encoded.tokens + _NUM_MARKS)

    def encode_targets(self, texts: Sequence[str]) -> EncodedTexts:
        """Encode targets, whole and without marks."""
        encoded = encode_texts(self.target, texts, sys.maxsize)
        return encoded._replace(tokens=encoded.tokens + _NUM_MARKS)

    def decode_target(self, tokens: Sequence[int]) -> str:
        """Return the text of what was written, up to the end mark; marks of the beginning are left out."""
        numbers = [int(token) for token in tokens]
        numbers = numbers[: numbers.index(END)] if END in numbers else numbers
        return self.target.decode([token - _NUM_MARKS for token in numbers if token >= _NUM_MARKS])

    def token_texts(self, tokens: Sequence[int], *, target: bool) -> list[str]:
        """Return what tokens of a source or of a target look like, for pictures."""
        tokenizer, marks = self.target if target else self.source, ("<begin>", "<end>")
        return [
            marks[token] if token < _NUM_MARKS else tokenizer.token_text(token - _NUM_MARKS)
            for token in tokens
        ]

    def out_of_vocabulary(self, source: str) -> str:
        """Return what of a source is not in the vocabulary, for a sentence; "" if there is nothing."""
        return quoted(self.source.out_of_vocabulary(source)) if self.source.unknown is not None else ""


def check_pair_tokenizers(
    source: TokenizerKind, target: TokenizerKind, max_vocab: int | None, joint: bool
) -> None:
    """Refuse tokenizers that cannot be had.

    Args:
        source: Kind of the sources' tokenizer, as in `check_tokenizer`.
        target: Kind of the targets' tokenizer.
        max_vocab: Tokens of each vocabulary, at most.
        joint: Whether both sides have one.

    Raises:
        ValueError: If a kind or a size is out of range, or one vocabulary is to be of two kinds.
    """
    check_tokenizer(source, _limit(source, target, max_vocab))
    check_tokenizer(target, _limit(target, source, max_vocab))
    if joint and source != target:
        raise ValueError(
            f"joint=true is one vocabulary for both sides, which need one kind of tokenizer, not "
            f"source_tokenizer={source} and target_tokenizer={target}"
        )


def learn_pair_tokenizers(
    source: TokenizerKind,
    target: TokenizerKind,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    max_vocab: int | None,
    joint: bool,
) -> PairTokenizers:
    """Learn the vocabularies of both sides, or one of all texts.

    Args:
        source: As in `check_pair_tokenizers`.
        target: As in `check_pair_tokenizers`.
        sources: Sources of the training part.
        targets: Targets of the training part.
        max_vocab: As in `check_pair_tokenizers`.
        joint: As in `check_pair_tokenizers`.

    Raises:
        UserError: If there is nothing to learn from.
    """
    if joint:
        both = learn_tokenizer(source, [*sources, *targets], max_vocab=max_vocab, with_unknown=True)
        return PairTokenizers(both, both)
    sides = ((source, target, sources), (target, source, targets))
    return PairTokenizers(
        *(
            learn_tokenizer(kind, texts, max_vocab=_limit(kind, other, max_vocab), with_unknown=True)
            for kind, other, texts in sides
        )
    )


def _limit(kind: TokenizerKind, other: TokenizerKind, max_vocab: int | None) -> int | None:
    """Return the limit of one side: bytes have none, which is an error only where the other side has none either."""
    return None if kind == "bytes" and other != "bytes" else max_vocab
