"""Join the processes that train one model together, start them where nothing else has, and leave together."""

from __future__ import annotations

import atexit
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import IO

import torch
from torch import distributed
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from nnkit.distributed import collectives
from nnkit.distributed.channel import ENDING, JOINING, Channel, PeerEnded, answer, call, listen
from nnkit.distributed.world import STARTED, World
from nnkit.errors import EnvironmentFault, NnkitError
from nnkit.machine import signals

# Seconds in which one that nnkit has started finds what was there before it.
_FINDING = 20
# Seconds in which a machine answers, and between two tries.
_GLANCE, _PAUSE = 2.0, 0.05
# Seconds that a collective may take: one process may draw, save or validate while the others wait.
COLLECTIVE = 1800
_LOOPBACK = "127.0.0.1"
# The key of the store under which the first process says where it is called.
_PLACE = "channel"
# Seconds in which a broken collective's reason has come over the channel.
_REASON = 3.0
_SAID = 2000


class Group:
    """The processes that train together.

    Args:
        world: The place of this one.
        channel: Its lines to the others.
        children: Those that this one has started.
    """

    def __init__(self, world: World, channel: Channel, children: _Children | None = None) -> None:
        self.world = world
        self.channel = channel
        self._children = children

    @property
    def leads(self) -> bool:
        """Whether this process decides, writes and prints."""
        return self.world.rank == 0

    def failed(self, error: BaseException) -> NnkitError | None:
        """Tell the others that this process ends, and return what is raised instead if one of them is the reason.

        Args:
            error: What ends this one.
        """
        own: NnkitError | None = None
        if isinstance(error, PeerEnded):
            own, code = error, error.exit_code
        else:
            # Sentences of our own come from here; anything else may be a collective that a peer has left.
            known = isinstance(error, NnkitError | KeyboardInterrupt | SystemExit | signals.Stopped)
            ended = None if known else self.channel.ended(_REASON)
            if ended is None and not known and _is_broken(error):
                text = f"another process of the run does not answer: {str(error).splitlines()[0][:200]}"
                own = PeerEnded(f"{text}\n    the last checkpoint stands: try again with nnkit resume")
            else:
                own = None if ended is None else ended.error()
            code = getattr(error if own is None else own, "exit_code", 1)
            if isinstance(error, signals.Stopped):
                code = 128 + error.number
        self.channel.fail(str(own or error) or type(error).__name__, code)
        return own

    def close(self) -> None:
        """End well: tell the others, and wait for those that this process has started."""
        global _group
        self.channel.close()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        if self._children is not None:
            self._children.end()
        self.channel.over()
        _group = None


_group: Group | None = None


def group() -> Group | None:
    """Return the processes that have joined; None if this one trains alone."""
    return _group


def join(world: World) -> Group:
    """Join the processes that torchrun, SLURM or nnkit has started; once in a process.

    Args:
        world: The place of this process.

    Raises:
        EnvironmentFault: If they do not all come.
    """
    global _group
    if _group is None:
        own, leads, parent = world.launcher == "nnkit", world.rank == 0, os.getppid()
        wait = timedelta(seconds=_FINDING if own else JOINING)
        # An agent of torchrun keeps the store; otherwise the first process does.
        agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"

        def check() -> None:
            if signals.stop():
                # What was raised in the midst of an import may have been swallowed there.
                raise signals.Stopped(signals.stop())
            if os.getppid() != parent:
                raise PeerEnded(
                    "what has started this process has ended before the processes of the run had met"
                )

        try:
            if agent or not leads:
                _await_store(world, check, wait.total_seconds())
            place = (world.address, world.port, None, leads and not agent, wait)
            store: Store = TCPStore(*place, wait_for_workers=False)
            if world.attempt:
                # torchrun's store still holds the addresses of the attempt before; a port may be another job's.
                store = PrefixStore(f"nnkit/{world.attempt}/{world.size}", store)
            channel = _first(world, store, check) if leads else _other(world, store)
        except (RuntimeError, OSError) as error:
            raise _not_met(world, error) from error
        _group = Group(world, channel)
        with together(_group):
            _connect(world, store, channel)
        if not own:
            atexit.register(_at_exit)
    return _group


def _await_store(world: World, check: Callable[[], None], seconds: float) -> None:
    """Wait until the store answers; what waits inside of torch could not be told that nobody will come.

    Raises:
        OSError: If it does not.
    """
    late = time.monotonic() + seconds
    while True:
        check()
        try:
            socket.create_connection((world.address, world.port), timeout=_GLANCE).close()
        except OSError:
            if time.monotonic() > late:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _at_exit() -> None:
    if _group is not None:
        _group.close()


def _first(world: World, store: Store, check: Callable[[], None] = lambda: None) -> Channel:
    """Wait for the calls of the others."""
    server, token = listen(_LOOPBACK if world.local_size == world.size else ""), secrets.token_hex(16)
    store.set(_PLACE, json.dumps([server.getsockname()[1], token]))
    return answer(server, token, world.size - 1, check)


def _other(world: World, store: Store) -> Channel:
    """Call the first process."""
    port, token = json.loads(store.get(_PLACE))
    return call(_LOOPBACK if world.local_size == world.size else world.address, port, token, world.rank)


def _connect(world: World, store: Store, channel: Channel) -> None:
    """Make the process group: the channel, which is there before it, tells whether one of the processes ends."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    wait = timedelta(seconds=JOINING)
    try:
        distributed.init_process_group(
            backend, store=store, rank=world.rank, world_size=world.size, timeout=wait
        )
        # Lines that are made when they are needed are made here.
        collectives.most(0)
        distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=COLLECTIVE))
    except (RuntimeError, OSError) as error:
        ended = channel.ended(_REASON)
        raise (_not_met(world, error) if ended is None else ended.error()) from error


def _not_met(world: World, error: Exception) -> EnvironmentFault:
    text = f"the {world.size} processes of the run have not met at {world.address}:{world.port}"
    return EnvironmentFault(f"{text}: {str(error).splitlines()[0][:200]}")


class _Children:
    """Processes that this one has started.

    Args:
        environments: The variables of each, beside those of this process.
    """

    def __init__(self, command: list[str], environments: Sequence[Mapping[str, str]]) -> None:
        self._said: list[IO[bytes]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        # A signal to the whole group, as Ctrl-C on a terminal, reaches them as well: they note it when they have begun.
        with signals.held_back():
            for environment in environments:
                said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
                self._said.append(said)
                self._processes.append(
                    subprocess.Popen(
                        command,
                        env={**os.environ, **environment},
                        stdin=subprocess.DEVNULL,
                        stdout=said,
                        stderr=said,
                    )
                )

    def check(self) -> None:
        """Raise if one has ended before it has joined.

        Raises:
            EnvironmentFault: With the last it said.
        """
        for number, (process, said) in enumerate(zip(self._processes, self._said, strict=True), 1):
            if process.poll() is None:
                continue
            said.seek(0)
            last = said.read()[-_SAID:].decode(errors="replace").strip()
            raise EnvironmentFault(
                f"process {number} of the run ended with exit code {process.returncode} before it had joined"
                + (f"\n    {last}" if last else "")
            )

    def end(self, at_once: bool = False) -> None:
        """Wait for all to end; those that do not are killed."""
        late = time.monotonic() + (0 if at_once else ENDING)
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, late - time.monotonic()))
            process.kill()
            process.wait()
        for said in self._said:
            said.close()


def start(size: int, module: str) -> Group:
    """Start the others on this machine and join them as the first.

    Args:
        size: Processes in all.
        module: What the others run, with `python -m`.

    Raises:
        EnvironmentFault: If one does not come.
    """
    global _group
    store = TCPStore(_LOOPBACK, 0, None, True, timedelta(seconds=JOINING), wait_for_workers=False)
    world = World(0, size, 0, size, 0, _LOOPBACK, store.port, "nnkit")
    shared = {
        STARTED: "1",
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": _LOOPBACK,
        "MASTER_PORT": str(store.port),
        # As for every process that nnkit starts: nothing in the working directory takes the place of a library.
        "PYTHONSAFEPATH": "1",
    }
    numbers = [str(number) for number in range(1, size)]
    own = [{**shared, "RANK": number, "LOCAL_RANK": number} for number in numbers]
    children = _Children([sys.executable, "-m", module], own)
    try:
        channel = _first(world, store, children.check)
        _group = Group(world, channel, children)
        with together(_group):
            _connect(world, store, channel)
    except BaseException as error:
        # A signal as well: nobody else would end them.
        children.end(at_once=True)
        if _group is not None:
            _group.close()
        if isinstance(error, OSError):
            raise _not_met(world, error) from error
        raise
    return _group


@contextmanager
def together(found: Group | None) -> Iterator[None]:
    """Let all processes end where this one does, and say why.

    Args:
        found: The processes; None if this one trains alone.

    Raises:
        PeerEnded: Instead of an error that follows from the end of another process.
    """
    try:
        yield
    except BaseException as error:
        if found is None:
            raise
        own = found.failed(error)
        if own is None or own is error:
            raise
        raise own from error


def _is_broken(error: BaseException) -> bool:
    """Return whether an error comes from a collective."""
    text = str(error)
    words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Timed out waiting")
    return isinstance(error, RuntimeError) and any(word in text for word in words)
