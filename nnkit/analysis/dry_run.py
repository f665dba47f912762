"""One training step without values: whether shapes and loss fit, and the memory a run will take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnkit import config as configs
from nnkit.analysis.shapes import Layer, counting_saved, example_batch, looks_at_values, walk, without_values
from nnkit.errors import UserError
from nnkit.factory import build
from nnkit.factory.class_weights import without_data
from nnkit.runs.optimization import check_optimizer
from nnkit.runs.session import make_session

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch.optim import Optimizer

    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task


@dataclass(frozen=True)
class Memory:
    """Bytes a training step needs.

    Attributes:
        parameters: Parameters and buffers.
        gradients: One for each trained parameter.
        optimizer: What the optimizer keeps, such as running means.
        activations: What the forward pass keeps for the backward pass, the batch included.
    """

    parameters: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class DryRun:
    """A training step on the meta device.

    Attributes:
        layers: The network's layers.
        inputs: Shape of a batch.
        memory: What the step needs.
        frozen: Bytes of the parameters that are not trained.
    """

    layers: list[Layer]
    inputs: tuple[int, ...]
    memory: Memory
    frozen: int = 0

    @property
    def saved(self) -> int:
        """Bytes of gradients and of the optimizer's state that would come on top if nothing were frozen."""
        trained = self.memory.gradients
        return self.frozen + round(self.frozen * self.memory.optimizer / trained) if trained else self.frozen


def make_task(config: DictConfig, choices: dict[str, Any], device: str) -> Task:
    """Build the task of a run around fresh weights, with stand-ins for what only prepared data tell.

    Args:
        config: A composed config, the facts about the data filled in; it is left as it is.
        choices: The option of each group.
        device: "meta" for a task without values.
    """
    config = _without_kernels(config, device)
    data: DataModule = build(config.data, "data")
    outputs = config.data.get("num_outputs") or 0
    data.preprocessing = {
        "class_names": [str(number) for number in range(config.data.get("num_classes") or 0)],
        "target": {"mean": [0.0] * outputs, "std": [1.0] * outputs},
    }
    with torch.device(device):
        return make_session(config, choices, data).task.train()


def _without_kernels(config: DictConfig, device: str) -> DictConfig:
    """Return a config that compiles nothing, holds nothing that only data tell and, without values, fuses no step."""
    config = configs.copy(config)
    config.trainer.compile = False
    without_data(config)
    if device == "meta" and "fused" in config.optimizer:
        config.optimizer.fused = False
    return config


def dry_run(config: DictConfig, choices: dict[str, Any], num_batches: int = 100) -> DryRun:
    """Take one training step without values: the batch through the network, the loss, the optimizer.

    Args:
        config: A composed config, the facts about the data filled in.
        choices: The option of each group.
        num_batches: Batches of the training split.

    Raises:
        ConfigError: If the optimizer does not go with the network, or the schedule with the length of the run.
        ShapeError: If a layer cannot take what the one before it gives.
        UserError: If the loss cannot take the outputs and the targets, or gives no single number.
    """
    return without_values(lambda device: _dry_run_on(device, config, choices, num_batches))


def _dry_run_on(device: str, config: DictConfig, choices: dict[str, Any], num_batches: int) -> DryRun:
    task = make_task(config, choices, device)
    batch = example_batch(config, config.data.batch_size, device)
    layers = walk(task.network, *batch.network_inputs())
    with counting_saved(task) as saved:
        loss = _score(task, batch, layers[-1].output)
        kept = saved()
    torch.autograd.backward(loss)
    check_optimizer(_without_kernels(config, device), task.network, num_batches)
    optimizer = task.make_optimizer(task.network)
    optimizer.step()
    trained = [p for p in task.network.parameters() if p.requires_grad]
    memory = Memory(
        parameters=sum(map(_bytes, [*task.network.parameters(), *task.network.buffers()])),
        gradients=sum(map(_bytes, trained)),
        optimizer=sum(_bytes(value) for value in _state_tensors(optimizer)),
        activations=max(kept, _bytes(batch.inputs)),
    )
    frozen = [p for p in task.network.parameters() if not p.requires_grad]
    return DryRun(layers, tuple(batch.inputs.shape), memory, sum(map(_bytes, frozen)))


def _score(task: Task, batch: Any, output: tuple[int, ...]) -> Tensor:
    try:
        loss, _ = task.score(batch)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        if looks_at_values(error):
            raise
        reason = " ".join(str(error).split())
        name = type(task.loss).__name__
        raise UserError(f"the loss {name} refuses outputs of shape {output}: {reason}") from error
    if loss.shape:
        raise UserError(
            f"the loss {type(task.loss).__name__} gives {tuple(loss.shape)} numbers a batch, not one"
        )
    return loss


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _state_tensors(optimizer: Optimizer) -> list[Tensor]:
    states = [value for state in optimizer.state.values() for value in state.values()]
    return [value for value in states if isinstance(value, Tensor)]
