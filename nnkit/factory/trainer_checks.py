"""What Lightning's Trainer accepts silently or refuses after it has started: lengths, devices, ranges."""

import os
import re
from collections.abc import Iterator
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from nnkit.config.declared import (
    ACCELERATORS,
    LIMITS,
    MAX_WORKERS,
    PRECISIONS_OF_PRODUCTS,
    RANGES,
    STRATEGIES,
)
from nnkit.errors import Problem
from nnkit.suggest import hint

_NO_LIMIT = -1
_OTHER_PROFILERS = ("pytorch", "xla")
# Processes that any machine may try out.
_FEW = 8
# Strategies of Lightning that copy this process instead of starting the command again.
_COPIES = re.compile("spawn|fork|notebook")
# Optimizers whose fused step knows sharded parameters.
_FUSED = (".Adam", ".AdamW")
_AVERAGES = (".EMA", "WeightAveraging")
_MAX_TIME = re.compile(r"\d+:\d{2}:\d{2}:\d{2}")


def trainer_problems(config: DictConfig) -> list[Problem]:
    """Return what is wrong with the trainer node beyond types.

    Args:
        config: A composed config.
    """
    trainer = config.trainer
    found = [
        *_lengths(trainer),
        *_devices(trainer),
        *_ranges(trainer),
        *_own_keys(trainer),
        *_workers(config),
        *_sharded(config),
    ]
    if not found:
        found += _limits(config)
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _lengths(trainer: DictConfig) -> Iterator[Problem]:
    for name in ("max_epochs", "max_steps"):
        value = trainer.get(name)
        if _is_count(value) and value < 1 and value != _NO_LIMIT:
            text = f"must be {LIMITS[f'trainer.{name}']}, not {value}"
            yield Problem(
                f"trainer.{name}",
                text,
                f"trainer.{name}=1 trains the least; nnkit check looks without training",
            )
    for name in ("min_epochs", "min_steps"):
        value = trainer.get(name)
        if _is_count(value) and value < 0:
            yield Problem(f"trainer.{name}", f"must be {LIMITS[f'trainer.{name}']}, not {value}")
    time = trainer.get("max_time")
    if OmegaConf.is_dict(time):
        parts = [value for value in time.values() if isinstance(value, int | float)]
        if min(parts, default=0) < 0 or not sum(parts):
            text = f"must be a time above zero, not {OmegaConf.to_container(time)}"
            yield Problem("trainer.max_time", text, "ten minutes: trainer.max_time=00:00:10:00")
    if isinstance(time, str) and not _MAX_TIME.fullmatch(time):
        text = f"must be {LIMITS['trainer.max_time']}, not {time!r}"
        yield Problem("trainer.max_time", text, "ten minutes: trainer.max_time=00:00:10:00")


def _limits(config: DictConfig) -> Iterator[Problem]:
    trainer = config.trainer
    counted = any(trainer.get(name) not in (None, _NO_LIMIT) for name in ("max_epochs", "max_steps"))
    if not counted and trainer.get("max_time") is None:
        yield Problem(
            "trainer.max_epochs", "nothing ends the training", "trainer.max_epochs=, max_steps= or max_time="
        )
        return
    if not counted and "fit.total_steps" in OmegaConf.to_yaml(config.scheduler):
        text = "this schedule needs the number of steps, and only trainer.max_time ends the training"
        yield Problem("scheduler", text, "trainer.max_steps=..., or scheduler=constant")


def _devices(trainer: DictConfig) -> Iterator[Problem]:
    accelerator = trainer.get("accelerator")
    if isinstance(accelerator, str) and accelerator not in ACCELERATORS:
        text = f"there is no {accelerator!r}"
        yield Problem("trainer.accelerator", text, hint(accelerator, ACCELERATORS, "trainer.accelerator={}"))
    devices = trainer.get("devices")
    numbers: Any = OmegaConf.to_container(devices) if OmegaConf.is_list(devices) else devices
    if isinstance(numbers, str):
        if numbers == "auto" or re.fullmatch(r"\d+(,\d+)+", numbers):
            return
        numbers = int(numbers) if re.fullmatch(r"[0-9]{1,9}|-1", numbers) else numbers
    good = _is_count(numbers) and (numbers > 0 or numbers == -1)
    if isinstance(numbers, list):
        good = (
            bool(numbers)
            and all(_is_count(n) and n >= 0 for n in numbers)
            and len(set(numbers)) == len(numbers)
        )
    if not good:
        text = f"must be {LIMITS['trainer.devices']}, not {numbers!r}"
        yield Problem("trainer.devices", text, "trainer.devices=1")
    elif not isinstance(numbers, list) and (count := int(numbers)) > (most := _most_devices(trainer)):
        text = f"{count} processes are too many for the {os.cpu_count()} cores of this machine"
        yield Problem("trainer.devices", text, f"trainer.devices=1, or at most {most}")


def _most_devices(trainer: DictConfig) -> float:
    """Return how many processes may train together on the CPU; GPUs are counted where they are taken."""
    if _on_gpu(trainer) or trainer.get("accelerator") == "mps":
        return float("inf")
    return max(os.cpu_count() or 1, _FEW)


# A share of the batches as a float, a count as an int.
_SHARES = (
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "overfit_batches",
    "val_check_interval",
)


def _ranges(trainer: DictConfig) -> Iterator[Problem]:
    for key, (least, most) in RANGES.items():
        group, _, name = key.rpartition(".")
        value = trainer.get(name) if group == "trainer" else None
        if isinstance(value, int | float) and not isinstance(value, bool) and not least <= value <= most:
            yield Problem(key, f"must be {LIMITS[key]}, not {value}")
    for name in _SHARES:
        value = trainer.get(name)
        # Lightning also takes times for val_check_interval: no two runs would be validated at the same steps.
        is_share = isinstance(value, float) and 0 <= value <= 1
        if not is_share and not (_is_count(value) and value >= 0) and value is not None:
            text = f"must be {LIMITS[f'trainer.{name}']}, not {value!r}"
            yield Problem(f"trainer.{name}", text)
    if trainer.get("val_check_interval") == 0:
        text = "must be above 0.0: it is the number of batches between two validations, or their share of an epoch"
        yield Problem("trainer.val_check_interval", text, "to validate nothing: trainer.limit_val_batches=0")
    if trainer.get("limit_train_batches") in (0, 0.0):
        yield Problem(
            "trainer.limit_train_batches", "no batch is left to train on", "trainer.limit_train_batches=1.0"
        )


def _workers(config: DictConfig) -> Iterator[Problem]:
    count = config.data.get("num_workers")
    if _is_count(count) and count > MAX_WORKERS:
        text = f"must be {LIMITS['data.num_workers']}, not {count}"
        yield Problem("data.num_workers", text, "data.num_workers=0 loads in the training process")


def _own_keys(trainer: DictConfig) -> Iterator[Problem]:
    """Check the keys that nnkit obeys and Lightning's Trainer does not have."""
    precision = trainer.get("matmul_precision")
    if precision is not None and precision not in PRECISIONS_OF_PRODUCTS:
        answer = hint(str(precision), PRECISIONS_OF_PRODUCTS, "trainer.matmul_precision={}")
        yield Problem(
            "trainer.matmul_precision", f"must be highest, high or medium, or null, not {precision!r}", answer
        )
    if (profiler := trainer.get("profiler")) in _OTHER_PROFILERS:
        text = f"{profiler} writes its own trace files and records nothing of a run that is short"
        yield Problem("trainer.profiler", text, "trainer.profiler=simple, or advanced for each function")
    if trainer.get("barebones"):
        text = "switches off checkpoints, loggers and progress, without which there is no run"
        yield Problem("trainer.barebones", text, "leave it out")
    yield from _strategy(trainer)
    threads = trainer.get("num_threads")
    if threads is not None and not _is_count(threads):
        yield Problem("trainer.num_threads", f"must be a whole number or null, not {threads!r}")
    if not isinstance(wanted := trainer.get("compile"), bool) and wanted != "auto":
        text = f"must be true, false or auto, not {wanted!r}"
        yield Problem(
            "trainer.compile", text, hint(str(wanted), ("auto", "true", "false"), "trainer.compile={}")
        )
    if not isinstance(wanted := trainer.get("activation_checkpointing"), bool):
        yield Problem("trainer.activation_checkpointing", f"must be true or false, not {wanted!r}")


def _strategy(trainer: DictConfig) -> Iterator[Problem]:
    """Check how several processes train together."""
    strategy, nodes = str(trainer.get("strategy")), trainer.get("num_nodes")
    several = trainer.get("devices") not in (1, [0], "1")
    if _COPIES.search(strategy):
        text = f"{strategy} copies this process, and a run in copies could neither be stopped nor resumed"
        yield Problem("trainer.strategy", text, "trainer.strategy=auto")
    elif strategy not in STRATEGIES:
        text = f"must be {LIMITS['trainer.strategy']}, not {strategy!r}"
        yield Problem("trainer.strategy", text, hint(strategy, STRATEGIES, "trainer.strategy={}"))
    elif strategy == "single" and (several or nodes not in (1, "auto")):
        yield Problem("trainer.strategy", "single is one device on one machine", "trainer.strategy=ddp")
    if nodes != "auto" and not (_is_count(nodes) and nodes > 0):
        text = f"must be {LIMITS['trainer.num_nodes']}, not {nodes!r}"
        yield Problem("trainer.num_nodes", text, "trainer.num_nodes=1")
    if trainer.get("sync_batchnorm") and not _on_gpu(trainer):
        text = "torch computes the statistics of several processes on GPUs only"
        yield Problem("trainer.sync_batchnorm", text, "trainer.sync_batchnorm=false")


def _sharded(config: DictConfig) -> Iterator[Problem]:
    """Check what cannot be done with weights that processes share."""
    trainer = config.trainer
    if str(trainer.get("strategy")) != "fsdp":
        return
    if trainer.get("precision") == "16-mixed":
        text = "16-mixed scales the loss, which nnkit does not do where weights are shared"
        yield Problem("trainer.precision", text, "trainer.precision=bf16-mixed")
    if trainer.get("precision") == "fastest":
        text = "what is fastest is measured on a copy of the whole network, which fsdp splits"
        yield Problem("trainer.precision", text, "trainer.precision=bf16-mixed, or trainer.strategy=ddp")
    if trainer.get("compile"):
        text = "torch.compile does not see through the gathering of weights"
        yield Problem("trainer.compile", text, "trainer.compile=false, or trainer.strategy=ddp")
    if trainer.get("accelerator") == "mps":
        yield Problem("trainer.strategy", "fsdp needs GPUs or a CPU", "trainer.strategy=auto")
    for name, node in (config.get("callbacks") or {}).items():
        if str(node.get("_target_")).endswith(_AVERAGES):
            text = "the average would be another whole network in each process"
            yield Problem(f"callbacks.{name}", text, f"leave {name} out, or trainer.strategy=ddp")
    optimizer = config.get("optimizer") or {}
    if str(optimizer.get("_target_")).endswith(".Muon"):
        text = "Muon needs whole matrices, and fsdp leaves each process some rows of each"
        yield Problem("optimizer", text, "optimizer=adamw, or trainer.strategy=ddp")
    if optimizer.get("fused") and not str(optimizer.get("_target_")).endswith(_FUSED):
        text = "torch has no fused step of this optimizer for weights that are shared"
        yield Problem("optimizer.fused", text, "optimizer.fused=null")


def _on_gpu(trainer: DictConfig) -> bool:
    wanted = trainer.get("accelerator")
    return wanted in ("gpu", "cuda") or (wanted == "auto" and torch.cuda.is_available())
