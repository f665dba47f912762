"""Loaders of batches, with their worker processes; batches that nothing can be learnt from are refused."""

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter, _MultiProcessingDataLoaderIter

from nnkit.batches import Batch, listed, not_finite
from nnkit.data.sampler import BatchSampler, Draw
from nnkit.errors import UserError
from nnkit.machine import signals

# Seconds without a batch after which worker processes are taken to hang.
WORKER_TIMEOUT: float = 120
# A forked worker has everything at once. The default in a sweep's trial is a server that imports all anew for each
# worker, which takes longer than WORKER_TIMEOUT on a busy machine. Off Linux the system's default is taken.
_START = "fork" if sys.platform == "linux" else None


def as_is(batch: Any) -> Any:
    """Return a batch as its samples gathered it."""
    return batch


class Loader(DataLoader[Batch]):
    """torch's loader, with a view of the batches that come next; nothing is read ahead unless it is asked for.

    Gradient accumulation needs that view: what a batch weighs depends on all batches of its window. A signal that is
    meant for this process, or its group, does not reach the worker processes.
    """

    _ahead: "_Ahead"

    def __iter__(self) -> _BaseDataLoaderIter:
        """Begin a pass; start the worker processes, if that has not been done."""
        with signals.held_back():
            # Without worker processes there is nothing to do but to gather batch after batch.
            batches = super().__iter__() if self.num_workers else map(self.dataset.__getitem__, self.sampler)
            self._ahead = _Ahead(batches)
        # To whoever iterates it is the iterator that it wraps.
        return cast(_BaseDataLoaderIter, self._ahead)

    def peek(self, count: int) -> list[Batch]:
        """Return the batch handed out last and those that follow it, `count` in all or as many as there are."""
        return self._ahead.peek(count)


class _Ahead(Iterator[Batch]):
    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self._queue: deque[Batch] = deque()
        self._current: Batch | None = None

    def __next__(self) -> Batch:
        self._current = self._queue.popleft() if self._queue else next(self._batches)
        return self._current

    def peek(self, count: int) -> list[Batch]:
        assert self._current is not None
        self._queue.extend(islice(self._batches, max(count - 1 - len(self._queue), 0)))
        return [self._current, *islice(self._queue, count - 1)]


class Shares(Dataset[Batch]):
    """Samples that several processes share batch by batch; a placeholder has no samples of its own.

    Args:
        samples: The split.
    """

    def __init__(self, samples: Dataset[Batch]) -> None:
        self.samples = samples

    def __getitem__(self, draw: Draw) -> Batch:
        """Gather the samples of one draw; a placeholder has no `indices`, and counts for nothing."""
        batch: Batch = self.samples[draw]
        return batch._replace(indices=batch.indices[:0]) if draw.is_placeholder else batch


def begin_worker(number: int) -> None:
    """Prepare a worker process: it ends with its parent, and signals that are meant for the run pass it by."""
    signals.end_with_parent_only()


def make_loader(samples: Dataset[Batch], sampler: BatchSampler, num_workers: int, seed: int) -> Loader:
    """Return the loader of a split.

    Args:
        samples: The split; whole batches are gathered from it.
        sampler: Deals the samples out to batches.
        num_workers: Worker processes; 0 gathers in this process.
        seed: Of the workers' random generators.
    """
    # A generator of its own, or every iter() draws a seed from the global one and moves dropout.
    return Loader(
        samples if sampler.world_size == 1 else Shares(samples),
        batch_size=None,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=as_is,
        generator=torch.Generator().manual_seed(seed),
        persistent_workers=num_workers > 0,
        timeout=WORKER_TIMEOUT if num_workers else 0,
        worker_init_fn=begin_worker,
        multiprocessing_context=_START if num_workers else None,
    )


def end_workers(loaders: list[Loader]) -> None:
    """End the worker processes of loaders and forget these, now rather than when nothing refers to a loader any more.

    torch has no public way.
    """
    for loader in loaders:
        if isinstance(loader._iterator, _MultiProcessingDataLoaderIter):
            # An error reports a process that has just died, wherever this one happens to be.
            with suppress(RuntimeError):
                loader._iterator._shutdown_workers()
            for worker in loader._iterator._workers:
                # One that hangs in a library, so that it cannot act on torch's SIGTERM.
                worker.kill()
    loaders.clear()


def inspect(
    part: str, size: int, batches: Iterable[Batch], num_classes: int | None = None, seconds: float = 1.0
) -> None:
    """Refuse samples that cannot be learnt from; where they are many, the first ones must do.

    Args:
        part: What the samples are for, such as "training".
        size: Samples in all.
        batches: Batches of them, in order.
        num_classes: Number of classes that targets number, None where targets are something else.
        seconds: Time after which the rest is left to the guards of the training loop.

    Raises:
        UserError: If numbers are not finite or a class is out of range; says how many, and which.
    """
    bad: dict[str, list[int]] = {}
    outside: dict[int, int] = {}
    seen, end = 0, time.monotonic() + seconds
    for batch in batches:
        seen += len(batch.indices)
        for name, mask in not_finite(batch).items():
            bad.setdefault(name, []).extend(batch.indices[mask].tolist())
        if num_classes is not None and not batch.target.is_floating_point():
            wrong = (batch.target < 0) | (batch.target >= num_classes)
            wrong = wrong.reshape(len(batch.indices), -1).any(1)
            outside.update(zip(batch.indices[wrong].tolist(), batch.target[wrong].tolist(), strict=True))
        if time.monotonic() > end:
            break
    of = f"of {size:,}" if seen == size else f"of the first {seen:,} of {size:,}"
    said = [
        f"{len(samples):,} {of} have {name} that are NaN or infinite: samples {listed(samples)}"
        for name, samples in bad.items()
    ]
    if outside:
        said.append(
            f"{len(outside):,} {of} have a class outside 0 to {(num_classes or 0) - 1}, such as "
            f"{next(iter(outside.values()))}: samples {listed(list(outside))}"
        )
    if said:
        raise UserError(f"the {part} samples cannot be used\n    " + "\n    ".join(said))
