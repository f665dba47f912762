"""A line between the first process and each of the others, beside the collectives: jobs, and why one has ended.

A collective that a process has left raises or hangs, and never says why. Over this line the others hear the reason at
once; a line that breaks before any reason has come means that the process was killed. Messages are lines of JSON.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nnkit.errors import NnkitError
from nnkit.ui.terminal import printable

# Exit code of a process whose peer was killed: nothing is wrong here, and the command may be given again.
TRY_AGAIN = 75
# Exit codes above it are those of a signal.
SIGNALLED = 128
# Seconds after which the first process leaves by itself once a peer has ended and its main thread has not noticed: gloo
# breaks most waits at once; and any other process, which has nothing to write.
GRACE, OTHERS_GRACE = 10.0, 2.0
# Seconds more for a main thread that has noticed: it ends what it does.
ENDING = 15.0
# Seconds in which all processes must have come.
JOINING = 300
# Seconds in which one that answers does so, and between two looks for whether the others still live.
_HELLO, _GLANCE = 20.0, 0.02


class PeerEnded(NnkitError):
    """Another process of the run has ended, so this one cannot go on: with the exit code of that one, or 75.

    Args:
        text: What the other one said, or that it was killed.
        code: The exit code.
    """

    def __init__(self, text: str, code: int = TRY_AGAIN) -> None:
        super().__init__(text)
        self.exit_code = code


@dataclass(frozen=True)
class Ended:
    """How a process has ended.

    Attributes:
        rank: Its number.
        text: What it said; None if it was killed.
        code: The exit code that follows.
    """

    rank: int
    text: str | None
    code: int = TRY_AGAIN

    def error(self) -> PeerEnded:
        """Return what is raised here because of it."""
        if self.text is not None:
            return PeerEnded(self.text, self.code)
        return PeerEnded(
            f"process {self.rank} of the run has ended and gave no reason: it was killed, or its machine is gone\n"
            "    the last checkpoint stands: try again with nnkit resume"
        )


class Line:
    """One end of the line between two processes.

    Args:
        connection: A connected socket.
        peer: Number of the process at the other end.
    """

    def __init__(self, connection: socket.socket, peer: int) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._connection = connection
        self._file = connection.makefile("r", encoding="utf-8", newline="\n")
        self.peer = peer

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; one that cannot arrive is dropped, as its reader finds the line broken."""
        with suppress(OSError):
            self._connection.sendall((json.dumps(message) + "\n").encode())

    def read(self) -> dict[str, Any] | None:
        """Wait for a message; None if the line is broken."""
        try:
            text = self._file.readline()
            message = json.loads(text) if text.endswith("\n") else None
        except (OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """Break the line; whoever waits in `read` then gives it back."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def give_back(self) -> None:
        """Give back what the line takes up; nobody reads from it any more."""
        self.close()
        self._file.close()
        self._connection.close()


class Channel:
    """The lines of this process: to all others from the first process, to the first one from any other.

    A thread listens on each line. Where a peer ends before it has taken its leave, the main thread has some seconds to
    notice, and more to end what it does; then the process leaves by itself, as it may wait for what never comes.

    Args:
        says: Whether this process, the first, tells the user why it leaves.
    """

    def __init__(self, says: bool) -> None:
        self._lines: list[Line] = []
        self._says = says
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._changed = threading.Condition()
        self._ended: Ended | None = None
        self._closing = False
        self._is_over = False
        # Called before the process leaves by itself, with the reason.
        self.before_leaving: Callable[[str], None] = lambda text: None

    def add(self, line: Line) -> None:
        """Listen on a line, too."""
        self._lines.append(line)
        threading.Thread(target=self._listen, args=(line,), name="nnkit-peer", daemon=True).start()

    def send(self, **message: Any) -> None:
        """Send a message to every peer."""
        for line in self._lines:
            line.send(message)

    def receive(self) -> dict[str, Any]:
        """Wait for a message.

        Raises:
            PeerEnded: If the peer has ended instead.
        """
        while True:
            with suppress(queue.Empty):
                return self._messages.get(timeout=0.05)
            if self._ended is not None:
                raise self._ended.error()

    def ended(self, seconds: float = 0.0) -> Ended | None:
        """Return which peer has ended and how; None if none has within some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended is not None, seconds)
            return self._ended

    def fail(self, text: str, code: int) -> None:
        """Tell every peer why this process ends."""
        self._closing = True
        self.send(failed=text, code=code)

    def close(self) -> None:
        """End well: tell the peers, and break the lines."""
        self._closing = True
        self.send(bye="")
        for line in self._lines:
            line.close()

    def over(self) -> None:
        """Let the process live on: it waits for no peer any more."""
        self._is_over = True

    def _listen(self, line: Line) -> None:
        left_well = False
        while (message := line.read()) is not None:
            if "failed" in message:
                self._note(Ended(line.peer, str(message["failed"]), int(message["code"])))
                left_well = True
            elif "bye" in message:
                left_well = True
                self._messages.put({"over": message["bye"]})
            else:
                self._messages.put(message)
        line.give_back()
        if not left_well:
            self._note(Ended(line.peer, None))

    def _note(self, ended: Ended) -> None:
        with self._changed:
            if self._ended is not None or self._closing:
                return
            self._ended = ended
            self._changed.notify_all()
        if self._says:
            # The others hear it from here: their lines lead to this process alone.
            error = ended.error()
            self.send(failed=str(error), code=error.exit_code)
        threading.Thread(target=self._leave, args=(ended,), name="nnkit-leave", daemon=True).start()

    def _leave(self, ended: Ended) -> None:
        time.sleep(GRACE if self._says else OTHERS_GRACE)
        if self._closing:
            time.sleep(ENDING)
        if self._is_over:
            return
        error = ended.error()
        with suppress(Exception):
            self.before_leaving(str(error))
        if self._says:
            sys.stderr.write(f"nnkit: {printable(str(error))}\n")
            sys.stderr.flush()
        os._exit(error.exit_code)


def listen(address: str) -> socket.socket:
    """Return a socket on which the other processes can call; its port is chosen by the system.

    Args:
        address: Where it is reached from; empty: from everywhere.
    """
    return socket.create_server((address, 0))


def answer(
    server: socket.socket, token: str, count: int, check: Callable[[], None] = lambda: None
) -> Channel:
    """Wait until all others have called, and return the channel of the first process.

    Args:
        server: From `listen`; it is closed.
        token: What a caller must know.
        count: Others.
        check: Called once in a while; raises if one of them will never call.

    Raises:
        PeerEnded: If one of those that have called has ended.
        TimeoutError: If they do not all call.
    """
    channel = Channel(says=True)
    late = time.monotonic() + JOINING
    server.settimeout(_GLANCE)
    try:
        with server:
            while count:
                check()
                if (ended := channel.ended()) is not None:
                    raise ended.error()
                if time.monotonic() > late:
                    raise TimeoutError(f"{count} of them have not come within {JOINING} seconds")
                with suppress(TimeoutError):
                    connection, _ = server.accept()
                    count -= _is_welcome(channel, connection, token)
    except BaseException:
        channel.over()
        raise
    return channel


def _is_welcome(channel: Channel, connection: socket.socket, token: str) -> bool:
    """Add a caller's line, if it is one of ours."""
    connection.settimeout(_HELLO)
    line = Line(connection, 0)
    hello = line.read() or {}
    if hello.get("token") != token:
        line.give_back()
        return False
    line.peer = int(hello["rank"])
    connection.settimeout(None)
    channel.add(line)
    return True


def call(address: str, port: int, token: str, rank: int) -> Channel:
    """Call the first process, and return the channel to it.

    Args:
        address: Its machine.
        port: Its port.
        token: What it must be told.
        rank: Number of this process.
    """
    connection = socket.create_connection((address, port), timeout=_HELLO)
    connection.settimeout(None)
    line = Line(connection, 0)
    line.send({"token": token, "rank": rank})
    channel = Channel(says=False)
    channel.add(line)
    return channel
