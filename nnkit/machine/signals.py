"""What this process does with SIGINT, SIGTERM, SIGHUP and SIGUSR1, and how those that it starts are spared them."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

# SIGHUP comes when the terminal is closed; Windows has none.
STOPS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
# SLURM's warning before the time limit, by convention; its default action would end the process.
SAVES = (signal.SIGUSR1,) if hasattr(signal, "SIGUSR1") else ()
# submitit's warning before a job's time is up: a cluster sends it to all processes of a job, and the first acts on it.
_OF_JOBS = (signal.SIGUSR2,) if hasattr(signal, "SIGUSR2") else ()
# Seconds within which a repeated signal is the same message. SIGTERM may reach a process twice, on its own and with
# its process group; systemd sends SIGHUP after it, and a closed terminal sends SIGHUP twice. A launcher may pass on a
# Ctrl-C that has reached the group already; pressed twice by hand, it is meant.
_ONE_MESSAGE = 2.0
_ONE_PRESS = 0.1


class Stopped(BaseException):
    """SIGINT, SIGTERM or SIGHUP where nothing needs to be finished first: it ends the command at once."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


@dataclass
class _State:
    """What has come since the signals were taken over.

    Attributes:
        stop: The first signal that ends the command; 0 if none has come.
        stop_at: When it came, on the clock of `time.monotonic`.
        raised: Whether it was raised as `Stopped` where it came.
        save: Whether a save was asked for and has not been made.
        noting: How many callers want signals noted rather than raised.
        owners: How many callers have taken the signals over.
        before_leaving: Called before a repeated signal ends the process.
    """

    stop: int = 0
    stop_at: float = 0.0
    raised: bool = False
    save: bool = False
    noting: int = 0
    owners: int = 0
    before_leaving: list[Callable[[], None]] = field(default_factory=list)


_state = _State()


def stop() -> int:
    """Return the signal that is to end the command; 0 if none has come."""
    return _state.stop


def broke_off() -> bool:
    """Return whether the signal was raised as `Stopped` where it came; any later error may follow from that."""
    return _state.raised


def wants_save() -> bool:
    """Return whether SIGUSR1 has asked for a save that has not been made."""
    return _state.save


def saved() -> None:
    """Note that the save was made."""
    _state.save = False


def _handle(number: int, frame: FrameType | None) -> None:
    if number in SAVES:
        _state.save = True
        return
    if _state.stop:
        _again(number)
        return
    _state.stop, _state.stop_at = number, time.monotonic()
    if not _state.noting:
        _raise()


def _raise() -> None:
    _state.raised = True
    raise Stopped(_state.stop)


def _again(number: int) -> None:
    """Leave at once if a repeated signal is meant."""
    age = time.monotonic() - _state.stop_at
    pressed = number == _state.stop == signal.SIGINT
    same = age < _ONE_PRESS if pressed else number != signal.SIGINT and age < _ONE_MESSAGE
    if same:
        return
    for call in _state.before_leaving:
        call()
    os._exit(128 + number)


def take() -> dict[int, Any]:
    """Take the signals over: one that ends the command raises `Stopped`, SIGUSR1 is noted.

    Only the main thread may; in others nothing changes. What is ignored, as nohup does with SIGHUP, stays ignored.

    Returns:
        The handlers that were replaced.
    """
    if _state.owners == 0:
        _state.stop, _state.raised, _state.save = 0, False, False
    _state.owners += 1
    return install()


@contextmanager
def taken() -> Iterator[None]:
    """Take the signals over, and give them back at the end; see `take`."""
    before = take()
    try:
        yield
    finally:
        _state.owners -= 1
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def noted(before_leaving: Callable[[], None] | None = None) -> Iterator[None]:
    """Take the signals over and only note them: the caller asks `stop` and `wants_save` where it can act on them.

    A second Ctrl-C ends the process at once.

    Args:
        before_leaving: Called before that.
    """
    with taken():
        _state.noting += 1
        if before_leaving is not None:
            _state.before_leaving.append(before_leaving)
        try:
            yield
        finally:
            _state.noting -= 1
            if before_leaving is not None:
                _state.before_leaving.remove(before_leaving)
    if _state.stop and not _state.owners:
        # It came too late to be acted on here: it is for the script that called.
        signal.raise_signal(_state.stop)


def install() -> dict[int, Any]:
    """Set the handlers, also after another library has set its own; return those that were replaced."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    there = {number: signal.getsignal(number) for number in (*STOPS, *SAVES)}
    mine = {number: handler for number, handler in there.items() if handler not in (signal.SIG_IGN, _handle)}
    for number in mine:
        signal.signal(number, _handle)
    return mine


@contextmanager
def held_back() -> Iterator[None]:
    """Hold the signals back while processes are started, which inherit that they are blocked.

    So there is no moment in which a signal to the whole process group ends one of them. In this process a signal is
    acted on when the block ends.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    # Another thread may get the signal all the same, whose handler Python then runs in the main thread.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*STOPS, *SAVES, *_OF_JOBS))
    _state.noting += 1
    came = _state.stop
    try:
        yield
    finally:
        _state.noting -= 1
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if _state.stop and not came and not _state.noting and _state.owners:
            _raise()


def let_through() -> None:
    """Undo in a new process that the signals are held back in it, all but the one that never is a trial's to act on."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*STOPS, *SAVES))


def end_with_parent_only() -> None:
    """Let a process in which the signals are held back end by SIGTERM, but only by that of its parent.

    `multiprocessing` ends processes by it. One that is sent to the whole group is the parent's to act on.
    """
    if not hasattr(signal, "sigwaitinfo"):
        return
    parent = os.getppid()

    def wait() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait, name="nnkit-sigterm", daemon=True).start()


def leave_with(code: int) -> None:
    """Let no signal change the exit code of a command that has ended while the interpreter shuts down.

    Args:
        code: The exit code.
    """
    if threading.current_thread() is not threading.main_thread():
        return

    def leave(number: int, frame: FrameType | None) -> None:
        os._exit(code)

    # What is not written by then is lost; the reader may have gone.
    with suppress(OSError):
        sys.stdout.flush()
    for number in (*STOPS, *SAVES):
        signal.signal(number, signal.SIG_IGN if number in SAVES else leave)


def ignore_at_exit() -> None:
    """Ignore the signals once all other exit functions have run; called before those are registered.

    Python then gives up its handlers, and the default ones would end the process with another exit code.
    """
    atexit.register(_ignore)


def _ignore() -> None:
    for number in (*STOPS, *SAVES):
        signal.signal(number, signal.SIG_IGN)
