"""What every task does: one optimizer, one schedule, and totals that are read once in a while."""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from nnkit.batches import Batch
from nnkit.distributed import collectives
from nnkit.errors import UserError
from nnkit.losses.scoring import Share
from nnkit.network import Network
from nnkit.tasks.compiled import Compiled
from nnkit.tasks.outcome import Visible
from nnkit.tasks.pieces import LightModule, with_totals
from nnkit.tasks.predictions import Predictions
from nnkit.tasks.review import Review
from nnkit.tasks.weighing import Weighing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnkit.tasks.chosen_metrics import ChosenMetric

# A sum and what to divide it by, for each of a task's totals.
Totals = Mapping[str, Share]
MakeOptimizer = Callable[[nn.Module], Optimizer]
MakeScheduler = Callable[[Optimizer, float, float], LRScheduler | ReduceLROnPlateau]
Target = Literal["index", "one_hot", "real", "multi"]

_log = logging.getLogger("nnkit")


class Task(LightModule, Visible, ABC):
    """Base of all tasks.

    Training never logs per step: each step adds its sums to `window`, a callback reads and clears it every n steps.
    In an accumulation window each batch counts by its share of what the window's means are taken over, so that the
    window's gradient is that of one large batch.

    Both totals are buffers, so that a checkpoint holds them and a resumed run logs the same means. Each has two rows,
    sums and what to divide them by, and a column for each of `totals`: a mean over several batches is the mean over all
    of their samples or tokens, however these were cut into batches.

    Args:
        network: What is trained.
        loss: Scores (prediction, target) as a mean over the batch.
        target: Type of target the loss takes.
        make_optimizer: Builds the optimizer for a module's parameters.
        make_scheduler: Builds the learning-rate schedule for that optimizer, the number of steps of the whole run and
            that of an epoch (infinite where unknown).
        interval: Whether the schedule moves each "step" or each "epoch".
        monitor: Metric a plateau schedule follows.
    """

    # Metrics the task logs, without their split, and whether higher ("max") or lower ("min") is better.
    metrics: ClassVar[dict[str, str]] = {}
    # What metrics of the user's choice compare; None: the task takes no other metrics than its own.
    measures: ClassVar[Literal["classes", "labels", "values"] | None] = None
    # Whether the task predicts what comes next, so that a body that looks ahead would learn nothing.
    needs_causal: ClassVar[bool] = False
    # What `nnkit generate` lets it write: text that goes "on" from a prompt, an "answer" to a text, or tokens that are
    # "masked" in one; None: nothing.
    writes: ClassVar[Literal["on", "answer", "masked"] | None] = None
    # Whether `predict` is given one item at a time.
    one_by_one: ClassVar[bool] = False
    # Samples that `review` is asked about where nothing of their evaluation is kept.
    most_reviewed: ClassVar[int] = 128
    # Whether what `review` needs was kept when a batch was tested, so that it costs nothing.
    keeps_tested: ClassVar[bool] = False
    # What the columns of `window` add up.
    totals: ClassVar[tuple[str, ...]] = ("loss",)

    window: Tensor
    epoch_totals: Tensor

    def __init__(
        self,
        *,
        network: Network,
        loss: nn.Module,
        target: Target,
        make_optimizer: MakeOptimizer,
        make_scheduler: MakeScheduler,
        interval: Literal["step", "epoch"] = "step",
        monitor: str = "val/loss",
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.target = target
        self.make_optimizer = make_optimizer
        self.make_scheduler = make_scheduler
        self.interval = interval
        self.monitor = monitor
        self.plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._told_of_nan = False
        self.weighing = Weighing()
        self.last_loss: Tensor | None = None
        # Computes `losses` while training by a compiled graph; None: nothing is compiled.
        self.compiled: Compiled | None = None
        # Metrics of the user's choice by name; no modules of the task, as their state is no part of a run's state.
        self.chosen: dict[str, ChosenMetric] = {}
        # Which way each metric is better, those of the user's choice included.
        self.better: dict[str, str] = dict(self.metrics)
        # Means of the last epoch that is over.
        self.epoch_means: dict[str, float] = {}
        # Of 64 bits: an epoch may have more tokens than float32 can count.
        for name in ("window", "epoch_totals"):
            self.register_buffer(name, torch.zeros(2, len(self.totals), dtype=torch.float64))

    def choose(self, metrics: Mapping[str, "ChosenMetric"], better: Mapping[str, str]) -> None:
        """Report metrics beside the task's own.

        Args:
            metrics: The metrics by name.
            better: "max" or "min" for each.
        """
        self.chosen.update(metrics)
        self.better.update(better)

    def mode(self, metric: str) -> Literal["max", "min"]:
        """Return whether more of a metric such as "val/accuracy" is better."""
        return "max" if self.better.get(metric.split("/", 1)[-1]) == "max" else "min"

    @classmethod
    def learnt(cls, preprocessing: dict[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments that come from the data."""
        return {}

    def compile_losses(self, rows: Collection[int] = (), example: Callable[[], Batch] | None = None) -> None:
        """Compute the losses of training batches by torch.compile from now on: network and loss in one graph.

        Evaluation stays as it is: it is over before compiling for it would pay.

        Args:
            rows: Samples of a full batch; other batches are not compiled for.
            example: Instead of rows, where lengths vary: returns the batch that code is made for.
        """
        self.compiled = Compiled(self.losses, self.network, rows, example)

    @abstractmethod
    def score(self, batch: Batch) -> tuple[Tensor, Totals]:
        """Return the loss of a training batch, which is differentiated, and the batch's share in each of `totals`."""

    @abstractmethod
    def evaluate(self, batch: Batch) -> None:
        """Add a validation or test batch to the metrics."""

    @abstractmethod
    def results(self) -> dict[str, Tensor]:
        """Return the metrics of what `evaluate` has seen, named as in `metrics`, and clear them."""

    def measured(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what metrics of the user's choice compare of the batch evaluated last: predictions and targets.

        Of a task that measures "classes": probabilities (samples, classes) and numbers of classes (samples,) int64; of
        "labels": probabilities and 0 or 1 for each, both (samples, labels); of "values": both (samples, outputs)
        float64, in the user's units.
        """
        raise UserError(f"the task {type(self).__name__} has no method measured, which metrics= needs")

    def _measure(self, batch: Batch) -> None:
        if self.chosen:
            prediction, target = self.measured(batch)
            for metric in self.chosen.values():
                metric.update(prediction, target)

    def all_results(self, split: str) -> dict[str, Tensor]:
        """Return the metrics of the batches seen, the task's own and the user's, by names such as "val/loss"."""
        chosen = {name: metric.result(self.over_processes) for name, metric in self.chosen.items()}
        return {f"{split}/{name}": value for name, value in (self.results() | chosen).items()}

    @classmethod
    def example_batch(cls, facts: Mapping[str, Any], size: int, device: str = "cpu") -> Batch:
        """Return a batch as the data give it: right shapes and types, values drawn at random.

        Args:
            facts: The config of the data, with their facts.
            size: Samples in it.
            device: "meta" for shapes without values.
        """
        raise UserError(f"the task {cls.__name__} has no method example_batch, which check and summary need")

    def predict(self, batch: Batch, data: Any, top_k: int) -> Predictions:
        """Return what the network says of the items of a batch, as a user reads it; called without gradients.

        Args:
            batch: The items, on the device of the network; targets and indices mean nothing.
            data: The data module of the run, with its preprocessing.
            top_k: Classes to rank, at most.

        Raises:
            UserError: If the task or its head cannot.
        """
        raise UserError(f"the task {type(self).__name__} has no method predict, which nnkit predict needs")

    def predict_evaluated(self, batch: Batch, data: Any, top_k: int) -> Predictions:
        """Do what `predict` and `evaluate` do; a task that has the network compute once for both does so here."""
        predictions = self.predict(batch, data, top_k)
        self.evaluate(batch)
        return predictions

    def most_pictured(self, num_wrong: int) -> int:
        """Return how many samples of a validation `pictures` draws, at most, `num_wrong` wrong answers."""
        return 0

    def pictured(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return what `pictures` draws of the batch evaluated last, (samples, ...) each."""
        return ()

    def pictures(self, kept: Sequence[Tensor], preprocessing: Mapping[str, Any]) -> dict[str, "Figure"]:
        """Return the figures to show after a validation, by name.

        Args:
            kept: What `pictured` returned for all batches, one after the other.
            preprocessing: What was learnt from the training data.
        """
        return {}

    def review(self, batch: Batch, data: Any) -> Review | None:
        """Return what the metrics are made of, sample by sample; None where `measured` tells or nothing is known.

        Args:
            batch: Samples, on the device of the network.
            data: The data module of the run.
        """
        return None

    def over_processes(self, sums: Tensor) -> Tensor:
        """Add up sums over all processes that train together and have each seen batches of their own."""
        return collectives.summed(sums)

    def losses(self, batch: Batch) -> tuple[list[Tensor], Totals]:
        """Return the means that `score` adds up, one for each of `targets`, and the totals as `score` does."""
        loss, totals = self.score(batch)
        return [loss], totals

    def targets(self, batch: Batch) -> list[Tensor]:
        """Return what each mean in the loss is taken over, as the loss is given it."""
        return [batch.target]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Find what the batch weighs in the means of its step."""
        self.weighing.begin(self.trainer, batch_idx, self.loss, self.targets)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss and add the batch to the totals."""
        means, totals = (self.compiled or self.losses)(batch)
        loss: Tensor = reduce(torch.add, means)
        self.last_loss = loss.detach()
        if len(batch.indices):
            with torch.no_grad():
                sums, weights = zip(*(totals[name] for name in self.totals), strict=True)
                self.window += torch.stack([*sums, *weights]).view(2, -1)
        if (shares := self.weighing.shares(self.loss)) is None:
            return loss
        weighed: Tensor = reduce(torch.add, [mean * share for mean, share in zip(means, shares, strict=True)])
        return weighed

    def read_window(self) -> dict[str, float]:
        """Return the means since the last reading and start anew; empty if there was no step."""
        self.epoch_totals += self.window
        means = self._means(self.over_processes(self.window))
        self.window.zero_()
        return means

    def read_epoch(self) -> dict[str, float]:
        """Return the means over the epoch so far and start anew."""
        self.epoch_totals += self.window
        self.epoch_means = means = self._means(self.over_processes(self.epoch_totals))
        self.window.zero_()
        self.epoch_totals.zero_()
        return means

    def _means(self, totals: Tensor) -> dict[str, float]:
        rows = zip(self.totals, *totals.tolist(), strict=True)
        return {name: value / weight for name, value, weight in rows if weight}

    @classmethod
    def convert_totals(cls, sums: Tensor, count: Tensor) -> Tensor:
        """Return totals (2, totals) of what earlier releases kept: sums (totals,), all over one count ()."""
        return torch.stack([sums, count.expand_as(sums)])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a validation batch to the metrics."""
        self.evaluate(batch)
        self._measure(batch)

    def on_validation_epoch_start(self) -> None:
        """Evaluate with the buffers of the first process, such as the statistics of batch norm."""
        collectives.from_first(self.network.buffers())

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics once, and let a plateau schedule follow the monitored one."""
        results = self.all_results("val")
        self.log_dict(results, logger=False)
        if self.monitor in results and not self.trainer.sanity_checking:
            self._follow(float(results[self.monitor]))

    def _follow(self, value: float) -> None:
        """Show a plateau schedule the metric; minus infinity would be the best loss for ever, NaN never is."""
        if not math.isfinite(value):
            if not self._told_of_nan:
                sentence = "%s is %s at step %d: no checkpoint is chosen by it; this warning comes once"
                _log.warning(sentence, self.monitor, value, self.trainer.global_step)
            self._told_of_nan = True
            value = math.nan
        if self.plateau is not None:
            self.plateau.step(value)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a test batch to the metrics."""
        self.evaluate(batch)
        self._measure(batch)

    def on_test_epoch_end(self) -> None:
        """Log the test metrics once."""
        self.log_dict(self.all_results("test"), logger=False)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take over a state, which may be that of an earlier release."""
        return super().load_state_dict(self.upgraded(state_dict), strict, assign)

    def upgraded(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Return a state with the totals of an earlier release in their present form."""
        return with_totals(state_dict, len(self.totals), self.convert_totals)

    def setup(self, stage: str) -> None:
        """Use totals of 32 bits on Apple's GPUs, which have no others."""
        super().setup(stage)
        if self.trainer.strategy.root_device.type == "mps":
            self.window, self.epoch_totals = self.window.float(), self.epoch_totals.float()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and its schedule; a plateau schedule is stepped by the task itself.

        Lightning would step it after the epoch's checkpoint is written, so that a resumed run missed the step.
        """
        optimizer = self.make_optimizer(self.network)
        total = self.trainer.estimated_stepping_batches
        batches = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        per_epoch = math.ceil(batches) if math.isfinite(batches) else math.inf
        scheduler = self.make_scheduler(optimizer, total, per_epoch)
        if isinstance(scheduler, ReduceLROnPlateau):
            self.plateau = scheduler
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": self.interval}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients here, since Lightning refuses a fused optimizer under mixed precision."""
        if not gradient_clip_val:
            return
        clip = clip_grad_value_ if gradient_clip_algorithm == "value" else clip_grad_norm_
        clip(self.network.parameters(), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of a plateau schedule."""
        if self.plateau is not None:
            checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of a plateau schedule until the optimizer is there."""
        self._plateau_state = checkpoint.get("plateau")

    def on_train_start(self) -> None:
        """Restore a plateau schedule."""
        if self.plateau is not None and self._plateau_state is not None:
            self.plateau.load_state_dict(self._plateau_state)
