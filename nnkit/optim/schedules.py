"""Learning-rate schedules that torch lacks, as functions of the step number alone."""

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class WarmupCosine(LRScheduler):
    """Linear warm-up to the optimizer's rate, then half a cosine down to a share of it.

    The schedule of most Transformer trainings (Loshchilov and Hutter 2017 without restarts). Step numbers
    count from 0 and rates are relative to the optimizer's lr: (step + 1) / (w + 1) during the w warm-up
    steps, then m + (1 - m) (1 + cos(pi (step - w) / (total_steps - w))) / 2, and m from total_steps on.

    Args:
        optimizer: Whose groups' rates to set.
        total_steps: Optimizer steps of the whole run.
        warmup: Share of total_steps spent warming up, in [0, 1).
        min_factor: The m above: the last rate as a share of the optimizer's lr, in [0, 1].

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, optimizer: Optimizer, total_steps: int, *, warmup: float = 0.05, min_factor: float = 0.1
    ) -> None:
        if total_steps < 1:
            raise ValueError(f"total_steps must be at least 1, not {total_steps}")
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must lie in [0, 1), not {warmup}")
        if not 0 <= min_factor <= 1:
            raise ValueError(f"min_factor must lie in [0, 1], not {min_factor}")
        self.total_steps = total_steps
        self.warmup_steps = int(warmup * total_steps)
        self.min_factor = min_factor
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each parameter group at step `last_epoch`."""
        factor = self._factor(self.last_epoch)
        return [base_lr * factor for base_lr in self.base_lrs]

    def _factor(self, step: int) -> float:
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        progress = min(1.0, (step - self.warmup_steps) / (self.total_steps - self.warmup_steps))
        return self.min_factor + (1 - self.min_factor) * (1 + math.cos(math.pi * progress)) / 2


class Noam(LRScheduler):
    """The Transformer's schedule: linear warm-up, then decay with the square root of the step.

    Equation 3 of Vaswani et al. 2017, "Attention is all you need", says dim^-0.5 min(s^-0.5, s w^-1.5) for
    step s = 1, 2, ... and w warm-up steps. Its highest rate, at s = w, is (dim w)^-0.5. Here the
    optimizer's lr is that highest rate, so that it means the same as under every other schedule: for the
    paper's width of 512 and 4000 warm-up steps set lr to 6.99e-4.

    Args:
        optimizer: Whose groups' rates to set.
        warmup_steps: Optimizer steps until the highest rate.

    Raises:
        ValueError: If warmup_steps is below 1.
    """

    def __init__(self, optimizer: Optimizer, *, warmup_steps: int = 4000) -> None:
        if warmup_steps < 1:
            raise ValueError(f"warmup_steps must be at least 1, not {warmup_steps}")
        self.warmup_steps = warmup_steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each parameter group at step `last_epoch`, which counts from 0."""
        step = self.last_epoch + 1
        factor = min((self.warmup_steps / step) ** 0.5, step / self.warmup_steps)
        return [base_lr * factor for base_lr in self.base_lrs]
