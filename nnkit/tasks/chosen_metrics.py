"""Metrics of a user's choice, from torchmetrics, over the whole of a split."""

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from nnkit.tasks.pieces import nothing

# Which classes the mean over classes is taken over: those that occur in the split or are predicted, those that occur,
# or those that occur and are not all there is.
Over = Literal["seen", "occurring", "told_apart"]


class ChosenMetric:
    """One metric that is fed with the batches of an evaluation and read once at its end.

    Its state lies in main memory and in no checkpoint; processes that train together share theirs when it is read.
    torchmetrics counts a class that a split does not hold as 0 in many of its means over classes; here such a mean is
    taken over the values of the single classes, without those that have none.

    Args:
        metric: From torchmetrics; gives one value, or several, whose mean is taken.
        over: Which classes their mean is taken over.
        num_classes: Number of classes or labels, where `over` is given.
    """

    def __init__(self, metric: Metric, over: Over | None = None, num_classes: int = 0) -> None:
        self.metric = metric
        if hasattr(metric, "validate_args"):
            # The samples are examined when the data are prepared.
            metric.validate_args = False
        self.over = over
        self._size = num_classes
        self._seen = nothing(3, num_classes)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch; see `Task.measured` for what it holds."""
        prediction, target = prediction.detach().cpu(), target.detach().cpu()
        self.metric.update(prediction, target)
        if self.over is not None:
            self._seen = self._seen + _seen(prediction, target)

    def result(self, over_processes: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the metric of what was added, a scalar float32, and begin anew.

        Args:
            over_processes: Adds up sums over the processes that train together.
        """
        with warnings.catch_warnings():
            # That a class does not occur is no news, and is seen to below.
            warnings.simplefilter("ignore")
            value: Tensor = self.metric.compute()
        if self.over is not None:
            true, said, count = over_processes(self._seen)
            there = {
                "seen": true + said > 0,
                "occurring": true > 0,
                "told_apart": (true > 0) & (true < count),
            }[self.over]
            value = value[there].double().mean()
            self._seen = nothing(3, self._size)
        self.metric.reset()
        # Some metrics of real values give one for each target.
        return value.double().mean().float()


def _seen(prediction: Tensor, target: Tensor) -> Tensor:
    """Return for each class how often it is true, how often predicted, and how many samples there are, (3, classes)."""
    size = prediction.shape[1]
    if target.ndim == 1:
        counts = [part.bincount(minlength=size) for part in (target, prediction.argmax(1))]
    else:
        counts = [part.sum(0) for part in (target > 0, prediction >= 0.5)]
    return torch.stack([*counts, torch.full_like(counts[0], len(target))]).double()
