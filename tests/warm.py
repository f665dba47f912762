"""Commands in processes of their own that begin where torch and Lightning are imported: seconds sooner than others.

What happens before that, and how an interpreter starts, is tested with processes that are started anew.
"""

import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from itertools import count, pairwise
from multiprocessing import forkserver, util
from pathlib import Path

from nnkit.machine import signals
from nnkit.sweep.pool import warm_up

_numbers = count()


def context():
    """Return what starts processes: the server that forks trials of sweeps as well, as there is one in a process."""
    warm_up()
    return multiprocessing.get_context("forkserver")


_spawn = util.spawnv_passfds
_MOST_FILES = 4096


def _fork(path, arguments, descriptors):
    """Start what `multiprocessing` starts: its server as a copy of this process, which has imported what it would."""
    code = arguments[-1]
    if "multiprocessing.forkserver" not in code:
        return _spawn(path, arguments, descriptors)
    if pid := os.fork():
        return pid
    try:
        for low, high in pairwise([2, *sorted(descriptors), _MOST_FILES]):
            os.closerange(low + 1, high)
        # This process holds it while it starts the server.
        forkserver._forkserver._lock = threading.Lock()
        # What is done there beside importing is done anew.
        sys.modules.pop("nnkit.sweep.preload", None)
        exec(code, {})
    finally:
        os._exit(0)


def _begin(function, arguments, folder, environment, out, err):
    util.spawnv_passfds = _fork
    os.setsid()
    # The server ignores them.
    for number in (*signals.STOPS, *signals.SAVES):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, file in ((1, out), (2, err)):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, stream)
        os.close(descriptor)
    sys.exit(function(*arguments))


def command(*words):
    """Run a command line."""
    from nnkit.cli import main

    return main([str(word) for word in words])


def typed(*words):
    """Run a command line that takes signals and streams over for good, as one that was typed does."""
    from nnkit.cli import main

    # Those of the server were made for other files, which may be read and written anywhere.
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = ["nnkit", *[str(word) for word in words]]
    return main()


class Warm:
    """A function of a module, in a process and a process group of its own.

    Args:
        function: What is called; what it returns is the exit code.
        arguments: What it is called with.
        cwd: The working directory.
        env: What of the environment is other than here.
        out: Where standard output goes; a file of its own, if none is given.
        err: Where standard error goes; with the output, if none is given.
    """

    def __init__(self, function, *arguments, cwd=".", env=None, out=None, err=None):
        self._out = Path(out or f"warm-{os.getpid()}-{next(_numbers)}.txt").absolute()
        self._err = Path(err).absolute() if err else self._out
        environment = {**os.environ, **(env or {})}
        self.process = context().Process(
            target=_begin,
            args=(function, arguments, str(cwd), environment, str(self._out), str(self._err)),
        )
        self.process.start()
        self.pid = self.process.pid

    def poll(self):
        """Return the exit code, or None while it runs."""
        return self.process.exitcode

    def wait(self, seconds=120):
        """Wait for the end; return the exit code and what was said."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.end()
            raise TimeoutError(f"not ended within {seconds} seconds: {self.said()}")
        return self.process.exitcode, self.said()

    def said(self):
        """Return what was written so far to standard error, and to standard output if it goes there too."""
        return self._err.read_text(errors="replace") if self._err.is_file() else ""

    def printed(self):
        """Return what was written so far to standard output."""
        return self._out.read_text(errors="replace") if self._out.is_file() else ""

    def end(self):
        """Leave no process of the group behind."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.join()
