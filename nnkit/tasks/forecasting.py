"""Forecasting: all steps of the horizon at once, scored in the user's units."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from nnkit.batches import Batch
from nnkit.losses.scoring import evaluation_share, training_share
from nnkit.tasks.base import Task, Totals
from nnkit.tasks.examples import example_for
from nnkit.tasks.outcome import NamedScores
from nnkit.tasks.pieces import CONSTANT, nothing, on_cpu
from nnkit.tasks.predictions import Forecasts
from nnkit.ui import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_FORECASTS = 4


class Forecasting(Task):
    """Direct forecasts of several steps; the loss sees standardised targets, the metrics the user's units.

    The network gives (batch, horizon * outputs), the outputs of a step side by side. Over all windows of the evaluated
    part and all steps of the horizon, ``mse``, ``rmse`` (its root) and ``mae`` are means over the series as well.
    ``nrmse`` is the root mean squared error of a series divided by the standard deviation of its targets in the
    evaluated part (of the values as the windows hold them, so one that lies in several windows counts several times),
    computed for each series and averaged over the series: 1 is as good as always saying their mean. A series whose
    targets are all equal has none and is left out; if all are, it is not a number.

    Args:
        target_mean: Mean of each series to forecast in the training part, in the user's units.
        target_std: Its standard deviation.
        arguments: As for `Task`.
    """

    metrics: ClassVar[dict[str, str]] = {
        "loss": "min",
        "nrmse": "min",
        "rmse": "min",
        "mae": "min",
        "mse": "min",
    }
    measures = "values"
    totals: ClassVar[tuple[str, ...]] = ("loss",)

    def __init__(
        self, target_mean: list[float] | None = None, target_std: list[float] | None = None, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.mean = torch.tensor(target_mean or [0.0], dtype=torch.float64, device="cpu")
        self.std = torch.tensor(target_std or [1.0], dtype=torch.float64, device="cpu")
        # No buffers: a callback that swaps averaged weights in for validation swaps the buffers as well.
        self._eval_loss = nothing(2)
        self._sums = nothing(5, len(self.mean))
        # Forecasts for the last batch evaluated, (batch, horizon, outputs) in the user's units, for callbacks.
        self.last_outputs: Tensor | None = None

    @classmethod
    def learnt(cls, preprocessing: dict[str, Any]) -> dict[str, Any]:
        """Return the scale of the series to forecast."""
        target = preprocessing["target"]
        return {"target_mean": list(target["mean"]), "target_std": list(target["std"])}

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return forecasts (batch, horizon, outputs) in the user's units, float64 on the CPU.

        Args:
            inputs: What the network takes: a series (batch, time, channels), standardised.
        """
        return self.in_units(self.network(*inputs))

    def in_units(self, values: Tensor) -> Tensor:
        """Take standardised values (batch, horizon * outputs) to (batch, horizon, outputs) in the user's units."""
        return self._by_series(values) * self.std + self.mean

    def _by_series(self, values: Tensor) -> Tensor:
        return values.float().cpu().double().reshape(len(values), -1, len(self.mean))

    def score(self, batch: Batch) -> tuple[Tensor, Totals]:
        """Return the loss on standardised targets, and what it adds up."""
        loss: Tensor = self.loss(self.network(batch.inputs), batch.target)
        with torch.no_grad():
            return loss, {"loss": training_share(self.loss, loss, batch.target)}

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to the metrics."""
        outputs = self.network(batch.inputs).detach().float()
        self._eval_loss = self._eval_loss + on_cpu(evaluation_share(self.loss, outputs, batch.target))
        self.last_outputs = self.in_units(outputs)
        said, truth = self._by_series(outputs), self._by_series(batch.target)
        error = said - truth
        # Each over windows and steps, for each series; standardised, so that squares stay near one.
        sums = [error.square(), error.abs(), truth, truth.square(), torch.ones_like(truth)]
        self._sums = self._sums + torch.stack([values.sum((0, 1)) for values in sums])

    def results(self) -> dict[str, Tensor]:
        """Return loss, squared and absolute errors of all windows seen."""
        loss, weight = self.over_processes(self._eval_loss)
        squared, absolute, first, second, count = self.over_processes(self._sums)
        squared, absolute = squared / count, absolute / count
        variance = second / count - (first / count).square()
        varies = variance > CONSTANT
        mse = (squared * self.std.square()).mean()
        results = {
            "loss": loss / weight,
            "nrmse": (squared[varies] / variance[varies]).sqrt().mean(),
            "rmse": mse.sqrt(),
            "mae": (absolute * self.std).mean(),
            "mse": mse,
        }
        self._eval_loss = nothing(2)
        self._sums = nothing(5, len(self.mean))
        return {name: value.float() for name, value in results.items()}

    @classmethod
    def example_batch(cls, facts: Mapping[str, Any], size: int, device: str = "cpu") -> Batch:
        """Return windows with the values that follow; see `Task.example_batch`."""
        return example_for(torch.randn(size, facts["num_outputs"], device=device), facts)

    def predict(self, batch: Batch, data: Any, top_k: int) -> Forecasts:
        """Return the forecast of each item, a value for each series and step, in the user's units."""
        return Forecasts(data.preprocessing["target"]["names"], self(*batch.network_inputs()).numpy())

    def predict_evaluated(self, batch: Batch, data: Any, top_k: int) -> Forecasts:
        """Return the forecast of each item and add the batch to the metrics."""
        self.evaluate(batch)
        assert self.last_outputs is not None
        return Forecasts(data.preprocessing["target"]["names"], self.last_outputs.numpy())

    def outcome(self, outputs: Any, sample: Batch, data: Any) -> NamedScores:
        """Return a row of values for each step of the horizon, in the user's units; see `Visible.outcome`."""
        values = self.in_units(outputs)
        steps = [f"+{step}" for step in range(1, values.shape[1] + 1)]
        return NamedScores("value", values, steps, data.preprocessing["target"]["names"], None)

    def measured(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return forecast and true values in the user's units, a row for each window and step; see `Task.measured`."""
        assert self.last_outputs is not None
        return self.last_outputs.flatten(0, 1), self.in_units(batch.target).flatten(0, 1)

    def most_pictured(self, num_wrong: int) -> int:
        """Return how many windows are drawn."""
        return _MAX_FORECASTS

    def pictured(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return true and forecast values of the first series, for windows that begin where the one before ends."""
        assert self.last_outputs is not None
        truth = self.in_units(batch.target)[..., 0]
        rows = (batch.indices.cpu() % truth.shape[1] == 0).nonzero().squeeze(-1)
        return truth[rows], self.last_outputs[..., 0][rows]

    def pictures(self, kept: Sequence[Tensor], preprocessing: Mapping[str, Any]) -> dict[str, "Figure"]:
        """Return forecasts beside what came."""
        truth, predicted = (values.float().numpy() for values in kept)
        return {"val/forecast": figures.forecasts(truth, predicted)}
