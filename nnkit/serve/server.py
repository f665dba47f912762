"""The server: where it listens, how it speaks HTTP, and how it stops."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from nnkit.errors import EnvironmentFault, UserError
from nnkit.machine import signals
from nnkit.serve.app import Endpoints
from nnkit.serve.guard import HEADERS, LONGEST_HEAD, Guard, body_of
from nnkit.serve.worker import Worker

if TYPE_CHECKING:
    from nnkit.serve.served import Served

# Seconds until the head of a request must be there, until an idle connection is closed, and for answers after a stop.
_HEAD, _IDLE, _LAST = 10.0, 30, 30
# Connections that wait to be taken.
_BACKLOG = 1_024
_PHRASES = {400: "Bad Request", 408: "Request Timeout"}


class _Protocol(H11Protocol):
    """HTTP/1.1 whose own mistakes are answered by JSON as well, and that waits for no head without end."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._watch()
        else:
            self._rest()

    def eof_received(self) -> bool | None:
        """Answer what has ended before its end; what is complete is still answered."""
        is_waiting = self.cycle is not None and not self.cycle.response_complete
        if self.conn.their_state is h11.SEND_BODY or (
            self.conn.their_state is h11.IDLE and self.conn.trailing_data[0] and not is_waiting
        ):
            if is_waiting:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self._refuse(400, "the request ended before its end: send all of it")
            return True
        return is_waiting or None

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._refuse(
            400, "this is no request of HTTP/1.1: send a method, a path, and headers of 32 KiB at most"
        )

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(_HEAD, self._late)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        self._refuse(408, f"the head of the request did not arrive within {_HEAD:g} s: send it again")

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer below the application, and close the connection."""
        if self.transport.is_closing():
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = body_of(sentence)
            named = {"content-type": "application/json", **HEADERS, "connection": "close"}
            head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
            start = f"HTTP/1.1 {status} {_PHRASES[status]}\r\n{head}content-length: {len(body)}\r\n\r\n"
            self.transport.write(start.encode() + body)
        self.transport.close()


class _Server(uvicorn.Server):
    """Stops when a signal has been noted: connections are no longer taken, what was taken is answered.

    Args:
        config: As for uvicorn.
        worker: What writes texts, which end early.
        stop: Returns whether to stop.
    """

    def __init__(self, config: Any, worker: Worker, stop: Callable[[], bool]) -> None:
        super().__init__(config)
        self._worker, self._stop = worker, stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # They are noted by nnkit.machine.signals.
        yield

    async def on_tick(self, counter: int) -> bool:
        if self._stop():
            self._worker.end_streams()
            self.should_exit = True
        return bool(await super().on_tick(counter))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: A name or an address of this machine.
        port: Its port; 0: a free one.

    Raises:
        UserError: If the host is none of this machine, or the port is in use.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise UserError(f"--host {host}: there is no such host: {error}") from error
    found = socket.socket(family, kind, number)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        reason = error.strerror or str(error)
        raise UserError(
            f"port {port} of {host} cannot be listened on: {reason}\n    --port 0 takes a free one"
        ) from error
    found.setblocking(False)
    return found


def run(
    served: Served,
    listening: socket.socket,
    *,
    host: str,
    token: str | None = None,
    together: int | None = None,
    slowest: float | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Serve until a signal comes.

    Args:
        served: The run.
        listening: From `listen`.
        host: Where it listens, as the user named it.
        token: What requests must bring; None: nothing.
        together: Inputs that are answered together, at most; None: the usual number.
        slowest: Seconds until the body of a request must be there; None: the usual number.
        stop: Returns whether to stop; default: whether a signal has been noted.

    Raises:
        EnvironmentFault: If the server broke down.
    """
    worker = Worker(served) if together is None else Worker(served, together)
    endpoints = Endpoints(served, worker) if slowest is None else Endpoints(served, worker, slowest=slowest)
    guarded = Guard(endpoints.application(), host=host, port=listening.getsockname()[1], token=token)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    config = uvicorn.Config(
        guarded,
        http=_Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=_LAST,
        h11_max_incomplete_event_size=LONGEST_HEAD,
        backlog=_BACKLOG,
    )
    server = _Server(config, worker, stop or (lambda: bool(signals.stop())))
    worker.start()
    try:
        asyncio.run(server.serve(sockets=[listening]))
    except SystemExit as error:
        raise EnvironmentFault(f"the server broke down (exit {error.code})") from error
    finally:
        worker.close()
