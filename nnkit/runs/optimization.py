"""The optimizer and the schedule of a run, which depend on its network and its length."""

from __future__ import annotations

import math
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from nnkit import config as configs
from nnkit.distributed.sharded import is_sharded
from nnkit.errors import ConfigError, Problem
from nnkit.factory import build, target_class
from nnkit.factory.metrics import mode_of
from nnkit.optim.groups import param_groups
from nnkit.optim.layer_decay import rate_scales, scale_rates

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

# The precision that is measured where a run begins.
FASTEST = "fastest"
# How far a schedule is tried, and what it or an optimizer raises over arguments that do not go together.
_TRIED_MOVES = 100
_COMPLAINTS = (ValueError, TypeError, RuntimeError, ZeroDivisionError, OverflowError)


def limited(limit: float, count: int) -> int:
    """Return how many of `count` batches are left by a limit: a share of them (1.0) or a number (10)."""
    return int(count * limit) if isinstance(limit, float) else min(limit, count)


def count_steps(config: DictConfig, num_batches: int) -> tuple[float, float]:
    """Return the optimizer steps of an epoch and of the run; infinite where only the clock ends it.

    Args:
        config: A composed config.
        num_batches: Batches of the training split.
    """
    trainer = config.trainer
    limit = trainer.get("overfit_batches") or trainer.get("limit_train_batches", 1.0)
    per_epoch = math.ceil(limited(limit, num_batches) / trainer.get("accumulate_grad_batches", 1))
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps")
    return per_epoch, min(
        epochs * per_epoch if epochs and epochs > 0 else math.inf, steps if steps and steps > 0 else math.inf
    )


def check_optimizer(config: DictConfig, network: nn.Module, num_batches: int) -> None:
    """Refuse an optimizer or a schedule that does not go with the parameters or with the length of the run.

    Args:
        config: A composed config, the facts about the data filled in; it is left as it is.
        network: What is to be trained.
        num_batches: Batches of the training split.

    Raises:
        ConfigError: If one cannot be made, or the schedule ends before the run does.
    """
    # Where a schedule is laid out over the steps of the run, their number is written into the config.
    config = configs.copy(config)
    per_epoch, total = count_steps(config, num_batches)
    key = "optimizer"
    try:
        optimizer = make_optimizer(config, network)
        key = "scheduler"
        schedule = make_scheduler(config, optimizer, total, per_epoch)
        by_step = config.scheduler.get("interval", "step") == "step"
        _try_schedule(schedule, total if by_step else total / per_epoch)
    except ZeroDivisionError as error:
        zeros = ", ".join(str(name) for name, value in config.scheduler.items() if value == 0)
        raise ConfigError([Problem(key, f"it divides by zero, and these are 0: {zeros}")]) from error
    except _COMPLAINTS as error:
        raise ConfigError([Problem(key, (str(error) or repr(error)).splitlines()[0])]) from error


def _try_schedule(schedule: LRScheduler | ReduceLROnPlateau, moves: float) -> None:
    """Move a schedule as the run will, or its first moves where these are many.

    Args:
        schedule: A schedule made for this trial.
        moves: How often the run moves it.
    """
    if isinstance(schedule, ReduceLROnPlateau):
        return
    given = getattr(schedule, "total_steps", None)
    if isinstance(given, int) and math.isfinite(moves) and given < moves:
        raise ValueError(f"total_steps must be at least the {int(moves):,} steps of the run, not {given:,}")
    with warnings.catch_warnings():
        # No optimizer has moved before it.
        warnings.simplefilter("ignore")
        for _ in range(int(min(moves, _TRIED_MOVES))):
            schedule.step()


def make_optimizer(config: DictConfig, module: nn.Module) -> Optimizer:
    """Build the optimizer over the parameters that are trained, those without weight decay in a group of their own.

    Args:
        config: A composed config.
        module: The network.
    """
    node = config.optimizer.copy()
    # The fused step is one kernel for all parameters. A loss scaler must see the gradients before it, so not there.
    other_kernels = node.get("differentiable") or node.get("foreach")
    if is_sharded(module):
        # Other optimizers have no fused step for what processes share.
        other_kernels = other_kernels or not issubclass(target_class(node, "optimizer"), torch.optim.Adam)
    if (
        "fused" in node
        and node.fused is None
        and not other_kernels
        and resolve_precision(config) != "16-mixed"
    ):
        node.fused = True
    # Some optimizers move the matrices of the body in a way of their own.
    apart = getattr(target_class(node, "optimizer"), "wants_matrices", False)
    matrices_of = module.get_submodule("body") if apart else None
    scales = None if node.get("layer_decay") is None else _scales(module, node.layer_decay)
    groups = param_groups(module, float(node.get("weight_decay") or 0.0), matrices_of, scales)
    optimizer: Optimizer = build(node, "optimizer", params=groups)
    if scales is not None:
        scale_rates(optimizer)
    return optimizer


def _scales(network: nn.Module, decay: float) -> dict[nn.Parameter, float]:
    try:
        return rate_scales(network, network.get_submodule("body"), decay)
    except ValueError as error:
        raise ConfigError([Problem("optimizer.layer_decay", str(error), "leave it out")]) from error


def make_scheduler(
    config: DictConfig, optimizer: Optimizer, total_steps: float, steps_per_epoch: float
) -> LRScheduler | ReduceLROnPlateau:
    """Build the schedule of the learning rate, and write the lengths it may refer to into the config.

    Args:
        config: A composed config.
        optimizer: What it schedules.
        total_steps: Optimizer steps of the run; infinite where only the clock ends it.
        steps_per_epoch: Those of an epoch.
    """
    if config.trainer.max_steps > 0:
        total_steps = min(total_steps, config.trainer.max_steps)
    if math.isfinite(total_steps):
        config.fit.total_steps = int(total_steps)
    if math.isfinite(steps_per_epoch):
        config.fit.steps_per_epoch = int(steps_per_epoch)
    # A plateau schedule must know whether more of the metric it follows is better.
    follows = issubclass(target_class(config.scheduler, "scheduler"), ReduceLROnPlateau)
    mode = {"mode": mode_of(config)} if follows else {}
    scheduler: LRScheduler | ReduceLROnPlateau = build(
        config.scheduler, "scheduler", optimizer=optimizer, **mode
    )
    return scheduler


def pick_device(config: DictConfig) -> str:
    """Return the device training would take: "cuda", "mps" or "cpu"."""
    wanted = str(config.trainer.accelerator)
    if wanted in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "cuda"
    return "mps" if wanted in ("auto", "gpu", "mps") and torch.backends.mps.is_available() else "cpu"


def resolve_precision(config: DictConfig) -> str:
    """Return the precision, `auto` turned into what suits the device; `fastest`, before it is measured, is 32-true."""
    precision = str(config.trainer.precision)
    if precision not in ("auto", FASTEST):
        return precision
    if precision == "auto" and pick_device(config) == "cuda":
        older = "32-true" if config.trainer.strategy == "fsdp" else "16-mixed"
        return "bf16-mixed" if torch.cuda.get_device_capability()[0] >= 8 else older
    return "32-true"


def autocast(precision: str, device: str) -> AbstractContextManager[Any]:
    """Return what a trainer computes steps in, such as those of a test.

    Args:
        precision: Of Lightning, such as "bf16-mixed".
        device: "cuda", "mps" or "cpu"; on the last one, 16-mixed is bf16-mixed, as for Lightning.
    """
    if not precision.endswith("-mixed"):
        return nullcontext()
    is_half = precision == "16-mixed" and device != "cpu"
    # Lightning keeps no casts of weights for their next use.
    return torch.autocast(device, dtype=torch.float16 if is_half else torch.bfloat16, cache_enabled=False)
