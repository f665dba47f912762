"""Processes that train together, started as torchrun starts them, but copied from this one to save the imports."""

import multiprocessing
import os
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from nnkit.cli import main

# Seconds within which all processes must have ended; what hangs is killed, and its exit code tells.
_MOST = 120


@dataclass(frozen=True)
class Ended:
    """How one process ended: its exit code, and what it printed."""

    code: int | None
    said: str


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def torchrun(rank, size, port):
    """What torchrun sets for each process of one machine."""
    shared = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "none", **shared}


def start(size, words, environment=torchrun, before=None):
    """Start a command in several processes.

    Args:
        size: How many.
        words: The command line, or one for each process.
        environment: Returns the variables of a process: rank, size and a free port are given.
        before: Called in each process with its rank, before the command.
    """
    port, context = free_port(), multiprocessing.get_context("fork")
    lines = words if isinstance(words[0], list) else [words] * size
    found = [
        context.Process(target=_run, args=(rank, lines[rank], environment(rank, size, port), before))
        for rank in range(size)
    ]
    for process in found:
        process.start()
    return found


def finish(processes, seconds=_MOST):
    """Wait for all to end, and return how each of them did."""
    late = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, late - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
    return [Ended(process.exitcode, Path(f"said-{process.pid}.txt").read_text()) for process in processes]


def run(size, words, **more):
    """Run a command in several processes to its end."""
    return finish(start(size, words, **more))


def _run(rank, words, variables, before):
    # To read it while it runs, each process has a file.
    said = os.open(f"said-{os.getpid()}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ.update({name: str(value) for name, value in variables.items()})
    if before is not None:
        before(rank)
    code = 1
    try:
        code = main([str(word) for word in words])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
