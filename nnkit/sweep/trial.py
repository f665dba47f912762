"""One trial of a sweep, in a process of its own: run it, say how it went, and be gone when the sweep is gone."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from nnkit import config as configs
from nnkit.callbacks.signals import Interrupted
from nnkit.errors import NnkitError
from nnkit.machine import signals
from nnkit.runs.training import train
from nnkit.sweep.reporter import Reporter
from nnkit.sweep.trials import DONE, EXITED, OUT_OF_MEMORY, PRUNED, RAISED, STOPPED, Outcome, Progress
from nnkit.ui import logs
from nnkit.ui.terminal import printable

if TYPE_CHECKING:
    from nnkit.runs.fit import Result

# Where memory runs out, the system should end a trial and not the sweep.
_OOM_SCORE = "500"


@dataclass(frozen=True)
class Request:
    """What a trial's process is asked to do.

    Attributes:
        sweep: The sweep's directory.
        name: The trial's directory in it.
        words: All words of the trial, those of the sweep included.
        config_dir: A directory of more option files.
        num_threads: Threads, where the config does not say.
        waits: Whether it waits after each validation for a word whether to go on.
        log: File for what it prints.
        directory: Working directory.
        environment: Environment variables.
        memory_limit: Bytes that it may claim; None: no limit.
        gpus: GPUs that it may see; None: all there are.
    """

    sweep: Path
    name: str
    words: tuple[str, ...]
    config_dir: str | None = None
    num_threads: int | None = None
    waits: bool = False
    log: Path = Path(os.devnull)
    directory: Path = Path()
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_limit: int | None = None
    gpus: tuple[int, ...] | None = None


def run_trial(
    sweep: Path,
    name: str,
    words: Sequence[str],
    *,
    config_dir: str | None = None,
    num_threads: int | None = None,
    reporter: Reporter | None = None,
) -> Result:
    """Train one trial in its directory: begin it, or go on with it where it was interrupted.

    Args:
        sweep: The sweep's directory.
        name: The trial's directory in it.
        words: All words of the trial, those of the sweep included.
        config_dir: A directory of more option files.
        num_threads: Threads, where the config does not say.
        reporter: Callback that tells the sweep how it stands.

    Raises:
        NnkitError: As `nnkit.runs.training.train`.
    """
    composition, problems = configs.examine(words, config_dir)
    if composition is not None:
        config = composition.config
        configs.set_values(config, name=name, output_dir=str(sweep), auto_resume=True)
        if config.trainer.num_threads is None:
            config.trainer.num_threads = num_threads
        if reporter is not None:
            reporter.max_steps = config.trainer.max_steps
    return train(composition, problems, extra=[] if reporter is None else [reporter])


def main(connection: Connection, request: Request) -> None:
    """Run a trial in this process, which was made for it, and leave with its exit status."""
    _settle_in(request)
    _leave_with_parent()

    def tell(progress: Progress) -> bool:
        connection.send(progress)
        return progress.validated and request.waits and bool(connection.recv())

    reporter = Reporter(tell)
    outcome, code = attempt(request, reporter)
    sys.stdout.flush()
    sys.stderr.flush()
    # Of a parent that is gone nobody need be told.
    with suppress(BrokenPipeError):
        connection.send(outcome)
    connection.close()
    logging.shutdown()
    sys.exit(code)


def attempt(request: Request, reporter: Reporter) -> tuple[Outcome, int]:
    """Run a trial in this process; whatever it raises becomes an outcome and an exit status."""
    try:
        result = run_trial(
            request.sweep,
            request.name,
            request.words,
            config_dir=request.config_dir,
            num_threads=request.num_threads,
            reporter=reporter,
        )
    except Interrupted as error:
        return Outcome(STOPPED, str(error)), error.exit_code
    except signals.Stopped as stopped:
        return Outcome(STOPPED, "stopped before training began"), 128 + stopped.number
    except KeyboardInterrupt:
        return Outcome(STOPPED, "stopped before training began"), 128 + signal.SIGINT
    except SystemExit as leaving:
        return Outcome(EXITED, f"left with exit status {leaving.code!r} (sys.exit)"), 1
    except BaseException as error:
        if isinstance(error, NnkitError):
            sys.stderr.write(f"nnkit: {printable(str(error))}\n")
        else:
            traceback.print_exc()
        state = OUT_OF_MEMORY if _is_memory(error) else RAISED
        return Outcome(state, _sentence(error)), getattr(error, "exit_code", 1)
    record = result.run.record()
    state = PRUNED if reporter.pruned else DONE
    return Outcome(state, "", record.get("metrics") or {}, record.get("step")), 0


def _settle_in(request: Request) -> None:
    """Make the process the trial's own: signals, standard streams, environment, limits."""
    # Ctrl-C reaches every process of the terminal; the sweep passes it on once, as SIGTERM.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    with signals.held_back():
        # The server that this process was forked from ignores them.
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signals.take()
    os.chdir(request.directory)
    os.environ.clear()
    os.environ.update(request.environment)
    if request.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, request.gpus))
    request.log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    sys.argv = ["nnkit", "train", *request.words]
    with suppress(OSError):
        # Linux only; raising one's own score is always allowed.
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    if request.memory_limit is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (request.memory_limit, hard))
    logs.set_up()


def _leave_with_parent() -> None:
    """Start a thread that sleeps until the sweep's process has ended, and then ends this one at once.

    Nothing is lost: the run goes on from its latest checkpoint.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _sentence(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, NnkitError):
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _is_memory(error: BaseException | None) -> bool:
    """Return whether memory ran out, by the error or by what it came from."""
    import torch

    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
            return True
        error = error.__cause__
    return False
