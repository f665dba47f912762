"""Who trains a workload: nnkit with everything on, and the loop of textbooks.

Each returns what one step cost, the first steps left out, on whatever device the machine has.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from devices import clocks, device, free
from lightning.pytorch import Callback
from lines import Setting
from measuring import Cost
from torch import nn
from workloads import Workload

os.environ["NNKIT_TRUST"] = ",".join(filter(None, (os.environ.get("NNKIT_TRUST"), __name__)))
import nnkit

# Steps before the clock starts.
WARM = 3
# Seconds of a contender's turn, and the most steps in it.
TURN, MOST = 1.5, 800
# Steps that a run of nnkit sets out for.
PLANNED = 20_000


class Overflow(Callback):
    """Makes a gradient infinite once, as a loss scaled up too much does, and sees what the step then changes."""

    # Step of the infinite gradient.
    at = 3
    found: ClassVar[dict[str, float]]

    def __init__(self) -> None:
        Overflow.found = {}

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Spoil a gradient."""
        if trainer.global_step == self.at and not self.found:
            parameter = next(one for one in pl_module.parameters() if one.grad is not None)
            parameter.grad.view(-1)[0] = torch.inf
            self.before = [one.detach().clone() for one in pl_module.parameters()]
            self.found["scale"] = trainer.precision_plugin.scaler.get_scale()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *arguments: Any) -> None:
        """Compare the weights and the scale with those before."""
        if self.found and "factor" not in self.found:
            pairs = zip(self.before, pl_module.parameters(), strict=True)
            self.found["changed"] = float(sum(not torch.equal(one, other) for one, other in pairs))
            self.found["factor"] = trainer.precision_plugin.scaler.get_scale() / self.found["scale"]


class Stopwatch:
    """Reads the clocks in front of the first step that counts, and behind the last.

    Args:
        steps: All steps, `WARM` of them not counted.

    Raises:
        ValueError: If no step is left to count.
    """

    def __init__(self, steps: int) -> None:
        if steps <= WARM:
            raise ValueError(f"{steps} steps, {WARM} of them to warm up: give at least {WARM + 1}")
        self.steps, self.count = steps, 0
        self.start = self.end = (0.0, 0.0)

    def step(self) -> None:
        """Count a step that begins."""
        if self.count == WARM:
            self.start = clocks()
        self.count += 1

    def stop(self) -> None:
        """Read the clocks if the last step has ended."""
        if self.count == self.steps:
            self.end = clocks()

    def cost(self) -> Cost:
        """Return what a step has cost.

        Raises:
            RuntimeError: If the last step was not reached.
        """
        if not self.end[0]:
            raise RuntimeError(f"the training ended after {self.count} of {self.steps} steps")
        wall, cpu = (end - start for start, end in zip(self.start, self.end, strict=True))
        return Cost(wall / (self.steps - WARM), cpu / (self.steps - WARM))


class StepClock(Callback):
    """Counts the steps of a Lightning trainer, and ends the run after them.

    Args:
        steps: All steps that are taken.
    """

    # Of the run that trains, as nnkit makes the callback itself.
    watch: ClassVar[Stopwatch]

    def __init__(self, steps: int) -> None:
        StepClock.watch = Stopwatch(steps)

    def on_train_batch_start(self, *arguments: Any) -> None:
        """Count."""
        self.watch.step()

    def on_train_batch_end(self, trainer: Any, *arguments: Any) -> None:
        """Stop after the last step, in front of the validation."""
        self.watch.stop()
        trainer.should_stop |= self.watch.count >= self.watch.steps


class Reached(Callback):
    """Ends a run whose validation loss is low enough, and writes what it took from its first step on.

    Args:
        wanted: The loss.
    """

    def __init__(self, wanted: float) -> None:
        self.wanted = wanted

    def on_train_start(self, *arguments: Any) -> None:
        """Read the clocks."""
        self.start = clocks()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop if the loss is low enough."""
        loss = float(trainer.callback_metrics.get("val/loss", torch.inf))
        if not trainer.sanity_checking and loss <= self.wanted and not trainer.should_stop:
            trainer.should_stop = True
            wall, cpu = (after - before for before, after in zip(self.start, clocks(), strict=True))
            found = {"wall": wall, "cpu": cpu}
            Path(trainer.default_root_dir, "reached.json").write_text(json.dumps(found))


def enough(workload: Workload, setting: Setting) -> int:
    """Return how many steps a turn takes: about `TURN` seconds of the loop, at least two."""
    few = WARM + 2
    if setting.quick:
        return few
    return WARM + min(max(round(TURN / loop(workload, few).wall), 2), MOST)


def ours(workload: Workload, steps: int, *words: str) -> Cost:
    """Train nnkit with its usual callbacks and loggers.

    Args:
        workload: What is trained.
        steps: Optimizer steps.
        words: More words for nnkit, stronger than the workload's.

    Returns:
        What a step cost; `answer` has the metrics.
    """
    # As long as a run of a user, for which `fastest` measures, and which logs every 50 steps; the clock ends it.
    few = ["trainer.limit_val_batches=1", "trainer.limit_test_batches=1", f"trainer.max_steps={PLANNED}"]
    clock = [f"+callbacks.clock._target_={__name__}.StepClock", f"+callbacks.clock.steps={steps}"]
    if not torch.cuda.is_available():
        few.append(f"trainer.num_threads={torch.get_num_threads()}")
    with tempfile.TemporaryDirectory() as directory:
        metrics = nnkit.train([*workload.words, *few, *clock, *words, f"output_dir={directory}"]).metrics
    free()
    return replace(StepClock.watch.cost(), answer=metrics)


def compiled_by_hand(workload: Workload, network: nn.Module, precision: torch.dtype) -> Callable[[int], Cost]:
    """Return the best that is known by hand: network and loss as one compiled graph, a fused optimizer, no logging.

    Args:
        workload: What is trained, with Adam or AdamW.
        network: Written for a compiler. It goes on from turn to turn, so that it is compiled once.
        precision: Of autocast; float32 is none.

    Returns:
        Takes so many steps and returns what one cost.
    """
    network = network.to(device()).train()
    optimizer = partial(workload.optimizer, fused=True)(network.parameters())

    def loss_of(inputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device().type, precision, enabled=precision != torch.float32):
            return workload.loss(network(inputs), target)

    compiled = torch.compile(loss_of)

    def steps(number: int) -> Cost:
        watch = Stopwatch(number)
        for _ in range(number):
            watch.step()
            inputs, target = (part.to(device()) for part in workload.draw())
            optimizer.zero_grad()
            compiled(inputs, target).backward()
            optimizer.step()
            watch.stop()
        return watch.cost()

    return steps


def loop(
    workload: Workload,
    steps: int,
    *,
    precision: torch.dtype = torch.float32,
    channels_last: bool = False,
    pinned: bool = False,
    network: nn.Module | None = None,
) -> Cost:
    """Train the textbook's network in a bare loop, data in memory and nothing logged.

    Args:
        workload: What is trained.
        steps: Optimizer steps.
        precision: Of autocast; float32 is none.
        channels_last: Whether weights and pictures are stored channels last.
        pinned: Whether batches go to the device from page-locked memory.
        network: What is trained instead of a fresh network.
    """
    torch.manual_seed(0)
    place = device()
    network = (network or workload.network()).to(place).train()
    optimizer, watch = workload.optimizer(network.parameters()), Stopwatch(steps)
    scaler = torch.amp.GradScaler(place.type, enabled=precision == torch.float16)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for _ in range(steps):
        watch.step()
        inputs, target = workload.draw()
        if pinned:
            inputs, target = inputs.pin_memory(), target.pin_memory()
        inputs, target = inputs.to(place, non_blocking=pinned), target.to(place, non_blocking=pinned)
        if channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        autocast = torch.autocast(place.type, precision) if precision != torch.float32 else None
        with autocast or contextlib.nullcontext():
            loss = workload.loss(network(inputs), target)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        watch.stop()
    return watch.cost()
