"""Sample order as a pure function of (seed, epoch), so that nothing of it needs saving."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Sampler

from nnkit.data.counted_random import private_generator

# How far from its length a sample is sorted, drawn anew each epoch: samples of about one length change places.
JITTER = 0.025


class Draw(NamedTuple):
    """The samples of one batch.

    Attributes:
        epoch: The epoch they are drawn in, or None outside training.
        indices: Sample numbers, (batch,) int64.
        is_placeholder: Whether no sample of the batch is this process's own: it takes one of another's, to no effect.
    """

    epoch: int | None
    indices: Tensor
    is_placeholder: bool = False


class BatchSampler(Sampler[Draw]):
    """Yields one `Draw` a batch; shuffled by (seed, epoch) while training, in order otherwise.

    Batches are those of all processes together, so that they are the same ones whatever the number of processes; each
    process gets its share of every batch. Nothing is repeated, and outside training a process skips a batch that is too
    small to give it a share.

    Args:
        num_samples: Samples in the split.
        batch_size: Samples in a batch of all processes together.
        seed: Seed of the shuffle, or None to keep the order.
        drop_last: Whether a last batch that is not full is left out.
        rank: This process's number among `world_size`.
        world_size: Processes that share each batch.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        seed: int | None = None,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.drop_last = drop_last
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        # Whether every epoch is dealt as the first.
        self.repeats = False
        # The first batches alone, a number or a share of all; None for all.
        self.limit: float | None = None
        self._skip = 0

    @property
    def _sizes(self) -> Sequence[int]:
        """Samples of each batch, whose order while training is that of `deal` only where all are of one size."""
        full, rest = divmod(self.num_samples, self.batch_size)
        return [self.batch_size] * full + ([rest] if rest and not self.drop_last else [])

    def __len__(self) -> int:
        sizes = self._limited(self._sizes)
        if self.seed is not None or self.world_size == 1:
            return len(sizes)
        return sum(size > self._place(number) for number, size in enumerate(sizes))

    def _limited(self, batches: Sequence[Any]) -> Sequence[Any]:
        if self.limit is None:
            return batches
        most = int(len(batches) * self.limit) if isinstance(self.limit, float) else self.limit
        return batches[:most]

    def _place(self, number: int) -> int:
        """Return which sample of a batch is the first of this process; single ones go to each process in turn."""
        return (self.rank + number) % self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this on the loader's sampler."""
        self.epoch = 0 if self.repeats else epoch

    def skip(self, batches: int) -> None:
        """Leave out the first batches of the next pass only: where a run is resumed in mid-epoch."""
        self._skip = batches

    def deal(self) -> Sequence[Tensor]:
        """Return the sample numbers of each batch of this epoch, of all processes together, (batch,) int64."""
        order = torch.arange(self.num_samples)
        if self.seed is not None:
            order = torch.randperm(self.num_samples, generator=private_generator(self.seed, self.epoch))
        size = self.batch_size
        return [order[batch * size : (batch + 1) * size] for batch in range(len(self._sizes))]

    def __iter__(self) -> Iterator[Draw]:
        first, self._skip = self._skip, 0
        epoch = None if self.seed is None else self.epoch
        batches = self._limited(self.deal())
        for number, indices in enumerate(batches[first:], first):
            share = indices[self._place(number) :: self.world_size]
            if len(share):
                yield Draw(epoch, share)
            elif epoch is not None:
                # Every process takes every step.
                yield Draw(epoch, indices[:1], is_placeholder=True)


class LengthSampler(BatchSampler):
    """Yields batches of samples of similar length, in an order that depends on (seed, epoch) alone.

    While training, samples are sorted by their length times a random number near 1, cut at places that are the same
    in every epoch, and the batches are shuffled. Without a seed they are sorted by length.

    Args:
        lengths: Length of each sample, at least 1, (n,) int64.
        batch_size: Samples in a batch of all processes together; the longest ones may make up a smaller batch.
        max_tokens: Instead of batch_size: rows times the longest of them in a batch, at most; a longer sample is a
            batch by itself.
        seed: Seed of the shuffle, or None to sort by length.
        drawn: Where lengths change: returns those of an epoch, or with None those outside training.
        rank: This process's number among `world_size`.
        world_size: Processes that share each batch.
    """

    def __init__(
        self,
        lengths: Tensor,
        batch_size: int,
        *,
        max_tokens: int | None = None,
        seed: int | None = None,
        drawn: Callable[[int | None], Tensor] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(len(lengths), batch_size, seed=seed, rank=rank, world_size=world_size)
        self.lengths, self._drawn = lengths, drawn
        if max_tokens is None:
            ends = [*range(batch_size, len(lengths), batch_size), len(lengths)]
        else:
            ends = _ends_within(lengths, max_tokens, 0.0 if seed is None else JITTER)
        self._places = list(pairwise([0, *ends])) if len(lengths) else []

    @property
    def _sizes(self) -> Sequence[int]:
        return [end - start for start, end in self._places]

    def deal(self) -> Sequence[Tensor]:
        """Return the sample numbers of each batch of this epoch, of all processes together, (batch,) int64."""
        if not self._places:
            return ()
        if self._drawn is not None:
            self.lengths = self._drawn(None if self.seed is None else self.epoch)
        turns, keys = torch.arange(len(self._places)), self.lengths
        if self.seed is not None:
            generator = private_generator(self.seed, self.epoch)
            spread = torch.rand(self.num_samples, generator=generator, dtype=torch.float64) * 2 - 1
            keys = self.lengths * (1 + JITTER * spread)
            turns = torch.randperm(len(self._places), generator=generator)
        order = keys.argsort(stable=True)
        return [order[slice(*self._places[number])] for number in turns.tolist()]


def _ends_within(lengths: Tensor, max_tokens: int, jitter: float) -> list[int]:
    """Cut the samples, sorted by length, into as few batches as keep the budget wherever the jitter moves them."""
    ordered = sorted(lengths.tolist())
    # The i-th smallest key is at most (1 + jitter) times the i-th smallest length, and belongs to a sample of at most
    # 1 / (1 - jitter) times that.
    most = (1 + jitter) / (1 - jitter)
    longest = [min(int(length * most), ordered[-1]) for length in ordered]
    ends = [0]
    while ends[-1] < len(ordered):
        start = ends[-1]
        size, step = 1, len(ordered) - start
        while step:
            # The budget used grows with the size: it is searched for in steps that halve.
            if (
                start + size + step <= len(ordered)
                and (size + step) * longest[start + size + step - 1] <= max_tokens
            ):
                size += step
            else:
                step //= 2
        ends.append(start + size)
    return ends[1:]


def padding_share(sides: Sequence[Tensor], batches: Sequence[Tensor]) -> float:
    """Return which share of the steps of these batches is padding, from 0 to 1.

    Args:
        sides: Length of each sample, (n,) int64; of pairs, those of both sides.
        batches: Sample numbers of each batch.
    """
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in batches for lengths in sides)
    filled = sum(int(lengths[rows].sum()) for rows in batches for lengths in sides)
    return 1 - filled / padded if padded else 0.0
