"""What processes that train together tell each other inside a training loop; alone, each function is its identity."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, distributed


def is_together() -> bool:
    """Return whether several processes have joined, this one among them."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if is_together() else 0


def size() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if is_together() else 1


def summed(sums: Tensor) -> Tensor:
    """Return sums added up over all processes; those of this one are not changed."""
    if not is_together():
        return sums
    total = sums.detach().clone()
    distributed.all_reduce(total)
    return total


def summed_later(sums: Tensor) -> Callable[[], Tensor]:
    """Begin to add up sums over all processes, and return what waits for it and returns them."""
    if not is_together():
        return lambda: sums
    total = sums.detach().clone()
    work = distributed.all_reduce(total, async_op=True)

    def wait() -> Tensor:
        assert work is not None
        work.wait()
        return total

    return wait


def most(*values: int) -> list[int]:
    """Return the largest of each value over all processes: a flag that one of them has set is set for all."""
    return most_later(*values)()


def most_later(*values: int) -> Callable[[], list[int]]:
    """Begin to find the largest of each value over all processes, and return what waits for them and returns them."""
    if not is_together():
        return lambda: list(values)
    flags = torch.tensor(values, dtype=torch.int64)
    work = distributed.all_reduce(flags, op=distributed.ReduceOp.MAX, async_op=True)

    def wait() -> list[int]:
        assert work is not None
        work.wait()
        return flags.tolist()

    return wait


def gathered(value: Any, group: distributed.ProcessGroup | None = None) -> list[Any] | None:
    """Return a value of each process, in the order of their numbers, to the first of them; None to the others.

    Args:
        value: That of this process.
        group: From `another_group`, in another thread than the one that trains.
    """
    if not is_together():
        return [value]
    values: list[Any] | None = [None] * size() if rank() == 0 else None
    distributed.gather_object(value, values, group=group)
    return values


def another_group() -> distributed.ProcessGroup:
    """Return a group of the same processes for a thread that talks beside the training; all must call this."""
    group = distributed.new_group(backend="gloo")
    assert isinstance(group, distributed.ProcessGroup)
    return group


def gathered_by_all(value: Any) -> list[Any]:
    """Return a value of each process, in the order of their numbers, to all of them."""
    if not is_together():
        return [value]
    values: list[Any] = [None] * size()
    distributed.all_gather_object(values, value)
    return values


def from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of the first process."""
    if is_together():
        for tensor in tensors:
            distributed.broadcast(tensor.detach(), 0)
