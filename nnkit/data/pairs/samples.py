"""Pairs of texts as token ids: their tokenizers, and padded batches."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from nnkit.batches import IGNORED, PairBatch
from nnkit.data.base import Samples, Split
from nnkit.data.sampler import Draw
from nnkit.data.splitting import SplitKeys
from nnkit.data.text.classes import SplitRows
from nnkit.data.text.samples import EncodedTexts, encode_texts
from nnkit.data.tokenizing import (
    TokenizerKind,
    WithSpecialTokens,
    check_tokenizer,
    learn_tokenizer,
    tokenizer_from,
)

BEGIN: Final = 0
END: Final = 1
# Keys under which a data module keeps the specs of its tokenizers.
SPECS: Final = ("source_tokenizer", "target_tokenizer")
_SPECIAL: Final = ("<begin>", "<end>")


class PairTokenizers(NamedTuple):
    """The tokenizers of both sides; token 0 begins a target, 1 ends it.

    Sources hold neither, but their ids leave room for both, so that both sides can share one vocabulary.

    Attributes:
        source: Tokenizer of the sources.
        target: Tokenizer of the targets, maybe the same one.
    """

    source: WithSpecialTokens
    target: WithSpecialTokens

    @classmethod
    def restore(cls, learnt: Mapping[str, Any]) -> "PairTokenizers":
        """Make them from what `specs` returned, or a mapping with its keys; a UserError if a spec is none."""
        source, target = (learnt[key] for key in SPECS)
        tokenizer = WithSpecialTokens(tokenizer_from(source), _SPECIAL)
        if source == target:
            return cls(tokenizer, tokenizer)
        return cls(tokenizer, WithSpecialTokens(tokenizer_from(target), _SPECIAL))

    @classmethod
    def learn(
        cls,
        kinds: tuple[TokenizerKind, TokenizerKind],
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        max_vocab: int | None,
        joint: bool,
    ) -> "PairTokenizers":
        """Learn the vocabularies of both sides, or one of all texts.

        Args:
            kinds: As in `check_kinds`, like max_vocab and joint.
            sources: Sources of the training split.
            targets: Targets of the training split.
            max_vocab: Tokens of each vocabulary, at most.
            joint: Whether both sides have one.

        Raises:
            UserError: If there is nothing to learn from.
        """
        sides = [[*sources, *targets]] if joint else [sources, targets]
        learnt = [
            learn_tokenizer(kind, texts, max_vocab=limit, with_unknown=True)
            for kind, limit, texts in zip(kinds, _limits(kinds, max_vocab), sides, strict=False)
        ]
        tokenizers = [WithSpecialTokens(tokenizer, _SPECIAL) for tokenizer in learnt]
        return cls(tokenizers[0], tokenizers[-1])

    def specs(self) -> dict[str, Any]:
        """Return plain JSON data from which `restore` makes these again."""
        return dict(zip(SPECS, (self.source.spec(), self.target.spec()), strict=True))

    def decode_target(self, tokens: Sequence[int]) -> str:
        """Return the text of what was generated, up to its end token and without special tokens."""
        ids = [int(token) for token in tokens]
        ids = ids[: ids.index(END)] if END in ids else ids
        return self.target.inner.decode([token - len(_SPECIAL) for token in ids if token >= len(_SPECIAL)])


def check_kinds(kinds: tuple[TokenizerKind, TokenizerKind], max_vocab: int | None, joint: bool) -> None:
    """Refuse tokenizers that cannot be learnt.

    Args:
        kinds: The kinds of the sources' and of the targets' tokenizer, as in `check_tokenizer`.
        max_vocab: Tokens of each vocabulary, at most.
        joint: Whether both sides have one.

    Raises:
        ValueError: If a kind or a size is out of range, or one vocabulary is to be of two kinds.
    """
    for kind, limit in zip(kinds, _limits(kinds, max_vocab), strict=True):
        check_tokenizer(kind, limit)
    if joint and kinds[0] != kinds[1]:
        raise ValueError(
            f"joint=true is one vocabulary for both sides, which need one kind of tokenizer, not "
            f"source_tokenizer={kinds[0]} and target_tokenizer={kinds[1]}"
        )


def _limits(kinds: tuple[TokenizerKind, TokenizerKind], max_vocab: int | None) -> list[int | None]:
    """Return the limit of each side: bytes have none, which is an error only if both sides are bytes."""
    only_bytes = set(kinds) == {"bytes"}
    return [None if kind == "bytes" and not only_bytes else max_vocab for kind in kinds]


@dataclass(frozen=True)
class PairedTexts:
    """Pairs as they were read.

    Attributes:
        title: What they were read from, for messages.
        sources: The source texts.
        targets: The reference texts of each source; the first is the one to learn.
        fingerprint: SHA-256 of what they were read from.
        columns: Name of the column of the "source" and of the "target"; None: they were read from no table.
        split_keys: What the pairs are split by, arguments of `DataModule.split_rows`; none: at random, those with the
            same source together.
    """

    title: str
    sources: list[str]
    targets: Sequence[Sequence[str]]
    fingerprint: str
    columns: dict[str, str] | None = None
    split_keys: SplitKeys = field(default_factory=SplitKeys)

    def rows(self, split_rows: SplitRows) -> dict[Split, Tensor]:
        """Return which pairs make up each split, int64; a group is in one of them, unless splits are settled.

        Args:
            split_rows: `DataModule.split_rows`.

        Raises:
            UserError: If there are too few.
        """
        if self.split_keys:
            return split_rows(len(self.sources), **self.split_keys)
        groups: dict[str, int] = {}
        group_of = torch.tensor([groups.setdefault(source, len(groups)) for source in self.sources])
        chosen = split_rows(len(groups))
        return {split: torch.isin(group_of, some).nonzero()[:, 0] for split, some in chosen.items()}


@dataclass(frozen=True)
class EncodedPairs:
    """Token ids of pairs.

    Attributes:
        sources: Those of the sources, without special tokens.
        targets: Those of all references, pair by pair, without special tokens.
        first: Which of the targets is the first reference of each pair, (pairs,) int64.
        counts: References of each pair, (pairs,) int64.
    """

    sources: EncodedTexts
    targets: EncodedTexts
    first: Tensor
    counts: Tensor

    @classmethod
    def of(cls, paired: PairedTexts, tokenizers: PairTokenizers, max_length: int) -> "EncodedPairs":
        """Encode pairs; sources are cut after `max_length` tokens."""
        counts = [len(texts) for texts in paired.targets]
        return cls(
            encode_texts(tokenizers.source, paired.sources, max_length),
            encode_texts(tokenizers.target, list(chain.from_iterable(paired.targets)), sys.maxsize),
            torch.tensor([0, *accumulate(counts)][:-1], dtype=torch.int64),
            torch.tensor(counts, dtype=torch.int64),
        )

    @property
    def target_lengths(self) -> Tensor:
        """Tokens of the first reference of each pair, its end token included, (pairs,) int64."""
        return self.targets.lengths[self.first] + 1


class PairSamples(Samples):
    """One split of pairs; in training the only reference is the target.

    Args:
        pairs: All pairs.
        rows: Which of them make up the split, int64.

    Attributes:
        source_lengths: Tokens of each source of the split, int64.
        target_lengths: Tokens of each target of the split, its end token included, int64.
    """

    def __init__(self, pairs: EncodedPairs, rows: Tensor) -> None:
        self._pairs, self._rows = pairs, rows
        self.source_lengths = pairs.sources.lengths[rows]
        self.target_lengths = pairs.target_lengths[rows]

    @property
    def lengths(self) -> Tensor:
        """Tokens of the longer side of each pair, int64."""
        return torch.maximum(self.source_lengths, self.target_lengths)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, draw: Draw) -> PairBatch:
        rows = self._rows[draw.indices]
        inputs, mask = self._pairs.sources.gather(rows)
        first = self._pairs.first[rows]
        target = _ended(self._pairs.targets, first)
        references = target[:, None] if draw.epoch is not None else self._references(first, rows)
        return PairBatch(inputs, mask, _shifted(target), target, references, draw.indices)

    def _references(self, first: Tensor, rows: Tensor) -> Tensor:
        counts = self._pairs.counts[rows]
        steps = torch.arange(int(counts.max()) if len(counts) else 1)
        there = steps < counts[:, None]
        references = _ended(self._pairs.targets, (first[:, None] + steps).where(there, first[:, None]))
        return references.masked_fill_(~there[..., None], IGNORED)


def _ended(texts: EncodedTexts, rows: Tensor) -> Tensor:
    """Return texts with their end tokens, (..., time), `IGNORED` behind them."""
    tokens, mask = texts.gather(rows, room=1)
    tokens.masked_fill_(~mask, IGNORED)
    return tokens.scatter_(-1, texts.lengths[rows][..., None], END)


def _shifted(target: Tensor) -> Tensor:
    """Return the token before each step of a target (batch, time)."""
    prefix = torch.full_like(target, BEGIN)
    prefix[:, 1:] = target[:, :-1]
    return prefix.masked_fill_(target == IGNORED, BEGIN)
