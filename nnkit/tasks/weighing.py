"""What a batch weighs in the means of its step, which are taken over a window of batches and over all processes."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from nnkit.batches import Batch
from nnkit.data.loading import Loader
from nnkit.distributed import collectives
from nnkit.losses.scoring import shares_of, weights_of


class _Coming(NamedTuple):
    """The sum for a batch that comes next: its number in the epoch, and what waits for the sum."""

    batch_idx: int
    wait: Callable[[], Tensor]


class Weighing:
    """Weighs batches that are not a step by themselves.

    The window is read ahead for it; Hugging Face's Trainer counts a window's tokens before its first batch in the same
    way. DDP takes the mean of the processes' gradients, so each share is multiplied by their number.

    Attributes:
        divisors: What the means in the loss of the present window divide by; None where nothing is accumulated or
            shared.
    """

    def __init__(self) -> None:
        self.divisors: list[float] | None = None
        self._later: Callable[[], Tensor] | None = None
        self._weights: list[float] | None = None
        self._next: _Coming | None = None
        # How many losses the mean is taken of afterwards.
        self._times = 1

    def begin(
        self,
        trainer: Trainer,
        batch_idx: int,
        loss: nn.Module,
        targets: Callable[[Batch], list[Tensor]],
    ) -> None:
        """Weigh the batch that was handed out last, and where a window begins, begin to add up its batches.

        Where each batch is a step, the sum for the next one begins as well: nobody waits for it in the midst of a step,
        as processes that wait for each other twice a step lose what each is now and then late by.
        """
        every = trainer.accumulate_grad_batches
        self._weights, self._times = None, every * collectives.size()
        if self._times == 1:
            self.divisors = None
            return
        loader = trainer.train_dataloader
        assert isinstance(loader, Loader)
        begins = batch_idx % every == 0
        # The last window of an epoch may be shorter.
        count = int(min(every, trainer.num_training_batches - batch_idx)) if begins else 1
        batches = loader.peek(count + (every == 1))
        # A batch of no samples has targets too, which count for nothing.
        means = len(targets(batches[0]))
        weights = weights_of(loss, [targets(one) if len(one.indices) else None for one in batches], means)
        self._weights = weights[0]
        if not begins:
            return
        known, self._next = self._next, None
        is_known = known is not None and known.batch_idx == batch_idx
        self._later = known.wait if known is not None and is_known else _summed(weights[:count])
        if len(weights) > count:
            self._next = _Coming(batch_idx + 1, _summed(weights[count:]))

    def shares(self, loss: nn.Module) -> list[float] | None:
        """Return what each mean of the present batch is multiplied by; None: by nothing."""
        if self._weights is None:
            return None
        if self._later is not None:
            self.divisors, self._later = self._later().tolist(), None
        return shares_of(loss, self._weights, self.divisors, self._times)


def _summed(weights: list[list[float]]) -> Callable[[], Tensor]:
    columns = zip(*weights, strict=True)
    return collectives.summed_later(torch.tensor([sum(column) for column in columns], dtype=torch.float64))
