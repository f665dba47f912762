"""Memory of this machine, and bounds on a network while it is built."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from nnkit.errors import EnvironmentFault

# Three hundred layers of a Transformer have that many.
_MAX_TENSORS = 5_000


class TooManyTensorsError(ValueError):
    """A network of more tensors than can be built in a reasonable time."""


def available_memory(device: str) -> int | None:
    """Return the bytes of memory that are free on a device; None if unknown."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = dict(line.split(":") for line in lines)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        # Not Linux: other systems have no common way to ask for free memory.
        return total_memory()


def total_memory() -> int | None:
    """Return the bytes of memory that are built in; None if unknown."""
    names = getattr(os, "sysconf_names", {})  # Windows has none
    known = "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else None


# What torch says before the number of bytes, and where a size is past all counting.
_NO_MEMORY = "can't allocate memory: "
_NO_SIZE = re.compile(
    "Storage size calculation overflowed|integer multiplication overflow|Overflow when unpacking"
)


def shortage(error: Exception) -> str | None:
    """Return what an error says of a tensor that does not fit into memory; None if it is about something else."""
    text = str(error)
    if _NO_MEMORY in text:
        return text.partition(_NO_MEMORY)[2]
    if isinstance(error, MemoryError):
        return text or "the operating system gives no more"
    return "a tensor would have more numbers than any memory holds" if _NO_SIZE.search(text) else None


@contextmanager
def bounded() -> Iterator[None]:
    """Count the parameters of the modules that are constructed in the block, and stop where there are too many.

    Raises:
        TooManyTensorsError: If there are more of them than a network has.
        EnvironmentFault: If they take more bytes than are free, before those of the last are written.
    """
    free = available_memory("cpu")
    num_tensors = num_bytes = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal num_tensors, num_bytes
        if parameter is None:
            return
        num_tensors += 1
        num_bytes += 0 if parameter.is_meta else parameter.numel() * parameter.element_size()
        if num_tensors > _MAX_TENSORS:
            raise TooManyTensorsError(f"the network would have more than {_MAX_TENSORS:,} tensors of weights")
        if free is not None and num_bytes > free:
            text = f"the weights take more than {num_bytes:,} bytes, and {free:,} are free"
            raise EnvironmentFault(
                f"memory does not suffice: {text}\n    nnkit check says how much it takes in all"
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
