"""Two states or two runs compared whole, with tolerance 0: what differs, by name."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnkit.checkpoint.formats import KEY
from nnkit.checkpoint.store import CheckpointStore
from nnkit.files import atomic
from nnkit.files.layout import CHECKPOINTS, METRICS


def run_differences(expected: Path, found: Path) -> Iterator[str]:
    """Name everything in which the ends of two runs differ: the last checkpoint whole, and metrics.jsonl by its lines.

    Args:
        expected: Directory of the run that is expected.
        found: Directory of the run that is compared with it.

    Yields:
        One sentence for each value that differs, and for the first line that does.
    """
    states = []
    for path in (expected, found):
        _, state = CheckpointStore(path / CHECKPOINTS).load("last")
        # The config has the name of the directory.
        states.append({**state, KEY: {key: value for key, value in state[KEY].items() if key != "config"}})
    yield from differences(states[0], states[1])
    lines = [atomic.read(path / METRICS).decode().splitlines() for path in (expected, found)]
    for number, (one, other) in enumerate(zip_longest(*lines, fillvalue="nothing")):
        if one != other:
            yield f"{METRICS}, line {number + 1}: {other} instead of {one}"
            return


def differences(left: Any, right: Any, where: str = "") -> Iterator[str]:
    """Name everything in which two states of plain data and tensors differ, to the last bit.

    Args:
        left: The state that is expected.
        right: The state that is compared with it.
        where: Name of the states themselves.

    Yields:
        One sentence for each value that differs, such as ``state_dict.head.weight: 12 of 840 numbers, at most 3e-08``.
    """
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        yield from _tensors(left, right, where)
    elif isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in dict.fromkeys([*left, *right]):
            name = f"{where}.{key}" if where else str(key)
            if key not in left or key not in right:
                yield f"{name}: {'missing' if key not in right else 'not expected'}"
            else:
                yield from differences(left[key], right[key], name)
    elif _is_list(left) and _is_list(right):
        if len(left) != len(right):
            yield f"{where}: {len(right)} values instead of {len(left)}"
            return
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from differences(one, other, f"{where}.{number}")
    elif type(left) is not type(right) or (left != right and not (_is_nan(left) and _is_nan(right))):
        yield f"{where}: {right!r} instead of {left!r}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _row(tensor: Tensor) -> Tensor:
    return tensor.detach().resolve_conj().cpu().clone(memory_format=torch.contiguous_format).flatten()


def _tensors(left: Tensor, right: Tensor, where: str) -> Iterator[str]:
    if left.shape != right.shape or left.dtype != right.dtype:
        yield f"{where}: {right.dtype} {tuple(right.shape)} instead of {left.dtype} {tuple(left.shape)}"
        return
    # Byte by byte: 0.0 and -0.0 differ, and equal NaNs do not.
    one, other = (_row(tensor) for tensor in (left, right))
    if torch.equal(one.view(torch.uint8), other.view(torch.uint8)):
        return
    apart = one != other
    largest = (one.double() - other.double()).abs().max().item()
    yield f"{where}: {int(apart.sum())} of {one.numel()} numbers, at most {largest:.3g} apart"
