"""Parts of a measurement that cannot harm one another: each a copy of this process, with a limit of its own.

The process that calls `run_parts` has imported what they need and must not have touched the device or started threads,
as its copies would have neither.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Characters of what a part printed that are kept when it fails.
_TAIL = 4000


@dataclass(frozen=True)
class Outcome:
    """How a part ended.

    Attributes:
        name: Of the part.
        seconds: How long it took.
        rows: What it had measured when it ended, the fields of each row.
        error: Why it did not reach its end: a traceback, or that its time was over; else empty.
    """

    name: str
    seconds: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it reached its end, and all that was expected holds."""
        return not self.error and all(row.get("holds") is not False for row in self.rows)


@dataclass(frozen=True)
class Part:
    """Something that is measured.

    Attributes:
        measure: Yields its rows, instances of a dataclass.
        limit: Seconds it may take.
    """

    measure: Callable[[], Iterator[Any]]
    limit: float


def run_parts(parts: Mapping[str, Part], folder: Path, limit: float) -> Iterator[Outcome]:
    """Run one part after the other, each within its limit and what is left of that of all.

    Args:
        parts: By name.
        folder: For what they write; it is their working directory.
        limit: Seconds for all.
    """
    start = time.monotonic()
    # An interruption that ends the part that runs as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name, part in parts.items():
        left = limit - (time.monotonic() - start)
        yield _run(name, part, folder, min(part.limit, left))


def _run(name: str, part: Part, folder: Path, limit: float) -> Outcome:
    if limit <= 0:
        return Outcome(name, 0.0, error="not begun: the time of all parts was over")
    rows, log, start = folder / f"{name}.jsonl", folder / f"{name}.log", time.monotonic()
    process = get_context("fork").Process(target=_child, args=(part, folder, rows, log))
    process.start()
    try:
        process.join(limit)
        late = process.is_alive()
    finally:
        # Also where this process is interrupted: the part has a session of its own.
        if process.is_alive():
            _end(process.pid)
            process.join()
    seconds = time.monotonic() - start
    lines = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    found = [line["row"] for line in lines if "row" in line]
    error = next((line["error"] for line in lines if "error" in line), "")
    if late:
        error = f"ended after its limit of {limit:.0f} s; it had printed:\n{_tail(log)}"
    elif process.exitcode and not error:
        error = f"exit status {process.exitcode}; it had printed:\n{_tail(log)}"
    return Outcome(name, seconds, found, error)


def _child(part: Part, folder: Path, rows: Path, log: Path) -> None:
    # Processes of its own end with it.
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, sys.__stdout__.fileno())
    os.dup2(output, sys.__stderr__.fileno())
    with rows.open("w", buffering=1) as file:
        try:
            for row in part.measure():
                file.write(json.dumps({"row": asdict(row)}) + "\n")
        except BaseException:
            file.write(json.dumps({"error": traceback.format_exc()}) + "\n")
            sys.exit(1)


def _end(pid: int | None) -> None:
    assert pid is not None
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        # It had not become the first of its group yet.
        os.kill(pid, signal.SIGKILL)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-_TAIL:] if log.exists() else ""
