"""Texts of like length go through a network together, whatever the order in which they were read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnkit.batches import is_padded, join, narrowed

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.data.read_batch import ReadBatch

# Batches as read that are sorted together, at most, and their tokens, padding included: what is held in memory.
_MOST_BATCHES, _MOST_TOKENS = 16, 2_000_000
# Tokens of a batch, padding included: beyond that a network gains nothing and only takes memory.
_TOKENS = 16_384
# Padding from which another batch costs less: so many tokens, and such a share of all.
_PADDING, _MOST_PADDING = 512, 0.1


def windows(reads: Iterable[ReadBatch]) -> Iterator[list[ReadBatch]]:
    """Gather batches whose items are sorted together: one, then twice as many each time, so that answers come soon.

    Args:
        reads: Batches in order. One without padding is alone: there is nothing to gain. Those whose targets may be
            true ones do not mix with others.
    """
    window, tokens, most = list["ReadBatch"](), 0, 1
    for read in reads:
        if window and (read.labelled is None) != (window[-1].labelled is None):
            yield window
            window, tokens = [], 0
        window.append(read)
        if read.batch is not None and is_padded(read.batch):
            tokens += read.batch.inputs.numel()
            if len(window) < most and tokens < _MOST_TOKENS:
                continue
        elif read.batch is None and len(window) < most:
            continue
        yield window
        window, tokens, most = [], 0, min(2 * most, _MOST_BATCHES)
    if window:
        yield window


def is_one(batches: Sequence[Batch], size: int) -> bool:
    """Return whether some batches are so few and short that they go through a network as they are, as one."""
    return len(batches) == 1 and len(batches[0].indices) <= size and batches[0].inputs.numel() <= _TOKENS


def like_length(batches: Sequence[Batch], size: int) -> Iterator[tuple[Tensor, Batch]]:
    """Cut texts into batches of like length, short ones first.

    Args:
        batches: Texts that are padded on the right, batch by batch.
        size: Texts of a batch, at most.

    Yields:
        Which texts they are, counted through all batches, (texts,) int64, and the batch, no longer than its longest.
    """
    masks = [batch._asdict()["mask"] for batch in batches]
    lengths = torch.cat([mask.sum(1) for mask in masks])
    starts = torch.tensor([0, *map(len, masks)]).cumsum(0).tolist()
    order = lengths.argsort(stable=True)
    for chosen in _cut(order, lengths[order].tolist(), size):
        rows = chosen.sort().values
        parts = [
            narrowed(batch, own)
            for batch, start in zip(batches, starts, strict=False)
            if len(own := rows[(rows >= start) & (rows < start + len(batch.indices))] - start)
        ]
        yield rows, join(parts)


def _cut(order: Tensor, lengths: Sequence[int], size: int) -> Iterator[Tensor]:
    """Cut texts, the short ones first, before a batch has too many of them, tokens, or padding."""
    begin = tokens = 0
    for place, length in enumerate(lengths):
        padded = (place + 1 - begin) * length
        padding = padded - tokens - length
        if place > begin and (
            place - begin == size or padded > _TOKENS or padding > max(_PADDING, _MOST_PADDING * padded)
        ):
            yield order[begin:place]
            begin, tokens = place, 0
        tokens += length
    yield order[begin:]
