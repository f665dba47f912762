"""A loader whose next batches can be read before they are handed out."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import cast

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from nnkit.batches import Batch


class AheadLoader(DataLoader[Batch]):
    """torch's loader, with a view of what comes next; nothing is read ahead unless it is asked for.

    Gradient accumulation needs it: what a batch weighs depends on all batches of its window.
    """

    _ahead: "_Ahead"

    def __iter__(self) -> _BaseDataLoaderIter:
        """Begin a pass."""
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
