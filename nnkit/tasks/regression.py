"""Regression: real values for each sample, scored in the user's units."""

import math
import re
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
from nnkit.tasks.predictions import Estimates
from nnkit.ui import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_POINTS = 2000


class Regression(Task):
    """Real predictions against real targets; the loss sees standardised targets, the metrics the user's units.

    docs/metrics.md defines the metrics.

    Args:
        target_mean: Mean of each target in the training part, in the user's units.
        target_std: Its standard deviation.
        target_names: Name of each target; of several ones each has a mean absolute error of its own.
        arguments: As for `Task`.
    """

    metrics: ClassVar[dict[str, str]] = {"loss": "min", "mae": "min", "rmse": "min", "r2": "max"}
    measures = "values"
    totals: ClassVar[tuple[str, ...]] = ("loss",)

    def __init__(
        self,
        target_mean: list[float] | None = None,
        target_std: list[float] | None = None,
        target_names: list[str] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        # What the data were standardised with, to the bit: rounded to 32 bits and then used with 64.
        self.mean = torch.tensor(target_mean or [0.0], device="cpu").double()
        self.std = torch.tensor(target_std or [1.0], device="cpu").double()
        several = len(self.mean) > 1 and target_names is not None
        # The names of their metrics.
        self._single = [f"mae_{name}" for name in plain_names(target_names or ())] if several else []
        self.better.update(dict.fromkeys(self._single, "min"))
        # No buffers: a callback that swaps averaged weights in for validation swaps the buffers as well.
        self._eval_loss = nothing(2)
        self._sums = nothing(5, len(self.mean))
        # Predictions for the last batch evaluated, (batch, outputs) float64 in the user's units, for callbacks.
        self.last_outputs: Tensor | None = None

    @classmethod
    def learnt(cls, preprocessing: dict[str, Any]) -> dict[str, Any]:
        """Return the scale of the targets."""
        target = preprocessing["target"]
        scale = {"target_mean": list(target["mean"]), "target_std": list(target["std"])}
        return {**scale, "target_names": names_of(target)}

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return predictions (batch, outputs) in the user's units, float64 on the CPU.

        Args:
            inputs: What the network takes.
        """
        return self.in_units(self.network(*inputs))

    def in_units(self, values: Tensor) -> Tensor:
        """Take standardised values (batch, outputs) to the user's units: a date in seconds needs all 64 bits."""
        return values.float().cpu().double() * self.std + self.mean

    def score(self, batch: Batch) -> tuple[Tensor, Totals]:
        """Return the loss on standardised targets, and what it adds up."""
        loss: Tensor = self.loss(self.network(*batch.network_inputs()), batch.target)
        with torch.no_grad():
            return loss, {"loss": training_share(self.loss, loss, batch.target)}

    def evaluate(self, batch: Batch) -> None:
        """Add a batch to the metrics."""
        outputs = self.network(*batch.network_inputs()).detach().float()
        self._eval_loss = self._eval_loss + on_cpu(evaluation_share(self.loss, outputs, batch.target))
        self.last_outputs = self.in_units(outputs)
        said, truth = (values.float().cpu().double() for values in (outputs, batch.target))
        error = said - truth
        # Standardised, so that squares stay near one.
        sums = [error.square(), error.abs(), truth, truth.square(), torch.ones_like(truth)]
        self._sums = self._sums + torch.stack([values.sum(0) for values in sums])

    def results(self) -> dict[str, Tensor]:
        """Return loss, mean absolute error, root mean squared error and R2 of all samples seen."""
        loss, weight = self.over_processes(self._eval_loss)
        squared, absolute, first, second, count = self.over_processes(self._sums)
        results = {
            "loss": loss / weight,
            "mae": (absolute / count * self.std).mean(),
            "rmse": (squared / count * self.std.square()).mean().sqrt(),
            "r2": _r2(squared / count, second / count - (first / count).square(), count),
            **dict(zip(self._single, absolute / count * self.std, strict=False)),
        }
        self._eval_loss = nothing(2)
        self._sums = nothing(5, len(self.mean))
        return {name: value.float() for name, value in results.items()}

    @classmethod
    def example_batch(cls, facts: Mapping[str, Any], size: int, device: str = "cpu") -> Batch:
        """Return samples with real targets; see `Task.example_batch`."""
        return example_for(torch.randn(size, facts["num_outputs"], device=device), facts)

    def predict(self, batch: Batch, data: Any, top_k: int) -> Estimates:
        """Return the predicted values of each item, in the user's units."""
        return Estimates(names_of(data.preprocessing["target"]), self(*batch.network_inputs()).numpy())

    def predict_evaluated(self, batch: Batch, data: Any, top_k: int) -> Estimates:
        """Return the predicted values of each item and add the batch to the metrics."""
        self.evaluate(batch)
        assert self.last_outputs is not None
        return Estimates(names_of(data.preprocessing["target"]), self.last_outputs.numpy())

    def outcome(self, outputs: Any, sample: Batch, data: Any) -> NamedScores:
        """Return the values in the user's units; see `Visible.outcome`."""
        names = names_of(data.preprocessing["target"])
        return NamedScores("value", self.in_units(outputs).unsqueeze(1), [""], names, None)

    def measured(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return predicted and true values in the user's units; see `Task.measured`."""
        assert self.last_outputs is not None
        return self.last_outputs, self.in_units(batch.target)

    def most_pictured(self, num_wrong: int) -> int:
        """Return how many points are drawn."""
        return _MAX_POINTS

    def pictured(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return true and predicted values of the first target."""
        assert self.last_outputs is not None
        return self.in_units(batch.target)[:, 0], self.last_outputs[:, 0]

    def pictures(self, kept: Sequence[Tensor], preprocessing: Mapping[str, Any]) -> dict[str, "Figure"]:
        """Return predicted values over true ones."""
        truth, predicted = (values.float().numpy() for values in kept)
        return {"val/predicted_over_true": figures.scatter(truth, predicted)}


def names_of(target: Mapping[str, Any]) -> list[str]:
    """Return the names of the targets in what was learnt of them; one name for several is numbered."""
    if "names" in target:
        return list(target["names"])
    name, count = target.get("name", "target"), len(target["mean"])
    return [name] if count == 1 else [f"{name}_{number}" for number in range(1, count + 1)]


def plain_names(names: Sequence[str]) -> list[str]:
    """Return names without what loggers do not take in the name of a metric; numbers where two are equal then."""
    plain = [re.sub(r"[^\w.-]+", "_", name) for name in names]
    return plain if len(set(plain)) == len(plain) else [str(number) for number in range(1, len(plain) + 1)]


def _r2(squared: Tensor, variance: Tensor, count: Tensor) -> Tensor:
    """Return R2 = 1 - squared / variance as scikit-learn does, the mean over outputs; not a number below two samples.

    Where the targets of an output are all equal it is 1 if all of its predictions are right, else 0.
    """
    if count[0] < 2:
        return torch.tensor(math.nan)
    constant = variance <= CONSTANT
    right = (squared <= CONSTANT).double()
    return torch.where(constant, right, 1 - squared / variance.clamp(min=CONSTANT)).mean()
