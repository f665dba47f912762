"""How long a run takes on this machine: a few real steps on real batches, and what Lightning's loop adds to them."""

from __future__ import annotations

import logging
import math
import statistics
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from nnkit import config as configs
from nnkit.analysis.dry_run import DryRun, make_task
from nnkit.analysis.shapes import example_batch
from nnkit.batches import Batch
from nnkit.runs.optimization import autocast, count_steps, limited, pick_device, resolve_precision
from nnkit.runs.session import make_session
from nnkit.runs.trial_steps import training_batches
from nnkit.ui.logs import quiet_lightning

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch.optim import Optimizer

    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task

# A batch is cut down for measuring so that a step takes about this long at this speed.
_SECONDS_PER_STEP = 0.3
_MULTIPLY_ADDS_PER_SECOND = 1e10
_MAX_STEPS = 50
# Of the time that is spent on measuring.
_SHARE_FOR_VALIDATION = 0.25
_FIRST_ROWS = 8
# Steps of Lightning's loop that are timed.
_LOOP_STEPS = 60
# What Lightning's loop and callbacks take, in steps of that loop around a network of one weight: such a ratio hardly
# depends on the machine. Processor time of an MLP with and without the callbacks of conf/train.yaml.
_PER_STEP = {"always": 1.7, "nan_guard": 0.5, "progress": 0.15, "throughput": 0.15}
_PER_EPOCH = {"always": 2.0, "checkpoint": 15.0}
_PER_VALIDATION = {"always": 6.0}


@dataclass(frozen=True)
class Pace:
    """Seconds on this machine, with what Lightning's loop and the callbacks add.

    Attributes:
        batch: Of a training batch.
        epoch: Of what is done at the end of an epoch, checkpoint included, validation apart.
        validation: Of a pass over the validation split.
    """

    batch: float
    epoch: float = 0.0
    validation: float = 0.0


def measure_pace(
    config: DictConfig, choices: dict[str, Any], found: DryRun, data: DataModule, budget: float = 1.2
) -> Pace:
    """Measure a few real steps and a piece of the validation.

    The batches are those that training begins with, so that texts have their real lengths. Where the data are not
    prepared, the batch is made up, and validation is left out.

    Args:
        config: A composed config, the facts about the data filled in.
        choices: The option of each group.
        found: The training step without values; sets how much of a batch is measured.
        data: The data; nothing is prepared here.
        budget: Seconds to spend, about.
    """
    device = pick_device(config)
    if data.preprocessing:
        config = configs.copy(config)
        config.trainer.compile = False
        task = make_session(config, choices, data).task.train().to(device)
        # What a task asks of its trainer where it is validated.
        validating: Any = SimpleNamespace(datamodule=data, testing=False)
        task.trainer = validating
        batches = training_batches(data)
    else:
        task = make_task(config, choices, "cpu").to(device)
        batches = iter(lambda: example_batch(config, config.data.batch_size), None)
    timer = _Timer(config, task, device)
    step = timer.training(batches, found, budget * (1 - _SHARE_FOR_VALIDATION))
    validation = timer.validation(data, budget * _SHARE_FOR_VALIDATION) if data.preprocessing else 0.0
    callbacks = {"always", *(config.get("callbacks") or {})}
    unit = _loop_step()
    per_step, per_epoch, per_validation = (
        unit * sum(cost for name, cost in costs.items() if name in callbacks)
        for costs in (_PER_STEP, _PER_EPOCH, _PER_VALIDATION)
    )
    return Pace(step + per_step, per_epoch, validation + per_validation if validation else 0.0)


class _Timer:
    """Times steps of a task.

    Args:
        config: A composed config.
        task: What is trained, on its device.
        device: "cuda", "mps" or "cpu".
    """

    def __init__(self, config: DictConfig, task: Task, device: str) -> None:
        self._config = config
        self._task = task
        self._device = device
        self._precision = resolve_precision(config)

    def training(self, batches: Iterator[Batch], found: DryRun, budget: float) -> float:
        """Return the mean seconds of a training batch: texts of several lengths take their time.

        A large batch is cut to some of its rows and its time scaled up.
        """
        optimizer = self._task.make_optimizer(self._task.network)
        multiply_adds = sum(layer.multiply_adds for layer in found.layers)
        every = self._config.trainer.accumulate_grad_batches
        seconds: list[float] = []
        end = time.perf_counter() + budget
        # The first step allocates, and is left out where there is another.
        while not seconds or (time.perf_counter() < end and len(seconds) <= _MAX_STEPS):
            begin = time.perf_counter()
            batch = next(batches)
            gathering = time.perf_counter() - begin
            if self._config.data.get("num_workers"):
                # Workers gather while this process trains.
                gathering = 0.0
            whole = len(batch.indices)
            # The batch that was walked through may have been a longer one.
            part = batch.inputs.numel() / math.prod(found.inputs)
            size = _measured_rows(whole, 3 * multiply_adds * part / _MULTIPLY_ADDS_PER_SECOND)
            spent = self._step(optimizer, _rows(batch, size, self._device), len(seconds) % every == 0)
            seconds.append(gathering + spent * whole / size)
        return statistics.mean(seconds[1:] or seconds)

    def _step(self, optimizer: Optimizer, batch: Batch, moves: bool) -> float:
        trainer = self._config.trainer
        start = time.perf_counter()
        with autocast(self._precision, self._device):
            loss, _ = self._task.score(batch)
        torch.autograd.backward(loss)
        if moves:
            self._task.configure_gradient_clipping(
                optimizer, trainer.get("gradient_clip_val"), trainer.get("gradient_clip_algorithm")
            )
            optimizer.step()
            optimizer.zero_grad()
        self._wait()
        return time.perf_counter() - start

    def validation(self, data: DataModule, budget: float) -> float:
        """Return the seconds of a pass over the validation split; 0 where there is none.

        The batch in the middle serves, since texts are sorted by length: more of its rows until time is up.
        """
        draws = list(data.val_dataloader().sampler)
        count = limited(self._config.trainer.limit_val_batches, len(draws))
        if not count:
            return 0.0
        batch = data.split("val")[draws[len(draws) // 2]]
        size, whole, end = 0, len(batch.indices), time.perf_counter() + budget
        spent = 0.0
        self._task.eval()
        while size < whole and (not size or time.perf_counter() + 2 * spent < end):
            size = min(whole, 4 * size or _FIRST_ROWS)
            start = time.perf_counter()
            with torch.no_grad(), autocast(self._precision, self._device):
                self._task.evaluate(_rows(batch, size, self._device))
            self._wait()
            spent = time.perf_counter() - start
        return spent * whole / size * count

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def _measured_rows(whole: int, expected: float) -> int:
    """Return how many rows of a batch take no longer than a measured step should."""
    return max(min(whole, 2), min(whole, int(whole * _SECONDS_PER_STEP / max(expected, 1e-9))))


def _rows(batch: Batch, size: int, device: str) -> Batch:
    return type(batch)(*(field[:size].to(device) for field in batch))


class _OneWeight(LightningModule):
    """Next to nothing to train; notes when each step is over."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.stamps: list[float] = []

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        return self.weight.sum()

    def configure_optimizers(self) -> Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_batch_end(self, outputs: Any, batch: int, batch_idx: int) -> None:
        self.stamps.append(time.perf_counter())


def _loop_step() -> float:
    """Return the seconds of a step of Lightning's loop around next to nothing; nothing is written."""
    module = _OneWeight()
    quiet_lightning()
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = Trainer(
                accelerator="cpu",
                devices=1,
                max_epochs=1,
                logger=False,
                plugins=[LightningEnvironment()],
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module, train_dataloaders=[0] * _LOOP_STEPS)
    finally:
        log.setLevel(level)
    return (module.stamps[-1] - module.stamps[0]) / (_LOOP_STEPS - 1)


def count_validations(config: DictConfig, num_batches: int) -> int:
    """Return how often a run of a known number of steps is validated.

    Args:
        config: A composed config.
        num_batches: Batches of the training split.
    """
    trainer = config.trainer
    per_epoch, steps = count_steps(config, num_batches)
    batches = limited(trainer.overfit_batches or trainer.limit_train_batches, num_batches)
    interval: float = 1.0 if trainer.val_check_interval is None else trainer.val_check_interval
    every: int | None = trainer.check_val_every_n_epoch
    # The last step of a run is always validated.
    if every is None:
        # Counted on over the epochs.
        return math.ceil(steps * batches / per_epoch / interval)
    often = 1 / interval if isinstance(interval, float) else max(1, batches // interval)
    return math.ceil(steps / per_epoch / every * often)
