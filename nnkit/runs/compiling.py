"""torch.compile for a run: what it is made for, and whether this machine has what it needs."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from nnkit.batches import Batch
from nnkit.data.sampler import BatchSampler, Draw, LengthSampler
from nnkit.distributed.group import group
from nnkit.runs.optimization import pick_device

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nnkit.data.base import DataModule
    from nnkit.tasks.base import Task

_log = logging.getLogger("nnkit")
# Kinds of input that are padded to the longest of each batch, whatever deals them out.
_PADDED = ("pairs",)
# Batches that are gathered to find one whose sizes differ.
_MOST_TRIED = 10


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
    found = group()
    processes = 1 if found is None else found.world.size
    if lengths_vary(config, data):
        task.compile_losses(example=partial(typical_batch, data, processes))
        return
    full = min(config.data.batch_size, len(data.split("train")))
    # The shares of a batch differ by one sample where the processes do not divide it.
    task.compile_losses({full // processes, -(-full // processes)})


def typical_batch(data: DataModule, processes: int = 1) -> Batch:
    """Return a training batch of the first epoch that is of middle length, for code that serves all lengths.

    It is the same one wherever a run is resumed. Its sizes differ from each other and from 1, where a batch has such
    sizes: torch makes code for the sizes that are compared to these as they are in the example.

    Args:
        data: The data, prepared.
        processes: How many share each batch.
    """
    samples, sampler = data.split("train"), data.train_dataloader().sampler
    assert isinstance(sampler, BatchSampler)
    sampler.set_epoch(0)
    batches = list(sampler.deal())
    if isinstance(sampler, LengthSampler):
        batches.sort(key=lambda indices: int(sampler.lengths[indices].max()))
    middle = (len(batches) - 1) // 2
    nearest = sorted(range(len(batches)), key=lambda number: abs(number - middle))
    found = [samples[Draw(0, batches[number][::processes])] for number in nearest[:_MOST_TRIED]]
    return max(found, key=_distinct_sizes)


def _distinct_sizes(batch: Batch) -> int:
    lengths = [one.shape[1] for one in batch.network_inputs() if one is not None and one.ndim > 1]
    return len({len(batch.inputs), *lengths} - {1})


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
