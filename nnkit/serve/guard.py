"""Who may ask: hosts and origins that are this server's own, and the token where other machines can reach it.

A page from elsewhere that a browser shows can send requests to this machine (cross-site request forgery), and can let
its own name point to it (DNS rebinding). The first shows in its Origin, the second in its Host.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode

from nnkit.serve.refusal import Refusal

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]{1,5})?", re.ASCII)
# A page of this server loads nothing from elsewhere, runs no script but its own files, and is framed by nobody.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# Bytes of the headers of a request.
LONGEST_HEAD = 32_768
# What may be asked without a token: that the server is there.
_OPEN = ("/health",)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Lets through what may be asked, and adds to every response what keeps it from other pages.

    Args:
        app: What answers.
        host: Where the server listens.
        port: Its port.
        token: What requests must bring; None: nothing.
    """

    def __init__(self, app: Application, *, host: str, port: int, token: str | None) -> None:
        self._app, self._token = app, token
        self._names = {*_LOOPBACK, host.strip("[]").lower()}
        self._is_open = not is_loopback(host)
        if self._is_open:
            name = socket.gethostname().lower()
            self._names |= {name, f"{name}.local", socket.getfqdn().lower()}
        self._cookie = f"nnkit-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        assert scope["type"] == "http", scope["type"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def send_safely(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        try:
            if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEAD:
                raise Refusal(
                    431, f"the headers are too long, at most {LONGEST_HEAD:,} bytes are read: send fewer"
                )
            self._check_host(headers.get("host", ""))
            self._check_origin(headers)
            if self._token is not None and scope["path"] not in _OPEN:
                entered = self._entered(scope, self._token)
                if entered is not None:
                    await _respond(send_safely, 303, b"", entered)
                    return
                self._check_token(headers, self._token)
        except Refusal as refusal:
            await _respond(
                send_safely, refusal.status, body_of(str(refusal)), {**refusal.headers, "Connection": "close"}
            )
            return
        await self._app(scope, receive, send_safely)

    def _check_host(self, host: str) -> None:
        name = _name_of(host)
        if name in self._names or (self._is_open and _is_address(name)):
            return
        raise Refusal(
            421,
            f"this server is not {printed(host)}: open it as http://localhost:PORT, or name another host when it is "
            "started (nnkit serve RUN --host NAME)",
        )

    def _check_origin(self, headers: dict[str, str]) -> None:
        origin, host = headers.get("origin"), headers.get("host", "")
        foreign = (
            headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
        )
        if origin is None and not foreign:
            return
        if origin is not None and origin.lower() == f"http://{host.lower()}":
            return
        raise Refusal(
            403,
            f"a page of {printed(origin or 'another site')} must not ask this server: send requests from its own page, "
            "or from a program without the header Origin",
        )

    def _entered(self, scope: Scope, token: str) -> dict[str, str] | None:
        """Return the headers that keep the token of an address as a cookie and go on without it in the address."""
        asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = asked.pop("token", [])
        if scope["method"] != "GET" or not given or not _equal(given[0], token):
            return None
        cookie = f"{self._cookie}={token}; Path=/; HttpOnly; SameSite=Strict"
        rest = f"?{urlencode(asked, doseq=True)}" if asked else ""
        # A path that begins with two slashes would lead to another host.
        path = "/" if scope["path"] != "/api" else "/api"
        return {"Set-Cookie": cookie, "Location": f"{path}{rest}"}

    def _check_token(self, headers: dict[str, str], token: str) -> None:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _equal(given.strip(), token):
            return
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            cookies.clear()
        if self._cookie in cookies and _equal(cookies[self._cookie].value, token):
            return
        raise Refusal(
            401,
            "this server needs its token: open the address that nnkit serve printed, or send the header "
            "Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )


def _name_of(host: str) -> str:
    """Return the name in a Host header, without its port; empty where it is none."""
    found = _HOST.fullmatch(host)
    return found["name"].strip("[]").lower() if found else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def printed(text: str) -> str:
    """Return what a request holds for a sentence: short, and without control characters."""
    clean = "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
    return repr(clean if len(clean) <= 80 else f"{clean[:79]}…")


def body_of(sentence: str) -> bytes:
    """Return the body of an error."""
    return json.dumps({"error": sentence}).encode()


async def _respond(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    every = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    pairs = [(name.lower().encode(), value.encode()) for name, value in every.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
