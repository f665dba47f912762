"""What all measurements share: turns, medians and ratios, tables, and programs whose time and memory are counted.

It imports neither torch nor nnkit, so that a process that only starts others stays small.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# Around a program of Python: its own seconds and peak, beyond the imports that come first, and the seconds of these.
# VmHWM, as ru_maxrss of a child starts at what its parent had.
_COUNTED = """
import json, os, resource, sys, time
began = time.perf_counter()
{imports}
def memory(field):
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))
def used():
    # os.times counts hundredths of a second.
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
before, start, cpu, answer = memory("VmRSS"), time.perf_counter(), used(), None
def finish():
    wall, took, peak = time.perf_counter() - start, used() - cpu, memory("VmHWM")
    found = {{"wall": wall, "cpu": took, "peak": peak, "beyond": peak - before, "start": start - began}}
    os.write({descriptor}, json.dumps({{**found, "answer": answer}}).encode())
{work}
finish()
"""

PREDICT = "nnkit predict --output answers.jsonl"
_PREDICT = """
import nnkit
from nnkit.cli import main
nnkit.load("run", output_dir=sys.argv[2])
def work():
    assert not main(["predict", "run", sys.argv[1], "--output-dir", sys.argv[2], "--output", sys.argv[3]])
"""


@dataclass(frozen=True)
class Cost:
    """What a piece of work took.

    Attributes:
        wall: Seconds on the clock.
        cpu: Seconds of processor time of all threads.
        peak: Largest resident memory of the process, in MiB; 0 where it was not counted.
        beyond: What of it the work added to what the imports had taken, in MiB.
        start: Seconds on the clock that the imports took.
        answer: What the program left in `answer`.
    """

    wall: float
    cpu: float
    peak: float = 0.0
    beyond: float = 0.0
    start: float = 0.0
    answer: object = None


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and the range they had."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        """Return such as 0.93 (0.88 to 1.11)."""
        digits = 2 if abs(self.median) < 10 else 0
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f} to {self.most:,.{digits}f})"


def take_turns(cases: Mapping[str, Callable[[], T]], rounds: int, warm: int = 0) -> dict[str, list[T]]:
    """Call every case once a round, every second round in reverse order, and return the answers of each.

    Args:
        cases: What to call, by name.
        rounds: How often.
        warm: Rounds before these, whose answers are not kept.
    """
    found: dict[str, list[T]] = {name: [] for name in cases}
    for number in range(-warm, rounds):
        for name in [*cases][:: -1 if number % 2 else 1]:
            answer = cases[name]()
            if number >= 0:
                found[name].append(answer)
    return found


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the range.

    Raises:
        ValueError: If there are no values.
    """
    if not values:
        raise ValueError("no round was measured: give at least one")
    return Spread(statistics.median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the spread of ours / theirs, round by round."""
    return spread([one / other for one, other in zip(ours, theirs, strict=True)])


def timed(work: Callable[[], object]) -> Cost:
    """Return what a call in this process takes."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - start, time.process_time() - cpu)


def program(work: str, *words: str, imports: str = "", environment: Mapping[str, str] | None = None) -> Cost:
    """Run a program of Python in a process of its own and return what it took beyond its imports.

    Args:
        work: Its source, which may set `answer`, and call `finish()` where it is not to be counted any further;
            `sys.argv[1:]` are the words.
        words: Its arguments.
        imports: What it runs before the clock starts.
        environment: Variables beside those of this process.

    Raises:
        RuntimeError: If it fails, with the end of what it wrote.
    """
    # Not through its output, which may be large, or end with a progress bar.
    reading, writing = os.pipe()
    try:
        code = _COUNTED.format(imports=imports, work=work, descriptor=writing)
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env={**os.environ, **(environment or {})},
            pass_fds=[writing],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
    if done.returncode or not said:
        raise RuntimeError(f"exit status {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return Cost(**json.loads(said))


def command(*words: str, environment: Mapping[str, str] | None = None) -> Cost:
    """Run `nnkit WORDS` in a process of its own and return what it took, the imports included."""
    work = "from nnkit.cli import main\nassert not main(sys.argv[1:])"
    return program(work, *words, environment=environment)


def beside_loop(name: str, loop: str, items: Path, outputs: Path) -> dict[str, Callable[[], Cost]]:
    """Return predictions by a loop and by `nnkit predict`, each in a process of its own that has opened the run.

    Args:
        name: Of the loop.
        loop: Its program, which defines `work`; `sys.argv` has the items, the outputs and a file for its answers.
        items: What is predicted.
        outputs: Directory of the runs; that one is called "run".
    """
    there = [str(items), str(outputs), str(outputs / "answers.jsonl")]
    return {
        title: partial(program, "work()", *there, imports=one)
        for title, one in ((name, loop), (PREDICT, _PREDICT))
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table.

    Raises:
        ValueError: If a row has another number of cells than the head.
    """
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"{len(head)} columns {[*head]}, but a row of {len(row)}: {[*row]}")
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines)
