"""Sample order as a pure function of (seed, epoch), so that nothing of it needs saving."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Sampler

from nnkit.data.counted_random import private_generator


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
