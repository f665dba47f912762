"""The device that is measured: its clocks, its memory, and what it can reach."""

import gc
import resource
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from workloads import Workload

# TFLOP/s of dense bfloat16 (V100 and T4: float16) products in the manufacturer's data sheets.
DATA_SHEETS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "V100": 125, "T4": 65}


def device() -> torch.device:
    """Return the device that is trained on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def free() -> None:
    """Give back the memory of what is no longer used."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def clocks() -> tuple[float, float]:
    """Return the seconds of the clock and of the processor, once the device has done all it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def on_gpu() -> bool:
    """Return whether there is a GPU."""
    return torch.cuda.is_available()


def half() -> torch.dtype:
    """Return the type that `trainer.precision=auto` multiplies in."""
    if not on_gpu():
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16


def precisions() -> list[str]:
    """Return the precisions that the device has."""
    return ["32-true", "bf16-mixed", *(["16-mixed"] if on_gpu() else [])]


def matmul_rate(size: int, kind: torch.dtype) -> float:
    """Return the TFLOP/s of products of square matrices, the best of ten."""
    one, other = (torch.randn(size, size, device=device(), dtype=kind) for _ in range(2))
    seconds = []
    for _ in range(11):
        start = clocks()[0]
        one @ other
        seconds.append(clocks()[0] - start)
    return 2 * size**3 / min(seconds) / 1e12


def peak(work: Callable[[], Any]) -> float:
    """Return the largest memory in MiB that was taken on the device, or by this process so far."""
    free()
    if on_gpu():
        torch.cuda.reset_peak_memory_stats()
    work()
    if on_gpu():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def step_flops(work: Workload) -> float:
    """Return the floating-point operations of a forward and a backward pass, counted without values."""
    inputs, target = (part.to("meta") for part in work.draw())
    with torch.device("meta"):
        network = work.network().train()
    counter = FlopCounterMode(display=False)
    with counter:
        work.loss(network.to("meta")(inputs), target).backward()
    return float(counter.get_total_flops())
