"""Sample order as a pure function of (seed, epoch), so that nothing of it needs saving."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

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
    """

    epoch: int | None
    indices: Tensor


class BatchSampler(Sampler[Draw]):
    """Yields one `Draw` a batch; shuffled by (seed, epoch) while training, in order otherwise.

    Args:
        num_samples: Samples in the split.
        batch_size: Samples in a batch of this process.
        seed: Seed of the shuffle, or None to keep the order.
        drop_last: Whether a last batch that is not full is left out.
        rank: This process's number among `world_size`.
        world_size: Processes that share the split; each sees every `world_size`-th batch position.
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
        self._skip = 0

    def __len__(self) -> int:
        share = -(-self.num_samples // self.world_size)
        return share // self.batch_size if self.drop_last else -(-share // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this on the loader's sampler."""
        self.epoch = 0 if self.repeats else epoch

    def skip(self, batches: int) -> None:
        """Leave out the first batches of the next pass only: where a run is resumed in mid-epoch."""
        self._skip = batches

    def deal(self) -> Sequence[Tensor]:
        """Return the sample numbers of each batch that this process gets in this epoch, (batch,) int64."""
        order = torch.arange(self.num_samples)
        if self.seed is not None:
            order = torch.randperm(self.num_samples, generator=private_generator(self.seed, self.epoch))
        if self.world_size > 1:
            # Every process gets the same number of samples: the order is continued from its start.
            share = -(-self.num_samples // self.world_size)
            order = order[torch.arange(share * self.world_size) % self.num_samples][
                self.rank :: self.world_size
            ]
        size = self.batch_size
        return [order[batch * size : (batch + 1) * size] for batch in range(len(self))]

    def __iter__(self) -> Iterator[Draw]:
        first, self._skip = self._skip, 0
        epoch = None if self.seed is None else self.epoch
        for indices in self.deal()[first:]:
            yield Draw(epoch, indices)


class LengthSampler(BatchSampler):
    """Yields batches of samples of similar length, in an order that depends on (seed, epoch) alone.

    While training, samples are sorted by their length times a random number near 1, cut at places that are the same
    in every epoch, and the batches are shuffled. Without a seed they are sorted by length.

    Args:
        lengths: Length of each sample, at least 1, (n,) int64.
        batch_size: Samples in a batch of this process; the longest ones may make up a smaller batch.
        max_tokens: Instead of batch_size: rows times the longest of them in a batch, at most; a longer sample is a
            batch by itself.
        seed: Seed of the shuffle, or None to sort by length.
        drawn: Where lengths change: returns those of an epoch, or with None those outside training.
        rank: This process's number among `world_size`.
        world_size: Processes that share the split; each gets as many batches, at the same time of similar length.
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

    def __len__(self) -> int:
        return -(-len(self._places) // self.world_size)

    def deal(self) -> Sequence[Tensor]:
        """Return the sample numbers of each batch that this process gets in this epoch, (batch,) int64."""
        if not self._places:
            return ()
        if self._drawn is not None:
            self.lengths = self._drawn(None if self.seed is None else self.epoch)
        turns, keys = torch.arange(len(self)), self.lengths
        if self.seed is not None:
            generator = private_generator(self.seed, self.epoch)
            spread = torch.rand(self.num_samples, generator=generator, dtype=torch.float64) * 2 - 1
            keys = self.lengths * (1 + JITTER * spread)
            turns = torch.randperm(len(self), generator=generator)
        order = keys.argsort(stable=True)
        # Neighbours in length go to the processes at the same time, or all would wait for the longest.
        mine = (turns * self.world_size + self.rank) % len(self._places)
        return [order[slice(*self._places[number])] for number in mine.tolist()]


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
