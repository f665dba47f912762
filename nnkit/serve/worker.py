"""The one thread that owns the network: requests that wait are answered together, texts go on in turns."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnkit.errors import NnkitError
from nnkit.serve.refusal import Refusal
from nnkit.serve.served import TOGETHER

if TYPE_CHECKING:
    from nnkit.serve.served import Answered, Asked, Served

# Requests that may wait, texts that may be written at a time, and lines of a text that may wait for their reader.
WAITING, STREAMS = 512, 8
# Seconds to wait for more where several requests have come together.
_PATIENCE = 0.004

_log = logging.getLogger("nnkit")

Put = Callable[[dict[str, Any] | None], None]


@dataclass
class _Batched:
    asked: Asked
    size: int
    future: Future[Answered] = field(default_factory=Future)


@dataclass
class _Call:
    call: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)


@dataclass
class Stream:
    """A text that is being written.

    Attributes:
        lines: Yields the lines.
        put: Takes each line, None after the last one; called by the worker's thread.
        cancelled: Set by the reader to end it.
    """

    lines: Callable[[], Iterator[dict[str, Any]]]
    put: Put
    cancelled: bool = False
    opened: Iterator[dict[str, Any]] | None = None


@dataclass
class Counts:
    """What was answered since the start.

    Attributes:
        requests: Requests to predict.
        batches: Passes that these took.
        largest: Requests of the largest batch.
    """

    requests: int = 0
    batches: int = 0
    largest: int = 0

    @property
    def mean(self) -> float:
        """Requests of a batch, on average."""
        return self.requests / self.batches if self.batches else 0.0


class Worker:
    """Answers requests one batch after the other in a thread of its own.

    Args:
        served: The run.
        together: Inputs that are answered together, at most; 1 answers one request after the other.
    """

    def __init__(self, served: Served, together: int = TOGETHER) -> None:
        self.counts = Counts()
        self._served, self._together = served, together
        self._waiting: deque[_Batched | _Call] = deque()
        self._streams: deque[Stream] = deque()
        self._ready = threading.Condition()
        self._ending = self._stopping = False
        self._thread = threading.Thread(target=self._work, name="nnkit-serve", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, seconds: float = 30.0) -> None:
        """Answered what has been taken, end the texts that are being written, and end the thread."""
        with self._ready:
            self._ending = self._stopping = True
            self._ready.notify_all()
        self._thread.join(seconds)

    def end_streams(self) -> None:
        """Let the texts that are being written end after their next token, and take no further ones."""
        self._ending = True

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def predict(self, asked: Asked, size: int) -> Future[Answered]:
        """Take a request to predict.

        Args:
            asked: What is asked.
            size: How many inputs it has.

        Raises:
            Refusal: If too many wait.
        """
        job = _Batched(asked, size)
        self._take(job)
        return job.future

    def call(self, call: Callable[[], Any]) -> Future[Any]:
        """Take a call that is made between two batches; a Refusal if too many wait."""
        job = _Call(call)
        self._take(job)
        return job.future

    def stream(self, stream: Stream) -> None:
        """Take a text to write; a Refusal if too many are being written."""
        with self._ready:
            if len(self._streams) >= STREAMS or self._ending:
                raise _busy(f"{len(self._streams)} texts are being written")
            self._streams.append(stream)
            self._ready.notify_all()

    def _take(self, job: _Batched | _Call) -> None:
        with self._ready:
            if len(self._waiting) >= WAITING:
                raise _busy(f"{len(self._waiting):,} requests are waiting")
            self._waiting.append(job)
            self._ready.notify_all()

    def _work(self) -> None:
        while True:
            with self._ready:
                while not (self._waiting or self._streams or self._stopping):
                    self._ready.wait()
                if self._stopping and not (self._waiting or self._streams):
                    return
            batch = self._next()
            if batch:
                self._answer(batch)
            self._go_on()

    def _next(self) -> list[_Batched]:
        """Return the requests to answer together; a call that is first in the queue is made."""
        until = time.monotonic() + _PATIENCE
        batch, size = list[_Batched](), 0
        while size < self._together:
            with self._ready:
                if not self._waiting and len(batch) > 1 and not self._streams:
                    # Others may be on their way, as these came together.
                    self._ready.wait(max(0.0, until - time.monotonic()))
                if not self._waiting:
                    break
                first = self._waiting[0]
                is_call = isinstance(first, _Call)
                too_many = isinstance(first, _Batched) and size + first.size > self._together
                if batch and (is_call or too_many):
                    break
                self._waiting.popleft()
            if isinstance(first, _Call):
                _settle(first.future, first.call)
                break
            if first.future.set_running_or_notify_cancel():
                batch.append(first)
                size += first.size
        return batch

    def _answer(self, batch: list[_Batched]) -> None:
        self.counts.requests += len(batch)
        self.counts.batches += 1
        self.counts.largest = max(self.counts.largest, len(batch))
        try:
            answers = self._served.predict([job.asked for job in batch])
        except BaseException as error:
            for job in batch:
                job.future.set_exception(error)
            return
        for job, answer in zip(batch, answers, strict=True):
            if isinstance(answer, NnkitError):
                job.future.set_exception(answer)
            else:
                job.future.set_result(answer)

    def _go_on(self) -> None:
        """Write one token of each text."""
        for _ in range(len(self._streams)):
            stream = self._streams[0]
            line: dict[str, Any] | None
            try:
                stream.opened = stream.opened or stream.lines()
                line = None if stream.cancelled else next(stream.opened, None)
            except NnkitError as error:
                status = error.status if isinstance(error, Refusal) else 422
                line, stream.cancelled = {"error": str(error), "status": status}, True
            except Exception as error:
                _log.exception("a text broke off")
                text = f"the text broke off: {type(error).__name__}"
                line, stream.cancelled = {"error": text, "status": 500}, True
            if line is not None:
                stream.put(line)
                if self._ending and "done" not in line and "error" not in line:
                    stream.put({"done": "the server stops"})
                    line = None
            with self._ready:
                self._streams.popleft()
                if line is not None and not stream.cancelled:
                    self._streams.append(stream)
                    continue
            stream.put(None)


def _settle(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)


def _busy(what: str) -> Refusal:
    return Refusal(503, f"the server is busy, {what}: try again in a second", {"Retry-After": "1"})
