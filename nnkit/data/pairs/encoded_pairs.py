"""Pairs of texts as token numbers, gathered into padded batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnkit.batches import IGNORED, Pairs
from nnkit.data.base import Samples, Split
from nnkit.data.pairs.pair_tokenizers import BEGIN, END, PairTokenizers
from nnkit.data.sampler import Draw
from nnkit.data.splits import split_rows
from nnkit.data.text.encoded_texts import EncodedTexts

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class PairedTexts:
    """Pairs as they were read.

    Attributes:
        title: What they were read from, for sentences.
        sources: The texts that are read.
        targets: Of each the texts that count as right; the first is the one to learn.
        fingerprint: SHA-256 of what they were read from.
        parts: The part each pair belongs to, where that is settled; None: they are dealt out.
    """

    title: str
    sources: list[str]
    targets: Sequence[Sequence[str]]
    fingerprint: str
    parts: list[Split] | None = None

    def deal(self, options: dict[str, Any]) -> dict[Split, Tensor]:
        """Return which pairs make up each part, int64; those of equal sources are in the same.

        Args:
            options: val_fraction, test_fraction and split_seed, unless the parts are settled.

        Raises:
            UserError: If there are too few.
        """
        if self.parts is not None:
            parts = np.array(self.parts)
            return {name: torch.from_numpy(np.flatnonzero(parts == name)) for name in _SPLITS}
        numbers: dict[str, int] = {}
        groups = torch.tensor([numbers.setdefault(source, len(numbers)) for source in self.sources])
        dealt = split_rows(
            len(numbers), options["val_fraction"], options["test_fraction"], options["split_seed"]
        )
        return {name: torch.isin(groups, dealt[name]).nonzero()[:, 0] for name in _SPLITS}


@dataclass(frozen=True)
class EncodedPairs:
    """Token numbers of pairs.

    Attributes:
        sources: Those of the sources, without marks.
        targets: Those of all texts that count as right, pair by pair, without marks.
        first: Which of the targets is the first of each pair, (pairs,) int64.
        counts: How many each pair has, (pairs,) int64.
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
            tokenizers.encode_sources(paired.sources, max_length),
            tokenizers.encode_targets(list(chain.from_iterable(paired.targets))),
            torch.tensor([0, *accumulate(counts)][:-1], dtype=torch.int64),
            torch.tensor(counts, dtype=torch.int64),
        )

    @property
    def target_lengths(self) -> Tensor:
        """Tokens of the first target of each pair, its end mark counted, (pairs,) int64."""
        return self.targets.lengths[self.first] + 1


class PairSamples(Samples):
    """One split of pairs; in training the only reference is the target.

    Args:
        pairs: All pairs.
        rows: Which of them make up the split, int64.

    Attributes:
        source_lengths: Tokens of each source of the split, int64.
        target_lengths: Tokens of each target of the split, its end mark counted, int64.
    """

    def __init__(self, pairs: EncodedPairs, rows: Tensor) -> None:
        self._pairs, self._rows = pairs, rows
        self.source_lengths = pairs.sources.lengths[rows]
        self.target_lengths = pairs.target_lengths[rows]

    @property
    def lengths(self) -> Tensor:
        """Tokens of the longer side of each pair, int64: a batch holds as many steps of either side at most."""
        return torch.maximum(self.source_lengths, self.target_lengths)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, draw: Draw) -> Pairs:
        rows = self._rows[draw.indices]
        inputs, mask = _gather(self._pairs.sources, rows)
        first = self._pairs.first[rows]
        target = _ended(self._pairs.targets, first)
        references = target[:, None] if draw.epoch is not None else self._references(first, rows)
        return Pairs(inputs, mask, _shifted(target), target, references, draw.indices)

    def _references(self, first: Tensor, rows: Tensor) -> Tensor:
        counts = self._pairs.counts[rows]
        numbers = torch.arange(int(counts.max()) if len(counts) else 1)
        there = numbers < counts[:, None]
        references = _ended(self._pairs.targets, (first[:, None] + numbers).where(there, first[:, None]))
        return references.masked_fill_(~there[..., None], IGNORED)


def _gather(texts: EncodedTexts, rows: Tensor, room: int = 0) -> tuple[Tensor, Tensor]:
    """Return the tokens of texts (..., time), 0 behind them, and where there are any; `room` more steps at the end."""
    lengths = texts.lengths[rows]
    steps = torch.arange((int(lengths.max()) if lengths.numel() else 0) + room)
    mask = steps < lengths[..., None]
    places = (texts.starts[rows][..., None] + steps).masked_fill_(~mask, 0)
    return texts.tokens[places].long().masked_fill_(~mask, 0), mask


def _ended(texts: EncodedTexts, rows: Tensor) -> Tensor:
    """Return texts with their end marks, (..., time), `IGNORED` behind them."""
    tokens, mask = _gather(texts, rows, room=1)
    tokens.masked_fill_(~mask, IGNORED)
    return tokens.scatter_(-1, texts.lengths[rows][..., None], END)


def _shifted(target: Tensor) -> Tensor:
    """Return what is written before each step of a target (batch, time)."""
    prefix = torch.full_like(target, BEGIN)
    prefix[:, 1:] = target[:, :-1]
    return prefix.masked_fill_(target == IGNORED, BEGIN)
