"""Regression: real values for each sample, scored in the user's units."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, R2Score

from nnkit.batches import Batch
from nnkit.tasks.base import Task


class Regression(Task):
    """Real predictions against real targets; the loss sees standardised targets, the metrics the user's units.

    Args:
        target_mean: Mean of each target in the training part, in the user's units.
        target_std: Its standard deviation.
        arguments: As for `Task`.
    """

    metrics: ClassVar[dict[str, str]] = {"loss": "min", "mae": "min", "rmse": "min", "r2": "max"}
    totals: ClassVar[tuple[str, ...]] = ("loss",)

    mean: Tensor
    std: Tensor

    def __init__(
        self, target_mean: list[float] | None = None, target_std: list[float] | None = None, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.register_buffer("mean", torch.tensor(target_mean or [0.0]), persistent=False)
        self.register_buffer("std", torch.tensor(target_std or [1.0]), persistent=False)
        # Sum of the losses and number of samples. No buffer: a callback that swaps averaged weights in for validation
        # swaps the buffers as well.
        self._eval_loss = torch.zeros(2)
        self.mae = MeanAbsoluteError()
        self.mse = MeanSquaredError()
        self.r2 = R2Score()
        # Predictions for the last batch evaluated, (batch, outputs) in the user's units, for callbacks.
        self.last_outputs: Tensor | None = None

    @classmethod
    def learnt(cls, preprocessing: dict[str, Any]) -> dict[str, Any]:
        """Return the scale of the targets."""
        target = preprocessing["target"]
        return {"target_mean": list(target["mean"]), "target_std": list(target["std"])}

    def forward(self, inputs: Tensor) -> Tensor:
        """Return predictions (batch, outputs) in the user's units."""
        outputs: Tensor = self.network(inputs) * self.std + self.mean
        return outputs

    def score(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Return the mean loss on standardised targets."""
        loss: Tensor = self.loss(self.network(batch.inputs), batch.target)
        return loss, []

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to the metrics."""
        outputs = self.network(batch.inputs)
        size = len(batch.indices)
        loss = self.loss(outputs, batch.target) * size
        self._eval_loss = self._eval_loss.to(loss.device) + torch.stack([loss, torch.full_like(loss, size)])
        self.last_outputs = outputs.detach().float() * self.std + self.mean
        predicted = self.last_outputs.squeeze(-1)
        truth = (batch.target * self.std + self.mean).squeeze(-1)
        for metric in (self.mae, self.mse, self.r2):
            metric.update(predicted, truth)

    def results(self) -> dict[str, Tensor]:
        """Return loss, mean absolute error, root mean squared error and R2 (not a number for one sample)."""
        loss, count = self.over_processes(self._eval_loss)
        several = int(self.r2.total) >= 2
        results = {
            "loss": loss / count.clamp(min=1),
            "mae": self.mae.compute(),
            "rmse": self.mse.compute().sqrt(),
            "r2": self.r2.compute() if several else torch.tensor(float("nan"), device=loss.device),
        }
        self._eval_loss = torch.zeros(2)
        for metric in (self.mae, self.mse, self.r2):
            metric.reset()
        return results
