"""Start a command, wait until it is at a place, send it a signal: what `signal_loop.py` does for each case."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from nnkit.runs.run import Run

SCRIPT = Path(__file__).parents[1] / "tests" / "faults" / "signalling.py"
# What `signalling.py` can arrange; start-up begins when nnkit has taken the signals over, before its imports.
PLACES = ("start-up", "preparation", "new process", "first step", "training", "validation", "saving", "test")
# Seconds of a command's start in which it imports; a signal of start-up is spread over them.
IMPORTS = 4.0
# Of a signal after its place has begun, in seconds.
LONGEST_DELAY = 0.2
# Until then a command has reached its place and ended, on a busy machine too.
PATIENCE = 400.0
# Workers whose parent was killed look for it every five seconds.
SECONDS_TO_GO = 15.0


@dataclass(frozen=True)
class Way:
    """How a signal comes.

    Attributes:
        number: The signal.
        to: "group", "process" or "terminal".
        kills: Whether SIGKILL follows a second later.
    """

    number: int
    to: str
    kills: bool = False

    @property
    def stops(self) -> int:
        """The signal if it ends the command; 0 if the command is to go on."""
        return 0 if self.number == signal.SIGUSR1 else self.number


WAYS = {
    "TERM, group": Way(signal.SIGTERM, "group"),
    "INT, group": Way(signal.SIGINT, "group"),
    "HUP, group": Way(signal.SIGHUP, "group"),
    "Ctrl-C, terminal": Way(signal.SIGINT, "terminal"),
    "TERM, then KILL, group": Way(signal.SIGTERM, "group", kills=True),
    "USR1, group": Way(signal.SIGUSR1, "group"),
    "TERM, process": Way(signal.SIGTERM, "process"),
}


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; negative the signal that ended it.
        said: What it printed.
        late: Whether the run was done when the signal was sent.
        left_behind: Whether a process of its group outlives it.
    """

    code: int
    said: str
    late: bool
    left_behind: bool


def send_at(place: str, way: Way, delay: float, words: list[str], run: Path) -> Ended:
    """Run a command line of nnkit that gets a signal at a place.

    Args:
        place: One of `PLACES`.
        way: How the signal comes.
        delay: Seconds from the start of the place to the signal, at most `LONGEST_DELAY`.
        words: The command's words.
        run: The directory of its run.
    """
    mark = run.parent / "at-the-place"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), place, f"mark:{mark}", "wait", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # A shell script's background jobs have some of them ignored, which a run respects.
        preexec_fn=_as_in_a_terminal if way.to == "terminal" else _as_on_a_cluster,
    )
    os.close(theirs)
    said: list[bytes] = []
    reader = Thread(target=_read, args=(ours, said), daemon=True)
    reader.start()
    try:
        _wait_for(mark, process)
        time.sleep(delay / LONGEST_DELAY * IMPORTS if place == "start-up" else delay)
        _send(way, process.pid, ours)
        late = Run(run).record().get("status") == "done"
        if way.kills:
            time.sleep(1)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait(PATIENCE)
        left_behind = not way.kills and not _is_gone(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join(5)
        os.close(ours)
    return Ended(code, b"".join(said).decode(errors="replace"), late, left_behind)


def _as_in_a_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    _as_on_a_cluster()


def _as_on_a_cluster() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _read(terminal: int, said: list[bytes]) -> None:
    # Linux answers the last reading of a terminal that all have closed with an error.
    with suppress(OSError):
        while part := os.read(terminal, 4096):
            said.append(part)


def _wait_for(mark: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not mark.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def _send(way: Way, pid: int, terminal: int) -> None:
    with suppress(ProcessLookupError):
        if way.to == "terminal":
            os.write(terminal, b"\x03")
        elif way.to == "group":
            os.killpg(pid, way.number)
        else:
            os.kill(pid, way.number)


def _is_gone(group: int) -> bool:
    deadline = time.monotonic() + SECONDS_TO_GO
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
