"""torch.compile for a run: what it is made for, and whether this machine has what it needs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nnkit.data.sampler import LengthSampler
from nnkit.distributed.group import group
from nnkit.runs.optimization import pick_device

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task

_log = logging.getLogger("nnkit")
# Kinds of input that are padded to the longest of each batch, whatever deals them out.
_PADDED = ("pairs",)


def lengths_vary(config: DictConfig, data: DataModule) -> bool:
    """Return whether training batches have several lengths, so that code for one shape would not serve the next."""
    return config.data.kind in _PADDED or isinstance(data.train_dataloader().sampler, LengthSampler)


def compile_losses(config: DictConfig, task: Task, data: DataModule) -> None:
    """Let a task compute its losses by compiled code.

    Args:
        config: A composed config.
        task: The task.
        data: The data, prepared.
    """
    if lengths_vary(config, data):
        task.compile_losses(None)
        return
    found = group()
    processes = 1 if found is None else found.world.size
    full = min(config.data.batch_size, len(data.split("train")))
    # The shares of a batch differ by one sample where the processes do not divide it.
    task.compile_losses({full // processes, -(-full // processes)})


def cannot_compile(config: DictConfig) -> str:
    """Return why nothing can be compiled here; empty if it can."""
    device = pick_device(config)
    if device == "mps":
        return "nnkit compiles nothing for Apple's GPUs"
    if device == "cuda":
        from torch.utils._triton import has_triton

        return "" if has_triton() else "this machine has no Triton"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "this machine has no C++ compiler; g++ or clang++ would do"
    return ""


def settle_compiling(config: DictConfig) -> None:
    """Let a run go on without compiling where nothing can be compiled; written into the config, so that it stays so.

    Args:
        config: A composed config.
    """
    if config.trainer.compile is True and (reason := cannot_compile(config)):
        config.trainer.compile = False
        _log.warning("trainer.compile=true: %s. The run is trained without compiling.", reason)
