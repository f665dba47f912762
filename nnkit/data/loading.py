"""A loader of batches whose next ones can be read before they are handed out."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from nnkit.batches import Batch
from nnkit.machine import signals


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
            self._ahead = _Ahead(super().__iter__())
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


def begin_worker(number: int) -> None:
    """Prepare a worker process: it ends with its parent, and signals that are meant for the run pass it by."""
    signals.end_with_parent_only()
