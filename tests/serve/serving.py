"""A server in a thread of this process, and what asks it."""

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("uvicorn", reason="pip install 'nnkit[serve]'")

from nnkit.analysis.inspection.opening import inspected
from nnkit.serve.served import Served
from nnkit.serve.server import listen, run

# What `config.data.kind` is for the kinds of tests/samples.py.
KINDS = {"text": "tokens", "texts": "tokens"}


class Client:
    """Asks a server on loopback."""

    def __init__(self, port):
        self.port = port
        self.address = f"http://127.0.0.1:{port}/"

    def request(self, method, path, body=None, headers=()):
        """Return status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers))
            found = connection.getresponse()
            return found.status, {name.lower(): value for name, value in found.getheaders()}, found.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        """Return status and JSON of an answer."""
        status, _, content = self.request("GET", path, headers=headers)
        return status, json.loads(content)

    def post(self, path, given, **headers):
        """Send an object as JSON, and return status and JSON of the answer."""
        status, _, content = self.request(
            "POST", path, json.dumps(given).encode(), {"Content-Type": "application/json", **headers}
        )
        return status, json.loads(content)

    def lines(self, path, given):
        """Send an object, and return status and the JSON lines of the answer."""
        headers = {"Content-Type": "application/json"}
        status, _, content = self.request("POST", path, json.dumps(given).encode(), headers)
        return status, [json.loads(line) for line in content.splitlines()]

    def raw(self, content, *, seconds=20, half_close=False):
        """Send bytes as they are, and return all that comes until the server closes or the time is over."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            found = b""
            try:
                connection.sendall(content)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    found += piece
            except (TimeoutError, ConnectionError):
                pass
            return found


def served_of(loaded, kind):
    """Return what serves a run that is loaded."""
    about = inspected(loaded.run, loaded.task, loaded.data)
    return Served(about.title, loaded.task, loaded.data, KINDS.get(kind, kind), about.facts)


@contextmanager
def server(loaded, kind, *, host="127.0.0.1", **options):
    """Yield a client of a server of a run, which is stopped with the block."""
    stop = threading.Event()
    listening = listen(host, 0)
    port = listening.getsockname()[1]
    with served_of(loaded, kind) as served:
        thread = threading.Thread(
            target=run, args=(served, listening), kwargs={"host": host, "stop": stop.is_set, **options}
        )
        thread.start()
        try:
            client = Client(port)
            until = time.monotonic() + 20
            while client.request("GET", "/health", headers={"Host": f"localhost:{port}"})[0] != 200:
                assert time.monotonic() < until
            yield client
        finally:
            stop.set()
            thread.join(40)
            listening.close()
            assert not thread.is_alive()
